"""What Freq-MixStyle and simulated microphones gain on devices that training has not met.

Trains a recipe's student without both, with each alone if asked, and with both, several seeds each, and prints its
accuracy on the test clips of known and of unknown devices. Gains are paired clip by clip; intervals resample places and
seeds. Epochs are the last, so nothing is chosen. Refuses data whose test has no device that training has not.

    python benchmarks/devices.py benchmarks/recipes/taipei.yaml --data DIR --out DIR [--seeds 3] [--ways neither,both]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

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


def right_of(recipe: Recipe, dataset: Dataset, out: Path, way: str, seeds: range) -> np.ndarray:
    """float64 (seeds, test clips): 1 where the student was right."""
    augment = recipe.augment.model_copy(update=WAYS[way])
    taught = recipe.model_copy(update={"augment": augment, "teachers": (), "features": None, "fusion": None})
    rows = []
    for seed in seeds:
        student = train_student(taught, Run(dataset, out, seed, resume=True), name=f"{way}-{seed}")
        rows.append(student.logits.argmax(axis=1) == dataset.test.targets)
        print(f"{way}, seed {seed}: {rows[-1].mean():.1%}", file=sys.stderr)
    return np.stack(rows).astype(np.float64)


def cell(values: np.ndarray, places: np.ndarray, *, signed: bool = False) -> str:
    """Mean and 95 % interval, in percent or points."""
    low, high = bootstrap_interval(values, places)
    sign = "+" if signed else ""
    return f"{100 * values.mean():{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--data", type=Path, required=True, help="a folder in TAU22 layout")
    parser.add_argument("--out", type=Path, required=True, help="run folder; a finished run in it is not repeated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", default="neither,both", help=" | ".join(WAYS))
    given = parser.parse_args()
    recipe = load_recipe(given.recipe)
    dataset = Tau22.open(given.data).load(preset(recipe.frontend).sample_rate_hz, given.out / "cache")
    met = {r.device for part in (dataset.train, dataset.validation) for r in part.records}
    unknown = np.array([r.device not in met for r in dataset.test.records])
    if not unknown.any():
        raise TrainingError(str(given.data), "every device of the test is met in training", got=sorted(met))
    places = np.array([r.place for r in dataset.test.records])
    ways = given.ways.split(",")
    right = {way: right_of(recipe, dataset, given.out, way, range(given.seeds)) for way in ways}
    devices = sorted({r.device for r, new in zip(dataset.test.records, unknown, strict=True) if new})
    print(f"| augmentation | known devices (95 %) | unknown: {' '.join(devices)} (95 %) | gain there, points (95 %) |")
    print("|---|---|---|---|")
    record = {}
    for way in ways:
        known, new = right[way][:, ~unknown], right[way][:, unknown]
        gain = new - right[ways[0]][:, unknown]
        shown = "" if way == ways[0] else cell(gain, places[unknown], signed=True)
        print(f"| {way} | {cell(known, places[~unknown])} | {cell(new, places[unknown])} | {shown} |")
        record[way] = {"known": known.mean(axis=1).tolist(), "unknown": new.mean(axis=1).tolist()}
    write_json(given.out / "devices.json", record)


if __name__ == "__main__":
    main()
