"""How far the accumulators of layers with weights can reach, from the constants of a graph alone."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import ops
from .graph import Graph, Node, Tensor


def accumulator_reach(graph: Graph, node: Node) -> npt.NDArray[np.int64]:
    """:func:`accumulator_bounds` of a node with a weight."""
    x, weight, bias = graph.ins(node)
    return accumulator_bounds(x, weight, bias, ops.weight_channel_axis(node.op))


def wraps_around(graph: Graph, node: Node) -> bool:
    """Whether accumulators of a node can leave int32, modulo which every engine adds: biases of a layer behind one
    whose scale has no meaning do."""
    if not ops.has_weight(node.op):
        return False
    weight, bias = graph.ins(node)[1:]
    assert bias.data is not None
    products = math.prod(weight.shape) // weight.shape[ops.weight_channel_axis(node.op)] * 128 * 255
    largest_bias = int(np.abs(bias.data.astype(np.int64)).max())
    return products + largest_bias >= 2**31 and bool(accumulator_reach(graph, node).max() >= 2**31)


def accumulator_bounds(x: Tensor, weight: Tensor, bias: Tensor, channel_axis: int) -> npt.NDArray[np.int64]:
    """Largest magnitude of the sum of each output channel, for any input; int64 (channels,)."""
    assert weight.data is not None
    assert bias.data is not None
    axes = tuple(a for a in range(len(weight.shape)) if a != channel_axis)
    largest = max(127 - x.quant.zero_point, 128 + x.quant.zero_point)
    total = np.abs(weight.data.astype(np.int64)).sum(axis=axes) * largest + np.abs(bias.data.astype(np.int64))
    return np.asarray(total, np.int64)
