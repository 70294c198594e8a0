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
