"""Teachers on disk: trained once per run folder, with their weights and logits; and folds for out-of-fold logits.

``teachers/N-MODEL/weights.pt`` holds the weights, ``logits-PART.npz`` the logits of one part of the data set and
``logits-train-views.npz`` those of its augmented views. Logits are keyed by clip name, by the digest of weights and
front end, and by that of the views. Refuses weights of another network, logits of another teacher or of other views.
Out-of-fold logits come from copies that were trained without the places they are evaluated on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.spec import FrontendSpec

from ..data.tau22 import Clips, Dataset, split_folds
from ..distillation.soft_targets import SoftTargets, load_logits, save_logits, teacher_digest
from ..errors import TrainingError
from ..fit.fit import predict_logits
from ..fit.network import build_network, train_network
from ..models.checkpoint import load_weights
from ..models.network import Network
from ..models.torch_file import write_torch
from ..recipe import Recipe
from ..run import Run
from ..transforms.views import View, Views

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class TrainedTeacher:
    """A teacher in evaluation mode and its folder; ``digest`` identifies weights and front end."""

    name: str
    network: Network
    folder: Path
    digest: str

    @property
    def model(self) -> nn.Module:
        return self.network.model

    @property
    def frontend(self) -> FrontendSpec:
        return self.network.frontend

    def logits(self, dataset: Dataset, part: Part, views: Views | None = None) -> SoftTargets:
        """Logits of one part of the data set, read from the cache in ``folder`` where possible.

        With ``views`` the logits of each view, otherwise those of the unaugmented clips.
        """
        clips: Clips = getattr(dataset, part)
        names = tuple(r.filename for r in clips.records)
        path = self.folder / f"logits-{part}{'' if views is None else '-views'}.npz"
        if path.is_file():
            cached = load_logits(path, self.digest, views)
            if cached.names == names:
                return cached
        logits = self._predict(dataset, clips, views)
        save_logits(path, SoftTargets(names, logits, views), self.digest)
        return SoftTargets(names, logits, views)

    def _predict(self, dataset: Dataset, clips: Clips, views: Views | None) -> F32:
        if not len(clips):
            return np.zeros((0, len(dataset.labels)), np.float32)
        if views is None:
            return predict_logits(self.model, self.frontend, clips.waveforms)
        responses = views.responses(dataset.sample_rate_hz)
        each = (View(clips, views, number, responses) for number in range(views.count))
        return np.stack([predict_logits(self.model, self.frontend, view) for view in each], axis=1)


def train_teacher(recipe: Recipe, number: int, run: Run) -> TrainedTeacher:
    """Train the recipe's teacher ``number`` and save its weights."""
    own = _run_of(recipe, number, run)
    settings = recipe.teachers[number]
    network, _ = train_network(settings, own)
    write_torch(own.folder / "weights.pt", network.model.state_dict())
    return _trained(settings.network, network, own.folder)


def load_teacher(recipe: Recipe, number: int, run: Run) -> TrainedTeacher:
    """Load the recipe's teacher ``number`` that :func:`train_teacher` saved; raises TrainingError."""
    settings = recipe.teachers[number].model_copy(update={"pretrained": None})
    folder = _run_of(recipe, number, run).folder
    network = build_network(settings, len(run.dataset.labels))
    load_weights(folder / "weights.pt", network.model)
    return _trained(settings.network, network, folder)


def out_of_fold_logits(recipe: Recipe, number: int, run: Run, folds: int) -> F32:
    """Logits float32 (n, classes) of the training clips, each from a copy trained without the clip's place."""
    dataset = run.dataset
    own = _run_of(recipe, number, run)
    fold_of = split_folds(dataset.train.records, folds)
    logits = np.zeros((len(dataset.train), len(dataset.labels)), np.float32)
    for fold in range(folds):
        inside, outside = (np.flatnonzero(mask) for mask in (fold_of != fold, fold_of == fold))
        part = replace(dataset, train=dataset.train.take(inside))
        network, _ = train_network(recipe.teachers[number], own.inside(f"fold-{fold}").with_dataset(part))
        logits[outside] = predict_logits(network.model, network.frontend, dataset.train.take(outside).waveforms)
    return logits


def _trained(name: str, network: Network, folder: Path) -> TrainedTeacher:
    network.model.eval()
    return TrainedTeacher(name, network, folder, teacher_digest(network.model, network.frontend))


def _run_of(recipe: Recipe, number: int, run: Run) -> Run:
    """The run of teacher ``number``: a folder and a seed of its own."""
    if number >= len(recipe.teachers):
        raise TrainingError(
            f"recipe '{recipe.name}'",
            f"has no teacher {number}",
            expected=f"a number below {len(recipe.teachers)}",
            next_step="correct the field 'teacher'",
        )
    name = recipe.teachers[number].network.replace(":", ".")
    return run.inside(f"teachers/{number}-{name}").with_seed(run.seed + 1 + number)
