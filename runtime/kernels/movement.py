"""Reference kernels: operations that only move elements."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..arith import (
    Rounding,
)
from ..arrays import I8
from ..graph import Graph, Node
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
}
