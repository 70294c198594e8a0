"""Why one op's output is not as expected: known faults are tried until one gives exactly what was got.

Each hypothesis computes the op again the way a target with that fault would, from the target's own inputs. The first
that reproduces every byte is the diagnosis; nothing is guessed from a part of them. When none does, the channels and
the direction of the differences are described.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Graph, Node, Quant
from tinyscene.runtime.kernels import KERNELS, conv2d_accumulator, depthwise_accumulator, fully_connected_accumulator

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Suspect:
    """One op, what went into it on the target, and what came out there. Arrays are (batch, ...)."""

    graph: Graph
    node: Node
    arrays: Arrays
    rounding: Rounding
    got: I8

    def again(
        self,
        *,
        op: ops.Op | None = None,
        arrays: Arrays | None = None,
        rounding: Rounding | None = None,
        **quants: Quant,
    ) -> np.ndarray:
        """The output with something changed; ``quants`` by role: ``x``, ``weight`` or ``out``."""
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


Hypothesis = Callable[[Suspect], Iterator[tuple[str, np.ndarray]]]


def diagnose(suspect: Suspect, expected: I8) -> str:
    """The fault in words, or what the differences have in common when no known fault explains them."""
    for hypothesis in HYPOTHESES:
        for words, output in hypothesis(suspect):
            if output.shape == suspect.got.shape and np.array_equal(output, suspect.got):
                return words
    return _common(suspect, expected)


def accumulator(graph: Graph, node: Node, arrays: Arrays, at: tuple[int, ...]) -> int | None:
    """The int32 accumulator behind one output element of an op with a weight, bias included; None for other ops."""
    if isinstance(node.op, ops.Conv2D):
        return int(conv2d_accumulator(graph, node, arrays)[at])
    if isinstance(node.op, ops.DepthwiseConv2D):
        return int(depthwise_accumulator(graph, node, arrays)[at])
    if isinstance(node.op, ops.FullyConnected):
        return int(fully_connected_accumulator(graph, node, arrays)[at])
    return None


def _other_rule(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    other: Rounding = "single" if s.rounding == "double" else "double"
    yield f"the '{other}' rounding rule gives exactly what was got", s.again(rounding=other)


def _pads(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(s.node.op, ops.Conv2D | ops.DepthwiseConv2D):
        return
    top, left, bottom, right = s.node.op.pads
    for rows, columns in (
        ((bottom, top), (left, right)),
        ((top, bottom), (right, left)),
        ((bottom, top), (right, left)),
    ):
        pads = (rows[0], columns[0], rows[1], columns[1])
        if pads != s.node.op.pads:
            words = f"the padding convention: pads {pads} (top, left, bottom, right) in place of {s.node.op.pads}"
            yield words, s.again(op=replace(s.node.op, pads=pads))


def _padding_value(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(s.node.op, ops.Conv2D | ops.DepthwiseConv2D) or not any(s.node.op.pads):
        return
    top, left, bottom, right = s.node.op.pads
    padded = np.pad(s.arrays[0], ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=0)
    output = s.again(op=replace(s.node.op, pads=(0, 0, 0, 0)), arrays=(padded, *s.arrays[1:]))
    yield "the padding holds code 0 in place of the zero point", output


def _layouts(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    x = s.arrays[0]
    if x.ndim == 4:
        n, h, w, c = x.shape
        read = np.ascontiguousarray(x).reshape(n, c, h, w).transpose(0, 2, 3, 1)
        yield "the input was read as channels first (NCHW)", s.again(arrays=(read, *s.arrays[1:]))
    if ops.is_conv(s.node.op):
        weight = s.arrays[1]
        if weight.shape[1] == weight.shape[2]:
            turned = weight.transpose(0, 2, 1, 3)
            yield "the kernel's height and width are swapped", s.again(arrays=(x, turned, *s.arrays[2:]))
        flipped = weight[:, ::-1, ::-1]
        yield "the kernel is flipped (convolution for correlation)", s.again(arrays=(x, flipped, *s.arrays[2:]))
        mixed = np.ascontiguousarray(weight).reshape(weight.shape[0], weight.shape[3], *weight.shape[1:3])
        yield "the kernel was read as channels first", s.again(arrays=(x, mixed.transpose(0, 2, 3, 1), *s.arrays[2:]))
    if isinstance(s.node.op, ops.FullyConnected):
        yield from _flat_layouts(s)
    plain = s.again()
    if plain.ndim == 4:
        n, h, w, c = plain.shape
        stored = np.ascontiguousarray(plain.transpose(0, 3, 1, 2)).reshape(plain.shape)
        yield "the output is stored channels first (NCHW)", stored


def _flat_layouts(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    """Of a matrix, and of the map that was made into a row before it."""
    x, weight, bias = s.arrays
    turned = np.ascontiguousarray(weight).reshape(weight.shape[::-1]).T
    yield "the weight was read transposed (inputs first)", s.again(arrays=(x, turned, bias))
    for node in s.graph.nodes:
        shape = s.graph.ins(node)[0].shape
        if node.output == s.node.inputs[0] and isinstance(node.op, ops.Reshape) and len(shape) == 4:
            rows = x.reshape(-1, *shape[1:]).transpose(0, 3, 1, 2).reshape(x.shape)
            yield "the input was flattened channels first (NCHW)", s.again(arrays=(rows, weight, bias))


def _biases(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    if not ops.has_weight(s.node.op):
        return
    x, weight, bias = s.arrays
    for bits in (8, 16, 24):
        reach = 2 ** (bits - 1)
        if np.abs(bias).max() >= reach:
            yield f"the bias is saturated to {bits} bits", s.again(arrays=(x, weight, bias.clip(-reach, reach - 1)))
            wrapped = (bias.astype(np.int64) + reach) % (2 * reach) - reach
            yield f"the bias is cut to its low {bits} bits", s.again(arrays=(x, weight, wrapped.astype(np.int32)))
    yield "the bias is missing", s.again(arrays=(x, weight, np.zeros_like(bias)))
    yield "the bias has the wrong sign", s.again(arrays=(x, weight, -bias))


def _quants(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    x, out = s.quant(0), s.graph.out(s.node).quant
    yield "the input's zero point is taken as 0", s.again(x=replace(x, zero_point=0))
    yield "the output's zero point is taken as 0", s.again(out=replace(out, zero_point=0))
    if ops.has_weight(s.node.op):
        weight = s.quant(1)
        first = replace(weight, scale=(weight.scale[0],) * len(weight.scale))
        yield "one weight scale for all channels, the first one's", s.again(weight=first)
        last = replace(weight, scale=(max(weight.scale),) * len(weight.scale))
        yield "one weight scale for all channels, the largest", s.again(weight=last)


def _relu(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    relu = getattr(s.node.op, "relu", None)
    if relu is not None:
        words = "the ReLU is missing" if relu else "a ReLU that the graph does not have"
        yield words, s.again(op=replace(s.node.op, relu=not relu))  # type: ignore[call-arg]


def _places(s: Suspect) -> Iterator[tuple[str, np.ndarray]]:
    plain = s.again()
    flat = plain.reshape(len(plain), -1)
    for step in (1, -1, plain.shape[-1], -plain.shape[-1]):
        moved, got = np.roll(flat, step, axis=1), s.got.reshape(len(plain), -1)
        inside = slice(step, None) if step > 0 else slice(None, step)
        if flat.shape[1] > abs(step) and np.array_equal(moved[:, inside], got[:, inside]):
            yield f"the output is written {abs(step)} bytes {'late' if step > 0 else 'early'}", s.got
    if len(plain) > 1 and np.array_equal(s.got, np.broadcast_to(plain[:1], plain.shape)):
        yield "every vector has the first one's output", s.got


HYPOTHESES: tuple[Hypothesis, ...] = (
    _other_rule, _pads, _padding_value, _biases, _quants, _relu, _layouts, _places,
)  # fmt: skip


def _common(s: Suspect, expected: I8) -> str:
    """What all differences share."""
    off = s.got.astype(np.int64) - expected
    wrong = off != 0
    channels = np.flatnonzero(wrong.reshape(-1, wrong.shape[-1]).any(axis=0))
    parts = ["no known fault explains it"]
    if len(channels) <= max(1, wrong.shape[-1] // 8):
        listed = ", ".join(map(str, channels[:8]))
        parts.append(f"only channel {listed} of {wrong.shape[-1]}: look at its weights, bias and scale")
    if np.abs(off).max() == 1:
        parts.append("all off by one: rounding")
    elif (off[wrong] > 0).all() or (off[wrong] < 0).all():
        parts.append("all in one direction")
    if not (s.got[wrong] != s.got[wrong][0]).any():
        parts.append(f"all are {int(s.got[wrong][0])}")
    return "; ".join(parts)
