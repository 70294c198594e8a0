"""TC-ResNet-8: temporal convolutions whose channels are the mel bins, with residual blocks.

The first convolution spans all bins, which is a temporal convolution that has the bins as channels. Refuses log-mels
with another number of bins than its configuration, as a convolution does. Source: Choi et al., "Temporal convolution
for real-time keyword spotting on mobile devices" (2019).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .config import ModelConfig

WIDTHS = (16, 24, 32, 48)  # of the paper, for a base of 16 channels
STEM_FRAMES, FRAMES = 3, 9  # of the kernels


class Block(nn.Module):
    """Two convolutions of nine frames, the first with a stride of two, and a shortcut with the same stride."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, (1, FRAMES), 2, (0, FRAMES // 2), bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, (1, FRAMES), 1, (0, FRAMES // 2), bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, 2, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class TCResNet(nn.Module):
    """float32 (batch, 1, n_mels, n_frames) to logits (batch, n_classes)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        stem, *widths = (max(1, round(width * config.base_channels / WIDTHS[0])) for width in WIDTHS)
        self.stem = nn.Conv2d(1, stem, (config.n_mels, STEM_FRAMES), padding=(0, STEM_FRAMES // 2), bias=False)
        self.bn = nn.BatchNorm2d(stem)
        channels = [stem, *widths]
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(channels, widths, strict=False)))
        self.dropout = nn.Dropout()
        self.classifier = nn.Linear(channels[-1], config.n_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(F.relu(self.bn(self.stem(x))))
        logits: Tensor = self.classifier(self.dropout(y.mean((2, 3))))
        return logits
