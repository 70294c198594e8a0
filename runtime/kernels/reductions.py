"""Reference kernels: means and softmax, which combine elements along axes."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..arith import (
    Rounding,
    mean_double,
    mean_single,
    requantise,
)
from ..arrays import I8
from ..graph import Graph, Node
from ..lookup_tables import exponentials_double, exponentials_single, softmax_double, softmax_single
from .common import Arrays, Kernel


def mean(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    op = node.op
    assert isinstance(op, ops.Mean)
    x, out = graph.ins(node)[0].quant, graph.out(node).quant
    axes = (1, 2) if op.over == "space" else (3,)
    count = int(np.prod([arrays[0].shape[a] for a in axes]))
    total = arrays[0].sum(axis=axes, keepdims=op.keep_dims, dtype=np.int64)
    if rounding == "single":
        return mean_single(x, out, count).codes(total)
    return requantise(total - count * x.zero_point, mean_double(x, out, count), out, relu=False, rounding=rounding)


def softmax(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    x, quant = arrays[0].astype(np.int64), graph.ins(node)[0].quant
    distances = (x.max(axis=-1, keepdims=True) - x).reshape(-1, x.shape[-1])
    if rounding == "double":
        return softmax_double(distances, exponentials_double(quant)).reshape(x.shape)
    return softmax_single(distances, exponentials_single(quant)).reshape(x.shape)


ROWS: dict[type, Kernel] = {ops.Mean: mean, ops.Softmax: softmax}
