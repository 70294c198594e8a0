"""The integer graph: the one form every file format and every line of firmware is emitted from.

Activations are int8 in NHWC with the batch first (stored as 1, any batch runs); real = scale * (q - zero_point).
The op set is closed: an op is a frozen record, and every table of the house (kernel, cost, ONNX, TFLite, C) has a
row for it. :meth:`Graph.check` is called at every border and refuses what the tables would get wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from .errors import RuntimeFailure

Shape = tuple[int, ...]
Pads = tuple[int, int, int, int]  # top, left, bottom, right
Array = npt.NDArray[np.int8] | npt.NDArray[np.int32]


@dataclass(frozen=True)
class Quant:
    """Affine quantisation. ``scale`` has one entry, or one per slice along ``axis``; values are exact float32."""

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int | None = None

    @staticmethod
    def per_tensor(scale: float, zero_point: int) -> Quant:
        return Quant((float(np.float32(scale)),), int(zero_point))

    @staticmethod
    def per_channel(scale: npt.ArrayLike, axis: int) -> Quant:
        return Quant(tuple(float(s) for s in np.asarray(scale, np.float32)), 0, axis)


@dataclass(frozen=True, eq=False)
class Tensor:
    """One edge of the graph. Constants carry ``data``; activations do not."""

    name: str
    shape: Shape
    dtype: Literal["int8", "int32"]
    quant: Quant
    data: Array | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of one batch entry."""
        return int(np.prod(self.shape)) * (1 if self.dtype == "int8" else 4)


@dataclass(frozen=True)
class Conv2D:
    """2-D convolution. Inputs: x NHWC, weight OHWI, bias int32 (O,)."""

    stride: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    relu: bool = False


@dataclass(frozen=True)
class DepthwiseConv2D:
    """Depthwise convolution, multiplier 1. Inputs: x NHWC, weight 1HWC, bias int32 (C,)."""

    stride: tuple[int, int] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    relu: bool = False


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape."""

    relu: bool = False


@dataclass(frozen=True)
class Mul:
    """Product of x NHWC with a tensor of the same shape or of shape (1, 1, 1, C) or (1, 1, 1, 1)."""

    relu: bool = False


@dataclass(frozen=True)
class Mean:
    """Mean over ``space`` (height and width) or over ``channels``; dropping dimensions gives (N, C)."""

    over: Literal["space", "channels"] = "space"
    keep_dims: bool = True


@dataclass(frozen=True)
class Rsqrt:
    """1 / sqrt(x), elementwise, for x >= 0 (the zero point is the smallest code); 0 gives the largest code."""


Op = Conv2D | DepthwiseConv2D | Add | Mul | Mean | Rsqrt


@dataclass(frozen=True)
class Node:
    """One op applied to named tensors, writing one tensor."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    output: str


def window_output(size: Shape, kernel: tuple[int, int], stride: tuple[int, int], pads: Pads) -> Shape:
    """Height and width a sliding window leaves."""
    height = (size[0] + pads[0] + pads[2] - kernel[0]) // stride[0] + 1
    width = (size[1] + pads[1] + pads[3] - kernel[1]) // stride[1] + 1
    return height, width


def _conv_shape(op: Conv2D, x: Tensor, weight: Tensor, bias: Tensor) -> Shape:
    out_c, k_h, k_w, in_c = weight.shape
    _same(in_c, x.shape[3], "weight input channels")
    _same(bias.shape, (out_c,), "bias shape")
    return (1, *window_output(x.shape[1:3], (k_h, k_w), op.stride, op.pads), out_c)


def _depthwise_shape(op: DepthwiseConv2D, x: Tensor, weight: Tensor, bias: Tensor) -> Shape:
    one, k_h, k_w, channels = weight.shape
    _same((one, channels), (1, x.shape[3]), "weight shape (1, ., ., C)")
    _same(bias.shape, (channels,), "bias shape")
    return (1, *window_output(x.shape[1:3], (k_h, k_w), op.stride, op.pads), channels)


def _add_shape(op: Add, a: Tensor, b: Tensor) -> Shape:
    _same(b.shape, a.shape, "second summand's shape")
    return a.shape


