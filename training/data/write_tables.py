"""Write the tables of a folder in TAU22 layout, which :mod:`tinyscene.training.data.tau22` reads."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Row = tuple[str, str, str, str]  # filename, scene, city and place, device


@dataclass(frozen=True)
class ClipCounts:
    """Number of clips in both parts."""

    train: int
    test: int


def write_tables(out: Path, train: Sequence[Row], test: Sequence[Row]) -> ClipCounts:
    """Write ``meta.csv``, ``evaluation_setup/`` and ``split_setup/`` with nested subsets of the training clips."""
    two = ("filename", "scene_label")
    _write_table(out / "meta.csv", (*two, "identifier", "source_label"), [*train, *test])
    _write_table(out / "evaluation_setup" / "fold1_train.csv", two, [r[:2] for r in train])
    _write_table(out / "evaluation_setup" / "fold1_evaluate.csv", two, [r[:2] for r in test])
    _write_table(out / "evaluation_setup" / "fold1_test.csv", two[:1], [r[:1] for r in test])
    _write_table(out / "split_setup" / "test.csv", two, [r[:2] for r in test])
    order = np.random.default_rng(0).permutation(len(train)).tolist()
    for percent in (5, 10, 25, 50):  # nested, as the published ones
        chosen = sorted(order[: len(train) * percent // 100])
        _write_table(out / "split_setup" / f"split{percent}.csv", two, [train[i][:2] for i in chosen])
    return ClipCounts(len(train), len(test))


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([header, *rows])
