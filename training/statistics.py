"""Confidence intervals of accuracies, and tests whether two classifiers differ on the same clips.

Wilson's interval and McNemar's exact test come from ``scipy.stats``. The bootstrap is our own: it resamples whole
places and, independently, whole runs, which ``scipy.stats.bootstrap`` cannot do, since it resamples one axis.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from tinyscene.runtime.arrays import F64, Bools

RESAMPLES = 2000  # of the bootstrap


def wilson_interval(right: int, clips: int) -> tuple[float, float]:
    """The 95 % interval of the share ``right / clips`` (Wilson, "Probable inference", 1927); (0, 1) without clips."""
    if clips == 0:
        return 0.0, 1.0
    interval = stats.binomtest(right, clips).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar_p(right_a: Bools, right_b: Bools) -> float:
    """Two-sided p value of the exact McNemar test that two classifiers have equal accuracy.

    Only clips that exactly one of them classifies correctly count (McNemar, "Sampling error of correlated
    proportions", 1947). Both arrays are bool (clips,), on the same clips.
    """
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    if not only_a + only_b:
        return 1.0
    return float(stats.binomtest(min(only_a, only_b), only_a + only_b).pvalue)


def bootstrap_interval(values: F64, groups: npt.NDArray[np.str_], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of ``values`` float64 (runs, clips) by a cluster bootstrap.

    Whole ``groups`` of clips, str (clips,), are resampled, because clips of one place are not independent, and whole
    runs.
    """
    _, group = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(group, weights=run) for run in values])  # (runs, groups)
    counts = np.bincount(group)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(counts), size=(RESAMPLES, len(counts)))
    runs = rng.integers(len(values), size=(RESAMPLES, len(values)))
    means = sums[runs[:, :, None], drawn[:, None, :]].sum(axis=2).mean(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
