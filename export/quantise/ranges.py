"""Where the 256 codes of an activation go: ranges searched for the least error on calibration values.

An extreme value that is cut may cost less than the coarser step that would keep it. For the statistics of GRN the
error counted is that of the gain they end in, not their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .fake_quant import LEVELS, QuantGRN, Range

MARGIN = 1.4
BEYOND = 1.1  # of the extremes seen: no range is wider
_SAMPLE = 65536
_SHARES = torch.logspace(0.0, -1.0, 28, base=4).tolist()  # of the extreme that is kept: 1 ... 1/4
# What the statistics of GRN get of the largest value seen: several rooms are tried. Squares and inverse norms have long
# tails of little weight, which may be cut. The others keep all that calibration showed, for a statistic that saturates
# changes a whole clip; how much more than that, depends on how unlike each other the clips are.
_ROOMS = {
    "square": tuple(1.5 * 0.87**i for i in range(16)),
    "power": tuple(2.0 * 0.9**i for i in range(7)),
    "inverse_norm": tuple(1.2 * 0.87**i for i in range(24)),
    "norm": tuple(1.4 * 0.95**i for i in range(6)),
    "total": (1.4,),
    "inverse_root": (1.2,),
    "half_ratio": tuple(1.4 * 0.95**i for i in range(6)),
    "ratio": tuple(1.4 * 0.95**i for i in range(6)),
    "gain": tuple(1.4 * 0.95**i for i in range(6)),
}


def sample(x: Tensor, count: int = _SAMPLE) -> Tensor:
    """At most ``count`` values of ``x`` (any shape), drawn at random but always the same."""
    flat = x.flatten()
    if flat.numel() <= count:
        return flat
    return flat[torch.randint(flat.numel(), (count,), generator=torch.Generator().manual_seed(0))]


def rounded(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` as the 256 codes of [low, high] hold it."""
    scale = max((high - low) / LEVELS, 1e-8)
    zero_point = min(max(round(-128 - low / scale), -128), 127)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127)


def least_error_range(
    values: Tensor, error: Callable[[float, float], float] | None = None, extremes: tuple[float, float] | None = None
) -> tuple[float, float]:
    """The range inside ``extremes`` (those of ``values``) of least ``error(low, high)``, mean square if not given.

    Both ends are searched in turn, twice, then moved out by ``MARGIN``: what is cut off is lost for the whole clip,
    while rounding averages out over it, and unseen clips reach further.
    """
    low_most, high_most = extremes or (float(values.min()), float(values.max()))
    low_most, high_most = min(low_most, 0.0), max(high_most, 0.0)
    if error is None:
        some = sample(values)

        def error(low: float, high: float) -> float:
            return float((rounded(some, low, high) - some).square().mean())

    low, high = low_most, high_most
    for _ in range(2 if low_most < 0 < high_most else 1):
        if high_most > 0:
            high = min((high_most * share for share in _SHARES), key=lambda v: error(low, v))
        if low_most < 0:
            low = min((low_most * share for share in _SHARES), key=lambda v: error(v, high))
    return max(low * MARGIN, low_most * BEYOND), min(high * MARGIN, high_most * BEYOND)


_PERCENTILE = 0.0001  # of the values that are cut at each end


def _extremes(values: Tensor) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _percentile(values: Tensor) -> tuple[float, float]:
    ends = torch.quantile(sample(values), torch.tensor([_PERCENTILE, 1.0 - _PERCENTILE]))
    return float(ends[0]), float(ends[1])


PLAIN_RANGES: dict[str, Callable[[Tensor], tuple[float, float]]] = {"extremes": _extremes, "percentile": _percentile}


def range_on_floor(floor: float, high: float) -> tuple[float, float]:
    """A range from ``floor`` to ``high`` or a little more, on whose grid both 0 and ``floor`` lie exactly."""
    below = math.floor(-floor / (high - floor) * LEVELS) if floor < high else 0
    if not 0 < below < LEVELS:
        return min(floor, 0.0), max(high, 0.0)
    step = -floor / below
    return floor, (LEVELS - below) * step


def ranges_around_beta(scaled: Tensor, beta: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of GRN's product (never below -beta) and of its sum with beta behind ReLU, on one grid.

    Beta is made a whole number of steps, so that adding it rounds nothing a second time.
    """
    low = min(-beta, 0.0)
    some = sample(scaled)

    def error(high: float) -> float:
        return float((rounded(some, low, high) - some).square().mean())

    largest = max(float(scaled.max()), abs(beta), 1e-6)
    high = min(min((largest * share for share in _SHARES), key=error) * MARGIN, largest * BEYOND)
    step = (high - low) / LEVELS
    steps = round(abs(beta) / step)
    if steps:
        step = abs(beta) / steps
    low = -steps * step if beta > 0 else 0.0
    return (low, low + LEVELS * step), (0.0, LEVELS * step)


@torch.no_grad()
def set_statistics_ranges(layer: QuantGRN, x: Tensor, gain: Tensor, weight: Tensor) -> None:
    """Set the ranges of ``layer`` from ``square`` to ``gain``, one after the other, each for the least error of gain.

    Args:
        x: the layer's input as rounded so far (batch, channels, height, width).
        gain: what its gain should be (batch, channels, 1, 1); ``weight``: how much each error counts, same shape.
    """
    for r in layer.ranges.values():
        r.rounding = False

    def error(power: Tensor) -> float:
        return float(((layer.statistics(power)["gain"] - gain).square() * weight).mean())

    _search(layer.ranges["square"], float((x * x).max()), lambda: error(layer.power(x)), _ROOMS["square"])
    raw = layer.power(x)
    for stage in layer.STATISTICS:
        largest = float(layer.statistics(raw)[stage].max())
        if stage == "inverse_norm":  # 1 / 0 has no largest
            alive = layer.statistics(raw)["power"]
            largest = float(torch.rsqrt(alive[alive > 0].min()))
        _search(layer.ranges[stage], largest, lambda: error(raw), _ROOMS[stage])


def _search(r: Range, largest: float, error: Callable[[], float], rooms: Sequence[float]) -> None:
    """Give ``r`` the best of [0, room * largest]."""
    r.rounding = True

    def trial(high: float) -> float:
        r.set(0.0, high)
        return error()

    r.set(0.0, min((room * largest for room in rooms), key=trial) if len(rooms) > 1 else rooms[0] * largest)
