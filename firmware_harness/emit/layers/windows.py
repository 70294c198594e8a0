"""Calls in C: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from ..records import (
    Fields,
    Layer,
    window_fields,
)
from .common import Row, convolved


def _conv2d(graph: Graph, node: Node) -> Layer:
    op, (_, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.Conv2D)
    channels: Fields = {"in_channels": weight.shape[3], "out_channels": weight.shape[0]}
    fields = {
        "window": window_fields(graph, node, op, weight.shape[1:3]),
        **channels,
        **convolved(graph, node, op.relu),
    }
    return Layer("ts_conv2d", "TsConv2D", fields)


def _depthwise(graph: Graph, node: Node) -> Layer:
    op, (_, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    window = window_fields(graph, node, op, weight.shape[1:3])
    fields = {"window": window, "channels": weight.shape[3], **convolved(graph, node, op.relu)}
    return Layer("ts_depthwise_conv2d", "TsDepthwiseConv2D", fields)


def _pool2d(graph: Graph, node: Node) -> Layer:
    op, (x,) = node.op, graph.ins(node)
    assert isinstance(op, ops.Pool2D)
    fields: Fields = {"window": window_fields(graph, node, op, op.kernel), "channels": x.shape[3]}
    return Layer(f"ts_{op.kind}_pool", "TsPool", fields)


ROWS: dict[type, Row] = {ops.Conv2D: _conv2d, ops.DepthwiseConv2D: _depthwise, ops.Pool2D: _pool2d}
