"""Reference kernels: reductions and softmax, which combine elements along axes."""

from __future__ import annotations

import math

import numpy as np

from .. import ops
from ..arith import (
    Rounding,
    inverse_root_factor,
    mean_double,
    mean_single,
    requantise,
    rescale_double,
    sum_double,
    sum_single,
)
from ..arrays import I8
from ..graph import Graph, Node
from ..lookup_tables import LogSoftmax, exponentials_double, exponentials_single, softmax_double, softmax_single
from .common import Arrays, Kernel


def reduce(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """The largest and the smallest code are the same under both rules."""
    op = node.op
    assert isinstance(op, ops.Reduce)
    if ops.selects_codes(op):
        extreme: I8 = (np.max if op.kind == "max" else np.min)(arrays[0], axis=op.axes, keepdims=op.keep_dims)
        return extreme
    x, out = graph.ins(node)[0].quant, graph.out(node).quant
    count = math.prod(arrays[0].shape[axis] for axis in op.axes)
    total = arrays[0].sum(axis=op.axes, keepdims=op.keep_dims, dtype=np.int64)
    if rounding == "single":
        return (mean_single if op.kind == "mean" else sum_single)(x, out, count).codes(total)
    rescale = mean_double(x, out, count) if op.kind == "mean" else sum_double(x, out)
    return requantise(total - count * x.zero_point, rescale, out, relu=False, rounding=rounding)


def softmax(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    assert isinstance(node.op, ops.Softmax)
    x, quant, beta = arrays[0].astype(np.int64), graph.ins(node)[0].quant, node.op.beta
    distances = (x.max(axis=-1, keepdims=True) - x).reshape(-1, x.shape[-1])
    if rounding == "double":
        return softmax_double(distances, exponentials_double(quant, beta)).reshape(x.shape)
    return softmax_single(distances, exponentials_single(quant, beta)).reshape(x.shape)


def log_softmax(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """The same under both rules."""
    x = arrays[0].astype(np.int64)
    distances = (x.max(axis=-1, keepdims=True) - x).reshape(-1, x.shape[-1])
    return LogSoftmax.of(graph.ins(node)[0].quant).codes(distances).reshape(x.shape)


def l2_norm(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """The same under both rules: a fixed-point root of the sum of squares, and two roundings."""
    x = arrays[0].astype(np.int64) - graph.ins(node)[0].quant.zero_point
    rows = x.reshape(-1, x.shape[-1])
    factors = np.array([inverse_root_factor(total) for total in (rows * rows).sum(axis=1).tolist()], np.int64)
    codes = rescale_double(rows, factors[:, :1], 7 - factors[:, 1:])  # in steps of 1/128
    return np.clip(codes, -128, 127).astype(np.int8).reshape(x.shape)


ROWS: dict[type, Kernel] = {ops.L2Norm: l2_norm, ops.LogSoftmax: log_softmax, ops.Reduce: reduce, ops.Softmax: softmax}
