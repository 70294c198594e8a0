"""A network like MobileNetV3-Small for one input channel: inverted residuals, squeeze and excitation, hard-swish.

Source: Howard et al., "Searching for MobileNetV3" (2019), table 2. ``base_channels``: width of the stem, 16 there.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from .config import ModelConfig
from .layers import ConvPadded
from .sizes import make_divisible

WIDTH = 16  # of the paper's stem


class Row(NamedTuple):
    """One block: kernel, channels inside and after it, squeeze and excitation, hard-swish (or ReLU), stride."""

    kernel: int
    inner: int
    outer: int
    squeeze: bool
    swish: bool
    stride: int


ROWS = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)
LAST, FEATURES = 576, 1024


class SqueezeExcite(nn.Module):
    """Multiplies each channel by a factor from the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = make_divisible(channels / 4)
        self.layers = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x * self.layers(x)
        return y


class Block(nn.Module):
    """Expand 1x1, depthwise, squeeze and excitation, project 1x1; a shortcut where the shape stays."""

    def __init__(self, channels: int, row: Row, config: ModelConfig) -> None:
        super().__init__()
        inner, outer = _width(row.inner, config), _width(row.outer, config)
        self.add = row.stride == 1 and channels == outer
        depthwise = ConvPadded(inner, inner, row.kernel, row.stride, groups=inner, padding=config.padding)
        self.layers = nn.Sequential(
            *_conv(ConvPadded(channels, inner, 1, padding=config.padding), row.swish),
            *_conv(depthwise, row.swish),
            *([SqueezeExcite(inner)] if row.squeeze else []),
            ConvPadded(inner, outer, 1, padding=config.padding),
            nn.BatchNorm2d(outer),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.add else y


class MobileNetV3(nn.Module):
    """float32 (batch, 1, n_mels, n_frames) to logits (batch, n_classes)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = _width(WIDTH, config)
        layers = _conv(ConvPadded(1, channels, 3, 2, padding=config.padding), swish=True)
        for row in ROWS:
            layers.append(Block(channels, row, config))
            channels = _width(row.outer, config)
        last, features = _width(LAST, config), _width(FEATURES, config)
        layers += _conv(ConvPadded(channels, last, 1, padding=config.padding), swish=True)
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(last, features), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(features, config.n_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return logits


def _width(channels: int, config: ModelConfig) -> int:
    return make_divisible(channels * config.base_channels / WIDTH)


def _conv(conv: ConvPadded, swish: bool) -> list[nn.Module]:
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.Hardswish() if swish else nn.ReLU()]
