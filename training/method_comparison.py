"""Compare training methods in one table at equal budget and equal seeds: labels only, single and combined teachers,
feature distillation, learned fusion.

The teachers are trained once; all students follow the recipe and differ in their targets only. Selections (the single
teacher, the fusion) are made on the validation part; the test part is evaluated at the end. Intervals come from
resampling places and seeds. Refuses recipes without teachers, and unknown methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import F64
from tinyscene.runtime.files import write_json
from tinyscene.runtime.markdown import cell

from .distillation.soft_targets import SoftTargets
from .errors import TrainingError
from .fit.network import require_networks
from .pipeline import train_student
from .recipe import FeatureDistillation, Fusion, Recipe, TrainSettings
from .run import Run
from .statistics import bootstrap_interval
from .teachers.ensemble import averaged, fused, views_of
from .teachers.teacher import TrainedTeacher, train_teacher

BASELINE = "no teacher"
METHODS = ("single", "mean", "projection", "gram", "fusion")  # in addition to the baseline


@dataclass(frozen=True)
class Row:
    """One method: accuracy on the test part for each seed, the mean, and the gain over no teacher as a share.

    Both intervals are 95 % intervals.
    """

    name: str
    note: str
    accuracies: tuple[float, ...]
    accuracy: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]


@dataclass(frozen=True)
class Method:
    """Soft targets and recipe of one row."""

    name: str
    note: str
    targets: SoftTargets | None
    recipe: Recipe


def _ignore(name: str, seed: int, accuracy: float) -> None:
    """The default of ``on_student``."""


def compare(
    recipe: Recipe,
    run: Run,
    *,
    seeds: Sequence[int],
    names: Sequence[str] = METHODS,
    on_student: Callable[[str, int, float], None] = _ignore,
) -> tuple[Row, ...]:
    """Train every method of ``names`` with every seed into the run folder and write ``comparison.json``.

    Args:
        on_student: called with method, seed and test accuracy after each student.

    Raises:
        TrainingError: the recipe has no teachers, or a method is unknown.
    """
    dataset = run.dataset
    correct: dict[str, F64] = {}
    methods = prepare_methods(recipe, run, names=names)
    for method in methods:
        rows = []
        for seed in seeds:
            name = f"{method.name.replace(' ', '-')}-{seed}"
            student = train_student(method.recipe, run.with_seed(seed), soft_targets=method.targets, name=name)
            rows.append(student.logits.argmax(axis=1) == dataset.test.targets)
            on_student(method.name, seed, student.metrics.accuracy)
        correct[method.name] = np.stack(rows).astype(np.float64)
    places = np.array([r.place for r in dataset.test.records])
    table = tuple(_row(method, correct[method.name], correct[BASELINE], places) for method in methods)
    record = {"recipe": recipe.model_dump(mode="json"), "seeds": list(seeds), "rows": [asdict(row) for row in table]}
    write_json(run.folder / "comparison.json", record)
    return table


def prepare_methods(recipe: Recipe, run: Run, *, names: Sequence[str] = METHODS) -> tuple[Method, ...]:
    """Train the teachers and, for fusion, their copies, with the recipe's seed; the methods in the order of the table.

    Raises TrainingError.
    """
    if not recipe.teachers:
        raise TrainingError(f"recipe '{recipe.name}'", "has no teachers", next_step="compare a recipe with teachers")
    unknown = sorted(set(names) - set(METHODS))
    if unknown:
        expected = " | ".join(METHODS)
        raise TrainingError(f"method '{unknown[0]}'", "unknown", expected=expected, next_step="name some of these")
    features = recipe.features or FeatureDistillation()
    require_networks(recipe, run.dataset, features if {"projection", "gram"} & set(names) else None)
    run = run.with_seed(recipe.seed)
    teachers = [train_teacher(recipe, number, run) for number in range(len(recipe.teachers))]
    plain = recipe.model_copy(update={"features": None, "fusion": None})
    methods = [Method(BASELINE, "labels only", None, plain)]
    views = views_of(recipe, recipe.seed)
    if "single" in names:
        best = max(teachers, key=lambda teacher: _validation_accuracy(teacher, run))
        methods.append(Method("single teacher", best.name, best.logits(run.dataset, "train", views), plain))
    # Evaluating all teachers on all views takes long.
    mean = averaged(teachers, run, views).train if {"mean", "projection", "gram"} & set(names) else None
    if "mean" in names:
        methods.append(Method("mean", "equal weights", mean, plain))
    for kind in ("projection", "gram"):
        if kind in names:
            with_features = plain.model_copy(update={"features": features.model_copy(update={"kind": kind})})
            note = f"mean, and a stage of {recipe.teachers[features.teacher].network}"
            methods.append(Method(f"P1 {kind}", note, mean, with_features))
    if "fusion" in names and len(teachers) > 1:
        with_fusion = recipe.model_copy(update={"fusion": recipe.fusion or default_fusion(recipe)})
        ensemble = fused(with_fusion, teachers, run)
        methods.append(Method("P2 fusion", ensemble.choice, ensemble.train, plain))
    return tuple(methods)


def default_fusion(recipe: Recipe) -> Fusion:
    """Two folds, and a z1 head with the student's network, trained for half its epochs."""
    shared = {name: getattr(recipe, name) for name in TrainSettings.model_fields}
    return Fusion(folds=2, listener=TrainSettings(**{**shared, "epochs": max(1, recipe.epochs // 2)}))


def as_markdown(rows: Sequence[Row]) -> str:
    """The table of ``rows`` in percent and percentage points."""
    lines = [
        "| training | test accuracy (95 %) | seeds | gain over no teacher, points (95 %) |",
        "|---|---|---|---|",
    ]
    for row in rows:
        seeds = ", ".join(f"{100 * a:.1f}" for a in row.accuracies)
        low, high = (100 * bound for bound in row.interval)
        gain = f"{100 * row.gain:+.1f} ({100 * row.gain_interval[0]:+.1f} to {100 * row.gain_interval[1]:+.1f})"
        gain = gain if row.name != BASELINE else ""
        name = cell(f"{row.name}: {row.note}")
        lines.append(f"| {name} | {100 * row.accuracy:.1f} ({low:.1f} to {high:.1f}) | {seeds} | {gain} |")
    return "\n".join(lines)


def _validation_accuracy(teacher: TrainedTeacher, run: Run) -> float:
    """0 without a validation part, so that the first teacher is selected."""
    validation = run.dataset.validation
    if not len(validation):
        return 0.0
    logits = teacher.logits(run.dataset, "validation").logits
    return float((logits.argmax(axis=1) == validation.targets).mean())


def _row(method: Method, correct: F64, baseline: F64, places: npt.NDArray[np.str_]) -> Row:
    gain = correct - baseline
    return Row(
        name=method.name,
        note=method.note,
        accuracies=tuple(float(a) for a in correct.mean(axis=1)),
        accuracy=float(correct.mean()),
        interval=bootstrap_interval(correct, places),
        gain=float(gain.mean()),
        gain_interval=bootstrap_interval(gain, places),
    )
