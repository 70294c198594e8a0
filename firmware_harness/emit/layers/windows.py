"""Calls in C: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node

from ..records import (
    Fields,
    Layer,
    Values,
    codes_of,
    is_plain,
    window_fields,
)
from .common import Row, dense, filters, folded_bias


def _conv2d(graph: Graph, node: Node) -> Layer:
    op, (_, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.Conv2D)
    codes = codes_of(weight)
    return _contiguous(graph, node, op, codes) or _grouped(graph, node, op, codes, op.groups)


def _contiguous(graph: Graph, node: Node, op: ops.Conv2D, codes: I64) -> Layer | None:
    """A convolution without padding whose windows are whole pixels, or whole rows of them; None for any other."""
    (x, _, _), out = graph.ins(node), graph.out(node)
    (_, height, width, channels), (outputs, *kernel, _) = x.shape, codes.shape
    wide = kernel[1] == width
    apart = op.stride[0] * width if wide else op.stride[1]
    whole_rows = wide and out.shape[2] == 1
    pixels = tuple(kernel) == (1, 1) and (op.stride[0] == 1 and op.stride[1] * out.shape[2] == width)
    inside = (out.shape[1] - 1) * op.stride[0] + kernel[0] <= height and op.pads == (0, 0, 0, 0)
    if not (inside and is_plain(graph, node) and (whole_rows or pixels)):
        return None
    taps = kernel[0] * kernel[1] * channels
    return dense(out.n_bytes // outputs, apart * channels, taps, outputs, filters(graph, node, op.relu, codes))


def _depthwise(graph: Graph, node: Node) -> Layer:
    op, (x, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    by_output = codes_of(weight).transpose(3, 1, 2, 0)
    if weight.shape[3] != x.shape[3]:
        return _grouped(graph, node, op, by_output, x.shape[3])
    _, height, width, channels = weight.shape
    fields = {"taps": _taps(graph, node, op, (height, width)), **filters(graph, node, op.relu, by_output)}
    return Layer("ts_depthwise_conv2d", "TsDepthwiseConv2D", fields, scratch_bytes=height * width * channels)


def _grouped(graph: Graph, node: Node, op: ops.Conv2D | ops.DepthwiseConv2D, codes: I64, groups: int) -> Layer:
    """Any convolution; weights (outputs, H, W, inputs of a group)."""
    (x, _, _), (outputs, height, width, inputs) = graph.ins(node), codes.shape
    fields: Fields = {
        "taps": _taps(graph, node, op, (height, width)),
        "out_channels": outputs,
        "group_inputs": inputs,
        "group_outputs": outputs // groups,
        **filters(graph, node, op.relu, codes),
    }
    return Layer("ts_conv2d", "TsConv2D", fields, scratch_bytes=2 * height * width * x.shape[3])


def _taps(graph: Graph, node: Node, op: ops.Conv2D | ops.DepthwiseConv2D, kernel: tuple[int, int]) -> Fields:
    """Fields of the record TsTaps."""
    x, *_ = graph.ins(node)
    return {
        "window": window_fields(graph, node, op, kernel),
        "dilation_height": op.dilation[0],
        "dilation_width": op.dilation[1],
        "channels": x.shape[3],
        "zero_point": x.quant.zero_point,
    }


def _transposed(graph: Graph, node: Node) -> Layer:
    op, (x, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.TransposeConv2D)
    codes = codes_of(weight)
    rows, columns = op.stride
    phases = [codes[:, i::rows, j::columns] for i in range(rows) for j in range(columns)]
    biases = tuple(bias for phase in phases for bias in folded_bias(graph, node, phase))
    fields: Fields = {
        "window": window_fields(graph, node, op, weight.shape[1:3]),
        "in_channels": weight.shape[3],
        "out_channels": weight.shape[0],
        "in_zero_point": x.quant.zero_point,
        **filters(graph, node, op.relu, codes),
        "weight": Values("int8_t", tuple(np.concatenate([phase.ravel() for phase in phases]).tolist())),
        "bias": Values("int32_t", biases),
    }
    scratch_bytes = 2 * phases[0].size // weight.shape[0]
    return Layer("ts_transpose_conv2d", "TsTransposeConv2D", fields, scratch_bytes=scratch_bytes)


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
