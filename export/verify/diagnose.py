"""Explain a wrong op output: known faults are tried until one reproduces exactly what the target computed.

Each hypothesis computes the op again as a target with that fault would, from the target's own inputs. The first that
reproduces every byte is the diagnosis; a partial match is none. Without a match, the channels and the direction of the
differences are described.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding, clamp_range
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Node, Quant
from tinyscene.runtime.kernels import ACCUMULATORS, KERNELS

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class ObservedOp:
    """One op with the inputs and the output that a target had. Arrays are (batch, ...)."""

    graph: Graph
    node: Node
    arrays: Arrays
    rounding: Rounding
    output: I8

    def computed(
        self,
        *,
        op: ops.Op | None = None,
        arrays: Arrays | None = None,
        rounding: Rounding | None = None,
        **quants: Quant,
    ) -> I8:
        """The kernel's output with something changed; ``quants`` by role: ``x``, ``weight`` or ``out``."""
        tensors = dict(self.graph.tensors)
        names = {"x": self.node.inputs[0], "out": self.node.output}
        if ops.has_weight(self.node.op):
            names["weight"] = self.node.inputs[1]
        for role, quant in quants.items():
            tensors[names[role]] = replace(tensors[names[role]], quant=quant)
        node = self.node if op is None else replace(self.node, op=op)
        graph = replace(self.graph, tensors=tensors)
        return KERNELS[type(node.op)](graph, node, arrays or self.arrays, rounding or self.rounding)

    def quant(self, index: int) -> Quant:
        return self.graph.ins(self.node)[index].quant

    def saturated(self, codes: npt.NDArray[Any]) -> I8:
        """Whole numbers as output codes, at least the zero point where the op ends with a ReLU."""
        low, high = clamp_range(self.graph.out(self.node).quant, ops.has_relu(self.node.op))
        result: I8 = np.clip(codes, low, high).astype(np.int8)
        return result


Hypothesis = Callable[[ObservedOp], Iterator[tuple[str, np.ndarray]]]  # explanations with the output of each


def diagnose(observed: ObservedOp, expected: I8) -> str:
    """The fault in words, or what the differences have in common when no known fault explains them."""
    for hypothesis in HYPOTHESES:
        for explanation, output in hypothesis(observed):
            if output.shape == observed.output.shape and np.array_equal(output, observed.output):
                return explanation
    return _common(observed, expected)


def accumulator(observed: ObservedOp, at: tuple[int, ...]) -> int | None:
    """The int32 accumulator of one output element of an op with a weight, bias included; None for other ops."""
    compute = ACCUMULATORS.get(type(observed.node.op))
    return None if compute is None else int(compute(observed.graph, observed.node, observed.arrays)[at])


