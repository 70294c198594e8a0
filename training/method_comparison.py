"""One table of ways to teach a student, at equal budget and equal seeds: what distillation gains, and which of its
kinds.

The teachers are trained once; every student is the recipe's, told apart by its targets alone. Choices (which single
teacher, which fusion) are made on the validation part; the test is read at the end. Intervals are from resampling
places and seeds. Refuses recipes without teachers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyscene.runtime.files import write_json

from .data.tau22 import Dataset
from .distillation.soft_targets import SoftTargets
from .errors import TrainingError
from .fit.network import require_networks
from .pipeline import train_student
from .recipe import FeatureDistillation, Fusion, Recipe, TrainSettings
from .statistics import bootstrap_interval
from .teachers.ensemble import averaged, fused, views_of
from .teachers.teacher import TrainedTeacher, train_teacher

BASELINE = "no teacher"
WAYS = ("single", "mean", "projection", "gram", "fusion")  # beside the baseline, which is always there


@dataclass(frozen=True)
class Row:
    """One way: accuracies on the test part of each seed, their mean, and its gain over no teacher in points.

    The bounds of both intervals hold with 95 %.
    """

    name: str
    note: str
    accuracies: tuple[float, ...]
    accuracy: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]


@dataclass(frozen=True)
class Way:
    """Soft targets and recipe of one row."""

    name: str
    note: str
    targets: SoftTargets | None
    recipe: Recipe


def compare(
    recipe: Recipe,
    dataset: Dataset,
    run_dir: Path,
    *,
    seeds: Sequence[int],
    names: Sequence[str] = WAYS,
    resume: bool = False,
    progress: bool = True,
    on_student: Callable[[str, int, float], None] = lambda name, seed, accuracy: None,
) -> tuple[Row, ...]:
    """Train every way of ``names`` with every seed into ``run_dir`` and write ``comparison.json``.

    Raises TrainingError, for ways it does not know too.
    """
    right: dict[str, np.ndarray] = {}
    ways = ways_to_teach(recipe, dataset, run_dir, names=names, resume=resume, progress=progress)
    for way in ways:
        guesses = []
        for seed in seeds:
            student = train_student(
                way.recipe,
                dataset,
                run_dir,
                soft_targets=way.targets,
                seed=seed,
                resume=resume,
                progress=progress,
                name=f"{way.name.replace(' ', '-')}-{seed}",
            )
            guesses.append(student.logits.argmax(axis=1) == dataset.test.targets)
            on_student(way.name, seed, student.metrics.accuracy)
        right[way.name] = np.stack(guesses).astype(np.float64)
    places = np.array([r.place for r in dataset.test.records])
    rows = tuple(_row(way, right[way.name], right[BASELINE], places) for way in ways)
    record = {"recipe": recipe.model_dump(mode="json"), "seeds": list(seeds), "rows": [asdict(row) for row in rows]}
    write_json(run_dir / "comparison.json", record)
    return rows


def ways_to_teach(
    recipe: Recipe, dataset: Dataset, run_dir: Path, *, names: Sequence[str] = WAYS, resume: bool, progress: bool
) -> tuple[Way, ...]:
    """Train the teachers and, for fusion, their copies; the rows of the table in order, labels alone first."""
    if not recipe.teachers:
        raise TrainingError(f"recipe '{recipe.name}'", "has no teachers", next_step="compare a recipe that has")
    unknown = sorted(set(names) - set(WAYS))
    if unknown:
        raise TrainingError(f"way '{unknown[0]}'", "unknown", expected=" | ".join(WAYS), next_step="name some of these")
    features = recipe.features or FeatureDistillation()
    require_networks(recipe, dataset, features if {"projection", "gram"} & set(names) else None)
    options: dict[str, Any] = {"seed": recipe.seed, "resume": resume, "progress": progress}
    numbers = range(len(recipe.teachers))
    teachers = [train_teacher(recipe, number, dataset, run_dir, **options) for number in numbers]
    plain = recipe.model_copy(update={"features": None, "fusion": None})
    ways = [Way(BASELINE, "labels alone", None, plain)]
    views = views_of(recipe, recipe.seed)
    if "single" in names:
        best = max(teachers, key=lambda teacher: _validated(teacher, dataset))
        ways.append(Way("single teacher", best.name, best.logits(dataset, "train", views), plain))
    # Asking all teachers about all views takes its time.
    mean = averaged(teachers, dataset, views).train if {"mean", "projection", "gram"} & set(names) else None
    if "mean" in names:
        ways.append(Way("mean", "equal weights", mean, plain))
    for kind in ("projection", "gram"):
        if kind in names:
            taught = plain.model_copy(update={"features": features.model_copy(update={"kind": kind})})
            note = f"mean, and a stage of {recipe.teachers[features.teacher].network}"
            ways.append(Way(f"P1 {kind}", note, mean, taught))
    if "fusion" in names and len(teachers) > 1:
        chosen = recipe.model_copy(update={"fusion": recipe.fusion or default_fusion(recipe)})
        together = fused(chosen, teachers, dataset, run_dir, **options)
        ways.append(Way("P2 fusion", together.choice, together.train, plain))
    return tuple(ways)


def default_fusion(recipe: Recipe) -> Fusion:
    """Two folds, and a listener like the student, trained half as long."""
    shared = {name: getattr(recipe, name) for name in TrainSettings.model_fields}
    return Fusion(folds=2, listener=TrainSettings(**{**shared, "epochs": max(1, recipe.epochs // 2)}))


def as_markdown(rows: Sequence[Row]) -> str:
    """The table of ``rows``, percent and points."""
    lines = [
        "| training | test accuracy (95 %) | seeds | against no teacher, points (95 %) |",
        "|---|---|---|---|",
    ]
    for row in rows:
        seeds = ", ".join(f"{100 * a:.1f}" for a in row.accuracies)
        low, high = (100 * bound for bound in row.interval)
        gain = f"{100 * row.gain:+.1f} ({100 * row.gain_interval[0]:+.1f} to {100 * row.gain_interval[1]:+.1f})"
        shown = gain if row.name != BASELINE else ""
        name = f"{row.name}: {row.note}"
        lines.append(f"| {name} | {100 * row.accuracy:.1f} ({low:.1f} to {high:.1f}) | {seeds} | {shown} |")
    return "\n".join(lines)


def _validated(teacher: TrainedTeacher, dataset: Dataset) -> float:
    if not len(dataset.validation):
        return 0.0  # the first teacher, then
    logits = teacher.logits(dataset, "validation").logits
    return float((logits.argmax(axis=1) == dataset.validation.targets).mean())


def _row(way: Way, right: np.ndarray, baseline: np.ndarray, places: np.ndarray) -> Row:
    gain = right - baseline
    return Row(
        name=way.name,
        note=way.note,
        accuracies=tuple(float(a) for a in right.mean(axis=1)),
        accuracy=float(right.mean()),
        interval=bootstrap_interval(right, places),
        gain=float(gain.mean()),
        gain_interval=bootstrap_interval(gain, places),
    )
