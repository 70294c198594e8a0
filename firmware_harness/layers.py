"""The table op -> C: which kernel runs it, which record describes it, which constants it needs.

Refuses an op without a row, and means over more elements than an int32 sum holds. What a kernel computes is written in
c/, what the numbers mean in runtime/arith.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from runtime.arith import (
    I8,
    Rescale,
    Rounding,
    add_double,
    add_single,
    clamp_range,
    conv_rescale,
    mean_double,
    mean_single,
    rsqrt_table,
    square_table,
    sub_single,
    weight_rescale,
)
from runtime.graph import (
    Add,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Graph,
    Lookup,
    Mean,
    Mul,
    Node,
    Pool2D,
    Quant,
    Reshape,
    Rsqrt,
    Softmax,
    Sub,
    Tensor,
)
from runtime.plan import Lead
from runtime.tables import exponentials_double, exponentials_single, function_table

from .errors import FirmwareError

INT32_MAX = 2**31 - 1
LARGEST_STEP = 255  # the largest code minus zero point

BYTES_OF = {
    "int8_t": 1,
    "int16_t": 2,
    "int32_t": 4,
    "TsRescale": 8,
    "TsDspRescale": 12,
    "TsDspPair": 32,
    "TsDspChannel": 40,
}

Fields = dict[str, object]  # C field name -> int, Scale, Name, or nested Fields


@dataclass(frozen=True)
class Scale:
    """One factor, both rules' terms: emitted as TS_RESCALE(multiplier, shift, factor).

    Graph.check bounds the ratios of scales, so that shifts lie in -31..8.
    """

    multiplier: int
    shift: int
    factor: float = 0.0  # a fixed-point step that the other rule has no use for


@dataclass(frozen=True)
class Macro:
    """A C macro of a kernel set's header with its arguments, which picks what the rounding rule needs."""

    name: str
    arguments: tuple[int | float, ...]


@dataclass(frozen=True)
class ByRule:
    """Fields, and arrays for them, that exist under one rounding rule only."""

    double: Fields
    single: Fields


@dataclass(frozen=True)
class Values:
    """A constant array of a C type that :data:`BYTES_OF` knows; ``aligned``: to a word, for wide loads."""

    c_type: str
    values: tuple[int, ...] | tuple[float, ...] | tuple[Scale, ...] | tuple[Macro, ...]
    aligned: bool = False

    @property
    def n_bytes(self) -> int:
        return len(self.values) * BYTES_OF[self.c_type]


@dataclass(frozen=True)
class Layer:
    """One call: kernel(&record, inputs..., output), and the record's fields.

    A kernel with ``scratch_bytes`` gets that much of the arena as one more argument. ``leaner``: the same call in other
    ways that need less of it and more instructions, the fastest first.
    """

    kernel: str
    record: str
    fields: Fields
    scratch_bytes: int = 0
    header: str = "ts_kernels.h"
    n_inputs: int | None = None  # activations it reads, if not all of the node's
    lead: Lead | None = None  # how the output may lie over the first input; None: not at all
    leaner: tuple[Layer, ...] = ()

    def arrays(self) -> Iterator[Values]:
        """Every constant array of the record, those of nested records included."""
        return _arrays(self.fields)


def _arrays(fields: Fields) -> Iterator[Values]:
    for value in fields.values():
        if isinstance(value, Values):
            yield value
        elif isinstance(value, dict):
            yield from _arrays(value)
        elif isinstance(value, ByRule):  # one of the two is compiled; they are of one size
            yield from _arrays(value.double)


Row = Callable[[Graph, Node], Layer]


