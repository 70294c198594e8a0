"""Calls in C: matrix products."""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    weight_rescale,
)
from tinyscene.runtime.graph import Graph, Node

from ..records import (
    Fields,
    Layer,
    Values,
    scales_of,
)
from .common import Row, convolved


def _fully_connected(graph: Graph, node: Node) -> Layer:
    """A 1x1 convolution of a row of pixels; only its rescaling factor is computed differently."""
    op, (x, weight, _), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.FullyConnected)
    outputs, inputs = weight.shape
    sides = ("in_height", "in_width", "out_height", "out_width", "kernel_height", "kernel_width")
    window: Fields = {**dict.fromkeys((*sides, "stride_height", "stride_width"), 1), "pad_top": 0, "pad_left": 0}
    window["in_width"] = window["out_width"] = out.n_bytes // outputs
    scales = scales_of(weight_rescale(x.quant, weight.quant, out.quant))
    rescale = Values("TsRescale", scales if len(scales) == outputs else scales * outputs)
    channels: Fields = {"in_channels": inputs, "out_channels": outputs}
    fields = {"window": window, **channels, **convolved(graph, node, op.relu), "rescale": rescale}
    return Layer("ts_conv2d", "TsConv2D", fields)


ROWS: dict[type, Row] = {ops.FullyConnected: _fully_connected}
