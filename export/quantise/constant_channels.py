"""Remove channels that have the same code for every input; the graph's other activations do not change.

Trained CP-Mobiles have dead channels between expansion and projection: weight decay leaves 1e-40 in the depthwise
kernel. The output of such a channel is one code; its contribution to the projection is added to the projection's bias.
A channel with a code that depends on the rounding rule is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tinyscene.runtime import ops
from tinyscene.runtime.arith import conv_rescale, requantise
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor


@dataclass(frozen=True, eq=False)
class Pruned:
    """The smaller graph; ``kept`` has the original channel numbers of each activation that lost channels."""

    graph: Graph
    kept: dict[str, I64]
    removed: int


@dataclass(frozen=True)
class _Chain:
    """Expansion -> depthwise -> projection, without other readers of the activations in between."""

    expand: Node
    depthwise: Node
    project: Node


def drop_constant_channels(graph: Graph) -> Pruned:
    """The checked graph without its constant depthwise channels; at least one channel is kept."""
    tensors, kept, removed = dict(graph.tensors), {}, 0
    for chain in _chains(graph):
        constant = _constant_codes(graph, chain)
        alive = np.array([k for k in range(len(constant)) if constant[k] is None], np.int64)
        if len(alive) in (0, len(constant)):
            continue
        removed += len(constant) - len(alive)
        _move_into_bias(tensors, graph, chain, constant)
        _take(tensors, chain.expand.inputs[1], 0, alive)
        _take(tensors, chain.expand.inputs[2], 0, alive)
        _take(tensors, chain.depthwise.inputs[1], 3, alive)
        _take(tensors, chain.depthwise.inputs[2], 0, alive)
        _take(tensors, chain.project.inputs[1], 3, alive)
        for name in (chain.expand.output, chain.depthwise.output):
            tensors[name] = replace(tensors[name], shape=(*tensors[name].shape[:3], len(alive)))
            kept[name] = alive
    return Pruned(replace(graph, tensors=tensors).check(), kept, removed)


def _chains(graph: Graph) -> list[_Chain]:
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    writers = {node.output: node for node in graph.nodes}
    chains = []
    for node in graph.nodes:
        before, after = writers.get(node.inputs[0]), readers.get(node.output, [])
        if (
            isinstance(node.op, ops.DepthwiseConv2D)
            and before is not None
            and isinstance(before.op, ops.Conv2D)
            and len(readers[before.output]) == len(after) == 1
            and isinstance(after[0].op, ops.Conv2D)
            and graph.ins(after[0])[1].shape[1:3] == (1, 1)
            and not any(after[0].op.pads)
            and (before.op.groups, after[0].op.groups) == (1, 1)
            and graph.out(before).shape[3] == graph.out(node).shape[3]
        ):
            chains.append(_Chain(before, node, after[0]))
    return chains


def _constant_codes(graph: Graph, chain: _Chain) -> list[int | None]:
    """For each channel of the depthwise output its constant code, or None if it is not constant."""
    bias_codes = _codes_without_input(graph, chain.expand)
    zero = graph.out(chain.expand).quant.zero_point
    weight = graph.ins(chain.depthwise)[1].data
    assert weight is not None
    codes: list[int | None] = []
    for k, code in enumerate(_codes_without_input(graph, chain.depthwise)):
        no_weights = not weight[..., k].any()
        no_signal = not _weights_of(graph, chain.expand, k).any() and bias_codes[k] == zero
        codes.append(code if no_weights or no_signal else None)
    return codes


def _weights_of(graph: Graph, node: Node, channel: int) -> npt.NDArray[np.int8]:
    weight = graph.ins(node)[1].data
    assert weight is not None
    return np.asarray(weight[channel], np.int8)


def _codes_without_input(graph: Graph, node: Node) -> list[int | None]:
    """Output code of each channel if the accumulator is the bias alone; None where the two rounding rules differ."""
    x, weight, bias = graph.ins(node)
    assert bias.data is not None
    out, relu = graph.out(node).quant, ops.has_relu(node.op)
    rescale = conv_rescale(x.quant, weight.quant, out)
    acc = bias.data.astype(np.int64)
    double = requantise(acc, rescale, out, relu=relu, rounding="double")
    single = requantise(acc, rescale, out, relu=relu, rounding="single")
    return [int(d) if d == s else None for d, s in zip(double, single, strict=True)]


def _move_into_bias(tensors: dict[str, Tensor], graph: Graph, chain: _Chain, constant: list[int | None]) -> None:
    weight, bias = graph.ins(chain.project)[1:]
    assert weight.data is not None
    assert bias.data is not None
    zero = graph.out(chain.depthwise).quant.zero_point
    level = np.array([0 if code is None else code - zero for code in constant], np.int64)
    moved = bias.data.astype(np.int64) + weight.data[:, 0, 0, :].astype(np.int64) @ level
    tensors[bias.name] = replace(bias, data=moved.astype(np.int32))


def _take(tensors: dict[str, Tensor], name: str, axis: int, alive: I64) -> None:
    """Keep the slices ``alive`` of a constant, and of its scales if they are along the same axis."""
    old = tensors[name]
    assert old.data is not None
    data = np.ascontiguousarray(np.take(old.data, alive, axis=axis))
    quant = old.quant
    if quant.axis == axis:
        quant = Quant(tuple(quant.scale[i] for i in alive), quant.zero_point, axis)
    tensors[name] = replace(old, shape=data.shape, data=data, quant=quant)
