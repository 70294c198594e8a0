"""BC-ResNet: two-dimensional features whose residual is computed on their mean over frequency, and broadcast back.

Sources: Kim et al., "Broadcasted residual learning for efficient keyword spotting" (Interspeech 2021), with
sub-spectral normalisation by Chang et al. (2021): each frequency band has a BatchNorm of its own. ``bc_resnet_asc``
has the stages that the authors describe for acoustic scenes ("Domain generalization with relaxed instance
frequency-wise normalization", Interspeech 2022), without that paper's normalisation of the input. Inferred: four bands
instead of five, which do not divide 256 mel bins; the head's mean is over what its kernel leaves of the frequencies,
which with 40 mel bins is one. Refuses log-mels whose bins the bands do not divide. ``base_channels``: width of the
first stage, 8 in the paper's smallest network.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import TrainingError
from .config import ModelConfig

BANDS = 4
DROPOUT = 0.1


class Stage(NamedTuple):
    """Number of blocks, width in widths of the first stage, stride of frequency, dilation of time, 2x2 pool behind."""

    blocks: int
    width: float
    stride: int = 1
    dilation: int = 1
    pooled: bool = False


STAGES = {
    "bc_resnet": (Stage(2, 1), Stage(2, 1.5, 2, 2), Stage(4, 2, 2, 4), Stage(4, 2.5, 1, 8)),
    "bc_resnet_asc": (Stage(2, 1, pooled=True), Stage(2, 1.5, pooled=True), Stage(2, 2), Stage(3, 2.5)),
}


class SubSpectralNorm(nn.Module):
    """A BatchNorm for each channel and frequency band."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels * BANDS)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, bins, frames = x.shape
        if bins % BANDS:
            raise TrainingError("BC-ResNet", f"{bins} frequency bins", expected=f"a multiple of {BANDS}")
        y: Tensor = self.norm(x.reshape(batch, channels * BANDS, bins // BANDS, frames))
        return y.reshape(batch, channels, bins, frames)


class Block(nn.Module):
    """f2 over frequency, then f1 over time of its mean. Without a change of width the input is added as well."""

    def __init__(self, channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.transition = channels != width
        head = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.head = head if self.transition else nn.Identity()
        self.frequency = nn.Sequential(
            nn.Conv2d(width, width, (3, 1), (stride, 1), (1, 0), groups=width, bias=False), SubSpectralNorm(width)
        )
        pad = (0, dilation)
        self.time = nn.Sequential(
            nn.Conv2d(width, width, (1, 3), padding=pad, dilation=(1, dilation), groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.Dropout2d(DROPOUT),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.frequency(self.head(x))
        y = y + self.time(y.mean(2, keepdim=True))
        return F.relu(y if self.transition else y + x)


class BCResNet(nn.Module):
    """float32 (batch, 1, n_mels, n_frames) to logits (batch, n_classes)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        base, scenes = config.base_channels, config.arch == "bc_resnet_asc"
        channels = 2 * base
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 5, 2 if scenes else (2, 1), 2, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        layers: list[nn.Module] = []
        for stage in STAGES[config.arch]:
            width = max(1, round(stage.width * base))
            for number in range(stage.blocks):
                layers.append(Block(channels, width, stage.stride if number == 0 else 1, stage.dilation))
                channels = width
            layers += [nn.MaxPool2d(2)] if stage.pooled else []
        self.blocks = nn.Sequential(*layers)
        last = 4 * base
        self.head = nn.Identity() if scenes else nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=(0, 2), groups=channels, bias=False),
            nn.Conv2d(channels, last, 1, bias=False),
            nn.BatchNorm2d(last),
            nn.ReLU(),
        )  # fmt: skip
        self.classifier = nn.Conv2d(channels if scenes else last, config.n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.blocks(self.stem(x)))
        logits: Tensor = self.classifier(y.mean((2, 3), keepdim=True))
        return logits.flatten(1)
