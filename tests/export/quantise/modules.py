"""Small networks made of the operators of PyTorch that have an integer form, and random ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Function = Callable[[Tensor], Tensor]


class Features(nn.Module):
    """A stem of ``channels`` channels, a function of its output, and a head of five logits."""

    def __init__(self, function: Function | nn.Module, channels: int = 8, head: int | None = None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, 2, padding=1), nn.BatchNorm2d(channels))
        self.function = function
        self.head = nn.Linear(head or channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.function(self.stem(x)).flatten(2).mean(2))
        return y


def shuffled(x: Tensor) -> Tensor:
    """Channel shuffle of two groups."""
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def swapped_halves(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1)
    return torch.cat([b, a * 0.5], 1)


def modified_in_place(x: Tensor) -> Tensor:
    x += 1.5
    return F.relu_(x)


class Sequence(nn.Module):
    """1-D convolutions and a pool over time, after a mean over frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(8, 12, 3, padding="same", dilation=2), nn.BatchNorm1d(12), nn.ReLU(), nn.MaxPool1d(3, 2, 1)
        )
        self.last = nn.Conv1d(12, 8, 3, stride=2, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.layers(x.mean(2)) - 0.25)
        return y


class Decoder(nn.Module):
    """Down, up by transposed convolutions, and a concatenation with what was before, as in a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(12, 8, 3, 2, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.ConvTranspose2d(12, 12, 4, 2, 1, groups=12)
        self.grouped = nn.ConvTranspose2d(12, 6, (2, 3), (2, 1), (0, 2), (1, 0), groups=2, dilation=(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        rest = self.grouped(y)[:, :, :16].repeat(1, 1, 1, 2)
        return torch.cat([x, self.up(y), F.relu(self.depthwise(y)), rest], 1)


class Encoder(nn.Module):
    """A transformer's layer over frames, with the layer norms before attention and after it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.mean(2).transpose(1, 2)).transpose(1, 2)
        return y


def masked(x: Tensor) -> Tensor:
    """Attention to what came before, and to the neighbours alone."""
    y = x.mean(2).transpose(1, 2).reshape(x.shape[0], -1, 2, 4).transpose(1, 2)
    near = torch.ones(8, 8, dtype=torch.bool).triu(-1).tril(1)
    y = F.scaled_dot_product_attention(y, y, y, is_causal=True) + F.scaled_dot_product_attention(y, y, y, near)
    return y.transpose(1, 2).flatten(2).transpose(1, 2)


