"""A network by its settings: built, started from weights trained elsewhere if wanted, and trained.

Besides the names of ``tinyscene.training.models.config``, a teacher may be any module: ``package.module:function``
names a function that takes the number of classes and returns a :class:`Teacher`. Refuses functions that cannot be found
or return something else, and front ends of another sample rate than the data's.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from tinyscene.runtime.spec import FrontendSpec, preset

from ..data.tau22 import Dataset
from ..distillation.features import FeatureLoss
from ..distillation.soft_targets import SoftTargets
from ..errors import TrainingError
from ..models.build import build_model
from ..models.checkpoint import load_pretrained
from ..models.config import ModelConfig
from ..recipe import FeatureDistillation, Recipe, TrainSettings
from .fit import FitResult, Objective, fit


class Teacher(Protocol):
    """What a module of one's own needs to teach, beside being a torch.nn.Module.

    Called with float32 (batch, 1, n_mels, n_frames) of its front end it returns logits (batch, classes); the stages
    that feature distillation may name are its submodules.
    """

    frontend: FrontendSpec

    def __call__(self, log_mel: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Network:
    """A module, what it hears, and, unless it is a user's own, what it is."""

    model: nn.Module
    frontend: FrontendSpec
    config: ModelConfig | None


def build_network(settings: TrainSettings, n_classes: int) -> Network:
    """The network of ``settings``, freshly initialised or from ``settings.pretrained``; raises TrainingError."""
    sizes = settings.sizes()
    if sizes is None:
        model = _users_own(settings.network, n_classes)
        network = Network(model, model.frontend, None)
    else:
        config = sizes.model_copy(update={"n_classes": n_classes, "padding": settings.padding})
        network = Network(build_model(config), preset(settings.frontend), config)
    if settings.pretrained is not None:
        load_pretrained(settings.pretrained, network.model)
    return network


def train_network(
    settings: TrainSettings,
    dataset: Dataset,
    folder: Path,
    *,
    seed: int,
    resume: bool,
    progress: bool,
    n_outputs: int | None = None,
    soft_targets: SoftTargets | None = None,
    callbacks: Sequence[Callback] = (),
    objective: Objective | None = None,
    feature_loss: FeatureLossOf | None = None,
) -> tuple[Network, FitResult]:
    """Build and train in ``folder``; as many outputs as labels unless ``n_outputs`` says otherwise."""
    torch.manual_seed(seed)
    network = build_network(settings, n_outputs or len(dataset.labels))
    _require_rate(network, dataset)
    features = None if feature_loss is None else feature_loss(network)
    try:
        result = fit(
            network.model,
            frontend=network.frontend,
            recipe=settings,
            dataset=dataset,
            run_dir=folder,
            soft_targets=soft_targets,
            seed=seed,
            resume=resume,
            progress=progress,
            callbacks=callbacks,
            objective=objective,
            features=features,
        )
    finally:
        if features is not None:
            features.remove()
    return network, result


def require_networks(recipe: Recipe, dataset: Dataset, features: FeatureDistillation | None) -> None:
    """Build every network of ``recipe`` once, and the term of ``features``.

    What cannot be built, such as a stage that does not exist or a checkpoint of another network, is said before the
    first teacher has trained for hours. Raises TrainingError.
    """
    student = build_network(recipe, len(dataset.labels))
    _require_rate(student, dataset)
    for number, settings in enumerate(recipe.teachers):
        teacher = build_network(settings, len(dataset.labels))
        _require_rate(teacher, dataset)
        if features is not None and number == features.teacher:
            FeatureLoss(student.model, student.frontend, teacher.model, teacher.frontend, features)


class FeatureLossOf(Protocol):
    """Makes the feature term for a student once it is built."""

    def __call__(self, student: Network) -> FeatureLoss: ...


def _require_rate(network: Network, dataset: Dataset) -> None:
    rate = network.frontend.sample_rate_hz
    if rate != dataset.sample_rate_hz:
        where = f"front end '{network.frontend.name}'"
        raise TrainingError(where, "another sample rate", expected=dataset.sample_rate_hz, got=rate)


def _users_own(name: str, n_classes: int) -> Any:
    module_name, _, function = name.partition(":")
    try:
        model = getattr(importlib.import_module(module_name), function)(n_classes)
    except (ImportError, AttributeError) as error:
        raise TrainingError(f"model '{name}'", "cannot be found", got=error, next_step="check PYTHONPATH") from error
    if not isinstance(model, nn.Module) or not isinstance(getattr(model, "frontend", None), FrontendSpec):
        raise TrainingError(
            f"model '{name}'",
            "returned no teacher",
            expected="a torch.nn.Module with an attribute frontend: FrontendSpec",
            got=type(model).__name__,
        )
    return model
