"""Reference kernels: operations that only move elements."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..arith import (
    Rounding,
)
from ..arrays import I8
from ..graph import Graph, Node
from ..resize_tables import WEIGHT_BITS, linear_places, nearest_places, weighted_mean
from .common import Arrays, Kernel


def reshape(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    codes: I8 = arrays[0].reshape(len(arrays[0]), *graph.out(node).shape[1:])
    return codes


def transpose(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    assert isinstance(node.op, ops.Transpose)
    return np.ascontiguousarray(arrays[0].transpose(node.op.order))


def pad(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    op = node.op
    assert isinstance(op, ops.Pad)
    return np.pad(arrays[0], list(zip(op.before, op.after, strict=True)), constant_values=op.code)


def slice_(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    op, codes = node.op, arrays[0]
    assert isinstance(op, ops.Slice)
    for axis in range(1, codes.ndim):
        places = op.begin[axis] + op.step[axis] * np.arange(op.size[axis])
        codes = codes.take(places, axis)
    return codes


def resize(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    op, x = node.op, arrays[0]
    assert isinstance(op, ops.Resize)
    if op.kind == "nearest":
        rows, columns = (nearest_places(x.shape[1 + i], op.size[i], op.grid) for i in (0, 1))
        return x.take(rows, 1).take(columns, 2)
    one, total = 1 << WEIGHT_BITS[rounding], x.astype(np.int64)
    for axis, count in zip((2, 1), op.size[::-1], strict=True):
        lower, upper, weight = linear_places(x.shape[axis], count, op.grid, rounding)
        weight = weight.reshape([-1 if at == axis else 1 for at in range(4)])
        total = total.take(lower, axis) * (one - weight) + total.take(upper, axis) * weight
    return weighted_mean(total, rounding)


def concat(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """A constant part is repeated for each entry of the batch."""
    assert isinstance(node.op, ops.Concat)
    batch = max(len(array) for array in arrays)
    parts = [np.broadcast_to(array, (batch, *array.shape[1:])) for array in arrays]
    codes: I8 = np.concatenate(parts, axis=node.op.axis)
    return codes


ROWS: dict[type, Kernel] = {
    ops.Reshape: reshape,
    ops.Transpose: transpose,
    ops.Pad: pad,
    ops.Slice: slice_,
    ops.Concat: concat,
    ops.Resize: resize,
}
