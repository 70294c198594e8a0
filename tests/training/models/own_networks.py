"""Networks as users write them, small, for the front end 'tiny' of 16 mel bands."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tinyscene.runtime.spec import FrontendSpec, preset
from tinyscene.training.models.layers import GRN

TINY: FrontendSpec = replace(
    preset("dcase25"), name="tiny", n_mels=16, hop_length=4000, clip_samples=32_000, f_max_hz=8000.0
)
SHAPE = (1, TINY.n_mels, TINY.n_frames)


class Own(nn.Module):
    """In-place activations, a residual, a shuffle, a reshape with the number of clips, and a parametrised weight."""

    def __init__(self, n_classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(True)
        )
        self.mix = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.scale = nn.Parameter(torch.full((8, 1, 1), 0.7))
        self.grn = GRN()
        nn.init.constant_(self.grn.gamma, 0.3)
        self.head = nn.Linear(8, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        a, b = self.mix(x).chunk(2, dim=1)
        x = nn.functional.silu(torch.cat([b, a], dim=1) * self.scale) + x
        x = self.grn(x)
        return self.head(x.reshape(x.shape[0], 8, -1).mean(2).view(x.size(0), -1))


def own(n_classes: int) -> nn.Module:
    torch.manual_seed(0)
    network = Own(n_classes)
    network.frontend = TINY
    return network


class FramesFirst(nn.Module):
    """A sequence network of (frames, mel bands), as speech networks take it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(TINY.n_mels, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x.transpose(1, 2)).relu().mean(2))


def own_student(n_classes: int) -> nn.Module:
    """The same network on the log-mel of the recipes' default."""
    network = own(n_classes)
    network.frontend = preset("cpm23")
    return network


class _Spectral(nn.Module):
    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.frontend = preset("cpm23")
        self.head = nn.Linear(33, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.fft.rfft(x).abs().mean(dim=(1, 2)))


def spectral_student(n_classes: int) -> nn.Module:
    """With an operator that has no integer form."""
    return _Spectral(n_classes)