def _mul_shape(op: Mul, a: Tensor, b: Tensor) -> Shape:
    if b.shape not in (a.shape, (1, 1, 1, a.shape[-1]), (1, 1, 1, 1)):
        raise ValueError(f"second factor's shape: expected {a.shape}, (1, 1, 1, C) or (1, 1, 1, 1), got {b.shape}")
    return a.shape


def _mean_shape(op: Mean, x: Tensor) -> Shape:
    if op.over == "channels":
        return (*x.shape[:3], 1) if op.keep_dims else x.shape[:3]
    return (1, 1, 1, x.shape[3]) if op.keep_dims else (1, x.shape[3])


def _rsqrt_shape(op: Rsqrt, x: Tensor) -> Shape:
    return x.shape


def _same(got: object, expected: object, what: str) -> None:
    if got != expected:
        raise ValueError(f"{what}: expected {expected}, got {got}")


@dataclass(frozen=True)
class OpRow:
    """What the graph itself has to know of an op."""

    name: str
    shape: Callable[..., Shape]
    n_activations: int  # leading inputs that are activations; the rest are weight and bias


OPS: dict[type, OpRow] = {
    Conv2D: OpRow("conv2d", _conv_shape, 1),
    DepthwiseConv2D: OpRow("depthwise_conv2d", _depthwise_shape, 1),
    Add: OpRow("add", _add_shape, 2),
    Mul: OpRow("mul", _mul_shape, 2),
    Mean: OpRow("mean", _mean_shape, 1),
    Rsqrt: OpRow("rsqrt", _rsqrt_shape, 1),
}


