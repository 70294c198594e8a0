"""The one rule by which answers become a steady label, in Python and in firmware alike.

Scores: the mean over all answers while they are at most ``SMOOTHED_HOPS``; after that each new one counts for one in
as many, so that old answers fade and nothing has to be stored. ``firmware_harness/c/scene/ts_scene.c`` computes the
same in the same order, and a test compares the two. Label: the best smoothed score, but a held label only gives way to
one that is better by ``margin``. Firmware holds no label: its ``smoothed_label`` is the rule with a margin of 0.
Refuses impossible settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import F32
from .errors import RuntimeFailure

SMOOTHED_HOPS = 10


@dataclass(frozen=True)
class Smoothing:
    """How steady a label is.

    ``hops``: answers that are averaged, 1 for none of it. ``margin``: by how much another label's smoothed score must
    be above the held label's, 0 to 1.

    A scene that the network is always sure of takes over ``n`` hops after it began, where
    ``1 - 2 * (1 - 1 / hops) ** n > margin``: 8 hops with the values here, if the one before was held for long.
    """

    hops: int = SMOOTHED_HOPS
    margin: float = 0.1

    def __post_init__(self) -> None:
        if self.hops < 1:
            raise RuntimeFailure("smoothing, hops", "not possible", expected="1 or more", got=self.hops)
        if not 0.0 <= self.margin < 1.0:
            raise RuntimeFailure("smoothing, margin", "not possible", expected="0 up to below 1", got=self.margin)


class Smoother:
    """Scores in, steadier scores and a label out. Not for several threads at once.

    >>> smoother = Smoother(Smoothing(hops=2, margin=0.1))
    >>> smoother.add(np.array([0.9, 0.1], np.float32))
    0
    >>> smoother.add(np.array([0.1, 0.9], np.float32))  # the mean is even: the label is held
    0
    >>> smoother.add(np.array([0.1, 0.9], np.float32))
    1
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self.smoothing = smoothing
        self.added = 0
        self.label = 0  # index of the held label; means nothing before the first answer
        self.scores: F32 = np.zeros(0, np.float32)  # (labels,)

    def add(self, scores: F32) -> int:
        """Take one answer's scores, float32 (labels,); return the index of the label held now."""
        if self.added == 0:
            self.scores = np.zeros(len(scores), np.float32)
        self.added += 1
        self.scores = self.scores + (scores - self.scores) / np.float32(min(self.added, self.smoothing.hops))
        best = int(np.argmax(self.scores))
        if self.added == 1 or self.scores[best] - self.scores[self.label] > self.smoothing.margin:
            self.label = best
        return self.label
