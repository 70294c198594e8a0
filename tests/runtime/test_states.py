"""Networks that keep states between runs: the graph's check, runs in turn, storage."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import Builder, random_input
from tests.random_states import streaming
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, State
from tinyscene.runtime.graph_io import read_graph, write_graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.plan import plan
from tinyscene.runtime.states import in_turn, initial_codes, results_of, with_states
from tinyscene.runtime.vectors import parted


def net(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    b = Builder(rng, "streaming", (3, 4, 2))
    x = b.conv(b.input, (2, 2), channels=3)
    return streaming(b, rng, [b.input, x], [x])


def given_inputs(graph: Graph, count: int) -> np.ndarray:
    return random_input(np.random.default_rng(1), replace(graph, inputs=graph.given, states=()), count)


@pytest.mark.parametrize("seed", range(6))
def test_a_run_begins_with_what_the_last_one_wrote(seed: int) -> None:
    graph = net(seed)
    given = given_inputs(graph, 5)
    rows, outputs = in_turn(graph, given, lambda codes: run(graph, codes))
    np.testing.assert_array_equal(outputs, run(graph, rows))  # as a function of all inputs
    read, written = parted(graph, graph.inputs, rows), parted(graph, graph.outputs, outputs)
    np.testing.assert_array_equal(read[graph.inputs[0]], given)
    for state in graph.states:
        np.testing.assert_array_equal(read[state.input][0], initial_codes(graph)[state.input][0])
        np.testing.assert_array_equal(read[state.input][1:], written[state.output][:-1])
    np.testing.assert_array_equal(with_states(graph, given), rows)
    first = results_of(graph, outputs)[:1]
    np.testing.assert_array_equal(
        results_of(graph, in_turn(graph, given[:1], lambda codes: run(graph, codes))[1]), first
    )


def test_states_live_through_the_whole_run_in_the_plan() -> None:
    graph = net(1)
    alive = {lifetime.name: lifetime for lifetime in plan(graph).lifetimes}
    assert all(alive[state.input].last == len(graph.nodes) for state in graph.states)
    rows = with_states(graph, given_inputs(graph, 3))
    np.testing.assert_array_equal(run(graph, rows, arena=plan(graph)), run(graph, rows))


def test_a_stored_graph_keeps_its_states(tmp_path) -> None:
    graph = net(2)
    write_graph(tmp_path, graph)
    assert read_graph(tmp_path).states == graph.states


def test_states_that_are_no_states_are_refused() -> None:
    graph = net(4)
    first, n_bytes = graph.states[0], graph.tensors[graph.states[0].input].n_bytes
    others = graph.states[1:]
    for states, message in (
        ((State(graph.given[0], first.output, (0,)), *others), "not the last inputs"),
        ((State(first.input, graph.results[0], (0,)), *others), "not the last outputs"),
        ((replace(first, initial=(0,) * (n_bytes + 1)), *others), "initial codes; expected 1 or"),
        ((replace(first, initial=(128,)), *others), "128"),
        ((replace(first, initial=()), *others), "initial"),
    ):
        with pytest.raises(RuntimeFailure, match=message):
            replace(graph, states=states).check()
    every = tuple(State(name, graph.results[0], (0,)) for name in graph.inputs)
    with pytest.raises(RuntimeFailure, match="states"):
        replace(graph, states=every).check()


def test_what_takes_one_function_refuses_states_by_name() -> None:
    graph = net(0)
    with pytest.raises(RuntimeFailure, match=re.escape("keeps states between runs") + ".*state_0"):
        graph.require_one_each()


def test_given_inputs_of_another_shape_are_refused() -> None:
    graph = net(0)
    with pytest.raises(RuntimeFailure, match="input: wrong shape or type"):
        in_turn(graph, np.zeros((2, 3), np.int8), lambda codes: codes)
