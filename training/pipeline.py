"""The order of a distillation: teachers, what they say together, the student; and the student without teachers.

Everything is written under one run folder and goes on from there when resumed. Figures are of the test part, but for
those of fusion, which chooses on the validation part; no choice is made on the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback
from torch import nn

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.files import write_json
from tinyscene.runtime.spec import FrontendSpec

from .data.tau22 import Dataset
from .distillation.features import FeatureLoss
from .distillation.soft_targets import SoftTargets
from .errors import TrainingError
from .evaluation.metrics import Metrics, evaluate
from .fit.fit import FitResult, predict_logits
from .fit.network import FeatureLossOf, Network, require_networks, train_network
from .models.checkpoint import save_model
from .models.config import ModelConfig, parameter_count
from .recipe import Recipe
from .teachers.ensemble import averaged, fused, views_of
from .teachers.teacher import TrainedTeacher, load_teacher, train_teacher


@dataclass(frozen=True)
class TeacherResult:
    """One teacher; ``digest`` names its weights and front end."""

    name: str
    parameters: int
    digest: str
    metrics: Metrics


@dataclass(frozen=True)
class TeacherReport:
    """Every teacher and what they say together, on the test part.

    ``fusion`` is empty for the mean of their logits, else what each way of weighing them reached on validation, and
    ``choice`` names the one taken.
    """

    teachers: tuple[TeacherResult, ...]
    ensemble: Metrics
    choice: str
    fusion: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class StudentResult:
    """A trained student in evaluation mode; ``path`` is its checkpoint, ``metrics`` and ``logits`` of the test part."""

    model: nn.Module
    config: ModelConfig
    frontend: FrontendSpec
    labels: tuple[str, ...]
    metrics: Metrics
    logits: F32
    fit: FitResult
    path: Path


def train_teachers(
    recipe: Recipe, dataset: Dataset, run_dir: Path, *, seed: int, resume: bool = False, progress: bool = True
) -> tuple[SoftTargets, TeacherReport]:
    """Train the recipe's teachers; their soft targets on the training clips, and how good they are.

    Soft targets are the mean of the teachers' logits, or fused by learned heads if the recipe says so. Logits are kept
    beside the teachers and taken from there if weights, front end and clips are the same. Raises TrainingError if the
    recipe has no teachers.
    """
    if not recipe.teachers:
        raise TrainingError(f"recipe '{recipe.name}'", "has no teachers", next_step="train the student alone")
    require_networks(recipe, dataset, recipe.features)
    teachers = [
        train_teacher(recipe, number, dataset, run_dir, seed=seed, resume=resume, progress=progress)
        for number in range(len(recipe.teachers))
    ]
    results = tuple(_judged(teacher, dataset) for teacher in teachers)
    if recipe.fusion is None:
        together = averaged(teachers, dataset, views_of(recipe, seed))
    else:
        together = fused(recipe, teachers, dataset, run_dir, seed=seed, resume=resume, progress=progress)
    metrics = evaluate(together.test, dataset.test.records, dataset.labels)
    report = TeacherReport(results, metrics, together.choice, together.validation)
    write_json(run_dir / "teachers" / "metrics.json", report.to_json())
    return together.train, report


def train_student(
    recipe: Recipe,
    dataset: Dataset,
    run_dir: Path,
    *,
    soft_targets: SoftTargets | None = None,
    seed: int,
    resume: bool = False,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    name: str = "student",
) -> StudentResult:
    """Train the recipe's student, by distillation if ``soft_targets`` are given, else by labels alone.

    Feature distillation, if the recipe has it, goes with the soft targets; its teacher is read from ``run_dir``. Writes
    ``NAME.pt`` and ``NAME_metrics.json`` into ``run_dir``, logs into ``run_dir/NAME``.
    """
    features = None
    if soft_targets is not None and recipe.features is not None:
        features = _features_of(recipe, run_dir, len(dataset.labels))
    network, result = train_network(
        recipe,
        dataset,
        run_dir / name,
        seed=seed,
        resume=resume,
        progress=progress,
        soft_targets=soft_targets,
        callbacks=callbacks,
        feature_loss=features,
    )
    model, config, frontend = network.model, network.config, network.frontend
    assert config is not None  # a recipe's student is a named network
    logits = predict_logits(model, frontend, dataset.test.waveforms)
    metrics = evaluate(logits, dataset.test.records, dataset.labels)
    path = run_dir / f"{name}.pt"
    save_model(path, model, config, frontend, dataset.labels, metrics.to_json())
    write_json(run_dir / f"{name}_metrics.json", metrics.to_json())
    return StudentResult(model, config, frontend, dataset.labels, metrics, logits, result, path)


def _judged(teacher: TrainedTeacher, dataset: Dataset) -> TeacherResult:
    metrics = evaluate(teacher.logits(dataset, "test").logits, dataset.test.records, dataset.labels)
    return TeacherResult(teacher.name, parameter_count(teacher.model), teacher.digest, metrics)


def _features_of(recipe: Recipe, run_dir: Path, n_classes: int) -> FeatureLossOf:
    settings = recipe.features
    assert settings is not None
    teacher = load_teacher(recipe, settings.teacher, run_dir, n_classes)

    def feature_loss(student: Network) -> FeatureLoss:
        return FeatureLoss(student.model, student.frontend, teacher.model, teacher.frontend, settings)

    return feature_loss
