"""Constant channels leave the graph and no other byte changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import Builder, random_input, small_net
from tinyscene.export.quantise.constant_channels import drop_constant_channels
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run


def deaden(graph: Graph, name: str, channels: list[int], axis: int) -> Graph:
    """The graph with these channels' weights of node ``name`` set to 0."""
    node = next(n for n in graph.nodes if n.name == name)
    weight = graph.tensors[node.inputs[1]]
    assert weight.data is not None
    data = weight.data.copy()
    index: list[object] = [slice(None)] * 4
    index[axis] = channels
    data[tuple(index)] = 0
    return replace(graph, tensors={**graph.tensors, weight.name: replace(weight, data=data)}).check()


def assert_same_bytes(before: Graph, after: Graph, kept: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    x = random_input(rng, before, 3)
    for rounding in ("double", "single"):
        old: dict[str, np.ndarray] = {}
        new: dict[str, np.ndarray] = {}
        run(before, x, rounding=rounding, trace=old)
        run(after, x, rounding=rounding, trace=new)
        for name, codes in new.items():
            expected = old[name][..., kept[name]] if name in kept else old[name]
            assert np.array_equal(codes, expected), (rounding, name)


@pytest.mark.parametrize("seed", range(4))
def test_dead_depthwise_channels_leave_and_nothing_else_changes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = small_net(rng, grn=bool(seed % 2))
    name = next(n.name for n in graph.nodes if n.name.startswith("depthwise"))
    dead = deaden(graph, name, [0, 7, 19], axis=3)
    pruned = drop_constant_channels(dead)
    assert pruned.removed == 3
    assert_same_bytes(dead, pruned.graph, pruned.kept, rng)
    assert sum(t.n_bytes for t in pruned.graph.constants()) < sum(t.n_bytes for t in dead.constants())


def test_a_silent_expansion_channel_leaves_with_its_depthwise_channel() -> None:
    rng = np.random.default_rng(5)
    b = Builder(rng, "chain", (9, 7, 6))
    wide = b.conv(b.conv(b.input, (1, 1), channels=12, relu=True), (3, 3), pads=(1, 1, 1, 1), relu=True)
    graph = b.graph(b.conv(wide, (1, 1), channels=5))
    dead = deaden(graph, graph.nodes[0].name, [3, 4], axis=0)
    bias = dead.tensors[dead.nodes[0].inputs[2]]
    assert bias.data is not None
    codes = bias.data.copy()
    codes[[3, 4]] = -50, 10**6  # one is cut to 0 by the ReLU, one is a constant above 0: at the border it is not
    dead = replace(dead, tensors={**dead.tensors, bias.name: replace(bias, data=codes)}).check()
    pruned = drop_constant_channels(dead)
    assert pruned.removed == 1
    assert_same_bytes(dead, pruned.graph, pruned.kept, rng)


def test_a_live_graph_is_left_as_it_is() -> None:
    graph = small_net(np.random.default_rng(1), grn=True)
    pruned = drop_constant_channels(graph)
    assert pruned.removed == 0
    assert pruned.kept == {}
    assert pruned.graph.tensors == graph.tensors
