"""The integer graph, from which every model file and all firmware is emitted.

Activations are int8 in NHWC with the batch first (stored as 1, any batch runs); real = scale * (q - zero_point).
:meth:`Graph.check` is called wherever a graph enters and refuses wrong references, shapes, types and scales, and
accumulators that can overflow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from . import ops
from .errors import RuntimeFailure
from .ops import Shape

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


OUTPUT_NAME = "scores"  # output tensor of every graph that is lowered from a network
PROBABILITY = Quant.per_tensor(1 / 256, -128)  # output of softmax and logistic: 0 to 255/256


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
class Node:
    """One op applied to named tensors, writing one tensor."""

    name: str
    op: ops.Op
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in execution order over named tensors, one int8 input, one int8 output, and the class labels if known."""

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
        """The input, then the output of each node, in order."""
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
        """Return self, or raise RuntimeFailure for the first error."""
        _check_tensors(self)
        written = {self.input}
        for node in self.nodes:
            _check_node(self, node, written)
            written.add(node.output)
        if self.output not in written:
            self.refuse(self.output, "the graph's output is not written by any node")
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
            if not tensor.shape or min(tensor.shape) < 1 or tensor.shape[0] != 1:
                graph.refuse(key, "activation shape", expected="(1, ...) without zeros", got=tensor.shape)
        elif tensor.data.shape != tensor.shape or tensor.data.dtype != np.dtype(tensor.dtype):
            graph.refuse(
                key,
                "constant does not match its record",
                expected=f"{tensor.dtype} {tensor.shape}",
                got=f"{tensor.data.dtype} {tensor.data.shape}",
            )


def _check_node(graph: Graph, node: Node, written: set[str]) -> None:
    row = ops.OPS.get(type(node.op))
    if row is None:
        graph.refuse(node.name, "op not in the op table", expected=[r.name for r in ops.OPS.values()], got=node.op)
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
        shape = row.shape(node.op, *(tensor.shape for tensor in ins))
    except (ValueError, TypeError, IndexError) as problem:
        graph.refuse(node.name, f"inputs do not fit the op ({problem})")
        return
    if shape != out.shape:
        graph.refuse(node.name, "output shape", expected=shape, got=out.shape)
    if ops.has_weight(node.op):
        _check_weight(graph, node)
    _check_codes(graph, node)
    _check_factor(graph, node)
    if isinstance(node.op, ops.Rsqrt) and ins[0].quant.zero_point != -128:
        graph.refuse(node.name, "input may be negative", expected="zero point -128", got=ins[0].quant.zero_point)


def _check_codes(graph: Graph, node: Node) -> None:
    """Scale and zero point of ops that keep their input's and of those with fixed ones."""
    function = node.op.function if isinstance(node.op, ops.Lookup) else None
    got = graph.out(node).quant
    if isinstance(node.op, ops.Softmax) or function == "logistic":
        allowed = [PROBABILITY]
    elif isinstance(node.op, ops.Pool2D | ops.Reshape | ops.Concat) or function == "relu6":
        allowed = [tensor.quant for tensor in graph.ins(node)]
    else:
        return
    for expected in allowed:
        if got != expected:
            graph.refuse(node.name, "output scale and zero point", expected=expected, got=got)


def _check_factor(graph: Graph, node: Node) -> None:
    """Input-to-output scale ratios within the bounds of every engine (XNNPACK's are the narrowest)."""
    ins, out_scale = graph.ins(node), graph.out(node).quant.scale[0]
    first, high = np.asarray(ins[0].quant.scale), 256.0
    if isinstance(node.op, ops.Rsqrt | ops.Softmax | ops.Pool2D | ops.Reshape | ops.Concat):
        return
    if isinstance(node.op, ops.Add | ops.Sub):
        low, factors = 2.0**-10, np.array([t.quant.scale[0] / out_scale for t in ins])
    elif isinstance(node.op, ops.Lookup) and node.op.function == "logistic":
        low, high, factors = 2.0**-20, 16.0, first  # the range of fixed point with 4 integer bits
    elif isinstance(node.op, ops.Lookup):
        low, high, factors = 2.0**-8, 128.0, first / out_scale
    elif isinstance(node.op, ops.Mean):
        low, factors = 2.0**-32, first / out_scale
    else:
        low, factors = 2.0**-32, first * np.asarray(ins[1].quant.scale) / out_scale
    if factors.min() < low or factors.max() >= high:
        got = f"{factors.min():g} to {factors.max():g}"
        graph.refuse(node.name, "scale ratio out of bounds", expected=f"{low:g} to {high:g}", got=got)


def _check_weight(graph: Graph, node: Node) -> None:
    x, weight, bias = graph.ins(node)
    if weight.data is None or bias.data is None or weight.dtype != "int8" or bias.dtype != "int32":
        graph.refuse(node.name, "weight and bias must be int8 and int32 constants")
        return
    channel_axis = 3 if isinstance(node.op, ops.DepthwiseConv2D) else 0
    axes = (channel_axis, None) if isinstance(node.op, ops.FullyConnected) else (channel_axis,)
    if weight.quant.zero_point != 0 or weight.quant.axis not in axes or weight.data.min() < -127:
        graph.refuse(node.name, "weight not symmetric per output channel in [-127, 127]")
    expected = np.float32(x.quant.scale[0]) * np.asarray(weight.quant.scale, np.float32)
    if not np.allclose(expected, bias.quant.scale, rtol=1e-6, atol=0.0) or bias.quant.zero_point != 0:
        graph.refuse(node.name, "bias scale is not input scale times weight scale")
    reach = accumulator_bound(x, weight, bias, channel_axis)
    if reach >= 2**31:
        graph.refuse(node.name, "accumulator can overflow int32", expected="below 2^31", got=reach)
    factors = x.quant.scale[0] * np.asarray(weight.quant.scale, np.float64) / graph.out(node).quant.scale[0]
    shifted = reach * 2 ** max(int(np.frexp(factors.max())[1]), 0)
    if shifted >= 2**31:  # where TensorFlow Lite Micro's left shift wraps around, and other engines saturate
        what = "accumulator times the power of two in the scale ratio can overflow int32"
        graph.refuse(node.name, what, expected="below 2^31", got=shifted)


def accumulator_bound(x: Tensor, weight: Tensor, bias: Tensor, channel_axis: int) -> int:
    """Largest magnitude the int32 accumulator of a convolution or matrix product can reach for any input."""
    assert weight.data is not None
    assert bias.data is not None
    axes = tuple(a for a in range(len(weight.shape)) if a != channel_axis)
    largest = max(127 - x.quant.zero_point, 128 + x.quant.zero_point)
    total = np.abs(weight.data.astype(np.int64)).sum(axis=axes) * largest + np.abs(bias.data.astype(np.int64))
    return int(total.max())