def _other_rule(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    other: Rounding = "single" if o.rounding == "double" else "double"
    yield f"the '{other}' rounding rule reproduces the output exactly", o.computed(rounding=other)


def _pads(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(o.node.op, ops.Conv2D | ops.DepthwiseConv2D):
        return
    top, left, bottom, right = o.node.op.pads
    for rows, columns in (
        ((bottom, top), (left, right)),
        ((top, bottom), (right, left)),
        ((bottom, top), (right, left)),
    ):
        pads = (rows[0], columns[0], rows[1], columns[1])
        if pads != o.node.op.pads:
            words = f"the padding convention: pads {pads} (top, left, bottom, right) instead of {o.node.op.pads}"
            yield words, o.computed(op=replace(o.node.op, pads=pads))


def _padding_value(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(o.node.op, ops.Conv2D | ops.DepthwiseConv2D) or not any(o.node.op.pads):
        return
    top, left, bottom, right = o.node.op.pads
    padded = np.pad(o.arrays[0], ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=0)
    output = o.computed(op=replace(o.node.op, pads=(0, 0, 0, 0)), arrays=(padded, *o.arrays[1:]))
    yield "the padding has code 0 instead of the zero point", output


def _layouts(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    x = o.arrays[0]
    if x.ndim == 4:
        n, h, w, c = x.shape
        read = np.ascontiguousarray(x).reshape(n, c, h, w).transpose(0, 2, 3, 1)
        yield "the input was read as channels first (NCHW)", o.computed(arrays=(read, *o.arrays[1:]))
    if ops.is_conv(o.node.op):
        weight = o.arrays[1]
        if weight.shape[1] == weight.shape[2]:
            swapped = weight.transpose(0, 2, 1, 3)
            yield "the kernel's height and width are swapped", o.computed(arrays=(x, swapped, *o.arrays[2:]))
        flipped = weight[:, ::-1, ::-1]
        yield (
            "the kernel is flipped (convolution instead of correlation)",
            o.computed(arrays=(x, flipped, *o.arrays[2:])),
        )
        mixed = np.ascontiguousarray(weight).reshape(weight.shape[0], weight.shape[3], *weight.shape[1:3])
        yield (
            "the kernel was read as channels first",
            o.computed(arrays=(x, mixed.transpose(0, 2, 3, 1), *o.arrays[2:])),
        )
    if isinstance(o.node.op, ops.FullyConnected):
        yield from _flat_layouts(o)
    plain = o.computed()
    if plain.ndim == 4:
        n, h, w, c = plain.shape
        stored = np.ascontiguousarray(plain.transpose(0, 3, 1, 2)).reshape(plain.shape)
        yield "the output is stored channels first (NCHW)", stored


def _flat_layouts(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    """Layouts of a weight matrix, and of the map that was flattened before it."""
    x, weight, bias = o.arrays
    transposed = np.ascontiguousarray(weight).reshape(weight.shape[::-1]).T
    yield "the weight was read transposed (inputs first)", o.computed(arrays=(x, transposed, bias))
    for node in o.graph.nodes:
        shape = o.graph.ins(node)[0].shape
        if node.output == o.node.inputs[0] and isinstance(node.op, ops.Reshape) and len(shape) == 4:
            rows = x.reshape(-1, *shape[1:]).transpose(0, 3, 1, 2).reshape(x.shape)
            yield "the input was flattened channels first (NCHW)", o.computed(arrays=(rows, weight, bias))


def _biases(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    if not ops.has_weight(o.node.op):
        return
    x, weight, bias = o.arrays
    for bits in (8, 16, 24):
        reach = 2 ** (bits - 1)
        if np.abs(bias).max() >= reach:
            yield f"the bias is saturated to {bits} bits", o.computed(arrays=(x, weight, bias.clip(-reach, reach - 1)))
            wrapped = (bias.astype(np.int64) + reach) % (2 * reach) - reach
            yield f"the bias is cut to its low {bits} bits", o.computed(arrays=(x, weight, wrapped.astype(np.int32)))
    yield "the bias is missing", o.computed(arrays=(x, weight, np.zeros_like(bias)))
    yield "the bias has the wrong sign", o.computed(arrays=(x, weight, -bias))


def _quants(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    x, out = o.quant(0), o.graph.out(o.node).quant
    yield "the input's zero point is taken as 0", o.computed(x=replace(x, zero_point=0))
    yield "the output's zero point is taken as 0", o.computed(out=replace(out, zero_point=0))
    if ops.has_weight(o.node.op):
        weight = o.quant(1)
        first = replace(weight, scale=(weight.scale[0],) * len(weight.scale))
        yield "one weight scale for all channels, the first", o.computed(weight=first)
        last = replace(weight, scale=(max(weight.scale),) * len(weight.scale))
        yield "one weight scale for all channels, the largest", o.computed(weight=last)


def _relu(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    op = o.node.op
    if isinstance(op, ops.WithRelu):
        words = "the ReLU is missing" if op.relu else "a ReLU that the graph does not have"
        yield words, o.computed(op=replace(op, relu=not op.relu))


def _positions(o: ObservedOp) -> Iterator[tuple[str, np.ndarray]]:
    plain = o.computed()
    flat = plain.reshape(len(plain), -1)
    for step in (1, -1, plain.shape[-1], -plain.shape[-1]):
        moved, output = np.roll(flat, step, axis=1), o.output.reshape(len(plain), -1)
        inside = slice(step, None) if step > 0 else slice(None, step)
        if flat.shape[1] > abs(step) and np.array_equal(moved[:, inside], output[:, inside]):
            yield f"the output is written {abs(step)} bytes {'late' if step > 0 else 'early'}", o.output
    if len(plain) > 1 and np.array_equal(o.output, np.broadcast_to(plain[:1], plain.shape)):
        yield "every vector has the output of the first", o.output


HYPOTHESES: tuple[Hypothesis, ...] = (
    _other_rule, _pads, _padding_value, _biases, _quants, _relu, _layouts, _positions,
)  # fmt: skip


def _common(o: ObservedOp, expected: I8) -> str:
    """What all differences have in common."""
    off = o.output.astype(np.int64) - expected
    wrong = off != 0
    channels = np.flatnonzero(wrong.reshape(-1, wrong.shape[-1]).any(axis=0))
    parts = ["no known fault explains it"]
    if len(channels) <= max(1, wrong.shape[-1] // 8):
        listed = ", ".join(map(str, channels[:8]))
        parts.append(f"only channel {listed} of {wrong.shape[-1]} differs: check its weights, bias and scale")
    if np.abs(off).max() == 1:
        parts.append("every difference is 1: rounding")
    elif (off[wrong] > 0).all() or (off[wrong] < 0).all():
        parts.append("all differences have one sign")
    if not (o.output[wrong] != o.output[wrong][0]).any():
        parts.append(f"every wrong code is {int(o.output[wrong][0])}")
    return "; ".join(parts)
