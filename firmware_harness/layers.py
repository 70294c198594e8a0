"""The table op -> C: which kernel runs it, which record describes it, which constants it needs.

Refuses an op without a row, and means over more elements than an int32 sum holds. What a kernel computes is written in
c/, what the numbers mean in runtime/arith.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime.arith import Rescale, add_double, add_single, clamp_range, conv_rescale, mean_rescale, rsqrt_table
from runtime.graph import Add, Conv2D, DepthwiseConv2D, Graph, Mean, Mul, Node, Quant, Rsqrt, Tensor

from .errors import FirmwareError

INT32_MAX = 2**31 - 1
LARGEST_STEP = 255  # the largest code minus zero point

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
class ByRule:
    """Fields that exist under one rounding rule only."""

    double: Fields
    single: Fields


@dataclass(frozen=True)
class Values:
    """A constant array of the C type ``int8_t``, ``int32_t`` or ``TsRescale``."""

    c_type: str
    values: tuple[int, ...] | tuple[Scale, ...]


@dataclass(frozen=True)
class Layer:
    """One call: kernel(&record, inputs..., output), and the record's fields."""

    kernel: str
    record: str
    fields: Fields


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


def _window(graph: Graph, node: Node, op: Conv2D | DepthwiseConv2D, kernel: tuple[int, ...]) -> Fields:
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
    assert isinstance(op, Add)
    d = add_double(a.quant, b.quant, out.quant)
    s = add_single(a.quant, b.quant, out.quant)
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
    return Layer(
        "ts_add", "TsAdd", {"size": out.n_bytes, "by_rule": ByRule(double, single), "out": _output(out.quant, op.relu)}
    )


def _mul(graph: Graph, node: Node) -> Layer:
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, Mul)
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
    (scale,) = _scales(mean_rescale(x.quant, out.quant, count))
    fields: Fields = {
        "size": size,
        "stride": stride,
        "count": count,
        "step": step,
        "in_zero_point": x.quant.zero_point,
        "rescale": scale,
        "out": _output(out.quant, relu=False),
    }
    return Layer("ts_mean", "TsMean", fields)


def _rsqrt(graph: Graph, node: Node) -> Layer:
    (x,), out = graph.ins(node), graph.out(node)
    table = Values("int8_t", tuple(rsqrt_table(x.quant, out.quant).tolist()))
    return Layer("ts_rsqrt", "TsRsqrt", {"size": out.n_bytes, "table": table})


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
    Add: _add,
    Mul: _mul,
    Mean: _mean,
    Rsqrt: _rsqrt,
}
