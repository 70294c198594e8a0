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
    codes_of,
    output_fields,
    scales_of,
)
from .common import AXES, Row, dense, filters


def _fully_connected(graph: Graph, node: Node) -> Layer:
    """A convolution of single pixels; only its rescaling factor is computed differently."""
    op, (x, weight, _), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.FullyConnected)
    outputs, inputs = weight.shape
    scales = scales_of(weight_rescale(x.quant, weight.quant, out.quant))
    rescale = Values("TsRescale", scales if len(scales) == outputs else scales * outputs)
    fields = filters(graph, node, op.relu, codes_of(weight)) | {"rescale": rescale}
    return dense(out.n_bytes // outputs, inputs, inputs, outputs, fields)


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
