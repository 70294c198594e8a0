"""Distillation in order: train the teachers, combine their logits, train the student; or the student alone.

Everything is written under the folder of one :class:`~tinyscene.training.run.Run` and continued from there when it is
resumed. Metrics are those of the test part, except the scores of fusion, which selects on the validation part; nothing
is selected on the test part. Refuses recipes without teachers where teachers are required.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.files import write_json
from tinyscene.runtime.spec import FrontendSpec

from .distillation.features import FeatureLoss
from .distillation.soft_targets import SoftTargets
from .errors import TrainingError
from .evaluation.metrics import Metrics, evaluate
from .fit.fit import FitResult, predict_logits
from .fit.network import FeatureLossFactory, as_checkpoint, require_networks, train_network
from .models.checkpoint import save_model
from .models.config import ModelConfig, parameter_count
from .models.network import Network
from .models.program import Program
from .recipe import Recipe
from .run import Run
from .teachers.ensemble import averaged, fused, views_of
from .teachers.fusion import ValidationScore
from .teachers.teacher import TrainedTeacher, load_teacher, train_teacher


@dataclass(frozen=True)
class TeacherResult:
    """One teacher on the test part; ``digest`` identifies its weights and front end."""

    name: str
    parameters: int
    digest: str
    metrics: Metrics


@dataclass(frozen=True)
class TeacherReport:
    """Every teacher and their ensemble on the test part.

    ``fusion`` holds the score of every candidate weighting on the validation part, empty for the mean of logits;
    ``choice`` names the selected one.
    """

    teachers: tuple[TeacherResult, ...]
    ensemble: Metrics
    choice: str
    fusion: dict[str, ValidationScore]

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class StudentResult:
    """A trained student in evaluation mode; ``path`` is its checkpoint, ``metrics`` and ``logits`` of the test part."""

    model: nn.Module
    config: ModelConfig | Program
    frontend: FrontendSpec
    labels: tuple[str, ...]
    metrics: Metrics
    logits: F32
    fit: FitResult
    path: Path


def train_teachers(recipe: Recipe, run: Run) -> tuple[SoftTargets, TeacherReport]:
    """Train the recipe's teachers; return the soft targets of the training clips, and their metrics.

    Soft targets are the mean of the teachers' logits, or weighted by learned heads if the recipe has ``fusion``. Logits
    are cached in the folders of the teachers, for the same weights, front end and clips. Raises TrainingError if the
    recipe has no teachers.
    """
    dataset = run.dataset
    if not recipe.teachers:
        raise TrainingError(f"recipe '{recipe.name}'", "has no teachers", next_step="train the student alone")
    require_networks(recipe, dataset, recipe.features)
    teachers = [train_teacher(recipe, number, run) for number in range(len(recipe.teachers))]
    results = tuple(_teacher_result(teacher, run) for teacher in teachers)
    if recipe.fusion is None:
        ensemble = averaged(teachers, run, views_of(recipe, run.seed))
    else:
        ensemble = fused(recipe, teachers, run)
    metrics = evaluate(ensemble.test, dataset.test.records, dataset.labels)
    report = TeacherReport(results, metrics, ensemble.choice, ensemble.validation)
    write_json(run.folder / "teachers" / "metrics.json", report.to_json())
    return ensemble.train, report


def train_student(
    recipe: Recipe, run: Run, *, soft_targets: SoftTargets | None = None, name: str = "student"
) -> StudentResult:
    """Train the recipe's student: by distillation if ``soft_targets`` are given, otherwise on labels only.

    Feature distillation, if the recipe has it, is used together with soft targets; its teacher is read from the run
    folder. Writes ``NAME.pt`` and ``NAME_metrics.json`` into the run folder, logs into its sub-folder ``NAME``.
    """
    dataset = run.dataset
    feature_loss = None if soft_targets is None else _feature_loss_factory(recipe, run)
    network, result = train_network(recipe, run.inside(name), soft_targets=soft_targets, feature_loss=feature_loss)
    (model, config), frontend = as_checkpoint(network), network.frontend
    logits = predict_logits(model, frontend, dataset.test.waveforms)
    metrics = evaluate(logits, dataset.test.records, dataset.labels)
    path = run.folder / f"{name}.pt"
    save_model(path, model, config, frontend, dataset.labels, metrics.to_json())
    write_json(run.folder / f"{name}_metrics.json", metrics.to_json())
    return StudentResult(model, config, frontend, dataset.labels, metrics, logits, result, path)


def _teacher_result(teacher: TrainedTeacher, run: Run) -> TeacherResult:
    test = run.dataset.test
    metrics = evaluate(teacher.logits(run.dataset, "test").logits, test.records, run.dataset.labels)
    return TeacherResult(teacher.name, parameter_count(teacher.model), teacher.digest, metrics)


def _feature_loss_factory(recipe: Recipe, run: Run) -> FeatureLossFactory | None:
    settings = recipe.features
    if settings is None:
        return None
    teacher = load_teacher(recipe, settings.teacher, run)

    def feature_loss(student: Network) -> FeatureLoss:
        return FeatureLoss(student, teacher.network, settings)

    return feature_loss
