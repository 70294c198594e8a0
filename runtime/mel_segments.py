"""A mel bank as segments between neighbouring centres, where each bin has one weight: that of the upper band.

The weight in the lower band is the rest to 1.
Refuses mel banks without a bin, and those whose neighbouring triangles do not add up to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import RuntimeFailure
from .log_mel import mel_bank
from .spec import FrontendSpec


@dataclass(frozen=True)
class MelSegments:
    """Segment ``s`` is between the centres of bands ``s - 1`` and ``s``; the first rises from 0, the last falls to it.

    ``counts``: bins of each segment, n_mels + 1 of them. ``weights``: of each bin, in [0, 1], from ``first_bin`` on.
    """

    first_bin: int
    counts: tuple[int, ...]
    weights: tuple[float, ...]


def mel_segments(spec: FrontendSpec) -> MelSegments:
    """The segments of ``mel_bank(spec)``; raises RuntimeFailure, see the module's refusals."""
    where = f"front end '{spec.name}', mel bank"
    bank = mel_bank(spec).astype(np.float64)[:, :-1]  # no triangle reaches above its end, which is Nyquist at most
    used = np.flatnonzero(bank.any(axis=0))
    if not used.size:
        raise RuntimeFailure(where, "no bin is inside of a triangle", expected="a longer n_fft or wider bands")
    last, columns = spec.n_mels - 1, np.arange(len(used))
    part = bank[:, used]
    segment = np.where(part.astype(bool), np.arange(spec.n_mels)[:, None], -1).max(axis=0)  # the band that rises
    weight = part[segment, columns]
    falling = (segment == last) & (np.count_nonzero(part, axis=0) == 1)
    segment, weight = np.where(falling, last + 1, segment), np.where(falling, 1.0 - weight, weight)
    rebuilt = np.zeros((spec.n_mels + 2, len(used)))
    rebuilt[segment + 1, columns], rebuilt[segment, columns] = weight, 1.0 - weight
    if np.any(np.diff(used) != 1) or np.any(np.diff(segment) < 0) or np.abs(rebuilt[1:-1] - part).max() > 1e-6:
        raise RuntimeFailure(where, "triangles", expected="neighbouring triangles that add up to 1")
    return MelSegments(
        int(used[0]), tuple(np.bincount(segment, minlength=spec.n_mels + 1).tolist()), tuple(weight.tolist())
    )
