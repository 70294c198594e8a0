"""Scales and zero points that each op allows: the ranges in which its arithmetic is defined.

An engine with narrower ranges has rows in :mod:`.engine_ranges`. Refuses nothing itself:
:meth:`tinyscene.runtime.graph.Graph.check` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import ops
from .lstm_ranges import lstm_problem

if TYPE_CHECKING:
    from .graph import Tensor

PROBABILITY_SCALE, PROBABILITY_ZERO_POINT = 1 / 256, -128  # output of softmax and logistic: 0 to 255/256
TANH_SCALE = 1 / 128  # and zero point 0; also of L2 normalisation
SQUARE_HEADROOM_BITS = 7  # of each operand of TFLite's int8 SQUARED_DIFFERENCE
RATIO_BELOW = 2.0**14  # a difference of codes times the power of two in the ratio fits int32
SUM_RATIO_BELOW = 2.0**18  # TFLite's kernels end the process with a factor from 1 on behind their 20 fractional bits
WRAPPING_RATIO_BELOW = 2.0**30  # TFLite shifts products by up to 30 bits to the left, and they wrap around
LOG_PROBABILITY_SCALE, LOG_PROBABILITY_ZERO_POINT = 1 / 16, 127  # output of log softmax: -255/16 to 0
Problem = tuple[str, object, object]  # what, expected, got


def quantisation_problem(op: ops.Op, ins: Sequence[Tensor], out: Tensor) -> Problem | None:
    """What is wrong with the scales and zero points of an op's activations, or None."""
    if isinstance(op, ops.BatchMatMul):
        reach = ops.matrix(ins[0].shape, op.adj_x)[1] * _largest(ins[0]) * _largest(ins[1])
        if reach >= 2**31:
            return "accumulator can overflow int32", "below 2^31", reach
    if isinstance(op, ops.Softmax) and op.beta != np.float32(op.beta):
        return "beta of softmax", "a float32", op.beta
    if isinstance(op, ops.Lstm):
        return lstm_problem(ins, out)
    roots = isinstance(op, ops.Rsqrt) or (isinstance(op, ops.Lookup) and op.function in ("log", "sqrt"))
    if roots and ins[0].quant.zero_point != -128:
        return "input may be negative", "zero point -128", ins[0].quant.zero_point
    if isinstance(op, ops.Lookup):
        wrong = _function_problem(op, ins[0], out)
        if wrong is not None:
            return wrong
    if isinstance(op, ops.Table) and (ins[1].data is None or ins[1].dtype != "int8" or ins[1].quant != out.quant):
        return "table", "an int8 constant with the output's scale and zero point", ins[1].record
    return _fixed_codes_problem(op, ins, out) or _range_problem(op, ins, out)


def _function_problem(op: ops.Lookup, x: Tensor, out: Tensor) -> Problem | None:
    """The 16 bits of HARD_SWISH, and the 32 bits of RELU_N1_TO_1's limits in codes."""
    if op.alpha != float(np.float32(op.alpha)):
        return "alpha", "a float32", op.alpha
    if op.function == "hard_swish" and not 2.0**-20 <= x.quant.scale[0] < 2.0**16:
        return "input scale of hard_swish out of bounds", "2^-20 to 2^16", x.quant.scale[0]
    if op.function == "relu_n1_to_1" and out.quant.scale[0] < 2.0**-30:
        return "output scale of relu_n1_to_1 out of bounds", "2^-30 and above", out.quant.scale[0]
    return None


def _fixed_codes_problem(op: ops.Op, ins: Sequence[Tensor], out: Tensor) -> Problem | None:
    """Ops that keep their input's scale and zero point, and those with fixed ones."""
    function = op.function if isinstance(op, ops.Lookup) else None
    got = (out.quant.scale, out.quant.zero_point)
    allowed: list[tuple[tuple[float, ...], int]]
    if (fixed := fixed_codes(op)) is not None:
        allowed = [((fixed[0],), fixed[1])]
    elif function == "neg":
        allowed = [(ins[0].quant.scale, -ins[0].quant.zero_point)]
    elif keeps_codes(op) or function == "relu6":
        allowed = [(tensor.quant.scale, tensor.quant.zero_point) for tensor in ins]
    else:
        return None
    return next((("output scale and zero point", expected, got) for expected in allowed if got != expected), None)


def _largest(x: Tensor) -> int:
    """The largest distance of a code from the zero point."""
    return max(127 - x.quant.zero_point, 128 + x.quant.zero_point)


