"""Runs of a network that keeps states: each begins with the codes that the last one ended with.

A graph is a function whose last inputs and outputs are the states (:class:`tinyscene.runtime.graph.State`). What is
given for one run here are vectors (:mod:`.vectors`) of the other inputs, and rows are runs one after the other; the
first begins with the states' initial codes. Without states, rows are independent and pass through.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arith import Rounding
from .arrays import F32, I8
from .graph import Graph
from .interpreter import run
from .vectors import dequantised, joined, parted, require_codes

Run = Callable[[I8], I8]  # output vectors int8 (n, ...) of input vectors int8 (n, ...), states included


def state_bytes(graph: Graph) -> int:
    """Bytes that a run hands to the next one."""
    return sum(graph.tensors[state.input].n_bytes for state in graph.states)


def initial_codes(graph: Graph) -> dict[str, I8]:
    """Codes int8 (1, ...) of each state before the first run, by the name of its input."""
    codes = {}
    for state in graph.states:
        shape = graph.tensors[state.input].shape
        stored = np.array(state.initial, np.int8)
        codes[state.input] = np.ascontiguousarray(np.broadcast_to(stored, shape) if stored.size == 1 else stored)
        codes[state.input] = codes[state.input].reshape(shape)
    return codes


def in_turn(graph: Graph, given: I8, run_once: Run) -> tuple[I8, I8]:
    """Run a network on rows of its given inputs, each with the states that the last one left.

    Args:
        given: int8 (n, ...), vectors of ``graph.given``.
        run_once: the network as a function of one vector of all inputs.

    Returns:
        The vectors of all inputs, and those of all outputs, int8 (n, ...) each.

    Raises:
        RuntimeFailure: another type or shape.
    """
    require_codes(graph, given, f"graph '{graph.name}'", names=graph.given)
    if not graph.states:
        return given, run_once(given)
    states, inputs, outputs = initial_codes(graph), [], []
    for at in range(len(given)):
        arrays = {**parted(graph, graph.given, given[at : at + 1]), **states}
        inputs.append(joined(graph, graph.inputs, arrays))
        outputs.append(run_once(inputs[-1]))
        left = parted(graph, graph.outputs, outputs[-1])
        states = {state.input: left[state.output] for state in graph.states}
    return np.concatenate(inputs), np.concatenate(outputs)


def with_states(graph: Graph, given: I8, rounding: Rounding = "double") -> I8:
    """Vectors of all inputs: the given ones, and the states in which the interpreter begins each run."""
    if not graph.states:
        return given
    return in_turn(graph, given, lambda codes: run(graph, codes, rounding=rounding))[0]


def results_of(graph: Graph, outputs: I8) -> I8:
    """Vectors of ``graph.results`` from vectors of all outputs."""
    return joined(graph, graph.results, parted(graph, graph.outputs, outputs)) if graph.states else outputs


def real_with_states(graph: Graph, real: F32, codes: I8) -> F32:
    """Vectors of all inputs as real numbers: the given ones, and of the states those in ``codes``, of all inputs."""
    if not graph.states:
        return real
    parts = {**parted(graph, graph.inputs, dequantised(graph, graph.inputs, codes)), **parted(graph, graph.given, real)}
    return joined(graph, graph.inputs, parts)


def states_note(graph: Graph) -> tuple[str, ...]:
    """A sentence about the states of a graph, where there are any."""
    if not graph.states:
        return ()
    n_bytes, count = state_bytes(graph), len(graph.states)
    ends = f"the last {count} outputs of a run are the last {count} inputs of the next one"
    if count == 1:
        ends = "the last output of a run is the last input of the next one"
    return (f"{count} state{'s' if count > 1 else ''} of {n_bytes:,} B: {ends}",)
