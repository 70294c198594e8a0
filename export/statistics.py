"""What a count of right answers says: its interval, and whether two targets on the same clips really differ."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

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
