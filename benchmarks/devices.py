"""Gain of Freq-MixStyle and simulated microphones on devices that the training part does not have.

Trains a recipe's student without both, with each alone (``--ways``) and with both, several seeds each, and prints its
accuracy on the test clips of known and of unknown devices. Gains are paired clip by clip; intervals resample locations
and seeds. The last epoch is used, so nothing is selected. Refuses data whose test part has no unknown device.

    python benchmarks/devices.py benchmarks/recipes/taipei.yaml --data DIR --out DIR [--seeds 3] [--ways neither,both]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.runtime.files import write_json
from tinyscene.runtime.spec import preset
from tinyscene.training.data.tau22 import Dataset, Tau22
from tinyscene.training.errors import TrainingError
from tinyscene.training.pipeline import train_student
from tinyscene.training.recipe import Recipe, load_recipe
from tinyscene.training.run import Run
from tinyscene.training.statistics import bootstrap_interval

OFF = {"mixstyle_p": 0.0, "device_ir_p": 0.0}
WAYS = {
    "neither": OFF,
    "mixstyle": {"device_ir_p": 0.0},
    "microphones": {"mixstyle_p": 0.0},
    "both": {},
}


def correct_clips(recipe: Recipe, dataset: Dataset, out: Path, way: str, seeds: range) -> np.ndarray:
    """Return float64 (seeds, test clips): 1 where the student's prediction is correct."""
    augment = recipe.augment.model_copy(update=WAYS[way])
    changed = {"augment": augment, "teachers": (), "features": None, "fusion": None}
    student_recipe = recipe.model_copy(update=changed)
    rows = []
    for seed in seeds:
        run = Run(dataset, out, seed, resume=True)
        student = train_student(student_recipe, run, name=f"{way}-{seed}")
        rows.append(student.logits.argmax(axis=1) == dataset.test.targets)
        print(f"{way}, seed {seed}: {rows[-1].mean():.1%}", file=sys.stderr)
    return np.stack(rows).astype(np.float64)


def cell(values: np.ndarray, places: np.ndarray, *, signed: bool = False) -> str:
    """Return the mean with its 95 % interval, in percent or points."""
    low, high = bootstrap_interval(values, places)
    sign = "+" if signed else ""
    return f"{100 * values.mean():{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="name of a recipe, or a YAML file")
    parser.add_argument("--data", type=Path, required=True, help="folder in TAU22 layout")
    parser.add_argument("--out", type=Path, required=True, help="run folder; finished runs in it are not repeated")
    parser.add_argument("--seeds", type=int, default=3, help="number of students per way")
    parser.add_argument("--ways", default="neither,both", help=f"comma-separated, of {', '.join(WAYS)}")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    dataset = Tau22.open(options.data).load(preset(recipe.frontend).sample_rate_hz, options.out / "cache")
    known_devices = {r.device for part in (dataset.train, dataset.validation) for r in part.records}
    unknown = np.array([r.device not in known_devices for r in dataset.test.records])
    if not unknown.any():
        raise TrainingError(str(options.data), "the test part has no unknown device", got=sorted(known_devices))
    places = np.array([r.place for r in dataset.test.records])
    ways = options.ways.split(",")
    correct = {way: correct_clips(recipe, dataset, options.out, way, range(options.seeds)) for way in ways}
    devices = sorted({r.device for r, is_new in zip(dataset.test.records, unknown, strict=True) if is_new})
    print(f"| augmentation | known devices (95 %) | unknown: {' '.join(devices)} (95 %) | gain there, points (95 %) |")
    print("|---|---|---|---|")
    record = {}
    for way in ways:
        on_known, on_unknown = correct[way][:, ~unknown], correct[way][:, unknown]
        gain = "" if way == ways[0] else cell(on_unknown - correct[ways[0]][:, unknown], places[unknown], signed=True)
        print(f"| {way} | {cell(on_known, places[~unknown])} | {cell(on_unknown, places[unknown])} | {gain} |")
        record[way] = {"known": on_known.mean(axis=1).tolist(), "unknown": on_unknown.mean(axis=1).tolist()}
    write_json(options.out / "devices.json", record)


if __name__ == "__main__":
    main()
