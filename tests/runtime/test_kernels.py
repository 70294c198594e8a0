"""Every kernel compared with the element-by-element oracle, under both rounding rules."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tests.runtime import oracle
from tinyscene.runtime import ops
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.kernels import KERNELS

SEEDS, ELEMENTS = range(15), 25


def _arrays(graph, node, trace):
    return tuple(trace[name] if name in trace else graph.tensors[name].data for name in node.inputs)


def _compare(graph, rounding, rng, elements):
    trace = {}
    run(graph, random_input(rng, graph, 2), rounding=rounding, trace=trace)
    for node in graph.nodes:
        out, arrays = trace[node.output], _arrays(graph, node, trace)
        for flat in rng.choice(out.size, min(elements, out.size), replace=False):
            at = tuple(int(i) for i in np.unravel_index(flat, out.shape))
            assert int(out[at]) == oracle.element(graph, node, arrays, at, rounding), (node.name, at)


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("kind", OP_KINDS)
def test_one_op(kind, rounding):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        _compare(one_op(rng, kind), rounding, rng, ELEMENTS)


@pytest.mark.parametrize("rounding", ["double", "single"])
@pytest.mark.parametrize("grn", [False, True])
def test_small_net(grn, rounding):
    rng = np.random.default_rng(7)
    _compare(small_net(rng, grn=grn), rounding, rng, 6)


def test_every_op_has_a_kernel():
    assert set(KERNELS) == set(ops.OPS)


def test_large_sums_stay_exact():
    """Accumulators beyond the exact integers of float32 use float64; the oracle has no such limit."""
    from tinyscene.runtime import ops
    from tinyscene.runtime.graph import Graph, Node, Quant, Tensor

    channels = 4096
    weight = np.full((1, 1, 1, channels), 127, np.int8)
    weight[..., ::2] = 126
    quant, w_quant = Quant.per_tensor(0.5, -128), Quant.per_channel([0.25], 0)
    tensors = {
        "x": Tensor("x", (1, 1, 1, channels), "int8", quant),
        "w": Tensor("w", weight.shape, "int8", w_quant, weight),
        "b": Tensor("b", (1,), "int32", Quant.per_channel([0.125], 0), np.array([-99_000_001], np.int32)),
        "y": Tensor("y", (1, 1, 1, 1), "int8", Quant.per_tensor(2.0**14, 0)),
    }
    graph = Graph("wide", tensors, (Node("conv", ops.Conv2D(), ("x", "w", "b"), "y"),), ("x",), ("y",)).check()
    for seed in range(20):
        x = np.random.default_rng(seed).integers(-128, 128, (1, 1, 1, channels)).astype(np.int8)
        arrays = (x, weight, tensors["b"].data)
        for rounding in ("double", "single"):
            expected = oracle.element(graph, graph.nodes[0], arrays, (0, 0, 0, 0), rounding)
            assert int(run(graph, x, rounding=rounding)[0, 0, 0, 0]) == expected
