"""Calls in C: sums, products and functions of single elements."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    add_double,
    add_single,
    conv_rescale,
    rsqrt_table,
    square_table,
    sub_single,
)
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.lookup_tables import function_table

from ..records import (
    ByRule,
    Fields,
    Layer,
    Scale,
    lookup_layer,
    output_fields,
    scales_of,
)
from .common import Row


def _add(graph: Graph, node: Node) -> Layer:
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Add | ops.Sub)
    d = add_double(a.quant, b.quant, out.quant)
    s = (sub_single if isinstance(op, ops.Sub) else add_single)(a.quant, b.quant, out.quant)
    double: Fields = {
        "a_zero_point": a.quant.zero_point,
        "b_zero_point": b.quant.zero_point,
        "rescale_a": Scale(d.multiplier_a, d.shift_a),
        "rescale_b": Scale(d.multiplier_b, d.shift_b),
        "rescale_sum": Scale(d.multiplier_out, d.shift_out),
    }
    single: Fields = {
        "multiplier_a": s.multiplier_a,
        "multiplier_b": s.multiplier_b,
        "bias": s.bias,
        "shift": s.shift,
    }
    fields: Fields = {"size": out.n_bytes, "by_rule": ByRule(double, single), "out": output_fields(out.quant, op.relu)}
    return Layer("ts_sub" if isinstance(op, ops.Sub) else "ts_add", "TsAdd", fields)


def _mul(graph: Graph, node: Node) -> Layer:
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Mul)
    if node.inputs[0] == node.inputs[1]:
        return lookup_layer(out, lambda rule: square_table(a.quant, out.quant, relu=op.relu, rounding=rule))
    size = int(np.prod(b.shape))
    (scale,) = scales_of(conv_rescale(a.quant, b.quant, out.quant))
    fields: Fields = {
        "repeats": out.n_bytes // size,
        "size": size,
        "a_zero_point": a.quant.zero_point,
        "b_zero_point": b.quant.zero_point,
        "rescale": scale,
        "out": output_fields(out.quant, op.relu),
    }
    return Layer("ts_mul", "TsMul", fields)


def _rsqrt(graph: Graph, node: Node) -> Layer:
    (x,), out = graph.ins(node), graph.out(node)
    return lookup_layer(out, lambda _: rsqrt_table(x.quant, out.quant))


def _function(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Lookup)
    function = op.function
    return lookup_layer(out, lambda rule: function_table(function, x.quant, out.quant, rule))


ROWS: dict[type, Row] = {
    ops.Add: _add,
    ops.Sub: _add,
    ops.Mul: _mul,
    ops.Rsqrt: _rsqrt,
    ops.Lookup: _function,
}
