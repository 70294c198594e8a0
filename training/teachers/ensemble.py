"""The combined logits of a recipe's teachers: the soft targets of its student.

They are the mean of the teachers' logits, or weighted by learned heads if the recipe has ``fusion``; for the
unaugmented training clips, or for several augmented views of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tinyscene.runtime.arrays import F32

from ..distillation.soft_targets import SoftTargets, average_logits
from ..errors import TrainingError
from ..recipe import Recipe
from ..run import Run
from ..transforms.views import View, Views
from .fusion import Fused, ValidationScore, learn_fusion
from .teacher import Part, TrainedTeacher, out_of_fold_logits


@dataclass(frozen=True)
class Ensemble:
    """Soft targets for the training clips and logits (n, classes) of the test clips.

    ``validation`` holds the score of every candidate weighting on the validation part, empty for the mean; ``choice``
    names the selected one.
    """

    train: SoftTargets
    test: F32
    choice: str = "mean"
    validation: dict[str, ValidationScore] = field(default_factory=dict)


def views_of(recipe: Recipe, seed: int) -> Views | None:
    """The views that teachers are evaluated on and the student is trained on; None if the recipe has no views."""
    return Views(recipe.augment, seed, recipe.views) if recipe.views else None


def averaged(teachers: Sequence[TrainedTeacher], run: Run, views: Views | None) -> Ensemble:
    """The mean of the teachers' logits."""
    members = [t.logits(run.dataset, "train", views) for t in teachers]
    train = SoftTargets(members[0].names, average_logits([m.logits for m in members]), views)
    return Ensemble(train, average_logits([t.logits(run.dataset, "test").logits for t in teachers]))


def fused(recipe: Recipe, teachers: Sequence[TrainedTeacher], run: Run) -> Ensemble:
    """The teachers weighted by heads trained on out-of-fold logits; raises TrainingError without ``recipe.fusion``."""
    if recipe.fusion is None:
        raise TrainingError(f"recipe '{recipe.name}'", "has no part 'fusion'", next_step="add a part 'fusion'")
    dataset, folds = run.dataset, recipe.fusion.folds
    out_of_fold = np.stack([out_of_fold_logits(recipe, n, run, folds) for n in range(len(teachers))], axis=1)
    heads = learn_fusion(
        recipe.fusion,
        run.inside("teachers"),
        out_of_fold=out_of_fold,
        validation=_stacked(teachers, run, "validation"),
    )
    names = tuple(r.filename for r in dataset.train.records)
    if recipe.fusion.soft_targets == "out_of_fold":
        train = SoftTargets(names, heads.fuse(dataset.train.waveforms, out_of_fold))
    else:
        train = _fused_views(heads, teachers, run, views_of(recipe, run.seed))
    test = heads.fuse(dataset.test.waveforms, _stacked(teachers, run, "test"))
    return Ensemble(train, test, heads.choice, heads.validation)


def _fused_views(heads: Fused, teachers: Sequence[TrainedTeacher], run: Run, views: Views | None) -> SoftTargets:
    """Fuse each view by itself: z1 takes its waveforms, z2 the teachers' logits for it."""
    clips = run.dataset.train
    names = tuple(r.filename for r in clips.records)
    logits = _stacked(teachers, run, "train", views)
    if views is None:
        return SoftTargets(names, heads.fuse(clips.waveforms, logits))
    responses = views.responses(run.dataset.sample_rate_hz)
    each = [heads.fuse(View(clips, views, number, responses), logits[:, :, number]) for number in range(views.count)]
    return SoftTargets(names, np.stack(each, axis=1), views)


def _stacked(teachers: Sequence[TrainedTeacher], run: Run, part: Part, views: Views | None = None) -> F32:
    """Logits (n, teachers, classes), or (n, teachers, views, classes)."""
    return np.stack([t.logits(run.dataset, part, views).logits for t in teachers], axis=1)
