"""Calls in C: sums, products and functions of single elements."""

from __future__ import annotations

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    ROUNDINGS,
    add_double,
    add_single,
    conv_rescale,
    fixed_point,
    prelu_factors,
    rsqrt_table,
    square_table,
    squared_difference,
    sub_single,
)
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.lookup_tables import function_table

from ..broadcast import Axis, broadcast_axes, repeated_runs
from ..records import (
    ByRule,
    Fields,
    Layer,
    Scale,
    Values,
    codes_of,
    lookup_layer,
    output_fields,
    scales_of,
)
from .common import Row


def _broadcast(axes: tuple[Axis, ...]) -> Fields:
    """Fields of the record TsBroadcast."""
    numbers = tuple(number for axis in axes for number in (axis.size, axis.a_step, axis.b_step))
    return {"n_axes": len(axes), "axes": Values("int32_t", numbers)}


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
    kernel = "ts_sub" if isinstance(op, ops.Sub) else "ts_add"
    axes = broadcast_axes(a.shape, b.shape)
    if len(axes) == 1 and axes[0].a_step == axes[0].b_step == 1:
        return Layer(kernel, "TsAdd", fields)
    record: Fields = {"broadcast": _broadcast(axes), "add": fields | {"size": axes[0].size}}
    return Layer(f"{kernel}_broadcast", "TsAddBroadcast", record)


def _mul(graph: Graph, node: Node) -> Layer:
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Mul)
    if node.inputs[0] == node.inputs[1]:
        return lookup_layer(out, lambda rule: square_table(a.quant, out.quant, relu=op.relu, rounding=rule))
    axes = broadcast_axes(a.shape, b.shape)
    runs = repeated_runs(axes)
    (scale,) = scales_of(conv_rescale(a.quant, b.quant, out.quant))
    fields: Fields = {
        "repeats": runs[0] if runs else 1,
        "size": runs[1] if runs else axes[0].size,
        "a_zero_point": a.quant.zero_point,
        "b_zero_point": b.quant.zero_point,
        "rescale": scale,
        "out": output_fields(out.quant, op.relu),
    }
    if runs:
        return Layer("ts_mul", "TsMul", fields)
    return Layer("ts_mul_broadcast", "TsMulBroadcast", {"broadcast": _broadcast(axes), "mul": fields})


def _prelu(graph: Graph, node: Node) -> Layer:
    (x, alpha), out = graph.ins(node), graph.out(node)
    axes = broadcast_axes(x.shape, alpha.shape)
    double, single = (_prelu_factors(prelu_factors(x.quant, alpha.quant, out.quant, rule)) for rule in ROUNDINGS)
    fields: Fields = {
        "broadcast": _broadcast(axes),
        "size": axes[0].size,
        "a_zero_point": x.quant.zero_point,
        "b_zero_point": alpha.quant.zero_point,
        "by_rule": ByRule(double, single),
        "out": output_fields(out.quant, relu=False),
    }
    return Layer("ts_prelu", "TsPRelu", fields)


def _prelu_factors(factors: tuple[float, float]) -> Fields:
    multiplier, shift = fixed_point(np.array(factors))
    (m_above, m_below), (s_above, s_below) = multiplier.tolist(), shift.tolist()
    return {
        "above": {"multiplier": m_above, "shift": s_above},
        "below": {"multiplier": m_below, "shift": s_below},
    }


def _squared_difference(graph: Graph, node: Node) -> Layer:
    (a, b), out = graph.ins(node), graph.out(node)
    axes, d = broadcast_axes(a.shape, b.shape), squared_difference(a.quant, b.quant, out.quant)
    fields: Fields = {
        "broadcast": _broadcast(axes),
        "size": axes[0].size,
        "a_zero_point": a.quant.zero_point,
        "b_zero_point": b.quant.zero_point,
        "rescale_a": {"multiplier": d.multiplier_a, "shift": d.shift_a},
        "rescale_b": {"multiplier": d.multiplier_b, "shift": d.shift_b},
        "rescale_square": {"multiplier": d.multiplier_out, "shift": d.shift_out},
        "out": output_fields(out.quant, relu=False),
    }
    return Layer("ts_squared_difference", "TsSquaredDifference", fields)


def _extremum(graph: Graph, node: Node) -> Layer:
    assert isinstance(node.op, ops.Extremum)
    axes = broadcast_axes(*(tensor.shape for tensor in graph.ins(node)))
    flip = -1 if node.op.kind == "min" else 0
    fields: Fields = {"broadcast": _broadcast(axes), "size": axes[0].size, "flip": flip}
    return Layer("ts_extremum", "TsExtremum", fields)


def _rsqrt(graph: Graph, node: Node) -> Layer:
    (x,), out = graph.ins(node), graph.out(node)
    return lookup_layer(out, lambda _: rsqrt_table(x.quant, out.quant))


def _function(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Lookup)
    function: ops.Lookup = op
    return lookup_layer(out, lambda rule: function_table(function, x.quant, out.quant, rule))


def _table(graph: Graph, node: Node) -> Layer:
    (_, table), out = graph.ins(node), graph.out(node)
    codes = codes_of(table).astype(np.int8)
    return lookup_layer(out, lambda _: codes)


ROWS: dict[type, Row] = {
    ops.Add: _add,
    ops.Sub: _add,
    ops.Mul: _mul,
    ops.SquaredDifference: _squared_difference,
    ops.Extremum: _extremum,
    ops.Rsqrt: _rsqrt,
    ops.PRelu: _prelu,
    ops.Lookup: _function,
    ops.Table: _table,
}