def layer_of(graph: Graph, node: Node) -> Layer:
    """The C form of one node.

    Raises:
        FirmwareError: the op has no row, or a mean has too many elements.
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
    assert isinstance(op, Conv2D)
    channels: Fields = {"in_channels": weight.shape[3], "out_channels": weight.shape[0]}
    fields = {"window": _window(graph, node, op, weight.shape[1:3]), **channels, **_convolved(graph, node, op.relu)}
    return Layer("ts_conv2d", "TsConv2D", fields)


def _depthwise(graph: Graph, node: Node) -> Layer:
    op, (_, weight, _) = node.op, graph.ins(node)
    assert isinstance(op, DepthwiseConv2D)
    window = _window(graph, node, op, weight.shape[1:3])
    fields = {"window": window, "channels": weight.shape[3], **_convolved(graph, node, op.relu)}
    return Layer("ts_depthwise_conv2d", "TsDepthwiseConv2D", fields)


def _fully_connected(graph: Graph, node: Node) -> Layer:
    """A 1x1 convolution of one pixel; only its factor may be rounded otherwise."""
    op, (x, weight, _), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, FullyConnected)
    outputs, inputs = weight.shape
    sides = ("in_height", "in_width", "out_height", "out_width", "kernel_height", "kernel_width")
    window: Fields = {**dict.fromkeys((*sides, "stride_height", "stride_width"), 1), "pad_top": 0, "pad_left": 0}
    scales = _scales(weight_rescale(x.quant, weight.quant, out.quant))
    rescale = Values("TsRescale", scales if len(scales) == outputs else scales * outputs)
    channels: Fields = {"in_channels": inputs, "out_channels": outputs}
    fields = {"window": window, **channels, **_convolved(graph, node, op.relu), "rescale": rescale}
    return Layer("ts_conv2d", "TsConv2D", fields)


def _window(graph: Graph, node: Node, op: Conv2D | DepthwiseConv2D | Pool2D, kernel: tuple[int, ...]) -> Fields:
    x, out = graph.ins(node)[0], graph.out(node)
    return {
        "in_height": x.shape[1],
        "in_width": x.shape[2],
        "out_height": out.shape[1],
        "out_width": out.shape[2],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": op.stride[0],
        "stride_width": op.stride[1],
        "pad_top": op.pads[0],
        "pad_left": op.pads[1],
    }


def _convolved(graph: Graph, node: Node, relu: bool) -> Fields:
    x, weight, bias = graph.ins(node)
    out = graph.out(node)
    scales = _scales(conv_rescale(x.quant, weight.quant, out.quant))
    return {
        "in_zero_point": x.quant.zero_point,
        "weight": Values("int8_t", _integers(weight)),
        "bias": Values("int32_t", _integers(bias)),
        "rescale": Values("TsRescale", scales),
        "out": _output(out.quant, relu),
    }


def _add(graph: Graph, node: Node) -> Layer:
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, Add | Sub)
    d = add_double(a.quant, b.quant, out.quant)
    s = (sub_single if isinstance(op, Sub) else add_single)(a.quant, b.quant, out.quant)
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
    fields: Fields = {"size": out.n_bytes, "by_rule": ByRule(double, single), "out": _output(out.quant, op.relu)}
    return Layer("ts_sub" if isinstance(op, Sub) else "ts_add", "TsAdd", fields)


def _mul(graph: Graph, node: Node) -> Layer:
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, Mul)
    if node.inputs[0] == node.inputs[1]:
        return _lookup(out, lambda rule: square_table(a.quant, out.quant, relu=op.relu, rounding=rule))
    size = int(np.prod(b.shape))
    (scale,) = _scales(conv_rescale(a.quant, b.quant, out.quant))
    fields: Fields = {
        "repeats": out.n_bytes // size,
        "size": size,
        "a_zero_point": a.quant.zero_point,
        "b_zero_point": b.quant.zero_point,
        "rescale": scale,
        "out": _output(out.quant, op.relu),
    }
    return Layer("ts_mul", "TsMul", fields)


def _mean(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, Mean)
    _, height, width, channels = x.shape
    if op.over == "space":
        size, stride, count, step = channels, 1, height * width, channels
    else:
        size, stride, count, step = height * width, channels, channels, 1
    if count * LARGEST_STEP > INT32_MAX:
        limit = f"at most {INT32_MAX // LARGEST_STEP:,}"
        raise FirmwareError(_where(graph, node), "too many elements for an int32 sum", expected=limit, got=f"{count:,}")
    (scale,) = _scales(mean_double(x.quant, out.quant, count))
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
        "out": _output(out.quant, relu=False),
    }
    return Layer("ts_mean", "TsMean", fields)


def _rsqrt(graph: Graph, node: Node) -> Layer:
    (x,), out = graph.ins(node), graph.out(node)
    return _lookup(out, lambda _: rsqrt_table(x.quant, out.quant))


def _function(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, Lookup)
    function = op.function
    return _lookup(out, lambda rule: function_table(function, x.quant, out.quant, rule))


def _pool2d(graph: Graph, node: Node) -> Layer:
    op, (x,) = node.op, graph.ins(node)
    assert isinstance(op, Pool2D)
    fields: Fields = {"window": _window(graph, node, op, op.kernel), "channels": x.shape[3]}
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
    assert isinstance(op, Concat)
    a_size, b_size = (int(np.prod(t.shape[op.axis :])) for t in (a, b))
    fields: Fields = {"repeats": a.n_bytes // a_size, "a_size": a_size, "b_size": b_size}
    return Layer("ts_concat", "TsConcat", fields)


def _lookup(out: Tensor, table: Callable[[Rounding], I8]) -> Layer:
    tables = {rule: Values("int8_t", tuple(table(rule).tolist())) for rule in get_args(Rounding)}
    field: object = tables["double"]
    if tables["double"] != tables["single"]:
        field = ByRule({"table": tables["double"]}, {"table": tables["single"]})
    return Layer("ts_lookup", "TsLookup", {"size": out.n_bytes, "table": field}, n_inputs=1)


def _output(quant: Quant, relu: bool) -> Fields:
    low, high = clamp_range(quant, relu)
    return {"zero_point": quant.zero_point, "low": low - quant.zero_point, "high": high - quant.zero_point}


def _integers(tensor: Tensor) -> tuple[int, ...]:
    assert tensor.data is not None
    values: npt.NDArray[np.int64] = tensor.data.astype(np.int64).ravel()
    return tuple(values.tolist())


def _scales(rescale: Rescale) -> tuple[Scale, ...]:
    entries = zip(rescale.multiplier.tolist(), rescale.shift.tolist(), rescale.factor.tolist(), strict=True)
    return tuple(Scale(*entry) for entry in entries)


C_ROWS: dict[type, Row] = {
    Conv2D: _conv2d,
    DepthwiseConv2D: _depthwise,
    FullyConnected: _fully_connected,
    Add: _add,
    Sub: _add,
    Mul: _mul,
    Mean: _mean,
    Pool2D: _pool2d,
    Rsqrt: _rsqrt,
    Lookup: _function,
    Softmax: _softmax,
    Reshape: _reshape,
    Concat: _concat,
}
