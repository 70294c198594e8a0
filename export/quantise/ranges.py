"""Search the range of an activation: the interval of its 256 codes with the least error on calibration values.

Clipping an extreme value may cost less than the larger step that would represent it. For the statistics of GRN the
error that counts is that of the gain computed from them, not their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .activation_range import LEVELS, Range
from .fake_quant import QuantGRN

Interval = tuple[float, float]  # low and high
MARGIN = 1.4
BEYOND = 1.1  # times the extremes of the calibration values: no range is wider
BATCH = 16  # clips in the memory of an operation
_SAMPLE = 65536
_SHARES: list[float] = torch.logspace(0.0, -1.0, 28, base=4).tolist()  # of the extreme: 1 ... 1/4
# Candidate ranges for the statistics of GRN, as multiples of the largest calibration value. Squares and inverse norms
# have long tails that matter little and may be clipped. The others keep every calibration value, since a statistic that
# saturates changes a whole clip; how much room they need beyond that depends on how different the clips are.
_CANDIDATES: dict[str, tuple[float, ...]] = {
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
    """At most ``count`` values of ``x`` (any shape), drawn at random with a fixed seed."""
    flat = x.flatten()
    if flat.numel() <= count:
        return flat
    return flat[torch.randint(flat.numel(), (count,), generator=torch.Generator().manual_seed(0))]


def rounded(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` rounded to the 256 codes of [low, high]."""
    scale = max((high - low) / LEVELS, 1e-8)
    zero_point = min(max(round(-128 - low / scale), -128), 127)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -128, 127)


def least_error_range(values: Tensor, error: Callable[[float, float], float] | None = None) -> Interval:
    """The range within the extremes of ``values`` of least ``error(low, high)``; by default the mean square error.

    Both ends are searched in turn, twice, then moved out by ``MARGIN``: clipping affects the whole clip, while rounding
    errors average out over it, and other clips have larger values.
    """
    lowest, highest = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if error is None:
        some = sample(values)

        def error(low: float, high: float) -> float:
            return float((rounded(some, low, high) - some).square().mean())

    low, high = lowest, highest
    for _ in range(2 if lowest < 0 < highest else 1):
        if highest > 0:
            high = min((highest * share for share in _SHARES), key=lambda v: error(low, v))
        if lowest < 0:
            low = min((lowest * share for share in _SHARES), key=lambda v: error(v, high))
    return max(low * MARGIN, lowest * BEYOND), min(high * MARGIN, highest * BEYOND)


_PERCENTILE = 0.0001  # share of the values that is clipped at each end


def _extremes(values: Tensor) -> Interval:
    return float(values.min()), float(values.max())


def _percentile(values: Tensor) -> Interval:
    ends = torch.quantile(sample(values), torch.tensor([_PERCENTILE, 1.0 - _PERCENTILE]))
    return float(ends[0]), float(ends[1])


PLAIN_RANGES: dict[str, Callable[[Tensor], Interval]] = {"extremes": _extremes, "percentile": _percentile}


def range_on_floor(floor: float, high: float) -> Interval:
    """A range from ``floor`` to ``high`` or a little more, with exact codes for 0 and for ``floor``."""
    below = math.floor(-floor / (high - floor) * LEVELS) if floor < high else 0
    if not 0 < below < LEVELS:
        return min(floor, 0.0), max(high, 0.0)
    step = -floor / below
    return floor, (LEVELS - below) * step


def ranges_around_beta(scaled: Tensor, beta: float) -> tuple[Interval, Interval]:
    """Ranges of GRN's product (never below -beta) and of its sum with beta after ReLU, on one grid.

    Beta is a whole number of steps, so that adding it needs no second rounding.
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
        x: the layer's rounded input (batch, channels, height, width).
        gain: the float layer's gain (batch, channels, 1, 1).
        weight: of each error, same shape.
    """
    layer.round_stages(False)

    def power() -> Tensor:
        return torch.cat([layer.power(batch) for batch in torch.split(x, BATCH)])

    def error(power: Tensor) -> float:
        return float(((layer.statistics(power)["gain"] - gain).square() * weight).mean())

    _search(layer.range_of("square"), float(x.abs().max()) ** 2, lambda: error(power()), _CANDIDATES["square"])
    raw = power()
    for stage in layer.STATISTICS:
        largest = float(layer.statistics(raw)[stage].max())
        if stage == "inverse_norm":  # 1 / 0 has no largest value
            alive = layer.statistics(raw)["power"]
            largest = float(torch.rsqrt(alive[alive > 0].min()))
        _search(layer.range_of(stage), largest, lambda: error(raw), _CANDIDATES[stage])


def _search(r: Range, largest: float, error: Callable[[], float], candidates: Sequence[float]) -> None:
    """Set ``r`` to the interval [0, candidate * largest] of least error."""
    r.rounding = True

    def trial(high: float) -> float:
        r.set(0.0, high)
        return error()

    ends = [candidate * largest for candidate in candidates]
    r.set(0.0, min(ends, key=trial) if len(ends) > 1 else ends[0])
