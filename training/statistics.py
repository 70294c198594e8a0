"""What a count of right answers says: its interval, and whether two targets on the same clips really differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arrays import F64

_Z95 = 1.959964  # the 97.5 % quantile of the normal distribution


def wilson_interval(right: int, clips: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, "Probable inference", 1927); it keeps inside 0..1 for small counts too."""
    if clips == 0:
        return 0.0, 1.0
    share, z2 = right / clips, _Z95**2
    centre = (share + z2 / (2 * clips)) / (1 + z2 / clips)
    reach = _Z95 / (1 + z2 / clips) * math.sqrt(share * (1 - share) / clips + z2 / (4 * clips**2))
    return max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))


def mcnemar_p(right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_]) -> float:
    """Two-sided exact probability that two classifiers, right on the same clips or not, differ by chance alone.

    Only clips that one of them has right count (McNemar, "Sampling error of correlated proportions", 1947).
    """
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n) if n else 1.0


def sign_test(wins: int, losses: int) -> float:
    """Two-sided probability of so uneven a split of ``wins + losses`` tosses of a fair coin."""
    n, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**n)


DRAWS = 2000  # of the bootstrap


def bootstrap_interval(values: F64, groups: npt.NDArray[np.str_], seed: int = 0) -> tuple[float, float]:
    """Bounds that hold the mean of ``values`` float64 (runs, clips) with 95 %.

    Whole ``groups`` of clips (str, (clips,)) are resampled, for clips of one place are not independent, and whole runs.
    """
    _, group = np.unique(groups, return_inverse=True)
    sums = np.stack([np.bincount(group, weights=run) for run in values])  # (runs, groups)
    counts = np.bincount(group)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(counts), size=(DRAWS, len(counts)))
    runs = rng.integers(len(values), size=(DRAWS, len(values)))
    means = sums[runs[:, :, None], drawn[:, None, :]].sum(axis=2).mean(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _means(right: npt.NDArray[np.bool_], keys: Sequence[str]) -> dict[str, float]:
    key = np.array(keys)
    return {k: float(right[key == k].mean()) for k in sorted(set(keys))}
