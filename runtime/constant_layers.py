"""Layers that have the same output codes for every input, found from bounds of their accumulators; and graphs without
them.

A layer is constant if both rounding rules give one and the same code to each element, whatever the input: all weights
of it are zero, its scale reaches no code, or its ReLU never opens. Bounds are those of :func:`accumulator_range`, so a
layer that no input makes differ may still be kept; one that is removed is constant for certain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import ops
from .arith import ROUNDINGS
from .arrays import I8, I64
from .graph import Graph, Node
from .kernels import KERNELS
from .kernels.common import requantised
from .printable import short_name

TAKES_CONSTANTS = (ops.Add, ops.Sub, ops.Mul, ops.Concat)  # ops with which a constant can replace a layer


def constant_layers(graph: Graph) -> dict[str, I8]:
    """The codes (1, ...) of activations that are constant, by name, for a checked graph."""
    constant: dict[str, I8] = {}
    lowest: dict[str, tuple[int, int]] = {}  # lowest and highest code of the outputs of weighted layers
    for node in graph.nodes:
        codes = _from_constants(graph, node, constant)
        if codes is None and ops.has_weight(node.op):
            low, high = _code_range(graph, node, lowest.get(node.inputs[0], (-128, 127)))
            lowest[node.output] = int(low.min()), int(high.max())
            if np.array_equal(low, high):
                codes = np.ascontiguousarray(np.broadcast_to(low.astype(np.int8), graph.out(node).shape))
        if codes is not None:
            constant[node.output] = codes
    return constant


def without_constant_layers(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The checked graph with constants in place of constant layers, and the names of the layers that are left out.

    The graph's own outputs, and layers that are read by ops without a constant operand, are kept.
    """
    constant, tensors = constant_layers(graph), dict(graph.tensors)
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    for name, codes in constant.items():
        takes = all(isinstance(node.op, TAKES_CONSTANTS) or node.output in constant for node in readers.get(name, []))
        if name not in graph.outputs and takes:
            tensors[name] = replace(tensors[name], data=codes)
    needed, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if node.output in needed and tensors[node.output].data is None:
            kept.append(node)
            needed |= set(node.inputs)
    left_out = tuple(node.name for node in graph.nodes if node not in kept)
    if not any(tensors[node.output].data is not None for node in graph.nodes):
        return graph, ()  # layers that nothing reads are the author's
    used = {name: tensor for name, tensor in tensors.items() if name in needed | set(graph.inputs)}
    return replace(graph, tensors=used, nodes=tuple(reversed(kept))).check(), left_out


def _from_constants(graph: Graph, node: Node, constant: dict[str, I8]) -> I8 | None:
    """The codes of a node whose inputs are all constant, if both rules agree."""
    arrays = [constant.get(tensor.name, tensor.data) for tensor in graph.ins(node)]
    known = [array for array in arrays if array is not None]
    if len(known) < len(arrays):
        return None
    double, single = (KERNELS[type(node.op)](graph, node, tuple(known), rounding) for rounding in ROUNDINGS)
    return double if np.array_equal(double, single) else None


def _code_range(graph: Graph, node: Node, codes: tuple[int, int]) -> tuple[I64, I64]:
    """Lowest and highest output code of each channel under both rules, for input codes in this range."""
    x, weight, _ = graph.ins(node)
    low, high = accumulator_range(graph, node, codes)
    factor = x.quant.scale[0] * np.asarray(weight.quant.scale, np.float64) / graph.out(node).quant.scale[0]
    if (np.maximum(np.abs(low), np.abs(high)) * 2.0 ** np.maximum(np.frexp(factor)[1], 0)).max() >= 2**31:
        return np.full_like(low, -128), np.full_like(high, 127)  # beyond int32, where codes do not ascend
    ends = [requantised(graph, node, acc, rounding).astype(np.int64) for acc in (low, high) for rounding in ROUNDINGS]
    return np.minimum.reduce(ends), np.maximum.reduce(ends)


def accumulator_range(graph: Graph, node: Node, codes: tuple[int, int]) -> tuple[I64, I64]:
    """Bounds of the accumulator of each output channel, int64 (channels,), for input codes in this range."""
    x, weight, bias = graph.ins(node)
    assert weight.data is not None
    assert bias.data is not None
    low, high = (code - x.quant.zero_point for code in codes)
    if any(getattr(node.op, "pads", ())):  # padding is the code of 0
        low, high = min(low, 0), max(high, 0)
    channel_axis = 3 if isinstance(node.op, ops.DepthwiseConv2D) else 0
    axes = tuple(axis for axis in range(weight.data.ndim) if axis != channel_axis)
    values = weight.data.astype(np.int64)
    positive = np.where(values > 0, values, 0).sum(axis=axes)
    negative = np.where(values < 0, values, 0).sum(axis=axes)
    offset = bias.data.astype(np.int64)
    return offset + positive * low + negative * high, offset + positive * high + negative * low


def constant_note(names: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence about layers that are left out, where there are any."""
    if not names:
        return ()
    listed = ", ".join(f"'{short_name(name)}'" for name in names[:4]) + (", ..." if len(names) > 4 else "")
    verb = "layer is" if len(names) == 1 else "layers are"
    return (f"{len(names)} {verb} constant for every input, or read by such a layer only, and left out: {listed}",)
