"""The table op -> C: the portable kernel of each op, the record that describes the layer, and its constants.

Refuses an op without a row. The kernels are in c/; the arithmetic is defined in runtime/arith.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    add_double,
    add_single,
    conv_rescale,
    mean_double,
    mean_single,
    rsqrt_table,
    square_table,
    sub_single,
    weight_rescale,
)
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.lookup_tables import exponentials_double, exponentials_single, function_table
from tinyscene.runtime.plan import Lead

from ..errors import FirmwareError
from .records import (
    ByRule,
    Fields,
    Layer,
    Scale,
    Values,
    codes_of,
    lookup_layer,
    output_fields,
    scales_of,
    window_fields,
)

Row = Callable[[Graph, Node], Layer]


def layer_of(graph: Graph, node: Node) -> Layer:
    """Return the portable call of one node.

    Raises:
        FirmwareError: the op has no row.
    """
    row = C_ROWS.get(type(node.op))
    if row is None:
        known = ", ".join(op.__name__ for op in C_ROWS)
        raise FirmwareError(_where(graph, node), "no C kernel for this op", expected=known, got=type(node.op).__name__)
    return row(graph, node)


def _where(graph: Graph, node: Node) -> str:
    return f"graph '{graph.name}', {node.name}"


def _conv2d(graph: Graph, node: Node) -> Layer:
    op, (_, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.Conv2D)
    channels: Fields = {"in_channels": weight.shape[3], "out_channels": weight.shape[0]}
    fields = {
        "window": window_fields(graph, node, op, weight.shape[1:3]),
        **channels,
        **_convolved(graph, node, op.relu),
    }
    return Layer("ts_conv2d", "TsConv2D", fields)


def _depthwise(graph: Graph, node: Node) -> Layer:
    op, (_, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    window = window_fields(graph, node, op, weight.shape[1:3])
    fields = {"window": window, "channels": weight.shape[3], **_convolved(graph, node, op.relu)}
    return Layer("ts_depthwise_conv2d", "TsDepthwiseConv2D", fields)


def _fully_connected(graph: Graph, node: Node) -> Layer:
    """A 1x1 convolution of one pixel; only its rescaling factor is computed differently."""
    op, (x, weight, _), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.FullyConnected)
    outputs, inputs = weight.shape
    sides = ("in_height", "in_width", "out_height", "out_width", "kernel_height", "kernel_width")
    window: Fields = {**dict.fromkeys((*sides, "stride_height", "stride_width"), 1), "pad_top": 0, "pad_left": 0}
    scales = scales_of(weight_rescale(x.quant, weight.quant, out.quant))
    rescale = Values("TsRescale", scales if len(scales) == outputs else scales * outputs)
    channels: Fields = {"in_channels": inputs, "out_channels": outputs}
    fields = {"window": window, **channels, **_convolved(graph, node, op.relu), "rescale": rescale}
    return Layer("ts_conv2d", "TsConv2D", fields)


def _convolved(graph: Graph, node: Node, relu: bool) -> Fields:
    x, weight, bias = graph.ins(node)
    out = graph.out(node)
    scales = scales_of(conv_rescale(x.quant, weight.quant, out.quant))
    return {
        "in_zero_point": x.quant.zero_point,
        "weight": Values("int8_t", tuple(codes_of(weight).ravel().tolist())),
        "bias": Values("int32_t", tuple(codes_of(bias).ravel().tolist())),
        "rescale": Values("TsRescale", scales),
        "out": output_fields(out.quant, relu),
    }


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


def _mean(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Mean)
    _, height, width, channels = x.shape
    if op.over == "space":
        size, stride, count, step = channels, 1, height * width, channels
    else:
        size, stride, count, step = height * width, channels, channels, 1
    (scale,) = scales_of(mean_double(x.quant, out.quant, count))
    single = mean_single(x.quant, out.quant, count)
    fields: Fields = {
        "size": size,
        "stride": stride,
        "count": count,
        "step": step,
        "by_rule": ByRule(
            {"in_zero_point": x.quant.zero_point, "rescale": scale},
            {"factor": float(single.factor), "offset": float(single.offset)},
        ),
        "out": output_fields(out.quant, relu=False),
    }
    return Layer("ts_mean", "TsMean", fields)


def _rsqrt(graph: Graph, node: Node) -> Layer:
    (x,), out = graph.ins(node), graph.out(node)
    return lookup_layer(out, lambda _: rsqrt_table(x.quant, out.quant))


def _function(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Lookup)
    function = op.function
    return lookup_layer(out, lambda rule: function_table(function, x.quant, out.quant, rule))


def _pool2d(graph: Graph, node: Node) -> Layer:
    op, (x,) = node.op, graph.ins(node)
    assert isinstance(op, ops.Pool2D)
    fields: Fields = {"window": window_fields(graph, node, op, op.kernel), "channels": x.shape[3]}
    return Layer(f"ts_{op.kind}_pool", "TsPool", fields)


def _softmax(graph: Graph, node: Node) -> Layer:
    (x,), size = graph.ins(node), graph.out(node).shape[-1]
    double = Values("int32_t", tuple(exponentials_double(x.quant).tolist()))
    single = Values("float", tuple(exponentials_single(x.quant).tolist()))
    tables = ByRule({"exponentials": double}, {"exponentials": single})
    return Layer("ts_softmax", "TsSoftmax", {"rows": x.n_bytes // size, "size": size, "by_rule": tables})


def _reshape(graph: Graph, node: Node) -> Layer:
    size = graph.out(node).n_bytes
    return Layer("ts_reshape", "TsReshape", {"size": size}, lead=Lead(size, in_place=True))


def _concat(graph: Graph, node: Node) -> Layer:
    op, (a, b) = node.op, graph.ins(node)
    assert isinstance(op, ops.Concat)
    a_size, b_size = (int(np.prod(t.shape[op.axis :])) for t in (a, b))
    fields: Fields = {"repeats": a.n_bytes // a_size, "a_size": a_size, "b_size": b_size}
    return Layer("ts_concat", "TsConcat", fields)


C_ROWS: dict[type, Row] = {
    ops.Conv2D: _conv2d,
    ops.DepthwiseConv2D: _depthwise,
    ops.FullyConnected: _fully_connected,
    ops.Add: _add,
    ops.Sub: _add,
    ops.Mul: _mul,
    ops.Mean: _mean,
    ops.Pool2D: _pool2d,
    ops.Rsqrt: _rsqrt,
    ops.Lookup: _function,
    ops.Softmax: _softmax,
    ops.Reshape: _reshape,
    ops.Concat: _concat,
}