def is_conv(op: Op) -> bool:
    """Ops with a weight and a bias."""
    return isinstance(op, Conv2D | DepthwiseConv2D)


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in execution order over named tensors, one int8 input, one int8 output."""

    name: str
    tensors: dict[str, Tensor]
    nodes: tuple[Node, ...]
    input: str
    output: str
    labels: tuple[str, ...] = field(default=())

    def ins(self, node: Node) -> tuple[Tensor, ...]:
        return tuple(self.tensors[name] for name in node.inputs)

    def out(self, node: Node) -> Tensor:
        return self.tensors[node.output]

    def activations(self) -> Iterator[Tensor]:
        """The input, then what each node writes, in order."""
        yield self.tensors[self.input]
        for node in self.nodes:
            yield self.tensors[node.output]

    def constants(self) -> Iterator[Tensor]:
        """Weights and biases in the order of first use."""
        seen: set[str] = set()
        for node in self.nodes:
            for tensor in self.ins(node):
                if tensor.data is not None and tensor.name not in seen:
                    seen.add(tensor.name)
                    yield tensor

    def check(self) -> Graph:
        """Return self, or raise RuntimeFailure naming the first thing that is wrong."""
        _check_tensors(self)
        written = {self.input}
        for node in self.nodes:
            _check_node(self, node, written)
            written.add(node.output)
        if self.output not in written:
            self.refuse(self.output, "the graph's output is never written")
        if self.labels and len(self.labels) != self.tensors[self.output].shape[-1]:
            self.refuse(
                "labels", "not one per output", expected=self.tensors[self.output].shape[-1], got=len(self.labels)
            )
        return self

    def refuse(self, where: str, what: str, *, expected: object = None, got: object = None) -> None:
        raise RuntimeFailure(f"graph '{self.name}', {where}", what, expected=expected, got=got)


def _check_tensors(graph: Graph) -> None:
    for key, tensor in graph.tensors.items():
        if key != tensor.name:
            graph.refuse(key, "stored under another name", expected=key, got=tensor.name)
        scale = np.asarray(tensor.quant.scale)
        if not (np.isfinite(scale).all() and (scale > 0).all() and (scale == scale.astype(np.float32)).all()):
            graph.refuse(key, "scale not a positive float32", got=tensor.quant.scale[:4])
        axis = tensor.quant.axis
        entries = 1 if axis is None else tensor.shape[axis]
        if len(scale) != entries:
            graph.refuse(key, "wrong number of scales", expected=entries, got=len(scale))
        if tensor.data is None:
            if tensor.dtype != "int8" or axis is not None or not -128 <= tensor.quant.zero_point <= 127:
                graph.refuse(key, "not a per-tensor int8 activation", got=f"{tensor.dtype} {tensor.quant.zero_point}")
            if min(tensor.shape) < 1 or tensor.shape[0] != 1:
                graph.refuse(key, "activation shape", expected="(1, ...) without zeros", got=tensor.shape)
        elif tensor.data.shape != tensor.shape or tensor.data.dtype != np.dtype(tensor.dtype):
            graph.refuse(
                key,
                "constant does not match its record",
                expected=f"{tensor.dtype} {tensor.shape}",
                got=f"{tensor.data.dtype} {tensor.data.shape}",
            )


def _check_node(graph: Graph, node: Node, written: set[str]) -> None:
    row = OPS.get(type(node.op))
    if row is None:
        graph.refuse(node.name, "op not in the op table", expected=[r.name for r in OPS.values()], got=node.op)
        return
    for name in (*node.inputs, node.output):
        if name not in graph.tensors:
            graph.refuse(node.name, f"tensor '{name}' does not exist")
    ins, out = graph.ins(node), graph.out(node)
    for tensor in ins[: row.n_activations]:
        if tensor.data is None and tensor.name not in written:
            graph.refuse(node.name, f"reads '{tensor.name}' before it is written")
    if out.data is not None or node.output in written:
        graph.refuse(node.name, f"writes '{node.output}', which has another writer")
    try:
        shape = row.shape(node.op, *ins)
    except (ValueError, TypeError) as problem:
        graph.refuse(node.name, f"inputs do not fit the op ({problem})")
        return
    if shape != out.shape:
        graph.refuse(node.name, "output shape", expected=shape, got=out.shape)
    if is_conv(node.op):
        _check_conv(graph, node)
    _check_factor(graph, node)
    if isinstance(node.op, Rsqrt) and ins[0].quant.zero_point != -128:
        graph.refuse(node.name, "input may be negative", expected="zero point -128", got=ins[0].quant.zero_point)


def _check_factor(graph: Graph, node: Node) -> None:
    """Input-to-output scale ratios that every engine accepts (XNNPACK's bounds are the narrowest)."""
    ins, out_scale = graph.ins(node), graph.out(node).quant.scale[0]
    first = np.asarray(ins[0].quant.scale)
    if isinstance(node.op, Rsqrt):
        return
    if isinstance(node.op, Add):
        low, factors = 2.0**-10, np.array([t.quant.scale[0] / out_scale for t in ins])
    elif isinstance(node.op, Mean):
        low, factors = 2.0**-32, first / out_scale
    else:
        low, factors = 2.0**-32, first * np.asarray(ins[1].quant.scale) / out_scale
    if factors.min() < low or factors.max() >= 256.0:
        got = f"{factors.min():g} to {factors.max():g}"
        graph.refuse(node.name, "scale ratio out of bounds", expected=f"{low:g} to 256", got=got)


def _check_conv(graph: Graph, node: Node) -> None:
    x, weight, bias = graph.ins(node)
    if weight.data is None or bias.data is None or weight.dtype != "int8" or bias.dtype != "int32":
        graph.refuse(node.name, "weight and bias must be int8 and int32 constants")
        return
    channel_axis = 0 if isinstance(node.op, Conv2D) else 3
    if weight.quant.zero_point != 0 or weight.quant.axis != channel_axis or weight.data.min() < -127:
        graph.refuse(node.name, "weight not symmetric per output channel in [-127, 127]")
    expected = np.float32(x.quant.scale[0]) * np.asarray(weight.quant.scale, np.float32)
    if not np.allclose(expected, bias.quant.scale, rtol=1e-6, atol=0.0) or bias.quant.zero_point != 0:
        graph.refuse(node.name, "bias scale is not input scale times weight scale")
    reach = accumulator_bound(x, weight, bias, channel_axis)
    if reach >= 2**31:
        graph.refuse(node.name, "accumulator can overflow int32", expected="below 2^31", got=reach)


def accumulator_bound(x: Tensor, weight: Tensor, bias: Tensor, channel_axis: int) -> int:
    """Largest magnitude the int32 accumulator of a convolution can reach for any input."""
    assert weight.data is not None
    assert bias.data is not None
    axes = tuple(a for a in range(4) if a != channel_axis)
    largest = max(127 - x.quant.zero_point, 128 + x.quant.zero_point)
    total = np.abs(weight.data.astype(np.int64)).sum(axis=axes) * largest + np.abs(bias.data.astype(np.int64))
    return int(total.max())
