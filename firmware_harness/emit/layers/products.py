"""Calls in C: matrix products."""

from __future__ import annotations

import math

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    conv_rescale,
    weight_rescale,
)
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.ops import Shape

from ..records import (
    Fields,
    Layer,
    Values,
    output_fields,
    scales_of,
)
from .common import AXES, Row, convolved


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


def _batch_matmul(graph: Graph, node: Node) -> Layer:
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.BatchMatMul)
    (rows, depth), (_, columns) = ops.matrix(a.shape, op.adj_x), ops.matrix(b.shape, op.adj_y)
    (scale,) = scales_of(conv_rescale(a.quant, b.quant, out.quant))
    fields: Fields = {
        "matrices": out.n_bytes // (rows * columns),
        "rows": rows,
        "columns": columns,
        "depth": depth,
        "sizes": Values("int32_t", ops.aligned(out.shape[1:-2], AXES)),
        "a_steps": Values("int32_t", _steps(a.shape)),
        "b_steps": Values("int32_t", _steps(b.shape)),
        "a_row": 1 if op.adj_x else depth,
        "a_depth": rows if op.adj_x else 1,
        "b_depth": 1 if op.adj_y else columns,
        "b_column": depth if op.adj_y else 1,
        "a_zero_point": a.quant.zero_point,
        "b_zero_point": b.quant.zero_point,
        "rescale": scale,
        "out": output_fields(out.quant, relu=False),
    }
    return Layer("ts_batch_matmul", "TsBatchMatMul", fields)


def _steps(shape: Shape) -> tuple[int, ...]:
    """Elements between two matrices along each axis before them; 0 where there is one."""
    steps = [math.prod(shape[axis + 1 :]) if shape[axis] > 1 else 0 for axis in range(1, len(shape) - 2)]
    return (0,) * (AXES - len(steps)) + tuple(steps)


ROWS: dict[type, Row] = {ops.FullyConnected: _fully_connected, ops.BatchMatMul: _batch_matmul}
