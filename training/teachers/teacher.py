"""Teachers on disk: trained once per run folder, their weights and their logits kept, and folds for honest logits.

``teachers/N-MODEL/weights.pt`` holds the weights, ``logits-PART.npz`` what the teacher says of that part of the data
set and ``logits-train-views.npz`` what it says of augmented views of it, keyed by clip name, by the digest of weights
and front end, and by that of the views. Refuses weights of another network, logits of another teacher or other views.
Out-of-fold logits come from copies trained without the places they judge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tinyscene.runtime.arrays import F32
from tinyscene.runtime.files import atomic_file
from tinyscene.runtime.spec import FrontendSpec

from ..data.tau22 import Clips, Dataset, split_folds
from ..distillation.soft_targets import SoftTargets, load_logits, save_logits, teacher_digest
from ..distillation.views import View, Views
from ..errors import TrainingError
from ..fit.fit import predict_logits
from ..fit.network import build_network, train_network
from ..models.checkpoint import load_weights
from ..recipe import Recipe

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class TrainedTeacher:
    """A teacher in evaluation mode and its folder; ``digest`` names weights and front end."""

    name: str
    model: nn.Module
    frontend: FrontendSpec
    folder: Path
    digest: str

    def logits(self, dataset: Dataset, part: str, views: Views | None = None) -> SoftTargets:
        """What it says of ``part`` ("train", "validation" or "test"), from its folder if kept there.

        Of every one of ``views`` if they are given, else of the clips as they are.
        """
        clips: Clips = getattr(dataset, part)
        names = tuple(r.filename for r in clips.records)
        path = self.folder / f"logits-{part}{'' if views is None else '-views'}.npz"
        if path.is_file():
            cached = load_logits(path, self.digest, views)
            if cached.names == names:
                return cached
        logits = self._asked(dataset, clips, views)
        save_logits(path, SoftTargets(names, logits, views), self.digest)
        return SoftTargets(names, logits, views)

    def _asked(self, dataset: Dataset, clips: Clips, views: Views | None) -> F32:
        if not len(clips):
            return np.zeros((0, len(dataset.labels)), np.float32)
        if views is None:
            return predict_logits(self.model, self.frontend, clips.waveforms)
        responses = views.responses(dataset.sample_rate_hz)
        heard = (View(clips, views, number, responses) for number in range(views.count))
        return np.stack([predict_logits(self.model, self.frontend, view) for view in heard], axis=1)


def train_teacher(
    recipe: Recipe, number: int, dataset: Dataset, run_dir: Path, *, seed: int, resume: bool, progress: bool
) -> TrainedTeacher:
    """Train the recipe's teacher ``number`` and keep its weights."""
    folder = _folder(recipe, number, run_dir)
    settings = recipe.teachers[number]
    network, _ = train_network(settings, dataset, folder, seed=seed + 1 + number, resume=resume, progress=progress)
    with atomic_file(folder / "weights.pt") as temporary:
        torch.save(network.model.state_dict(), temporary)
    return _trained(settings.network, network.model, network.frontend, folder)


def load_teacher(recipe: Recipe, number: int, run_dir: Path, n_classes: int) -> TrainedTeacher:
    """The recipe's teacher ``number`` as :func:`train_teacher` left it, strictly by name; raises TrainingError."""
    settings = recipe.teachers[number].model_copy(update={"pretrained": None})
    folder = _folder(recipe, number, run_dir)
    network = build_network(settings, n_classes)
    load_weights(folder / "weights.pt", network.model)
    return _trained(settings.network, network.model, network.frontend, folder)


def out_of_fold_logits(
    recipe: Recipe, number: int, dataset: Dataset, run_dir: Path, *, folds: int, seed: int, resume: bool, progress: bool
) -> F32:
    """Logits float32 (n, classes) on the training clips, each by a copy of the teacher that never met its place."""
    fold_of = split_folds(dataset.train.records, folds)
    logits = np.zeros((len(dataset.train), len(dataset.labels)), np.float32)
    for fold in range(folds):
        kept, held = (np.flatnonzero(mask) for mask in (fold_of != fold, fold_of == fold))
        part = replace(dataset, train=dataset.train.take(kept))
        network, _ = train_network(
            recipe.teachers[number],
            part,
            _folder(recipe, number, run_dir) / f"fold-{fold}",
            seed=seed + 1 + number,
            resume=resume,
            progress=progress,
        )
        logits[held] = predict_logits(network.model, network.frontend, dataset.train.take(held).waveforms)
    return logits


def _trained(name: str, model: nn.Module, frontend: FrontendSpec, folder: Path) -> TrainedTeacher:
    return TrainedTeacher(name, model.eval(), frontend, folder, teacher_digest(model, frontend))


def _folder(recipe: Recipe, number: int, run_dir: Path) -> Path:
    if number >= len(recipe.teachers):
        raise TrainingError(f"recipe '{recipe.name}'", f"has no teacher {number}", got=len(recipe.teachers))
    return run_dir / "teachers" / f"{number}-{recipe.teachers[number].network.replace(':', '.')}"
