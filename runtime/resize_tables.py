"""Places and weights of a resize along one axis, as the engines compute them; places in parts of one step.

``double`` equals TensorFlow Lite Micro and the reference kernels: places in fixed point with 10 fractional bits.
``single`` equals XNNPACK: places in float32, weights of 11 bits. The nearest places are the same in all of them.
Source: byte-wise comparison (tests/export/formats/test_tflite_resize.py).
"""

from __future__ import annotations

import numpy as np

from . import ops
from .arith import Rounding, rounding_shift_right
from .arrays import F32, I8, I64

WEIGHT_BITS: dict[Rounding, int] = {"double": 10, "single": 11}


def nearest_places(size: int, count: int, grid: ops.Grid) -> I64:
    """int64 (count,): for each output the place in an input of this size."""
    real = (np.arange(count, dtype=np.float32) + np.float32(0.5 * (grid == "half_pixel"))) * _step(size, count, grid)
    places = np.floor(real + np.float32(0.5)) if grid == "align_corners" else np.floor(real)
    inside: I64 = np.clip(places.astype(np.int64), 0, size - 1)
    return inside


def runs(places: list[int]) -> list[list[int]]:
    """Places of an axis in parts of which each has one step."""
    parts: list[list[int]] = []
    for place in places:
        last = parts[-1] if parts else []
        if len(last) == 1 or (last and place - last[-1] == last[1] - last[0]):
            last.append(place)
        else:
            parts.append([place])
    return parts


def linear_places(size: int, count: int, grid: ops.Grid, rounding: Rounding) -> tuple[I64, I64, I64]:
    """int64 (count,) each: the lower and the upper place, and the weight of the upper, of 2^:data:`WEIGHT_BITS`."""
    return _fixed(size, count, grid) if rounding == "double" else _float(size, count, grid)


def weighted_mean(total: I64, rounding: Rounding) -> I8:
    """A sum of codes times two weights as a code: half away from zero, or half up."""
    bits = 2 * WEIGHT_BITS[rounding]
    if rounding == "double":
        return rounding_shift_right(total, np.asarray(bits, np.int64)).astype(np.int8)
    mean: I8 = ((total + (1 << (bits - 1))) >> bits).astype(np.int8)
    return mean


def _step(size: int, count: int, grid: ops.Grid) -> np.float32:
    """Input elements from one output to the next."""
    between = 1 if grid == "align_corners" and count > 1 else 0
    return np.float32(size - between) / np.float32(count - between)


def _fixed(size: int, count: int, grid: ops.Grid) -> tuple[I64, I64, I64]:
    step, offset = ops.fixed_steps(size, count, grid)
    places = np.arange(count, dtype=np.int64) * step + offset
    lower = np.maximum(places, 0) >> 10
    upper = np.minimum(np.maximum(places + 1023, 0) >> 10, size - 1)
    return lower, upper, places - (lower << 10)


def _float(size: int, count: int, grid: ops.Grid) -> tuple[I64, I64, I64]:
    step = _step(size, count, grid)
    real: F32 = np.arange(count, dtype=np.float32) * step
    if grid == "half_pixel":
        real = np.clip(real + (np.float32(0.5) * step - np.float32(0.5)), np.float32(0), np.float32(size - 1))
    lower = np.minimum(real.astype(np.int64), size - 1)
    weight = np.rint((real - lower.astype(np.float32)) * np.float32(2048)).astype(np.int64)
    return lower, np.minimum(lower + 1, size - 1), weight
