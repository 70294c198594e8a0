"""Reference kernels: sums, products and functions of single elements."""

from __future__ import annotations

import numpy as np

from .. import arith, ops
from ..arith import (
    ADD_HEADROOM_BITS,
    Rounding,
    add_double,
    add_single,
    clamp_range,
    prelu_factors,
    rescale_double,
    rsqrt_table,
    square_table,
    sub_single,
)
from ..arrays import I8, I64
from ..function_tables import int8, rescaled
from ..graph import Graph, Node
from ..lookup_tables import function_table
from ..op_ranges import SQUARE_HEADROOM_BITS
from .common import Arrays, Kernel, i64, requantised


def operands(graph: Graph, node: Node, arrays: Arrays) -> tuple[I64, ...]:
    """Both operands with the rank of the output; the batch of an activation is its first axis there too."""
    rank = len(graph.out(node).shape)
    tensors = graph.ins(node)
    shapes = [ops.aligned(t.shape, rank) for t in tensors]
    shapes = [s if t.data is not None else (-1, *s[1:]) for s, t in zip(shapes, tensors, strict=True)]
    return tuple(array.reshape(shape).astype(np.int64) for array, shape in zip(arrays, shapes, strict=True))


def mul(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    assert isinstance(node.op, ops.Mul)
    a, b = graph.ins(node)
    if node.inputs[0] == node.inputs[1]:
        table = square_table(a.quant, graph.out(node).quant, relu=node.op.relu, rounding=rounding)
        return table[arrays[0].astype(np.int64) + 128]
    x, y = operands(graph, node, arrays)
    product = (x - a.quant.zero_point) * (y - b.quant.zero_point)
    return requantised(graph, node, product, rounding)


def add(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """A sum, and a difference, which is a sum with the second factor negative."""
    assert isinstance(node.op, ops.Add | ops.Sub)
    (a, b), out = (t.quant for t in graph.ins(node)), graph.out(node).quant
    x, y = operands(graph, node, arrays)
    minus = isinstance(node.op, ops.Sub)
    if rounding == "double":
        d = add_double(a, b, out)
        scaled_x = rescale_double((x - a.zero_point) << ADD_HEADROOM_BITS, i64(d.multiplier_a), i64(d.shift_a))
        scaled_y = rescale_double((y - b.zero_point) << ADD_HEADROOM_BITS, i64(d.multiplier_b), i64(d.shift_b))
        total = scaled_x - scaled_y if minus else scaled_x + scaled_y
        codes = rescale_double(total, i64(d.multiplier_out), i64(d.shift_out))
    else:
        s = sub_single(a, b, out) if minus else add_single(a, b, out)
        codes = (s.bias + x * s.multiplier_a + y * s.multiplier_b) >> s.shift
    return np.clip(codes + out.zero_point, *clamp_range(out, node.op.relu)).astype(np.int8)


def squared_difference(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """The same under both rules."""
    (a, b), out = (t.quant for t in graph.ins(node)), graph.out(node).quant
    x, y = operands(graph, node, arrays)
    d = arith.squared_difference(a, b, out)
    scaled_x = rescale_double((x - a.zero_point) << SQUARE_HEADROOM_BITS, i64(d.multiplier_a), i64(d.shift_a))
    scaled_y = rescale_double((y - b.zero_point) << SQUARE_HEADROOM_BITS, i64(d.multiplier_b), i64(d.shift_b))
    codes = rescale_double((scaled_x - scaled_y) ** 2, i64(d.multiplier_out), i64(d.shift_out))
    return int8(codes + out.zero_point)


def extremum(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """The same under both rules."""
    assert isinstance(node.op, ops.Extremum)
    x, y = operands(graph, node, arrays)
    return (np.maximum if node.op.kind == "max" else np.minimum)(x, y).astype(np.int8)


def prelu(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    """Both rules round twice; LiteRT divides the scales in float32."""
    (a, b), out = (t.quant for t in graph.ins(node)), graph.out(node).quant
    x, alpha = operands(graph, node, arrays)
    distances = x - a.zero_point
    above, below = prelu_factors(a, b, out, rounding)
    codes = np.where(distances < 0, rescaled(distances * (alpha - b.zero_point), below), rescaled(distances, above))
    return int8(codes + out.zero_point)


def rsqrt(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    table = rsqrt_table(graph.ins(node)[0].quant, graph.out(node).quant)
    codes: I8 = table[arrays[0].astype(np.int64) + 128]
    return codes


def lookup(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    assert isinstance(node.op, ops.Lookup)
    table = function_table(node.op, graph.ins(node)[0].quant, graph.out(node).quant, rounding)
    codes: I8 = table[arrays[0].astype(np.int64) + 128]
    return codes


def table(graph: Graph, node: Node, arrays: Arrays, rounding: Rounding) -> I8:
    codes: I8 = arrays[1][arrays[0].astype(np.int64) + 128]
    return codes


ROWS: dict[type, Kernel] = {
    ops.Add: add,
    ops.Sub: add,
    ops.Mul: mul,
    ops.SquaredDifference: squared_difference,
    ops.Extremum: extremum,
    ops.Rsqrt: rsqrt,
    ops.PRelu: prelu,
    ops.Lookup: lookup,
    ops.Table: table,
}