class Places(nn.Module):
    """Pads of every mode, elements by their places, and constants beside activations."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 8, 1, 10))

    def forward(self, x: Tensor) -> Tensor:
        y = F.pad(F.pad(x, (1, 1, 2, 0), mode="reflect"), (0, 0, 1, 1), value=0.7)
        y = torch.cat([y, self.position.expand(x.shape[0], 8, 2, 10)], 2)
        y = y[:, [3, 2, 1, 0, 4, 4, 6, 7]].flip(3) + F.pad(y, (2, 0, 0, 0), mode="replicate")[..., 1:-1].roll(3, 1)
        return torch.stack([y, y.mean(2, keepdim=True).expand_as(y)], 2).flatten(1, 2)


def resized(x: Tensor) -> Tensor:
    smooth = F.interpolate(x[:, :, ::2, ::2], scale_factor=2, mode="bilinear")
    coarse = F.interpolate(x.mean((2, 3), keepdim=True), size=x.shape[2:], mode="bilinear")
    return smooth * F.interpolate(x[:, :, :8], size=(16, 8)) + coarse.expand_as(x)


def extremes(x: Tensor) -> Tensor:
    low, high = x.min(2, keepdim=True).values, F.adaptive_max_pool2d(x, (4, 4))
    x = torch.minimum(torch.tensor(2.0), torch.maximum(x, torch.linspace(-1, 0, 8)[:, None, None]))
    return torch.maximum(x, low / 2) - torch.minimum(x, F.interpolate(high, scale_factor=(4, 2))).mul_(0.5)


def moments(x: Tensor) -> Tensor:
    """Mean and standard deviation over time, as statistics pooling has them, and a gate."""
    pooled = torch.cat([x.mean(3), x.std(3)], 1)
    return torch.add(F.glu(pooled, 1), x.mean((2, 3))[:, :, None], alpha=0.5)


def quotients(x: Tensor) -> Tensor:
    """Quotients of activations, norms, values of a maximum without their places, and a view after a copy."""
    largest, _ = torch.max(x, dim=3, keepdim=True)
    level = torch.linalg.vector_norm(x, 1, dim=(2, 3), keepdim=True)
    turned = x.transpose(1, 2).contiguous().view(len(x), -1, x.shape[3]).view(len(x), x.shape[2], x.shape[1], -1)
    return F.normalize(x, dim=1) + largest / (level + 1) + turned.transpose(1, 2) / (1 + x.abs().mean(3, keepdim=True))


class Recurrent(nn.Module):
    """Two layers of LSTM cells in both directions over frames, and the last states of another one, steps first."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True)
        self.last = nn.LSTM(12, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.layers(x.mean(2).transpose(1, 2))
        _, (hidden, _) = self.last(y.transpose(0, 1))
        return hidden[-1][:, :, None]


RECURRENT = {"recurrent": lambda: Features(Recurrent())}  # ONNX has no such layer of integers
CASES: dict[str, Callable[[], nn.Module]] = {
    "windows": lambda: Features(
        nn.Sequential(
            nn.Conv2d(8, 16, 3, padding="same", dilation=(2, 1), groups=4),
            nn.BatchNorm2d(16),
            nn.ReLU6(inplace=True),
            nn.ZeroPad2d((1, 0, 2, 1)),
            nn.Conv2d(16, 32, (3, 2), groups=16, bias=False),
            nn.Hardswish(),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(32),
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
            nn.AvgPool2d(3, 1, 1),
        ),
        head=32,
    ),
    "movement": lambda: Features(lambda x: F.pad(swapped_halves(shuffled(x))[:, 1:7, ::2], (0, 0, 1, 2, 1, 1))),
    "elements": lambda: Features(
        lambda x: F.silu(x) * F.hardsigmoid(x.mean((2, 3), keepdim=True)) - x.amax(3, keepdim=True) / 3 + 2 * x
    ),
    "in_place": lambda: Features(modified_in_place),
    "sequence": lambda: Features(Sequence()),
    "flattened": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, 4), nn.GELU(), nn.Flatten(), nn.Linear(128, 12), nn.BatchNorm1d(12), nn.ReLU(),
        nn.Dropout(), nn.Linear(12, 5), nn.Softmax(-1),
    ),
    "decoder": lambda: Features(Decoder(), head=34),
    "resized": lambda: Features(resized),
    "pools": lambda: Features(
        nn.Sequential(
            nn.MaxPool2d(3, 2, ceil_mode=True), nn.PReLU(8), nn.AdaptiveAvgPool2d((5, 3)),
            nn.AvgPool2d(2, 2, ceil_mode=True), nn.AvgPool2d(2, 1, divisor_override=3), nn.Upsample(scale_factor=4),
            nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Upsample(scale_factor=3),
            nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.ZeroPad2d((1, 2, 0, 1)),
            nn.AvgPool2d(3, 2, (1, 0), count_include_pad=False),
        )
    ),
    "quotients": lambda: Features(quotients),
    "extremes": lambda: Features(extremes),
    "masked attention": lambda: Features(masked),
    "moments": lambda: Features(moments),
    "places": lambda: Features(Places(), head=16),
    "normalised": lambda: Features(
        nn.Sequential(
            nn.GroupNorm(2, 8), nn.ReLU(), nn.InstanceNorm2d(8), nn.Flatten(2),
            nn.LayerNorm(128), nn.Conv1d(8, 8, 3), nn.ConvTranspose1d(8, 8, 3, 2, 1), nn.BatchNorm1d(8),
        )
    ),
    "encoder": lambda: Features(Encoder()),
    "features": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, 4), nn.Flatten(), nn.Linear(128, 12), nn.ReLU(), nn.BatchNorm1d(12), nn.Linear(12, 5)
    ),
    **RECURRENT,
    "rows": lambda: Features(nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 8), nn.LeakyReLU(0.1))),
}  # fmt: skip


def with_statistics(model: nn.Module, shape: tuple[int, int]) -> nn.Module:
    """The network with BatchNorm statistics as after training, in evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.1, 0.3)
    with torch.no_grad():
        for _ in range(20):
            model.train()(torch.randn(8, 1, *shape))
    return model.eval()
