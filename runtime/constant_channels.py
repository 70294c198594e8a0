"""Channels that have the same code for every input, removed; the graph's other activations do not change.

Trained CP-Mobiles have dead channels between expansion and projection: weight decay leaves 1e-40 in the depthwise
kernel. The output of such a channel is one code; its contribution to the next layer is added to that layer's bias.
Channels are removed between two convolutions or matrix products, with a depthwise convolution between them or not.
A channel with a code that depends on the rounding rule is kept, and so is one that more than the next layer reads, and
one whose code is not 0 where the next layer pads with zeros.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from . import ops
from .arrays import I64
from .code_ranges import Range, code_ranges
from .graph import Graph, Node, Quant, Tensor


@dataclass(frozen=True)
class _Chain:
    """A layer, a depthwise convolution of it where there is one, and the layer that alone reads the last of them."""

    first: Node
    depthwise: Node | None
    project: Node

    @property
    def last(self) -> Node:
        """The node whose output the projection reads."""
        return self.depthwise or self.first


def drop_constant_channels(graph: Graph) -> tuple[Graph, dict[str, I64], int]:
    """The checked graph without constant channels; by name of activations without them the numbers of those that are
    left; and how many were removed.

    At least one channel of each activation is kept.
    """
    tensors, kept, ranges, removed = dict(graph.tensors), {}, code_ranges(graph), 0
    for chain in _chains(graph):
        constant = _constant_channels(graph, chain, ranges[chain.last.output])
        alive = np.flatnonzero(~constant)
        if len(alive) in (0, len(constant)):
            continue
        removed += len(constant) - len(alive)
        level = ranges[chain.last.output][0] - graph.out(chain.last).quant.zero_point
        _move_into_bias(tensors, chain.project, np.where(constant, level, 0))
        _take(tensors, chain.project.inputs[1], -1, alive)
        for node in (chain.first, chain.depthwise):
            if node is not None:
                _take(tensors, node.inputs[1], -1 if node is chain.depthwise else 0, alive)
                _take(tensors, node.inputs[2], 0, alive)
                out = tensors[node.output]
                tensors[node.output] = replace(out, shape=(*out.shape[:-1], len(alive)))
                kept[node.output] = alive
    return replace(graph, tensors=tensors).check(), kept, removed


def _chains(graph: Graph) -> list[_Chain]:
    reads = Counter(name for node in graph.nodes for name in node.inputs)
    reads.update(graph.outputs)
    readers = {name: node for node in graph.nodes for name in node.inputs[:1]}
    chains = []
    for first in graph.nodes:
        depthwise = readers.get(first.output)
        is_depthwise = depthwise is not None and isinstance(depthwise.op, ops.DepthwiseConv2D)
        between = depthwise if is_depthwise else None
        project = readers.get((between or first).output)
        if project is None or not (_is_dense(first) and _is_dense(project)):
            continue
        nodes = [first, *([between] if between else []), project]
        alone = [name for node in nodes for name in node.inputs[1:]] + [node.output for node in nodes[:-1]]
        same_width = between is None or graph.out(first).shape[-1] == graph.out(between).shape[-1]
        if same_width and all(reads[name] == 1 for name in alone):
            chains.append(_Chain(first, between, project))
    return chains


def _is_dense(node: Node) -> bool:
    """Whether each output of the node is a sum over all channels of its input."""
    groups = getattr(node.op, "groups", 1)
    return isinstance(node.op, ops.Conv2D | ops.FullyConnected) and groups == 1


def _constant_channels(graph: Graph, chain: _Chain, codes: Range) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each channel that the projection reads can be left out."""
    low, high = codes
    constant = low == high
    if any(getattr(chain.project.op, "pads", ())):
        constant &= low == graph.out(chain.last).quant.zero_point
    return np.asarray(constant)


def _move_into_bias(tensors: dict[str, Tensor], project: Node, level: I64) -> None:
    weight, bias = (tensors[name] for name in project.inputs[1:])
    assert weight.data is not None
    assert bias.data is not None
    taps = weight.data.astype(np.int64).reshape(weight.shape[0], -1, weight.shape[-1]).sum(axis=1)
    moved = bias.data.astype(np.int64) + taps @ level
    tensors[bias.name] = replace(bias, data=moved.astype(np.int32))


def _take(tensors: dict[str, Tensor], name: str, axis: int, alive: I64) -> None:
    """Keep the slices ``alive`` of a constant, and of its scales if they are along the same axis."""
    old = tensors[name]
    assert old.data is not None
    axis %= len(old.shape)
    data = np.ascontiguousarray(np.take(old.data, alive, axis=axis))
    quant = old.quant
    if quant.axis == axis:
        quant = Quant(tuple(quant.scale[i] for i in alive), quant.zero_point, axis)
    tensors[name] = replace(old, shape=data.shape, data=data, quant=quant)
