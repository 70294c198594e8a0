"""Smoothing of scores over hops and the choice of the label, by the same rule in Python and in firmware.

Scores: the mean over the first ``SMOOTHED_HOPS`` hops, then an exponential moving average with weight
1 / ``SMOOTHED_HOPS``, which needs no history. ``firmware_harness/c/scene/ts_scene.c`` computes the same in the same
order, and a test compares the two. Label: the one with the highest smoothed score, with a hysteresis of ``margin``.
Firmware has no hysteresis: its ``smoothed_label`` is this rule with a margin of 0.
Refuses settings out of range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import F32
from .errors import RuntimeFailure

SMOOTHED_HOPS = 10


@dataclass(frozen=True)
class Smoothing:
    """Settings of the smoothing.

    Attributes:
        hops: number of hops that are averaged; 1 turns averaging off.
        margin: the label changes when another smoothed score exceeds that of the current label by more, 0 to 1.

    If the network is certain of every hop, the label of a new scene changes after ``n`` hops, where
    ``1 - 2 * (1 - 1 / hops) ** n > margin``: 8 hops by default, after a long previous scene.
    """

    hops: int = SMOOTHED_HOPS
    margin: float = 0.1

    def __post_init__(self) -> None:
        if self.hops < 1:
            raise RuntimeFailure("smoothing, hops", "invalid value", expected="1 or more", got=self.hops)
        if not 0.0 <= self.margin < 1.0:
            raise RuntimeFailure("smoothing, margin", "invalid value", expected="0 up to below 1", got=self.margin)


class Smoother:
    """Smoothed scores and label of a sequence of scores. Not thread-safe.

    >>> smoother = Smoother(Smoothing(hops=2, margin=0.1))
    >>> smoother.add(np.array([0.9, 0.1], np.float32))
    0
    >>> smoother.add(np.array([0.1, 0.9], np.float32))  # the means are equal: the label stays
    0
    >>> smoother.add(np.array([0.1, 0.9], np.float32))
    1
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self.smoothing = smoothing
        self.added = 0
        self.label = 0  # index of the current label; undefined before the first scores
        self.scores: F32 = np.zeros(0, np.float32)  # (labels,)

    def add(self, scores: F32) -> int:
        """Add the scores of one hop, float32 (labels,); return the index of the current label."""
        if self.added == 0:
            self.scores = np.zeros(len(scores), np.float32)
        self.added += 1
        self.scores = self.scores + (scores - self.scores) / np.float32(min(self.added, self.smoothing.hops))
        best = int(np.argmax(self.scores))
        if self.added == 1 or self.scores[best] - self.scores[self.label] > self.smoothing.margin:
            self.label = best
        return self.label