def fixed_codes(op: ops.Op) -> tuple[float, int] | None:
    """The only scale and zero point that the op's output can have, or None."""
    if isinstance(op, ops.Softmax) or (isinstance(op, ops.Lookup) and op.function == "logistic"):
        return PROBABILITY_SCALE, PROBABILITY_ZERO_POINT
    if isinstance(op, ops.LogSoftmax):
        return LOG_PROBABILITY_SCALE, LOG_PROBABILITY_ZERO_POINT
    if isinstance(op, ops.L2Norm) or (isinstance(op, ops.Lookup) and op.function == "tanh"):
        return TANH_SCALE, 0
    return None


def keeps_codes(op: ops.Op) -> bool:
    """Whether the op's output codes mean what its input codes mean."""
    return isinstance(op, ops.Pool2D | ops.Movement | ops.Extremum) or ops.selects_codes(op)


def _range_problem(op: ops.Op, ins: Sequence[Tensor], out: Tensor) -> Problem | None:
    what, low, high = _range(op)
    factors = scale_factors(op, ins, out)
    if not factors.size or (factors.min() >= low and factors.max() < high):
        return None
    return what, f"{low:g} to {high:g}", f"{factors.min():g} to {factors.max():g}"


def _range(op: ops.Op) -> tuple[str, float, float]:
    """Name of an op's factor, and its range without the upper end."""
    if isinstance(op, ops.Softmax):  # the fixed point of the exponent has 26 fractional bits
        return "input scale times beta of softmax out of bounds", 2.0**-26, 2.0**16
    if isinstance(op, ops.LogSoftmax):  # TFLite's kernels end the process with a multiplier from 1 on
        return "input scale of log softmax out of bounds", 2.0**-25, 2.0**16
    if isinstance(op, ops.Rsqrt):  # the shifts of TFLite's multiplier, after the 20 fractional bits of the root
        return "scale ratio 1 / (sqrt(input) x output) out of bounds", 2.0**-12, 2.0**30
    if isinstance(op, ops.Lookup) and op.function in ("logistic", "tanh"):
        return f"input scale of {op.function} out of bounds", 2.0**-20, 2.0**16
    if isinstance(op, ops.Lookup) and op.function == "hard_swish":
        return "scale ratio out of bounds", 2.0**-8, 128.0
    if isinstance(op, ops.SquaredDifference):  # TFLite's kernels end the process with a multiplier from 1 on
        return "square of the scales / output out of bounds", 0.0, 1.0
    return "scale ratio out of bounds", 0.0, _ratio_below(op)


def _ratio_below(op: ops.Op) -> float:
    if isinstance(op, ops.Reduce):
        return 256.0
    if isinstance(op, ops.Add | ops.Sub):
        return SUM_RATIO_BELOW
    wraps = ops.has_weight(op) or isinstance(op, ops.Mul | ops.BatchMatMul)
    if wraps or (isinstance(op, ops.Lookup) and op.function in ("requantise", "relu", "leaky_relu")):
        return WRAPPING_RATIO_BELOW
    return RATIO_BELOW


def scale_factors(op: ops.Op, ins: Sequence[Tensor], out: Tensor) -> npt.NDArray[np.float64]:
    """The factors from input to output codes that an op rounds with; none for ops that move codes."""
    first, out_scale = np.asarray(ins[0].quant.scale, np.float64), out.quant.scale[0]
    function = op.function if isinstance(op, ops.Lookup) else None
    if (
        keeps_codes(op)
        or isinstance(op, ops.Table | ops.Lstm | ops.L2Norm)
        or function in ("exp", "log", "sqrt", "gelu", "gelu_tanh")
    ):
        return first[:0]
    if isinstance(op, ops.Softmax):
        return np.asarray(first * op.beta)
    if isinstance(op, ops.LogSoftmax) or function in ("logistic", "tanh"):
        return first
    if isinstance(op, ops.Lookup) and function == "leaky_relu":
        return np.concatenate([first, first * abs(op.alpha)]) / out_scale
    if isinstance(op, ops.Rsqrt):
        return 1 / (np.sqrt(first) * out_scale)
    if isinstance(op, ops.SquaredDifference):
        common = 2.0 * max(t.quant.scale[0] for t in ins)
        return np.array([common * common / (4**SQUARE_HEADROOM_BITS * out_scale)])
    if isinstance(op, ops.Add | ops.Sub):
        return np.array([t.quant.scale[0] / out_scale for t in ins])
    if isinstance(op, ops.PRelu):
        return np.array([first[0], first[0] * ins[1].quant.scale[0]]) / out_scale
    if isinstance(op, ops.Lookup | ops.Reduce):
        return first / out_scale
    return np.asarray(first * np.asarray(ins[1].quant.scale) / out_scale)
