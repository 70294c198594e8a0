"""Measure the training speed of a recipe's student, and the speed of the data pipeline.

The student is trained for a few steps, on the GPU if one is available; the pipeline alone reads shuffled batches from a
memory-mapped file. If it is less than twice as fast as the step, it may slow training down. `tinyscene recipe dry-run`
estimates the time of a whole recipe.

    python benchmarks/training.py [RECIPE] [--steps N] [--batch N] [--compile]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.runtime.temporaries import temporary_folder
from tinyscene.training.data.split_files import Record
from tinyscene.training.data.tau22 import Clips, Dataset
from tinyscene.training.fit.network import build_network
from tinyscene.training.models.config import parameter_count
from tinyscene.training.planning.throughput import reading_rate, training_rate
from tinyscene.training.recipe import load_recipe

LABELS = tuple(f"scene_{i}" for i in range(10))


def noise(folder: Path, clips: int, rate_hz: int) -> Dataset:
    """Return clips of noise in a memory-mapped file, as decoding writes them."""
    waveforms = np.lib.format.open_memmap(folder / "noise.npy", mode="w+", dtype=np.int16, shape=(clips, rate_hz))
    rng = np.random.default_rng(0)
    for row in waveforms:
        row[:] = rng.integers(-3000, 3000, rate_hz, dtype=np.int16)
    names = (f"audio/{LABELS[i % 10]}-city-{i}-{i}-0-a.wav" for i in range(clips))
    records = tuple(Record(name, LABELS[i % 10], "city", str(i), str(i), "0", "a") for i, name in enumerate(names))
    part = Clips(records, waveforms, np.arange(clips, dtype=np.int64) % 10)
    nothing = part.take(np.zeros(0, np.int64))
    return Dataset(LABELS, rate_hz, part, nothing, nothing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", default="p1-dfm", help="name of a recipe, or a YAML file")
    parser.add_argument("--steps", type=int, default=3, help="steps per epoch; three epochs are timed")
    parser.add_argument("--batch", type=int, default=0, help="clips per step (default: the recipe's)")
    parser.add_argument("--compile", action="store_true", help="time the compiled step too")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    settings = recipe.model_copy(update={"batch_size": options.batch or recipe.batch_size, "pretrained": None})
    network = build_network(settings, len(LABELS))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    with temporary_folder("benchmark") as scratch:
        dataset = noise(scratch, options.steps * settings.batch_size, network.frontend.sample_rate_hz)
        step = training_rate(network, settings, dataset, steps=options.steps)
        pipeline = reading_rate(dataset, settings, 8 * options.steps)
        if options.compile:
            fresh, compiled = build_network(settings, len(LABELS)), settings.model_copy(update={"compile": True})
            fast = training_rate(fresh, compiled, dataset, steps=options.steps)
    parameters = parameter_count(network.model)
    print(f"student {recipe.network}, {parameters:,} parameters, batches of {settings.batch_size}, {device}")
    print(f"step {step:,.1f} clips/s, pipeline alone {pipeline:,.0f} clips/s: {pipeline / step:.1f} times the step")
    if options.compile:
        print(f"compiled step {fast:,.1f} clips/s: {fast / step:.2f} times the uncompiled step")


if __name__ == "__main__":
    main()
