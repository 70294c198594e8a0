"""What a recipe costs here: clips a second of every network it trains and of reading the data, and hours at full size.

Each network takes a few steps as in training: log-mel, augmentation, forward, backward, optimiser. The pipeline alone
reads shuffled batches from a memory-mapped file; below twice the fastest step, the step would have to wait.

    python benchmarks/training.py [RECIPE] [--clips N] [--steps N] [--batch N]
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training.data import PUBLISHED_TRAIN, Clips, Dataset, Record
from training.fit import _loaders
from training.models.config import parameter_count
from training.module import SceneModule
from training.network import build_network
from training.recipe import FitSettings, Recipe, TrainSettings, load_recipe

LABELS = tuple(f"scene_{i}" for i in range(10))


def noise(folder: Path, clips: int, rate_hz: int) -> Dataset:
    """Clips of noise in a memory-mapped file, as decoding leaves them."""
    waveforms = np.lib.format.open_memmap(folder / "noise.npy", mode="w+", dtype=np.int16, shape=(clips, rate_hz))
    rng = np.random.default_rng(0)
    for row in waveforms:
        row[:] = rng.integers(-3000, 3000, rate_hz, dtype=np.int16)
    names = (f"audio/{LABELS[i % 10]}-city-{i}-{i}-0-a.wav" for i in range(clips))
    records = tuple(Record(name, LABELS[i % 10], "city", str(i), str(i), "0", "a") for i, name in enumerate(names))
    part = Clips(records, waveforms, np.arange(clips, dtype=np.int64) % 10)
    nothing = part.take(np.zeros(0, np.int64))
    return Dataset(LABELS, rate_hz, part, nothing, nothing)


def batches(dataset: Dataset, settings: FitSettings) -> Iterator[dict[str, torch.Tensor]]:
    while True:
        yield from _loaders(dataset, settings, None, 0)[0]


def reading(dataset: Dataset, settings: FitSettings, steps: int) -> float:
    """Clips a second of the pipeline alone."""
    source = batches(dataset, settings)
    next(source)
    begin = time.perf_counter()
    for _ in range(steps):
        next(source)
    return steps * settings.batch_size / (time.perf_counter() - begin)


def training(dataset: Dataset, settings: TrainSettings, steps: int, device: torch.device) -> tuple[int, float]:
    """Parameters of the network, and clips a second of its training, the first step left out."""
    network = build_network(settings, len(LABELS))
    module = SceneModule(network.model, network.frontend, settings, 0).to(device)
    module.train()
    module._sums = dict.fromkeys(("train_loss", "feature_loss", "train_right", "train_clips"), 0.0)
    optimizer = module.configure_optimizers()["optimizer"]
    source = batches(dataset, settings)
    begin = time.perf_counter()
    for step in range(steps + 1):
        batch = {name: values.to(device) for name, values in next(source).items()}
        loss = module.training_step(batch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 0:
            _finished(device)
            begin = time.perf_counter()
    _finished(device)
    return parameter_count(network.model), steps * settings.batch_size / (time.perf_counter() - begin)


def _finished(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def runs(recipe: Recipe) -> list[tuple[str, TrainSettings, int]]:
    """Every network of the recipe and how often the training clips go through it, in epochs."""
    folds = recipe.fusion.folds - 1 if recipe.fusion is not None else 0  # k copies on (k - 1) / k of the clips
    found = [(f"teacher {t.model}", t, t.epochs * (1 + folds)) for t in recipe.teachers]
    if recipe.fusion is not None:
        found.append(
            (f"listener {recipe.fusion.listener.model}", recipe.fusion.listener, recipe.fusion.listener.epochs)
        )
    return [*found, (f"student {recipe.model}", recipe, recipe.epochs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="p1-dfm")
    parser.add_argument("--clips", type=int, default=PUBLISHED_TRAIN[100], help="training clips of the full size")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=0, help="at most so many clips a step; for small memories")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = load_recipe(given.recipe)
    print(f"{given.recipe} on {device}, {torch.get_num_threads()} threads; {given.clips:,} training clips\n")
    print("| network | parameters | batch | clips/s | epochs | steps | hours |\n|---|---|---|---|---|---|---|")
    rates, hours = [], 0.0
    with tempfile.TemporaryDirectory() as scratch:
        dataset = noise(Path(scratch), 512, 32_000)
        for name, settings, epochs in runs(recipe):
            batch = min(settings.batch_size, given.batch or settings.batch_size, len(dataset.train))
            cut = settings.model_copy(update={"batch_size": batch, "pretrained": None})
            parameters, rate = training(dataset, cut, given.steps, device)
            steps = epochs * math.ceil(given.clips / settings.batch_size)
            rates.append(rate)
            hours += epochs * given.clips / rate / 3600
            row = f"{parameters:,} | {batch} | {rate:,.1f} | {epochs} | {steps:,}"
            print(f"| {name} | {row} | {epochs * given.clips / rate / 3600:,.1f} |", flush=True)
        pipeline = reading(dataset, recipe.model_copy(update={"batch_size": 64}), 8 * given.steps)
    print(f"\nin all {hours:,.1f} hours; QAT and evaluation not counted")
    print(f"pipeline alone {pipeline:,.0f} clips/s, {pipeline / max(rates):.1f} times the fastest step")


if __name__ == "__main__":
    main()
