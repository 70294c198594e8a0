"""Reference kernels: matrix products."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..accumulators import accumulator_bounds
from ..arith import (
    Rounding,
)
from ..arrays import I8, I64
from ..graph import Graph, Node
from .common import EXACT_F32, Arrays, Kernel, centred, requantised


def fully_connected_accumulator(graph: Graph, node: Node, arrays: Arrays) -> I64:
    """As conv2d_accumulator, int64 (N, ..., O)."""
    x, weight, bias = arrays
    x_t, weight_t, bias_t = graph.ins(node)
    dtype = np.float32 if accumulator_bounds(x_t, weight_t, bias_t, 0).max() < EXACT_F32 else np.float64
    acc: I64 = (centred(x, x_t.quant.zero_point, (0, 0, 0, 0), dtype) @ weight.T.astype(dtype)).astype(np.int64) + bias
    return acc


def fully_connected(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    return requantised(graph, node, fully_connected_accumulator(graph, node, arrays), rounding)


def batch_matmul(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """Sums of at most 2^31 are exact in float64."""
    op, operands = node.op, []
    assert isinstance(op, ops.BatchMatMul)
    for codes, tensor, adjoint in zip(arrays, graph.ins(node), (op.adj_x, op.adj_y), strict=True):
        values = codes.astype(np.float64) - tensor.quant.zero_point
        operands.append(values.swapaxes(-1, -2) if adjoint else values)
    return requantised(graph, node, (operands[0] @ operands[1]).astype(np.int64), rounding)


ROWS: dict[type, Kernel] = {ops.FullyConnected: fully_connected, ops.BatchMatMul: batch_matmul}
