"""One training run in one process, or in several under torchrun: python train_along.py DATA OUT."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Tau22
from tinyscene.training.fit.fit import fit
from tinyscene.training.fit.processes import is_first
from tinyscene.training.models.network import Network
from tinyscene.training.recipe import FitSettings, Schedule
from tinyscene.training.run import Run

SMALL = replace(preset("cpm23"), name="small", n_fft=1024, win_length=800, hop_length=2000, n_mels=64)


def main(data: Path, out: Path) -> None:
    torch.set_num_threads(1)
    dataset = Tau22.open(data).load(32_000, out / "cache", progress=False)
    torch.manual_seed(0)
    # No BatchNorm: except on GPUs, its statistics are those of one process's share of a batch.
    model = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(8 * 2, 3))
    settings = FitSettings(
        epochs=3, batch_size=8, learning_rate=5e-2, schedule=Schedule(kind="constant"), clip_gradient=5.0
    )
    result = fit(Network(model, SMALL), settings, Run(dataset, out / "run", seed=1, progress=False))
    if is_first():
        weights = [float(w) for w in model[2].weight.flatten()]
        print(json.dumps({"history": result.history, "weights": weights}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
