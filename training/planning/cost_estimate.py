"""Cost of a recipe at full size: every network it trains or evaluates, from the throughput on this machine.

Counted are passes of the training clips through a network. Validation and test clips, decoding and the light second
head of fusion are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..data.split_files import PUBLISHED_TRAIN
from ..data.tau22 import VALIDATION_SHARE
from ..recipe import Recipe

EVALUATION_BATCH = 64  # clips, as in predict_logits


@dataclass(frozen=True)
class Expense:
    """One network trained or evaluated: ``passes`` of the training clips in ``steps`` batches of ``batch`` clips."""

    kind: str
    network: str
    parameters: int
    batch: int
    passes: int
    steps: int
    clips_per_s: float
    hours: float


@dataclass(frozen=True)
class Passes:
    """How often the training clips pass through a network, and for which purpose. ``teacher`` is its number."""

    kind: Literal["teacher", "logits", "fusion z1", "student", "QAT"]
    network: str
    batch: int
    count: int
    teacher: int = 0


def full_size_clips(subset: int) -> int:
    """Training clips of that subset of TAU22 without the validation part, at its nominal share."""
    return round(PUBLISHED_TRAIN[subset] * (1 - VALIDATION_SHARE))


def planned(recipe: Recipe) -> tuple[Passes, ...]:
    """Everything that a recipe trains and evaluates, in order, quantisation-aware training last."""
    passes = []
    folds = recipe.fusion.folds if recipe.fusion is not None else 0
    for number, teacher in enumerate(recipe.teachers):
        copies = max(0, folds - 1)  # k copies on (k - 1) / k of the clips
        passes.append(Passes("teacher", teacher.network, teacher.batch_size, teacher.epochs * (1 + copies), number))
        evaluations = max(1, recipe.views) + bool(folds)  # and each copy on the clips outside its folds
        passes.append(Passes("logits", teacher.network, EVALUATION_BATCH, evaluations, number))
    if recipe.fusion is not None:
        listener = recipe.fusion.listener
        passes.append(Passes("fusion z1", listener.network, listener.batch_size, listener.epochs))
    passes.append(Passes("student", recipe.network, recipe.batch_size, recipe.epochs))
    return (*passes, Passes("QAT", recipe.network, recipe.qat.batch_size, recipe.qat.epochs))


def expenses(recipe: Recipe, clips: int, measure: Callable[[Passes], tuple[int, float]]) -> tuple[Expense, ...]:
    """Cost of each network for ``clips`` training clips; ``measure`` returns its parameters and clips per second."""
    costs = []
    for each in planned(recipe):
        parameters, rate = measure(each)
        steps = each.count * math.ceil(clips / each.batch)
        hours = each.count * clips / rate / 3600
        costs.append(Expense(each.kind, each.network, parameters, each.batch, each.count, steps, rate, hours))
    return tuple(costs)
