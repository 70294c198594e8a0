"""Random graphs with states: rows of the last inputs, as streaming networks keep them, or values that a run changes.

The first kind is written where it is read; the second is not, since one op reads the state and writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, State

if TYPE_CHECKING:
    from tests.graphs import Builder, Rng

_MOST_STATES = 3
_MOST_ROWS = 4


def streaming(b: Builder, rng: Rng, images: list[str], outputs: list[str]) -> Graph:
    """The graph with one to three states, each of one of the ``images`` (1, H, W, C) among its activations."""
    given, results, states = b.inputs, list(outputs), []
    for number in range(int(rng.integers(1, _MOST_STATES + 1))):
        x = b.tensors[images[int(rng.integers(len(images)))]]
        rows = int(rng.integers(1, _MOST_ROWS + 1))
        state = b.new_input(f"state_{number}", (rows, *x.shape[2:]), x.quant)
        joined = b.concat(state, x.name, 1)
        results.append(b.pool(joined, "max", (1, 1), stride=(2, 1)))
        if rng.random() < 0.6:
            places = (0, b.tensors[joined].shape[1] - rows, 0, 0)
            written = b.moved(ops.Slice(places, b.tensors[state].shape, (1, 1, 1, 1)), joined)
        else:
            written = b.pool(state, "max", (2, 1), pads=(1, 0, 0, 0))
        count = 1 if rng.random() < 0.5 else b.tensors[state].n_bytes
        states.append(State(state, written, tuple(rng.integers(-128, 128, count).tolist())))
    inputs = (*given, *(state.input for state in states))
    ends = (*results, *(state.output for state in states))
    return Graph(b.name, b.tensors, tuple(b.nodes), inputs, ends, states=tuple(states)).check()
