"""Stored graphs with a few values changed at random, for tests that what is accepted also runs."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.firmware_harness.random_graphs import random_net
from tests.graphs import FUNCTIONS, LOG_PROBABILITY, OP_KINDS, Rng, one_op, small_net
from tinyscene.runtime import ops
from tinyscene.runtime.graph import PROBABILITY, Graph, Node, Quant, Tensor
from tinyscene.runtime.graph_io import graph_arrays, graph_from_files, graph_record
from tinyscene.runtime.npz import pack_arrays
from tinyscene.runtime.op_ranges import TANH_SCALE

NUMBERS = (0, 1, -1, 2, 3, 127, -128, 128, -129, 255, 2**15, 2**31 - 1, 2**31, 2**63, -(2**31), 10**30)
ODD = (None, True, False, "", "x", [], {}, 1.5, -0.0, 1e-45, 1e300, C_TEXT := "*/ int main(void); /*", [1], [[1]])
WORDS = ("max", "average", "space", "channels", "relu", "relu6", "logistic", "requantise", "int8", "int32")
Json = Any


def small_graph(rng: Rng) -> Graph:
    """One op, a small network, or twelve random ops."""
    choice = int(rng.integers(8))
    if choice < 5:
        return one_op(rng, str(rng.choice(OP_KINDS)))
    if choice < 7:
        return small_net(rng, grn=choice == 6)
    return random_net(np.random.default_rng(int(rng.integers(3))), 12)


def stored(graph: Graph) -> tuple[dict[str, Json], dict[str, Any]]:
    """Record and arrays."""
    return json.loads(json.dumps(graph_record(graph))), graph_arrays(graph)


def mutated(record: dict[str, Json], rng: Rng) -> dict[str, Json]:
    """A copy with one to three values changed."""
    changed = copy.deepcopy(record)
    for _ in range(int(rng.integers(1, 4))):
        parent, key = _place(changed, rng)
        parent[key] = _other(parent[key], rng)
    return changed


def accepted(record: dict[str, Json], arrays: dict[str, Any]) -> Graph:
    """The graph; raises RuntimeFailure for a refusal, and other exceptions for defects."""
    return graph_from_files(json.dumps(record).encode(), pack_arrays(arrays), Path())


def _place(record: dict[str, Json], rng: Rng) -> tuple[Any, Any]:
    """A random leaf, or rarely a branch, as its container and key."""
    parent: Any = record
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = keys[int(rng.integers(len(keys)))]
        value = parent[key]
        if not isinstance(value, dict | list) or not value or rng.random() < 0.05:
            return parent, key
        parent = value


def _other(value: Json, rng: Rng) -> Json:
    kind = rng.random()
    if kind < 0.1:
        return ODD[int(rng.integers(len(ODD)))]
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        if kind < 0.3:
            return float(2.0 ** rng.integers(-149, 128))
        return min(value * 2.0 ** int(rng.integers(-40, 41)), 1e300)
    if isinstance(value, int):
        return value + int(rng.integers(-2, 3)) if kind < 0.6 else NUMBERS[int(rng.integers(len(NUMBERS)))]
    if isinstance(value, str):
        return WORDS[int(rng.integers(len(WORDS)))]
    return ODD[int(rng.integers(len(ODD)))]


def strained(graph: Graph, rng: Rng) -> Graph:
    """The graph with other strides, pads, scales, zero points and extreme constants, consistent where it can be.

    Ratios of scales reach beyond the bounds of the ops on both sides; not checked.
    """
    tensors = {name: replace(graph.tensors[name], quant=_quant(rng, 0.0)) for name in graph.inputs}
    nodes = []
    for node in graph.nodes:
        for name in node.inputs:
            tensors.setdefault(name, graph.tensors[name])
        x = tensors[node.inputs[0]]
        if ops.has_weight(node.op):
            _strain_weight(tensors, node, rng)
        op = _strained_op(node.op, rng)
        shape = _shape_of(op, tensors, node)
        if shape is None:
            op, shape = node.op, _shape_of(node.op, tensors, node) or graph.out(node).shape
        tensors[node.output] = replace(graph.out(node), shape=shape, quant=_output_quant(op, tensors, node, x, rng))
        nodes.append(replace(node, op=op))
    return replace(graph, tensors=tensors, nodes=tuple(nodes))


def _quant(rng: Rng, exponent: float) -> Quant:
    zero_point = int(rng.choice([-128, 127, 0, rng.integers(-128, 128)]))
    return Quant.per_tensor(2.0 ** float(np.clip(exponent + rng.uniform(-10, 10), -44, 44)), zero_point)


def _strain_weight(tensors: dict[str, Tensor], node: Node, rng: Rng) -> None:
    x, weight, bias = (tensors[name] for name in node.inputs)
    scale = np.float32(2.0) ** rng.uniform(-30, 4, len(weight.quant.scale)).astype(np.float32)
    product = np.float32(x.quant.scale[0]) * scale
    data = rng.choice([-127, 0, 127], weight.shape).astype(np.int8) if rng.random() < 0.5 else weight.data
    largest = rng.choice([0, 1, 2**20, 2**30])
    offsets = rng.integers(-largest, largest + 1, bias.shape).astype(np.int32)
    tensors[weight.name] = replace(weight, data=data, quant=replace(weight.quant, scale=tuple(map(float, scale))))
    tensors[bias.name] = replace(bias, data=offsets, quant=replace(bias.quant, scale=tuple(map(float, product))))


def _strained_op(op: ops.Op, rng: Rng) -> ops.Op:
    if isinstance(op, ops.Conv2D | ops.DepthwiseConv2D | ops.Pool2D):
        stride = tuple(int(v) for v in rng.choice([1, 2, 3, 300, 2**15], 2))
        return replace(op, stride=stride, pads=tuple(int(v) for v in rng.choice([0, 0, 1, 2, 9], 4)))
    if isinstance(op, ops.Lookup):
        return ops.Lookup(rng.choice(FUNCTIONS).item(), rng.choice([0.0, 0.25, -16.0]).item())
    return op


def _shape_of(op: ops.Op, tensors: dict[str, Tensor], node: Node) -> tuple[int, ...] | None:
    try:
        shape = ops.OPS[type(op)].shape(op, *(tensors[name].shape for name in node.inputs))
    except ValueError:
        return None
    return shape if min(shape) > 0 else None


def _function(op: ops.Op) -> str:
    return op.function if isinstance(op, ops.Lookup) else ""


def _output_quant(op: ops.Op, tensors: dict[str, Tensor], node: Node, x: Tensor, rng: Rng) -> Quant:
    if isinstance(op, ops.Softmax) or _function(op) == "logistic":
        return PROBABILITY
    if isinstance(op, ops.LogSoftmax):
        return LOG_PROBABILITY
    if isinstance(op, ops.L2Norm):
        return Quant.per_tensor(TANH_SCALE, 0)
    if isinstance(op, ops.Pool2D | ops.Movement | ops.Extremum) or _function(op) == "relu6":
        return x.quant
    if isinstance(op, ops.Table):
        return tensors[node.inputs[1]].quant
    if _function(op) == "tanh":
        return Quant.per_tensor(TANH_SCALE, 0)
    if ops.selects_codes(op):
        return x.quant
    exponent = math.log2(x.quant.scale[0])
    if isinstance(op, ops.Rsqrt):
        exponent = -exponent / 2 - 10
    elif isinstance(op, ops.Mul | ops.PRelu) or ops.has_weight(op):
        exponent += math.log2(max(tensors[node.inputs[1]].quant.scale)) + 10
    return _quant(rng, exponent)
