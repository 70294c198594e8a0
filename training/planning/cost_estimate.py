"""What a recipe costs at full size: every network it trains and asks, by how fast that goes here.

Counted are passes of the training clips through a network. Validation and test clips, decoding and the light second
head of fusion are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..data.split_files import PUBLISHED_TRAIN
from ..data.tau22 import VALIDATION_SHARE
from ..recipe import Recipe

ASKED_AT_ONCE = 64  # clips, as predict_logits takes them


@dataclass(frozen=True)
class Expense:
    """One network trained or asked: ``passes`` of the training clips, ``steps`` of batches of ``batch`` clips."""

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
    """How often the training clips go through a network, and what for. ``teacher`` is the number of one."""

    kind: Literal["teacher", "answers", "listener", "student", "QAT"]
    network: str
    batch: int
    count: int
    teacher: int = 0


def full_size_clips(subset: int) -> int:
    """Training clips of that part of TAU22 once validation is held out of them, at its nominal share."""
    return round(PUBLISHED_TRAIN[subset] * (1 - VALIDATION_SHARE))


def planned(recipe: Recipe) -> tuple[Passes, ...]:
    """All that a recipe trains and asks, in order, quantisation-aware training last."""
    found = []
    folds = recipe.fusion.folds if recipe.fusion is not None else 0
    for number, teacher in enumerate(recipe.teachers):
        copies = max(0, folds - 1)  # k copies on (k - 1) / k of the clips
        found.append(Passes("teacher", teacher.network, teacher.batch_size, teacher.epochs * (1 + copies), number))
        asked = max(1, recipe.views) + bool(folds)  # and each copy about the clips it has not met
        found.append(Passes("answers", teacher.network, ASKED_AT_ONCE, asked, number))
    if recipe.fusion is not None:
        listener = recipe.fusion.listener
        found.append(Passes("listener", listener.network, listener.batch_size, listener.epochs))
    found.append(Passes("student", recipe.network, recipe.batch_size, recipe.epochs))
    return (*found, Passes("QAT", recipe.network, recipe.qat.batch_size, recipe.qat.epochs))


def expenses(recipe: Recipe, clips: int, measured: Callable[[Passes], tuple[int, float]]) -> tuple[Expense, ...]:
    """With parameters and clips a second of each as ``measured`` says."""
    found = []
    for each in planned(recipe):
        parameters, rate = measured(each)
        steps = each.count * math.ceil(clips / each.batch)
        hours = each.count * clips / rate / 3600
        found.append(Expense(each.kind, each.network, parameters, each.batch, each.count, steps, rate, hours))
    return tuple(found)
