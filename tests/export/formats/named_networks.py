"""Networks that are known by name, faithful in structure and tiny in width."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyscene.training.models import bc_resnet, tf_sepnet
from tinyscene.training.models.build import build_model
from tinyscene.training.models.config import ModelConfig

SHAPE = (32, 16)
CLASSES = 4


def conv(channels: int, width: int, kernel: int | tuple[int, int] = 3, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolution, BatchNorm and ReLU."""
    pads = tuple(size // 2 for size in (kernel if isinstance(kernel, tuple) else (kernel, kernel)))
    layer = nn.Conv2d(channels, width, kernel, stride, pads, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(width), nn.ReLU())


def separable(channels: int, width: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(conv(channels, channels, 3, stride, channels), conv(channels, width, 1))


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)]


class ResidualBlock(nn.Module):
    """Of ResNet-8 in MLPerf Tiny."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, width, 3, stride), nn.Conv2d(width, width, 3, 1, 1))
        self.norm = nn.BatchNorm2d(width)
        self.shortcut = nn.Conv2d(channels, width, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.body(x)) + self.shortcut(x))


class StreamingNet(nn.Module):
    """Convolutions over time alone, 15 x 1, with skips, as streaming networks have them; frames are the height."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(SHAPE[0], 8, (3, 1))
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(8, 8, (15, 1), groups=8), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)) for _ in range(2)
        )
        self.head = nn.Sequential(*head(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x.permute(0, 2, 3, 1))  # (batch, bins, frames, 1)
        for block in self.blocks:
            y = F.relu(y + block(y))
        logits: Tensor = self.head(y)
        return logits


class UNet(nn.Module):
    """Two levels; transposed convolutions up, and a mask of the input's size, of which the head takes the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(1, 4), nn.Sequential(nn.MaxPool2d(2), conv(4, 8))
        self.bottom = nn.Sequential(nn.MaxPool2d(2), conv(8, 8))
        self.up2 = nn.ConvTranspose2d(8, 8, 2, 2)
        self.up1 = nn.Sequential(conv(16, 8), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.last = nn.Sequential(conv(8, 4), nn.Conv2d(4, CLASSES, 1), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        second = self.second(first)
        up = self.up1(torch.cat([self.up2(self.bottom(second)), second], 1))
        y: Tensor = self.last(torch.cat([up, first], 1))
        return y.flatten(1)


class Autoencoder(nn.Module):
    """Dense layers with BatchNorm and a narrow code, of the size of MLPerf Tiny's in small."""

    def __init__(self) -> None:
        super().__init__()
        sizes, layers = (SHAPE[0] * 4, 16, 16, 4, 16, 16), []
        for channels, width in pairwise(sizes):
            layers += [nn.Linear(channels, width), nn.BatchNorm1d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], sizes[0]))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x[..., :4].flatten(1))
        return y


def student(arch: str, base: int, **sizes: int) -> Callable[[], nn.Module]:
    """A student in small, with one block for each width."""

    def build() -> nn.Module:
        if arch.startswith("bc_resnet"):
            whole = bc_resnet.STAGES[arch]
            bc_resnet.STAGES[arch] = tuple(stage._replace(blocks=2 if at == 0 else 1) for at, stage in enumerate(whole))
        if arch == "tf_sepnet":
            tf_stages = tf_sepnet.STAGES
            tf_sepnet.STAGES = tuple((widths[:1], pooled) for widths, pooled in tf_stages[:3])
        try:
            return build_model(ModelConfig(arch=arch, n_classes=CLASSES, base_channels=base, **sizes))
        finally:
            if arch.startswith("bc_resnet"):
                bc_resnet.STAGES[arch] = whole
            if arch == "tf_sepnet":
                tf_sepnet.STAGES = tf_stages

    return build


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "DS-CNN": (student("ds_cnn", 8), SHAPE),
    "ResNet-8": (
        lambda: nn.Sequential(
            conv(1, 4), ResidualBlock(4, 4, 1), ResidualBlock(4, 8, 2), ResidualBlock(8, 8, 2), *head(8)
        ),
        SHAPE,
    ),
    "MobileNetV1": (
        lambda: nn.Sequential(
            conv(1, 4, 3, 2), separable(4, 8), separable(8, 8, 2), separable(8, 16), separable(16, 16, 2), *head(16)
        ),
        SHAPE,
    ),
    "autoencoder": (Autoencoder, SHAPE),
    "YAMNet": (
        lambda: nn.Sequential(
            conv(1, 4, 3, 2), separable(4, 8, 2), separable(8, 8), separable(8, 16, 2), *head(16), nn.Sigmoid()
        ),
        SHAPE,
    ),
    "BC-ResNet": (student("bc_resnet", 2), (64, 8)),
    "BC-ResNet, scenes": (student("bc_resnet_asc", 2), (32, 8)),
    "TF-SepNet": (student("tf_sepnet", 4), (64, 16)),
    "TC-ResNet": (student("tc_resnet", 4, n_mels=SHAPE[0]), SHAPE),
    "MobileNetV3": (student("mobilenet_v3", 1), SHAPE),
    "streaming": (StreamingNet, SHAPE),
    "U-Net": (UNet, (16, 8)),
}
