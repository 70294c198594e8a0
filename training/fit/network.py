"""Build the network of a recipe entry and train it.

Besides the names of :mod:`tinyscene.training.models.config`, a network may be any module: ``package.module:function``
names a function that takes the number of classes and returns an :class:`OwnNetwork`. Refuses functions that cannot be
found or return something else, students without an integer form, and front ends whose sample rate is not that of the
data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
from ..models.exported import program_network
from ..models.functions import module_of
from ..models.network import Network
from ..models.program import Program
from ..recipe import FeatureDistillation, Recipe, TrainSettings
from ..run import Run
from .fit import FitResult, fit
from .module import Objective


class OwnNetwork(Protocol):
    """What a user's own network provides besides being a torch.nn.Module.

    Called with float32 (batch, 1, n_mels, n_frames) of its front end, it returns logits (batch, classes). The stages
    that feature distillation may name are its submodules.
    """

    frontend: FrontendSpec

    def __call__(self, log_mel: Tensor) -> Tensor: ...


class FeatureLossFactory(Protocol):
    """Creates the feature-distillation term for a student network."""

    def __call__(self, student: Network) -> FeatureLoss: ...


def build_network(settings: TrainSettings, n_classes: int) -> Network:
    """The network of ``settings``, freshly initialised or from ``settings.pretrained``; raises TrainingError."""
    sizes = settings.sizes()
    if sizes is None:
        network = _user_network(settings.network, n_classes)
    else:
        config = sizes.model_copy(update={"n_classes": n_classes, "padding": settings.padding})
        network = Network(build_model(config), preset(settings.frontend), config)
    if settings.pretrained is not None:
        load_pretrained(settings.pretrained, network.model)
    return network


def train_network(
    settings: TrainSettings,
    run: Run,
    *,
    n_outputs: int | None = None,
    soft_targets: SoftTargets | None = None,
    callbacks: Sequence[Callback] = (),
    objective: Objective | None = None,
    feature_loss: FeatureLossFactory | None = None,
) -> tuple[Network, FitResult]:
    """Build the network of ``settings`` and train it; it has one output per label unless ``n_outputs`` is given."""
    torch.manual_seed(run.seed)
    network = build_network(settings, n_outputs or len(run.dataset.labels))
    _require_rate(network, run.dataset)
    features = None if feature_loss is None else feature_loss(network)
    try:
        result = fit(
            network,
            settings,
            run,
            soft_targets=soft_targets,
            callbacks=callbacks,
            objective=objective,
            features=features,
        )
    finally:
        if features is not None:
            features.remove()
    return network, result


def require_networks(recipe: Recipe, dataset: Dataset, features: FeatureDistillation | None) -> None:
    """Build every network of ``recipe`` once, and the feature-distillation term of ``features``.

    A network that cannot be built, such as one with an unknown stage or a checkpoint of another architecture, is
    reported here, before the first teacher has trained for hours. Raises TrainingError.
    """
    student = build_network(recipe, len(dataset.labels))
    _require_rate(student, dataset)
    as_checkpoint(student)
    for number, settings in enumerate(recipe.teachers):
        teacher = build_network(settings, len(dataset.labels))
        _require_rate(teacher, dataset)
        if features is not None and number == features.teacher:
            FeatureLoss(student, teacher, features)


def as_checkpoint(network: Network) -> tuple[nn.Module, ModelConfig | Program]:
    """A network in evaluation mode as a checkpoint holds it: with its sizes, or as a program.

    Raises:
        TrainingError: a user's own network has an operator without an integer form, or gives no row of scores.
    """
    if network.config is not None:
        return network.model.eval(), network.config
    device = next(network.model.parameters()).device
    frontend = network.frontend
    program = program_network(network.model, (1, frontend.n_mels, frontend.n_frames)).to(device)
    if program.program.n_classes is None:
        got = [end.shape for end in program.program.outputs]
        raise TrainingError("network", "does not give one row of scores for each clip", expected="(classes,)", got=got)
    return program, program.program


def _require_rate(network: Network, dataset: Dataset) -> None:
    rate = network.frontend.sample_rate_hz
    if rate != dataset.sample_rate_hz:
        raise TrainingError(
            f"front end '{network.frontend.name}'",
            "its sample rate is not that of the decoded clips",
            expected=dataset.sample_rate_hz,
            got=rate,
            next_step="use front ends of one sample rate in a recipe",
        )


def _user_network(name: str, n_classes: int) -> Network:
    model = module_of(name, n_classes)
    frontend = getattr(model, "frontend", None)
    if not isinstance(frontend, FrontendSpec):
        raise TrainingError(
            f"model '{name}'",
            "it has no front end",
            expected="an attribute frontend: FrontendSpec",
            got=type(frontend).__name__,
            next_step="set it in the function, for example to tinyscene.runtime.spec.preset('cpm23')",
        )
    return Network(model, frontend)
