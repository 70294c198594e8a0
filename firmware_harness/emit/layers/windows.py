"""Calls in C: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from ..records import (
    Fields,
    Layer,
    Values,
    codes_of,
    is_plain,
    window_fields,
)
from .common import Row, convolved


def _conv2d(graph: Graph, node: Node) -> Layer:
    op = node.op
    assert isinstance(op, ops.Conv2D)
    if not is_plain(graph, node):
        return _grouped(graph, node, op, groups=op.groups)
    return Layer("ts_conv2d", "TsConv2D", _dense(graph, node, op))


def _transposed(graph: Graph, node: Node) -> Layer:
    assert isinstance(node.op, ops.TransposeConv2D)
    return Layer("ts_transpose_conv2d", "TsConv2D", _dense(graph, node, node.op))


def _dense(graph: Graph, node: Node, op: ops.Conv2D | ops.TransposeConv2D) -> Fields:
    """Fields of the record TsConv2D."""
    _, weight, _ = graph.ins(node)
    channels: Fields = {"in_channels": weight.shape[3], "out_channels": weight.shape[0]}
    window = window_fields(graph, node, op, weight.shape[1:3])
    return {"window": window, **channels, **convolved(graph, node, op.relu)}


def _depthwise(graph: Graph, node: Node) -> Layer:
    op, (x, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    if not is_plain(graph, node):
        return _grouped(graph, node, op, groups=x.shape[3])
    window = window_fields(graph, node, op, weight.shape[1:3])
    fields = {"window": window, "channels": weight.shape[3], **convolved(graph, node, op.relu)}
    return Layer("ts_depthwise_conv2d", "TsDepthwiseConv2D", fields)


def _grouped(graph: Graph, node: Node, op: ops.Conv2D | ops.DepthwiseConv2D, groups: int) -> Layer:
    """A convolution with dilation, groups or several outputs for each channel; weights (O, H, W, C / groups)."""
    (x, weight, _), out_channels = graph.ins(node), graph.out(node).shape[3]
    codes = codes_of(weight)
    by_output = codes.transpose(3, 1, 2, 0) if isinstance(op, ops.DepthwiseConv2D) else codes
    fields: Fields = {
        "window": window_fields(graph, node, op, weight.shape[1:3]),
        "dilation_height": op.dilation[0],
        "dilation_width": op.dilation[1],
        "in_channels": x.shape[3],
        "out_channels": out_channels,
        "group_inputs": x.shape[3] // groups,
        "group_outputs": out_channels // groups,
        **convolved(graph, node, op.relu),
        "weight": Values("int8_t", tuple(by_output.ravel().tolist())),
    }
    return Layer("ts_grouped_conv2d", "TsGroupedConv2D", fields)


def _pool2d(graph: Graph, node: Node) -> Layer:
    op, (x,) = node.op, graph.ins(node)
    assert isinstance(op, ops.Pool2D)
    fields: Fields = {"window": window_fields(graph, node, op, op.kernel), "channels": x.shape[3]}
    return Layer(f"ts_{op.kind}_pool", "TsPool", fields)


ROWS: dict[type, Row] = {
    ops.Conv2D: _conv2d,
    ops.DepthwiseConv2D: _depthwise,
    ops.TransposeConv2D: _transposed,
    ops.Pool2D: _pool2d,
}
