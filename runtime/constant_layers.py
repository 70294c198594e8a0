"""Layers that have the same output codes for every input; and graphs with constants in their place.

A layer is constant if both rounding rules give one and the same code to each element, whatever the input: all weights
of it are zero, its scale reaches no code, or its ReLU never opens. A layer that no input makes differ may still be
kept (:mod:`.code_ranges`); one that is left out is constant for certain.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import ops
from .arith import ROUNDINGS
from .arrays import I8
from .code_ranges import code_ranges
from .graph import Graph, Node
from .kernels import KERNELS

TAKES_CONSTANTS = (ops.Add, ops.Sub, ops.Mul, ops.Concat)  # ops with which a constant can replace a layer


def constant_layers(graph: Graph) -> dict[str, I8]:
    """The codes (1, ...) of activations that are constant, by name, for a checked graph."""
    constant: dict[str, I8] = {}
    ranges = code_ranges(graph)
    for node in graph.nodes:
        codes = _from_constants(graph, node, constant)
        if codes is None and node.output in ranges:
            low, high = ranges[node.output]
            if np.array_equal(low, high):
                codes = np.ascontiguousarray(np.broadcast_to(low.astype(np.int8), graph.out(node).shape))
        if codes is not None:
            constant[node.output] = codes
    return constant


def drop_constant_layers(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
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
