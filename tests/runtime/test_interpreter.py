"""The interpreter: trace, batches, refusals, and the poisoned arena that detects a wrong plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.firmware_harness.random_graphs import convolution
from tests.graphs import OP_KINDS, one_op, random_input, small_net
from tinyscene.runtime import ops
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.plan import Plan, plan


@given(seed=st.integers(0, 10_000), grn=st.booleans(), rounding=st.sampled_from(["double", "single"]))
def test_the_planned_arena_has_the_same_bytes(seed, grn, rounding):
    rng = np.random.default_rng(seed)
    graph = small_net(rng, grn=grn, shape=(int(rng.integers(6, 14)), int(rng.integers(6, 14)), 1))
    x = random_input(rng, graph, 2)
    separate, arena = {}, {}
    assert np.array_equal(
        run(graph, x, rounding=rounding, trace=separate),
        run(graph, x, rounding=rounding, trace=arena, arena=plan(graph)),
    )
    assert set(separate) == set(arena) == {t.name for t in graph.activations()}
    for name, array in separate.items():
        assert np.array_equal(array, arena[name]), name


@pytest.mark.parametrize("kind", OP_KINDS)
def test_the_planned_arena_for_each_op(kind):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        graph = one_op(rng, kind)
        x = random_input(rng, graph, 3)
        assert np.array_equal(run(graph, x), run(graph, x, arena=plan(graph)))


@given(seed=st.integers(0, 10_000), choice=st.data())
def test_a_wrong_plan_is_detected(seed, choice):
    """Place one tensor over another that is alive at the same time: some activation must change."""
    rng = np.random.default_rng(seed)
    graph = small_net(rng, grn=bool(rng.integers(2)), shape=(10, 8, 1))
    right = plan(graph)
    pairs = [
        (a, b)
        for a in right.lifetimes
        for b in right.lifetimes
        if a is not b and a.first < b.first <= a.last and a.n_bytes > 8 and b.n_bytes > 8
    ]
    victim, intruder = choice.draw(st.sampled_from(pairs))
    wrong = replace(
        right,
        offsets={**right.offsets, intruder.name: right.offsets[victim.name]},
        arena_bytes=2 * right.arena_bytes,
    )
    x = random_input(rng, graph)
    expected, got = {}, {}
    expected["answer"] = run(graph, x, trace=expected)
    got["answer"] = run(graph, x, trace=got, arena=wrong)
    assert any(not np.array_equal(expected[name], got[name]) for name in expected)


def test_a_tensor_freed_too_early_is_detected():
    """Two tensors at one offset, the second written before the last read of the first."""
    graph = small_net(np.random.default_rng(2), grn=False)
    right = plan(graph)
    shortcut = next(t for t in right.lifetimes if t.last - t.first > 2)
    later = next(t for t in right.lifetimes if t.first == shortcut.first + 1)
    wrong = Plan({**right.offsets, later.name: right.offsets[shortcut.name]}, 2 * right.arena_bytes, right.lifetimes)
    x = random_input(np.random.default_rng(3), graph)
    assert not np.array_equal(run(graph, x), run(graph, x, arena=wrong))


@pytest.mark.parametrize("rounding", ["double", "single"])
def test_a_batch_equals_its_inputs_one_by_one(rounding):
    rng = np.random.default_rng(5)
    graph = small_net(rng, grn=True)
    x = random_input(rng, graph, 5)
    together = run(graph, x, rounding=rounding)
    assert np.array_equal(together, np.concatenate([run(graph, x[i : i + 1], rounding=rounding) for i in range(5)]))


def test_the_trace_ends_in_the_output_and_is_a_copy():
    rng = np.random.default_rng(6)
    graph = small_net(rng, grn=False)
    x = random_input(rng, graph)
    trace = {}
    answer = run(graph, x, trace=trace)
    assert np.array_equal(trace[graph.output], answer)
    trace[graph.nodes[0].output][:] = 0
    assert np.array_equal(run(graph, x), answer)


@pytest.mark.parametrize(
    "x",
    [np.zeros((1, 20, 14, 2), np.int8), np.zeros((20, 14, 1), np.int8), np.zeros((1, 20, 14, 1), np.float32)],
    ids=["channels", "rank", "type"],
)
def test_inputs_of_another_shape_or_type_are_refused(x):
    graph = small_net(np.random.default_rng(0), grn=False)
    with pytest.raises(RuntimeFailure, match=r"input: wrong shape or type; expected int8 \(batch, 20, 14, 1\); got"):
        run(graph, x)


def test_the_two_rules_differ_somewhere():
    """Otherwise comparing engines by rule would be meaningless."""
    differing = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        graph = small_net(rng, grn=True)
        x = random_input(rng, graph, 2)
        double, single = {}, {}
        run(graph, x, rounding="double", trace=double)
        run(graph, x, rounding="single", trace=single)
        differing += any(not np.array_equal(double[name], single[name]) for name in double)
    assert differing >= 10


def test_a_batch_that_runs_in_pieces_gives_the_same():
    """Windows of 4 Mi elements run four at a time, so that memory does not grow with the batch."""
    graph = convolution(np.random.default_rng(0), (64, 64, 4), (16, 16), channels=2, pads=(7, 7, 8, 8))
    codes = random_input(np.random.default_rng(1), graph, 5)
    trace = {}
    whole = run(graph, codes, trace=trace)
    singly = np.concatenate([run(graph, codes[i : i + 1]) for i in range(5)])
    assert np.array_equal(whole, singly)
    assert np.array_equal(trace[graph.output], singly)
    assert np.array_equal(trace[graph.input], codes)


def test_a_node_that_reads_constants_only_has_the_batch_of_the_input():
    quant, codes = Quant.per_tensor(0.1, 0), np.array([[-5, 0, 7]], np.int8)
    tensors = [Tensor(name, (1, 3), "int8", quant, data) for name, data in (("x", None), ("c", codes), ("y", None))]
    nodes = (Node("relu", ops.Lookup("relu"), ("c",), "y"),)
    graph = Graph("constant", {t.name: t for t in tensors}, nodes, ("x",), ("y",))
    trace = {}
    for arena in (None, plan(graph.check())):
        y = run(graph, np.zeros((3, 3), np.int8), trace=trace, arena=arena)
        assert y.tolist() == trace["y"].tolist() == [[0, 0, 7]] * 3
