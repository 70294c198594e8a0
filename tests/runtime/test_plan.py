"""The arena plan: no overlap of live tensors, no offset outside the arena, no plan below the lower bound."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import Builder, small_net
from tinyscene.runtime.plan import ALIGNMENT, lifetimes, plan


def _random_graph(seed, n_nodes):
    """Convolutions, sums and means that read any earlier tensor, so lifetimes overlap in many ways."""
    rng = np.random.default_rng(seed)
    b = Builder(rng, "random", (int(rng.integers(2, 7)), int(rng.integers(2, 7)), int(rng.integers(1, 6))))
    placed, x = [b.input], b.input
    for _ in range(n_nodes):
        source = placed[int(rng.integers(len(placed)))]
        alike = [name for name in placed if b.tensors[name].shape == b.tensors[source].shape]
        kind = int(rng.integers(3))
        if kind == 0:
            x = b.add(source, alike[int(rng.integers(len(alike)))])
        elif kind == 1:
            x = b.conv(source, (1, 1), channels=int(rng.integers(1, 12)))
        else:
            x = b.conv(source, (1, 1))
        placed.append(x)
    return b.graph(x)


@given(seed=st.integers(0, 10_000), n_nodes=st.integers(1, 14))
def test_live_tensors_never_overlap(seed, n_nodes):
    graph = _random_graph(seed, n_nodes)
    placed = plan(graph)
    alive = placed.lifetimes
    assert {t.name for t in alive} == set(placed.offsets) == {t.name for t in graph.activations()}
    for i, a in enumerate(alive):
        begin, end = placed.offsets[a.name], placed.offsets[a.name] + a.n_bytes
        assert begin >= 0
        assert end <= placed.arena_bytes
        assert begin % ALIGNMENT == 0
        for b in alive[i + 1 :]:
            if a.first <= b.last and b.first <= a.last:
                assert end <= placed.offsets[b.name] or placed.offsets[b.name] + b.n_bytes <= begin, (a, b)
    assert max(t.n_bytes for t in alive) <= placed.floor_bytes <= placed.arena_bytes
    assert placed.arena_bytes <= sum(-(-t.n_bytes // ALIGNMENT) * ALIGNMENT for t in alive)


@given(seed=st.integers(0, 10_000), n_nodes=st.integers(1, 14))
def test_lifetimes_cover_every_use(seed, n_nodes):
    graph = _random_graph(seed, n_nodes)
    by_name = {t.name: t for t in lifetimes(graph)}
    for step, node in enumerate(graph.nodes, start=1):
        assert by_name[node.output].first == step
        for name in node.inputs:
            if name in by_name:
                assert by_name[name].first < step <= by_name[name].last
    assert by_name[graph.output].last == len(graph.nodes)
    assert by_name[graph.input].first == 0


def test_a_chain_needs_two_neighbours_at_a_time():
    """Computed by hand: 4x4x1 -> 4x4x10 -> 4x4x2 -> 4x4x20."""
    b = Builder(np.random.default_rng(0), "chain", (4, 4, 1))
    x = b.conv(b.conv(b.conv(b.input, (1, 1), channels=10), (1, 1), channels=2), (1, 1), channels=20)
    placed = plan(b.graph(x))
    assert placed.live_bytes() == [16, 176, 192, 352]
    assert placed.floor_bytes == placed.arena_bytes == 352


def test_the_arena_is_close_to_the_floor_on_our_nets():
    for grn in (False, True):
        placed = plan(small_net(np.random.default_rng(1), grn=grn, shape=(64, 32, 1)))
        assert placed.arena_bytes <= 1.1 * placed.floor_bytes
