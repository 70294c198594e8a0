"""What the teachers of a recipe say together: the soft targets of its student.

The mean of their logits, or weighed by learned heads if the recipe says so; of the training clips as they are, or of
several augmented views of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F32

from ..data.tau22 import Clips, Dataset
from ..distillation.soft_targets import SoftTargets, average_logits
from ..distillation.views import View, Views
from ..errors import TrainingError
from ..recipe import Recipe
from .fusion import Fused, learn_fusion
from .teacher import TrainedTeacher, out_of_fold_logits


@dataclass(frozen=True)
class Ensemble:
    """Soft targets on the training clips and logits (n, classes) on the test clips.

    ``validation`` is empty for the mean, else what each way of weighing the teachers reached there, and ``choice``
    names the one taken.
    """

    train: SoftTargets
    test: F32
    choice: str = "mean"
    validation: dict[str, dict[str, float]] = field(default_factory=dict)


def views_of(recipe: Recipe, seed: int) -> Views | None:
    """The views that teachers answer and the student hears in turn; None if they answer the clips as they are."""
    return Views(recipe.augment, seed, recipe.views) if recipe.views else None


def averaged(teachers: Sequence[TrainedTeacher], dataset: Dataset, views: Views | None) -> Ensemble:
    """The mean of the teachers' logits."""
    said = [t.logits(dataset, "train", views) for t in teachers]
    train = SoftTargets(said[0].names, average_logits([s.logits for s in said]), views)
    return Ensemble(train, average_logits([t.logits(dataset, "test").logits for t in teachers]))


def fused(
    recipe: Recipe,
    teachers: Sequence[TrainedTeacher],
    dataset: Dataset,
    run_dir: Path,
    *,
    seed: int,
    resume: bool,
    progress: bool,
) -> Ensemble:
    """The teachers weighed by heads that learned from out-of-fold logits; ``recipe.fusion`` must say how."""
    if recipe.fusion is None:
        raise TrainingError(f"recipe '{recipe.name}'", "says nothing of fusion", next_step="add a part 'fusion'")
    folds = recipe.fusion.folds
    honest = [
        out_of_fold_logits(recipe, n, dataset, run_dir, folds=folds, seed=seed, resume=resume, progress=progress)
        for n in range(len(teachers))
    ]
    out_of_fold = np.stack(honest, axis=1)
    heads = learn_fusion(
        recipe.fusion,
        dataset,
        run_dir / "teachers",
        out_of_fold=out_of_fold,
        validation=_stacked(teachers, dataset, "validation"),
        seed=seed,
        resume=resume,
        progress=progress,
    )
    names = tuple(r.filename for r in dataset.train.records)
    if recipe.fusion.soft_targets == "out_of_fold":
        train = SoftTargets(names, heads.fuse(dataset.train, out_of_fold))
    else:
        train = _fused_views(heads, teachers, dataset, names, views_of(recipe, seed))
    test = heads.fuse(dataset.test, _stacked(teachers, dataset, "test"))
    return Ensemble(train, test, heads.choice, heads.validation)


def _fused_views(
    heads: Fused, teachers: Sequence[TrainedTeacher], dataset: Dataset, names: tuple[str, ...], views: Views | None
) -> SoftTargets:
    """Both heads judge each view by itself: z1 hears it, z2 sees what the teachers say of it."""
    logits = _stacked(teachers, dataset, "train", views)
    if views is None:
        return SoftTargets(names, heads.fuse(dataset.train, logits))
    responses = views.responses(dataset.sample_rate_hz)

    def heard(number: int) -> Clips:
        return replace(dataset.train, waveforms=View(dataset.train, views, number, responses))

    said = [heads.fuse(heard(number), logits[:, :, number]) for number in range(views.count)]
    return SoftTargets(names, np.stack(said, axis=1), views)


def _stacked(teachers: Sequence[TrainedTeacher], dataset: Dataset, part: str, views: Views | None = None) -> F32:
    """Logits (n, teachers, classes), or (n, teachers, views, classes)."""
    return np.stack([t.logits(dataset, part, views).logits for t in teachers], axis=1)
