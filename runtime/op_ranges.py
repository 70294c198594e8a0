"""Scales and zero points that each op allows: the ranges in which every engine defines its result.

XNNPACK's are the narrowest for ratios of scales; the tables of one code are bounded by the fixed point of TFLite's
reference kernels. Refuses nothing itself: :meth:`tinyscene.runtime.graph.Graph.check` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import ops

if TYPE_CHECKING:
    from .graph import Tensor

PROBABILITY_SCALE, PROBABILITY_ZERO_POINT = 1 / 256, -128  # output of softmax and logistic: 0 to 255/256
LOGISTIC_SCALE_BELOW = 4.0
Problem = tuple[str, object, object]  # what, expected, got


def quantisation_problem(op: ops.Op, ins: Sequence[Tensor], out: Tensor) -> Problem | None:
    """What is wrong with the scales and zero points of an op's activations, or None."""
    if isinstance(op, ops.Rsqrt) and ins[0].quant.zero_point != -128:
        return "input may be negative", "zero point -128", ins[0].quant.zero_point
    return _fixed_codes_problem(op, ins, out) or _range_problem(op, ins, out)


def _fixed_codes_problem(op: ops.Op, ins: Sequence[Tensor], out: Tensor) -> Problem | None:
    """Ops that keep their input's scale and zero point, and those with fixed ones."""
    function = op.function if isinstance(op, ops.Lookup) else None
    got = (out.quant.scale, out.quant.zero_point)
    allowed: list[tuple[tuple[float, ...], int]]
    if isinstance(op, ops.Softmax) or function == "logistic":
        allowed = [((PROBABILITY_SCALE,), PROBABILITY_ZERO_POINT)]
    elif _keeps_codes(op) or function == "relu6":
        allowed = [(tensor.quant.scale, tensor.quant.zero_point) for tensor in ins]
    else:
        return None
    return next((("output scale and zero point", expected, got) for expected in allowed if got != expected), None)


def _keeps_codes(op: ops.Op) -> bool:
    """Whether the op's output codes mean what its input codes mean."""
    return isinstance(op, ops.Pool2D | ops.Reshape | ops.Concat) or ops.selects_codes(op)


def _range_problem(op: ops.Op, ins: Sequence[Tensor], out: Tensor) -> Problem | None:
    what, low, high, factors = _range(op, ins, out)
    if not factors.size or (factors.min() >= low and factors.max() < high):
        return None
    return what, f"{low:g} to {high:g}", f"{factors.min():g} to {factors.max():g}"


def _range(op: ops.Op, ins: Sequence[Tensor], out: Tensor) -> tuple[str, float, float, npt.NDArray[np.float64]]:
    """Name of the factor, its range without the upper end, and its values; no values for ops without a factor."""
    first, out_scale = np.asarray(ins[0].quant.scale, np.float64), out.quant.scale[0]
    ratio = "scale ratio out of bounds"
    if _keeps_codes(op):
        return ratio, 0.0, 0.0, first[:0]
    if isinstance(op, ops.Softmax):  # the fixed point of the exponent has 26 fractional bits
        return "input scale of softmax out of bounds", 2.0**-26, 2.0**16, first
    if isinstance(op, ops.Rsqrt):  # the shifts of TFLite's multiplier, after the 20 fractional bits of the root
        what, factor = "scale ratio 1 / (sqrt(input) x output) out of bounds", 1 / (np.sqrt(first) * out_scale)
        return what, 2.0**-12, 2.0**30, factor
    if isinstance(op, ops.Add | ops.Sub):
        return ratio, 2.0**-10, 256.0, np.array([t.quant.scale[0] / out_scale for t in ins])
    if isinstance(op, ops.Lookup):
        return _lookup_range(op, first, out_scale)
    if isinstance(op, ops.Reduce):
        return ratio, 2.0**-32, 256.0, first / out_scale
    return ratio, 2.0**-32, 256.0, first * np.asarray(ins[1].quant.scale) / out_scale


def _lookup_range(
    op: ops.Lookup, first: npt.NDArray[np.float64], out_scale: float
) -> tuple[str, float, float, npt.NDArray[np.float64]]:
    """The fixed point of TFLite Micro's logistic has 4 integer bits.

    From a scale of 8 on one code is beyond them, and the table is wrong by up to 128 codes; at a scale of 4 it is wrong
    by 4 to 5, below 4 by at most 1 (tests/runtime/test_graph.py).
    """
    if op.function == "logistic":
        what = "input scale of logistic out of bounds: from 4 on (inputs of +-512) TFLite Micro's table is inexact"
        return what, 2.0**-20, LOGISTIC_SCALE_BELOW, first
    return "scale ratio out of bounds", 2.0**-8, 128.0, first / out_scale
