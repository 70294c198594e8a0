"""Small networks without a front end: raw samples, an image, features, a U-Net, two inputs with two outputs."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS = 12  # of the arrays that they are calibrated with
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {  # by the name of the class: inputs, without the batch
    "Samples": {"samples": (1, 1600)},
    "Image": {"image": (3, 24, 20)},
    "Autoencoder": {"frames": (640,)},
    "UNet": {"x": (2, 16, 12)},
    "TwoInputs": {"image": (3, 12, 10), "pose": (6,)},
}


class Samples(nn.Module):
    """M5's layers, "Very deep convolutional neural networks for raw waveforms", 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv1d(1, 8, 40, stride=8), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(4))
        self.second = nn.Sequential(nn.Conv1d(8, 12, 3), nn.BatchNorm1d(12), nn.ReLU(), nn.MaxPool1d(4))
        self.head = nn.Linear(12, 4)

    def forward(self, samples: Tensor) -> Tensor:
        x = self.second(self.first(samples))
        x = F.avg_pool1d(x, x.shape[-1]).permute(0, 2, 1)
        return F.log_softmax(self.head(x), dim=2).squeeze(1)


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, 2))
        self.head = nn.Linear(6, 5)

    def forward(self, image: Tensor) -> Tensor:
        y: Tensor = self.head(F.adaptive_avg_pool2d(self.layers(image).relu(), 1).flatten(1))
        return y


class Autoencoder(nn.Module):
    """The layers of MLPerf Tiny's, narrower: as many features out as in."""

    def __init__(self) -> None:
        super().__init__()
        pairs = itertools.pairwise((640, 16, 8, 16))
        hidden = [part for a, b in pairs for part in (nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(16, 640))

    def forward(self, frames: Tensor) -> Tensor:
        y: Tensor = self.layers(frames)
        return y


class UNet(nn.Module):
    """An image of masks as output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 8, 3, 2, 1)
        self.up, self.last = nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x).relu()
        up = self.up(self.down(first).relu()).relu()
        return torch.sigmoid(self.last(torch.cat([first, up], 1)))


class TwoInputs(nn.Module):
    """A pose moves the features of an image; scores, and a map of places."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.pose = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(6, 8)
        self.scores, self.places = nn.Linear(8, 4), nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        y = self.image(image).relu() + self.pose(pose)[:, :, None, None]
        return self.scores(y.mean((2, 3))), self.places(y)


def write_inputs(name: str, folder: Path, rows: int = ROWS) -> Path:
    """An .npy file for the only input, or an .npz file for several."""
    rng = np.random.default_rng(0)
    arrays = {end: rng.normal(0, 1, (rows, *shape)).astype(np.float32) for end, shape in SHAPES[name].items()}
    if len(arrays) == 1:
        np.save(folder / "inputs.npy", *arrays.values())
        return folder / "inputs.npy"
    np.savez(folder / "inputs.npz", **arrays)
    return folder / "inputs.npz"
