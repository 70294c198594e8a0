"""What ONNX Runtime's kernels for x86-64 compute where they round otherwise than XNNPACK, in NumPy.

Found by comparison of every code on random ops (tests/export/verify/test_ort_arithmetic.py). ``offset`` is 128 for
files with uint8 codes, 0 for int8: zero points enter the float32 sums, so that they change near-ties.
"""

from __future__ import annotations

import math

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arrays import F32, F64, I8
from tinyscene.runtime.kernels import ACCUMULATORS, operands

from .diagnose import ObservedOp

F = np.float32


def layer(observed: ObservedOp) -> tuple[F64, float]:
    """Exact values of a layer with weights in steps of a code, and the largest error of float32.

    ONNX Runtime multiplies the accumulator by one float32 factor; behind a ReLU whose zero point is not the lowest code
    it sums real values. A sum of n products has at most n + 8 roundings of numbers up to the sum of their magnitudes.
    """
    x, weight, bias = observed.arrays
    channel_axis = 3 if isinstance(observed.node.op, ops.DepthwiseConv2D) else 0
    out = observed.graph.out(observed.node).quant
    factor = observed.quant(0).scale[0] * np.asarray(observed.quant(1).scale, np.float64) / out.scale[0]
    acc = ACCUMULATORS[type(observed.node.op)](observed.graph, observed.node, observed.arrays)
    taps = np.moveaxis(np.abs(weight.astype(np.int64)), channel_axis, 0).reshape(weight.shape[channel_axis], -1)
    largest = np.abs(x.astype(np.int64) - observed.quant(0).zero_point).max()
    magnitude = taps.sum(axis=1) * largest + np.abs(bias.astype(np.int64))
    error = (taps.shape[1] + 8) * 2.0**-24 * (magnitude * factor).max()
    return acc * factor, float(error)


def added(observed: ObservedOp, offset: int) -> I8:
    """The zero points of a sum are one float32 number, to which the second operand is added first."""
    (a, b), out = (observed.quant(i) for i in (0, 1)), observed.graph.out(observed.node).quant
    x, y = (each + offset for each in operands(observed.graph, observed.node, observed.arrays))
    ratio_a, ratio_b = F(a.scale[0]) / F(out.scale[0]), F(b.scale[0]) / F(out.scale[0])
    zeros = ratio_a * F(a.zero_point + offset) + ratio_b * F(b.zero_point + offset)
    total = x.astype(F) * ratio_a + (y.astype(F) * ratio_b + (F(out.zero_point + offset) - zeros))
    return observed.saturated(np.rint(total) - offset)


def subtracted(observed: ObservedOp) -> I8:
    """Real values in float32, quantised."""
    return _quantised(observed, _difference(observed))


def squared_difference(observed: ObservedOp) -> I8:
    """Real values in float32, quantised."""
    return _quantised(observed, _difference(observed) ** 2)


def _difference(observed: ObservedOp) -> F32:
    a, b = (observed.quant(i) for i in (0, 1))
    x, y = operands(observed.graph, observed.node, observed.arrays)
    real: F32 = (x - a.zero_point).astype(F) * F(a.scale[0]) - (y - b.zero_point).astype(F) * F(b.scale[0])
    return real


def _quantised(observed: ObservedOp, real: F32) -> I8:
    out = observed.graph.out(observed.node).quant
    return observed.saturated(np.rint(real / F(out.scale[0])) + out.zero_point)


def mean(observed: ObservedOp) -> I8:
    """The integer sum times one float32 factor, of which the count is a part, also of a sum over axes."""
    op, x, out = observed.node.op, observed.quant(0), observed.graph.out(observed.node).quant
    assert isinstance(op, ops.Reduce)
    count = math.prod(observed.arrays[0].shape[axis] for axis in op.axes)
    total = observed.arrays[0].sum(axis=op.axes, keepdims=op.keep_dims, dtype=np.int64) - count * x.zero_point
    mean_scale = F(out.scale[0]) / F(count) if op.kind == "sum" else F(out.scale[0])
    factor = F(x.scale[0]) / (mean_scale * F(count))
    return observed.saturated(np.rint(total.astype(F) * factor) + out.zero_point)


def averaged(observed: ObservedOp, offset: int) -> I8:
    """Real values in float32, summed in the order of the window; the zero point is added before the rounding."""
    op, quant = observed.node.op, observed.quant(0)
    assert isinstance(op, ops.Pool2D)
    top, left, bottom, right = op.pads
    margin = ((0, 0), (top, bottom), (left, right), (0, 0))
    real = (observed.arrays[0].astype(np.int64) - quant.zero_point).astype(F) * F(quant.scale[0])
    total, count = (_sum_of_windows(np.pad(each, margin), op) for each in (real, np.ones_like(real[:1])))
    return observed.saturated(np.rint(total / count / F(quant.scale[0]) + F(quant.zero_point + offset)) - offset)


def _sum_of_windows(x: F32, op: ops.Pool2D) -> F32:
    windows = np.lib.stride_tricks.sliding_window_view(x, op.kernel, (1, 2))[:, :: op.stride[0], :: op.stride[1]]
    total: F32 = np.zeros(windows.shape[:4], F)
    for row, column in np.ndindex(op.kernel):
        total = total + windows[..., row, column]
    return total
