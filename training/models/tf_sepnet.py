"""TF-SepNet: one half of the channels is convolved along frequency, the other along time, each with its own mean.

Source: Cai et al., "TF-SepNet: An efficient 1D kernel design in CNNs for low-complexity acoustic scene classification"
(2023). Inferred: where channels are shuffled (before each split, in two groups), and that the adaptive residual
normalisation has one share, factor and offset for each channel. ``base_channels``: width of the first stage, 64 in the
paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ModelConfig

STAGES: tuple[tuple[tuple[float, ...], bool], ...] = (  # widths of the blocks in widths of the first, 2x2 pool behind
    ((1, 1), True),
    ((1.5, 1.5), True),
    ((2, 2), False),
    ((2.5, 2.5, 2.5), False),
)
DROPOUT = 0.2
EPS = 1e-5


class AdaptiveResidualNorm(nn.Module):
    """The input and its normalisation over channels and time for each frequency bin, in trained shares."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.full((1, channels, 1, 1), 0.5))
        self.factor = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.offset = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean((1, 3), keepdim=True)
        normalised = centred * torch.rsqrt(centred.square().mean((1, 3), keepdim=True) + EPS)
        y: Tensor = x * (self.factor * self.share) + normalised * (self.factor * (1.0 - self.share)) + self.offset
        return y


def _conv(
    channels: int,
    width: int,
    kernel: int | tuple[int, int] = 1,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    groups: int = 1,
) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU())


def _shuffled(x: Tensor) -> Tensor:
    """Channels of both halves in turn; nn.ChannelShuffle has no form in ONNX."""
    batch, channels, bins, frames = x.shape
    return x.reshape(batch, 2, channels // 2, bins, frames).transpose(1, 2).reshape(x.shape)


class Block(nn.Module):
    """A shuffle, and convolutions of 3x1 and 1x3 on one half of the channels each, with residuals."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.transition = _conv(channels, width) if channels != width else nn.Identity()
        self.frequency = _conv(half, half, (3, 1), padding=(1, 0), groups=half)
        self.frequency_mix = _conv(half, half)
        self.time = _conv(half, half, (1, 3), padding=(0, 1), groups=half)
        self.time_mix = _conv(half, half)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        a, b = _shuffled(self.transition(x)).chunk(2, 1)
        along_time = self.frequency_mix(self.frequency(a).mean(2, keepdim=True))
        along_frequency = self.time_mix(self.time(b).mean(3, keepdim=True))
        return torch.cat([a + self.dropout(along_time), b + self.dropout(along_frequency)], 1)


class TFSepNet(nn.Module):
    """float32 (batch, 1, n_mels, n_frames) to logits (batch, n_classes)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        base = 2 * max(1, config.base_channels // 2)
        stem, channels = base // 2, 2 * base
        layers: list[nn.Module] = [
            _conv(1, stem, 3, 2, 1),
            _conv(stem, channels, 3, 2, 1, groups=stem),
            AdaptiveResidualNorm(channels),
        ]
        for widths, pooled in STAGES:
            for share in widths:
                width = 4 * max(1, round(share * base / 4))  # even halves: their shuffle is one transposition
                layers.append(Block(channels, width))
                channels = width
            layers += [AdaptiveResidualNorm(channels), *([nn.MaxPool2d(2)] if pooled else [])]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(channels, config.n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = F.adaptive_avg_pool2d(self.classifier(self.features(x)), 1)
        return logits.flatten(1)
