"""Lowest and highest output code of each channel of layers with weights, for every input and under both rounding rules.

The bounds are those of interval arithmetic: a range may be wider than the codes that inputs reach, never narrower.
"""

from __future__ import annotations

import numpy as np

from . import ops
from .arith import ROUNDINGS
from .arrays import I64
from .graph import Graph, Node
from .kernels.common import requantised

Range = tuple[I64, I64]  # lowest and highest, each with one entry for each channel
_WHOLE: Range = (np.array([-128]), np.array([127]))


def code_ranges(graph: Graph) -> dict[str, Range]:
    """The range of each output of a layer with weights, by name, for a checked graph."""
    ranges: dict[str, Range] = {}
    for node in graph.nodes:
        if ops.has_weight(node.op):
            ranges[node.output] = _code_range(graph, node, ranges.get(node.inputs[0], _WHOLE))
    return ranges


def _code_range(graph: Graph, node: Node, codes: Range) -> Range:
    x, weight, _ = graph.ins(node)
    low, high = accumulator_range(graph, node, codes)
    factor = x.quant.scale[0] * np.asarray(weight.quant.scale, np.float64) / graph.out(node).quant.scale[0]
    wraps = np.maximum(np.abs(low), np.abs(high)) * 2.0 ** np.maximum(np.frexp(factor)[1], 0) >= 2**31
    ends = [requantised(graph, node, acc, rounding).astype(np.int64) for acc in (low, high) for rounding in ROUNDINGS]
    # beyond int32 codes do not ascend with the accumulator
    return np.where(wraps, -128, np.minimum.reduce(ends)), np.where(wraps, 127, np.maximum.reduce(ends))


def accumulator_range(graph: Graph, node: Node, codes: Range) -> Range:
    """Bounds of the accumulator of each output channel, for input codes in these ranges, one or one per channel."""
    x, weight, bias = graph.ins(node)
    assert weight.data is not None
    assert bias.data is not None
    low, high = (code - x.quant.zero_point for code in codes)
    if isinstance(node.op, ops.TransposeConv2D) or any(
        getattr(node.op, "pads", ())
    ):  # windows lack elements, or have 0
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    values, offset = weight.data.astype(np.int64), bias.data.astype(np.int64)
    if isinstance(node.op, ops.DepthwiseConv2D):
        low, high = (np.repeat(end, values.shape[3] // x.shape[3]) if len(end) > 1 else end for end in (low, high))
        positive, negative = (part.sum(axis=(0, 1, 2)) for part in (np.maximum(values, 0), np.minimum(values, 0)))
        return offset + positive * low + negative * high, offset + positive * high + negative * low
    if values.shape[-1] != len(low):  # the weight has another channel, or rows of several
        low, high = low.min(keepdims=True), high.max(keepdims=True)
    flat = values.reshape(len(values), -1, values.shape[-1])
    low, high = (np.broadcast_to(end, values.shape[-1]) for end in (low, high))
    positive, negative = (part.sum(axis=1) for part in (np.maximum(flat, 0), np.minimum(flat, 0)))
    return offset + positive @ low + negative @ high, offset + positive @ high + negative @ low
