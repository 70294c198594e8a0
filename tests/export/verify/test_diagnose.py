"""Faults planted in one layer are charged to that layer, and named.

Most are planted in the graph, whose changed form then runs in NumPy, in LiteRT or as compiled C in the place of the
right one; faults of memory are planted in the activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import Builder, random_input
from tinyscene.export.verify.op_comparison import Difference, compare
from tinyscene.firmware_harness.build.targets import HOST
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.engines import LiteRTEngine
from tinyscene.runtime.graph import Graph, Tensor
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.kernels import KERNELS
from tinyscene.runtime.tflite_write import to_tflite

LAYER = 1  # of GRAPH, where the faults are planted
Fault = Callable[[Graph], Graph]


@pytest.fixture(scope="module")
def graph() -> Graph:
    """A strided dense convolution with lopsided pads on a square map, between two others; biases of 18 bits."""
    b = Builder(np.random.default_rng(6), "planted", (8, 8, 8))
    x = b.conv(b.input, (1, 1), channels=8, relu=True)
    x = b.conv(x, (3, 3), channels=8, stride=(2, 2), pads=(0, 0, 1, 1))
    source = b.graph(b.conv(x, (1, 1), channels=8))
    bias = source.tensors[source.nodes[LAYER].inputs[2]]
    assert bias.data is not None
    large = np.linspace(-90_000, 90_000, bias.data.size).astype(np.int32)
    return replace(source, tensors={**source.tensors, bias.name: replace(bias, data=large)}).check()


@pytest.fixture(scope="module")
def x(graph: Graph) -> np.ndarray:
    return random_input(np.random.default_rng(1), graph, 3)


def _with(graph: Graph, role: str, change: Callable[[Tensor], Tensor]) -> Graph:
    node = graph.nodes[LAYER]
    name = {"x": node.inputs[0], "weight": node.inputs[1], "bias": node.inputs[2], "out": node.output}[role]
    return replace(graph, tensors={**graph.tensors, name: change(graph.tensors[name])})


def _data(role: str, change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    return lambda graph: _with(graph, role, lambda t: replace(t, data=np.ascontiguousarray(change(t.data))))


def _op(**fields: object) -> Fault:
    def planted(graph: Graph) -> Graph:
        nodes = list(graph.nodes)
        nodes[LAYER] = replace(nodes[LAYER], op=replace(nodes[LAYER].op, **fields))
        return replace(graph, nodes=tuple(nodes))

    return planted


def _one_scale(graph: Graph) -> Graph:
    return _with(
        graph, "weight", lambda t: replace(t, quant=replace(t.quant, scale=(t.quant.scale[0],) * len(t.quant.scale)))
    )


IN_THE_GRAPH = {
    "pads in front": (_op(pads=(1, 1, 0, 0)), "pads (1, 1, 0, 0) (top, left, bottom, right) instead of (0, 0, 1, 1)"),
    "an extra ReLU": (_op(relu=True), "a ReLU that the graph does not have"),
    "bias of 16 bits": (_data("bias", lambda b: b.clip(-(2**15), 2**15 - 1)), "the bias is saturated to 16 bits"),
    "bias cut": (_data("bias", lambda b: b.astype(np.int16).astype(np.int32)), "the bias is cut to its low 16 bits"),
    "no bias": (_data("bias", np.zeros_like), "the bias is missing"),
    "negated bias": (_data("bias", np.negative), "the bias has the wrong sign"),
    "kernel turned": (_data("weight", lambda w: w.transpose(0, 2, 1, 3)), "the kernel's height and width are swapped"),
    "kernel flipped": (_data("weight", lambda w: w[:, ::-1, ::-1]), "the kernel is flipped"),
    "kernel channels first": (
        _data("weight", lambda w: w.reshape(w.shape[0], w.shape[3], *w.shape[1:3]).transpose(0, 2, 3, 1)),
        "the kernel was read as channels first",
    ),
    "scale per tensor": (_one_scale, "one weight scale for all channels"),
}


def _numpy(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    trace: dict[str, np.ndarray] = {}
    run(graph, x, rounding="double", trace=trace)
    return trace


def _litert(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    return LiteRTEngine(graph, to_tflite(graph, expose_all=True), "reference").outputs(x)


def _c_host(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    return FirmwareEngine(graph, HOST).outputs(x)


def _found(graph: Graph, x: np.ndarray, shown: dict[str, np.ndarray]) -> Difference:
    difference = compare("planted", "double", graph, x, shown).first_difference
    assert difference is not None
    assert (difference.layer, difference.name) == (LAYER, graph.nodes[LAYER].name)
    assert difference.accumulator is not None
    return difference


@pytest.mark.parametrize("fault", IN_THE_GRAPH)
def test_a_planted_fault_is_named(fault: str, graph: Graph, x: np.ndarray) -> None:
    plant, words = IN_THE_GRAPH[fault]
    assert words in _found(graph, x, _numpy(plant(graph), x)).explanation


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("target", [_litert, _c_host], ids=["litert", "c-host"])
@pytest.mark.parametrize("fault", ["pads in front", "bias of 16 bits", "kernel turned"])
def test_also_when_a_real_target_has_it(fault: str, target, graph: Graph, x: np.ndarray) -> None:
    plant, words = IN_THE_GRAPH[fault]
    assert words in _found(graph, x, target(plant(graph), x)).explanation


def _again(graph: Graph, shown: dict[str, np.ndarray], first: int, **changed: np.ndarray) -> dict[str, np.ndarray]:
    """What a target shows when ``changed`` stands in the place of some activations, and the rest follows from it."""
    values = {**shown, **changed}
    for node in graph.nodes[first:]:
        arrays = tuple(values[i] if i in values else graph.tensors[i].data for i in node.inputs)
        values[node.output] = KERNELS[type(node.op)](graph, node, arrays, "double")
    return values


IN_MEMORY = {
    "written late": (lambda y: np.roll(y.reshape(len(y), -1), 1, axis=1).reshape(y.shape), "written 1 bytes late"),
    "a pixel early": (lambda y: np.roll(y.reshape(len(y), -1), -8, axis=1).reshape(y.shape), "written 8 bytes early"),
    "stored channels first": (
        lambda y: np.ascontiguousarray(y.transpose(0, 3, 1, 2)).reshape(y.shape),
        "the output is stored channels first",
    ),
    "a stale vector": (lambda y: np.broadcast_to(y[:1], y.shape).copy(), "every vector has the output of the first"),
}


@pytest.mark.parametrize("fault", IN_MEMORY)
def test_a_fault_of_memory_is_named(fault: str, graph: Graph, x: np.ndarray) -> None:
    change, words = IN_MEMORY[fault]
    shown, name = _numpy(graph, x), graph.nodes[LAYER].output
    assert words in _found(graph, x, _again(graph, shown, LAYER + 1, **{name: change(shown[name])})).explanation


def test_an_input_read_channels_first_is_named(graph: Graph, x: np.ndarray) -> None:
    shown, node = _numpy(graph, x), graph.nodes[LAYER]
    source = shown[node.inputs[0]]
    n, h, w, c = source.shape
    read = source.reshape(n, c, h, w).transpose(0, 2, 3, 1)
    arrays = (read, *(graph.tensors[i].data for i in node.inputs[1:]))
    wrong = KERNELS[type(node.op)](graph, node, arrays, "double")
    assert (
        "read as channels first (NCHW)"
        in _found(graph, x, _again(graph, shown, LAYER + 1, **{node.output: wrong})).explanation
    )


@pytest.fixture(scope="module")
def dense() -> Graph:
    """A matrix product over a flattened map, with a scale per output; biases of 18 bits."""
    b = Builder(np.random.default_rng(8), "dense", (4, 4, 6))
    source = b.graph(b.fully_connected(b.reshape(b.input, (1, 96)), 12, per_channel=True))
    bias = source.tensors[source.nodes[LAYER].inputs[2]]
    large = np.linspace(-90_000, 90_000, bias.data.size).astype(np.int32)
    return replace(source, tensors={**source.tensors, bias.name: replace(bias, data=large)}).check()


IN_THE_MATRIX = {
    **{name: IN_THE_GRAPH[name] for name in ("bias of 16 bits", "bias cut", "no bias", "negated bias")},
    **{name: IN_THE_GRAPH[name] for name in ("an extra ReLU", "scale per tensor")},
    "read transposed": (
        _data("weight", lambda w: np.ascontiguousarray(w).reshape(w.shape[::-1]).T),
        "the weight was read transposed",
    ),
    "flattened channels first": (
        _data("weight", lambda w: w.reshape(-1, 6, 4, 4).transpose(0, 2, 3, 1).reshape(w.shape)),
        "the input was flattened channels first (NCHW)",
    ),
}


@pytest.mark.parametrize("fault", IN_THE_MATRIX)
def test_a_fault_planted_in_a_matrix_product_is_named(fault: str, dense: Graph) -> None:
    plant, words = IN_THE_MATRIX[fault]
    x = random_input(np.random.default_rng(1), dense, 16)
    assert words in _found(dense, x, _numpy(plant(dense), x)).explanation


@pytest.mark.parametrize("name", ["graph", "dense"])
def test_the_other_rounding_rule_is_named(name: str, request: pytest.FixtureRequest) -> None:
    subject = request.getfixturevalue(name)
    x = random_input(np.random.default_rng(1), subject, 512)
    shown, node = _numpy(subject, x), subject.nodes[LAYER]
    arrays = tuple(shown.get(i, subject.tensors[i].data) for i in node.inputs)
    once = KERNELS[type(node.op)](subject, node, arrays, "single")
    found = _found(subject, x, _again(subject, shown, LAYER + 1, **{node.output: once}))
    assert "the 'single' rounding rule reproduces the output exactly" in found.explanation


def test_what_no_fault_explains_is_described(graph: Graph, x: np.ndarray) -> None:
    shown, name = _numpy(graph, x), graph.nodes[LAYER].output
    wrong = shown[name].copy()
    wrong[..., 5] = np.where(wrong[..., 5] < 100, wrong[..., 5] + 7, wrong[..., 5])
    found = _found(graph, x, _again(graph, shown, LAYER + 1, **{name: wrong}))
    assert "no known fault explains it; only channel 5 of 8" in found.explanation
    assert "all differences have one sign" in found.explanation
    assert f"(accumulator {found.accumulator:,})" in str(found)
