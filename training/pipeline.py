"""The order of a distillation: teachers, their cached mean logits, the student; and the student without teachers.

Everything is written under one run folder and goes on from there when resumed. All figures are of the test part; no
choice is made on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from runtime.spec import FrontendSpec, preset

from .data import Dataset
from .distill import SoftTargets, average_logits, load_logits, save_logits, teacher_digest
from .errors import TrainingError
from .fit import FitResult, fit, predict_logits
from .metrics import F32, Metrics, evaluate
from .models.checkpoint import save_model
from .models.config import ModelConfig, build_model, named_config, parameter_count
from .recipe import Recipe, TrainSettings


@dataclass(frozen=True)
class TeacherResult:
    """One teacher; ``digest`` names its weights and front end."""

    name: str
    parameters: int
    digest: str
    metrics: Metrics


@dataclass(frozen=True)
class TeacherReport:
    """Every teacher and the mean of their logits, on the test part."""

    teachers: tuple[TeacherResult, ...]
    ensemble: Metrics

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
    """Train the recipe's teachers; their averaged logits on the training clips, and how good they are.

    Logits are kept as ``teachers/N-MODEL/logits.npz`` and taken from there if weights, front end and clips are the
    same. Raises TrainingError if the recipe has no teachers.
    """
    if not recipe.teachers:
        raise TrainingError(f"recipe '{recipe.name}'", "has no teachers", next_step="train the student alone")
    results, on_train, on_test = [], [], []
    for number, settings in enumerate(recipe.teachers):
        folder = run_dir / "teachers" / f"{number}-{settings.model}"
        model, _, frontend, _ = _train(
            settings, dataset, folder, seed=seed + 1 + number, resume=resume, progress=progress
        )
        digest = teacher_digest(model, frontend)
        on_train.append(_cached_logits(model, frontend, dataset, folder / "logits.npz", digest).logits)
        logits = predict_logits(model, frontend, dataset.test.waveforms)
        on_test.append(logits)
        metrics = evaluate(logits, dataset.test.records, dataset.labels)
        results.append(TeacherResult(settings.model, parameter_count(model), digest, metrics))
    names = tuple(r.filename for r in dataset.train.records)
    report = TeacherReport(tuple(results), evaluate(average_logits(on_test), dataset.test.records, dataset.labels))
    write_json(run_dir / "teachers" / "metrics.json", report.to_json())
    return SoftTargets(names, average_logits(on_train)), report


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

    Writes ``NAME.pt`` and ``NAME_metrics.json`` into ``run_dir``, logs into ``run_dir/NAME``.
    """
    model, config, frontend, result = _train(
        recipe,
        dataset,
        run_dir / name,
        seed=seed,
        resume=resume,
        progress=progress,
        soft_targets=soft_targets,
        callbacks=callbacks,
    )
    logits = predict_logits(model, frontend, dataset.test.waveforms)
    metrics = evaluate(logits, dataset.test.records, dataset.labels)
    path = run_dir / f"{name}.pt"
    save_model(path, model, config, frontend, dataset.labels, metrics.to_json())
    write_json(run_dir / f"{name}_metrics.json", metrics.to_json())
    return StudentResult(model, config, frontend, dataset.labels, metrics, logits, result, path)


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON file through a temporary sibling."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _train(
    settings: TrainSettings,
    dataset: Dataset,
    folder: Path,
    *,
    seed: int,
    resume: bool,
    progress: bool,
    soft_targets: SoftTargets | None = None,
    callbacks: Sequence[Callback] = (),
) -> tuple[nn.Module, ModelConfig, FrontendSpec, FitResult]:
    frontend = preset(settings.frontend)
    if frontend.sample_rate_hz != dataset.sample_rate_hz:
        raise TrainingError(
            f"front end '{frontend.name}'",
            "another sample rate",
            expected=dataset.sample_rate_hz,
            got=frontend.sample_rate_hz,
        )
    config = named_config(settings.model, n_classes=len(dataset.labels), padding=settings.padding)
    torch.manual_seed(seed)
    model = build_model(config)
    result = fit(
        model,
        frontend=frontend,
        recipe=settings,
        dataset=dataset,
        run_dir=folder,
        soft_targets=soft_targets,
        seed=seed,
        resume=resume,
        progress=progress,
        callbacks=callbacks,
    )
    return model, config, frontend, result


def _cached_logits(model: nn.Module, frontend: FrontendSpec, dataset: Dataset, path: Path, digest: str) -> SoftTargets:
    """Logits on the training clips, from ``path`` if it is of this teacher and these clips."""
    names = tuple(r.filename for r in dataset.train.records)
    if path.is_file():
        cached = load_logits(path, digest)
        if cached.names == names:
            return cached
    targets = SoftTargets(names, predict_logits(model, frontend, dataset.train.waveforms))
    save_logits(path, targets, digest)
    return targets
