"""Constant channels leave the graph and no other byte changes; bounds of codes hold for every input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import Builder, one_op, random_input, small_net
from tinyscene.runtime import ops
from tinyscene.runtime.code_ranges import code_ranges
from tinyscene.runtime.graph import Graph, Tensor
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.without_constants import without_constants


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
    pruned = without_constants(dead)
    assert pruned.channels == 3 + without_constants(graph).channels
    assert not {0, 7, 19} & set(pruned.kept[next(n.output for n in graph.nodes if n.name == name)].tolist())
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
    pruned = without_constants(dead)
    assert pruned.channels == 1
    assert_same_bytes(dead, pruned.graph, pruned.kept, rng)


def test_a_live_graph_is_left_as_it_is() -> None:
    graph = small_net(np.random.default_rng(0), grn=True)
    pruned = without_constants(graph)
    assert (pruned.graph, pruned.channels, pruned.kept, pruned.notes()) == (graph, 0, {}, ())


def with_bias(graph: Graph, name: str, channels: list[int], bias_code: int = -(2**22)) -> Graph:
    """The graph with another bias, by default one far below 0, of these output channels of node ``name``."""
    node = next(n for n in graph.nodes if n.name == name)
    bias = graph.tensors[node.inputs[2]]
    assert bias.data is not None
    data = bias.data.copy()
    data[channels] = bias_code
    return replace(graph, tensors={**graph.tensors, bias.name: replace(bias, data=data)}).check()


@pytest.mark.parametrize("padded", [False, True])
def test_channels_leave_between_two_convolutions_and_before_a_matrix_product(padded: bool) -> None:
    """A channel that is 0 leaves also where the next convolution pads; one that is another constant does not."""
    rng = np.random.default_rng(7)
    b = Builder(rng, "chain", (6, 5, 3))
    x = b.conv(b.input, (3, 3), channels=8, relu=True)
    x = b.conv(x, (3, 3), channels=6, pads=(1, 1, 1, 1) if padded else (0, 0, 0, 0), relu=True)
    x = b.mean(x, keep_dims=False)
    graph = b.graph(b.fully_connected(b.fully_connected(x, 7, relu=True), 4))
    first, second, third = graph.nodes[0].name, graph.nodes[1].name, graph.nodes[3].name
    assert without_constants(graph).channels == 0
    dead = with_bias(deaden(with_bias(graph, third, [6]), first, [2], axis=0), first, [0, 5])
    dead = with_bias(dead, first, [2], 2000)
    pruned = without_constants(dead)
    assert pruned.channels == (3 if padded else 4)
    assert second not in {n.name for n in dead.nodes if n.output in pruned.kept}  # the mean reads all its channels
    assert_same_bytes(dead, pruned.graph, pruned.kept, rng)


def test_what_others_read_stays() -> None:
    """An output of the graph, two readers, and constants that two layers have in common."""
    rng = np.random.default_rng(8)
    b = Builder(rng, "readers", (4, 4, 5))
    x = b.conv(b.input, (1, 1), channels=5, relu=True)
    y = b.conv(x, (1, 1), channels=5)
    several = with_bias(b.graph(y, x), b.nodes[0].name, [1])
    shared = with_bias(b.graph(y), b.nodes[0].name, [1])
    two = replace(
        shared.nodes[1], inputs=(shared.nodes[1].inputs[0], *shared.nodes[0].inputs[1:2], *shared.nodes[1].inputs[2:])
    )
    scale = np.float32(shared.tensors[x].quant.scale[0]) * np.float32(shared.tensors[two.inputs[1]].quant.scale)
    bias = shared.tensors[two.inputs[2]]
    bias = replace(bias, quant=replace(bias.quant, scale=tuple(scale.tolist())))
    shared = replace(shared, nodes=(shared.nodes[0], two), tensors={**shared.tensors, bias.name: bias}).check()
    for graph in (several, shared):
        assert without_constants(graph).graph == graph


@pytest.mark.parametrize(
    "kind", ["conv2d", "depthwise_conv2d", "transpose_conv2d", "fully_connected", "grouped_conv2d"]
)
def test_codes_stay_within_their_ranges(kind: str) -> None:
    """Also of a layer whose input never is 0, and of windows that lack elements."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        graph = one_op(rng, kind)
        ranges = code_ranges(graph)
        x = random_input(rng, graph, 20)
        for rounding in ("double", "single"):
            trace: dict[str, np.ndarray] = {}
            run(graph, x, rounding=rounding, trace=trace)
            for name, (low, high) in ranges.items():
                assert (trace[name] >= low).all(), (kind, seed, name)
                assert (trace[name] <= high).all(), (kind, seed, name)


def test_windows_of_a_transposed_convolution_lack_elements() -> None:
    """Its inputs are all above 0, and so are its sums, but each output has some of the taps only."""
    rng = np.random.default_rng(3)
    b = Builder(rng, "transposed", (3, 3, 2))
    x = b.conv(b.input, (1, 1), channels=2)
    b.convolution(x, ops.TransposeConv2D((2, 2), (7, 7)), (3, 3), 2)
    graph = b.graph(b.nodes[-1].output)
    constant = [
        Tensor(t.name, t.shape, t.dtype, t.quant, np.full(t.shape, v, t.data.dtype))
        for t, v in (
            (graph.tensors[graph.nodes[0].inputs[1]], 0),
            (graph.tensors[graph.nodes[0].inputs[2]], 2**20),
            (graph.tensors[graph.nodes[1].inputs[1]], 1),
            (graph.tensors[graph.nodes[1].inputs[2]], 0),
        )
    ]
    graph = replace(graph, tensors={**graph.tensors, **{t.name: t for t in constant}}).check()
    low, high = code_ranges(graph)[graph.output]
    codes = run(graph, random_input(rng, graph))
    assert len(np.unique(codes)) > 1
    assert (codes >= low).all()
    assert (codes <= high).all()
