"""Verification of a target that is equal, equal with exceptions, and different."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import one_op, random_input, small_net
from tinyscene.export.commands.output import print_verification
from tinyscene.export.labelled.codes import LabelledCodes
from tinyscene.export.targets.table import CORE_TARGETS
from tinyscene.export.verify.diagnose import ObservedOp
from tinyscene.export.verify.exceptions import EXCEPTIONS
from tinyscene.export.verify.op_comparison import compare
from tinyscene.export.verify.verify import verify
from tinyscene.runtime import ops
from tinyscene.runtime.engines import LiteRTEngine
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.tflite_write import to_tflite


def shown_by(graph: Graph, x: np.ndarray, rounding: str = "double") -> dict[str, np.ndarray]:
    trace: dict[str, np.ndarray] = {}
    run(graph, x, rounding=rounding, trace=trace)
    return trace


@pytest.fixture
def graph() -> Graph:
    return small_net(np.random.default_rng(3), grn=True)


@pytest.fixture
def x(graph: Graph) -> np.ndarray:
    return random_input(np.random.default_rng(4), graph, 2)


@pytest.mark.parametrize("rounding", ["double", "single"])
def test_the_graph_equals_itself(graph: Graph, x: np.ndarray, rounding: str) -> None:
    result = compare("target", rounding, graph, x, shown_by(graph, x, rounding))
    assert result.first_difference is None
    assert result.bytes_different == 0
    assert result.bytes_compared == 2 * sum(t.n_bytes for t in graph.activations() if t.name != graph.input)


@pytest.mark.parametrize("layer", [0, 3, 9, 20])
def test_one_wrong_byte_is_charged_to_its_own_layer(graph: Graph, x: np.ndarray, layer: int) -> None:
    shown = shown_by(graph, x)
    node = graph.nodes[layer]
    wrong = shown[node.output].copy()
    at = tuple(s - 1 for s in wrong.shape)
    wrong[at] ^= 1
    # What follows is computed from the wrong byte, as a real target would.
    values = {**shown, node.output: wrong}
    from tinyscene.runtime.kernels import KERNELS

    for later in graph.nodes[layer + 1 :]:
        arrays = tuple(values[i] if i in values else graph.tensors[i].data for i in later.inputs)
        values[later.output] = KERNELS[type(later.op)](graph, later, arrays, "double")
    result = compare("target", "double", graph, x, values)
    found = result.first_difference
    assert found is not None
    assert (found.layer, found.name, found.element, found.n_different) == (layer, node.name, at, 1)
    assert result.bytes_different == 1


def test_the_other_rounding_rule_is_recognised(graph: Graph, x: np.ndarray) -> None:
    single = shown_by(graph, x, "single")
    result = compare("target", "double", graph, x, single)
    assert result.first_difference is not None
    assert "'single' rounding rule reproduces the output exactly" in str(result.first_difference)


def test_an_exception_is_named_and_bounded(graph: Graph, x: np.ndarray) -> None:
    known = EXCEPTIONS["ort", ops.Add]
    node = next(n for n in graph.nodes if isinstance(n.op, ops.Add))
    shown = shown_by(graph, x, "single")
    for size, excused in ((1, True), (2, False)):
        changed = {name: codes.copy() for name, codes in shown.items()}
        flat = changed[node.output].reshape(-1)
        flat[0] += size if flat[0] < 100 else -size
        only_add = Graph("add", graph.tensors, (node,), graph.inputs, (node.output,))
        result = compare("ort", "single", only_add, x, changed)
        assert (result.first_difference is None) == excused
        assert bool(result.exceptions) == excused
    assert (
        known.reason in compare("ort", "single", only_add, x, shown | {node.output: _bumped(shown, node)}).exceptions[0]
    )


def _bumped(shown: dict[str, np.ndarray], node: object) -> np.ndarray:
    codes = shown[node.output].copy()  # type: ignore[attr-defined]
    codes.reshape(-1)[0] += 1 if codes.reshape(-1)[0] < 100 else -1
    return codes


def test_every_target_equals_the_graph(graph: Graph, x: np.ndarray, needs_tool: object, needs_module: object) -> None:
    needs_tool("gcc", "arm-none-eabi-gcc", "qemu-system-arm")  # type: ignore[operator]
    needs_module("tflite_micro", "onnxruntime", "ai_edge_litert")  # type: ignore[operator]
    labels = np.arange(6) % 2
    clips = LabelledCodes(
        random_input(np.random.default_rng(0), graph, 6), labels, labels, np.array(list("aabbcc")), "noise"
    )
    result = verify(graph, x, targets=tuple(CORE_TARGETS), labelled=clips)
    assert [r.target for r in result.results] == list(CORE_TARGETS)
    assert {r.target: r.remarks() for r in result.results if not r.passed} == {}
    accuracy = result.results[0].accuracy
    assert accuracy is not None
    assert {r.accuracy.share for r in result.results if r.rounding == "double" and r.accuracy} == {accuracy.share}
    assert accuracy.interval[0] <= accuracy.share <= accuracy.interval[1]
    assert np.mean(list(accuracy.per_device.values())) == pytest.approx(accuracy.share)  # two clips of each
    assert accuracy.float_share == 1.0  # its predictions are the labels


def test_an_unknown_target_is_refused_with_the_known_ones(graph: Graph, x: np.ndarray) -> None:
    with pytest.raises(TinysceneError, match="numpy-double"):
        verify(graph, x, targets=("tricorder",))


def test_a_missing_tool_is_a_named_skip(graph: Graph, x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (result,) = verify(graph, x, targets=("c-cortex-m4",)).results
    assert result.status == "skipped"
    assert "apt-get install" in result.note


def test_a_sample_of_labelled_clips_is_stratified() -> None:
    labels = np.repeat(np.arange(5), [100, 20, 20, 20, 20])
    clips = LabelledCodes(np.zeros((180, 1, 1, 1), np.int8), labels, labels, np.full(180, "a"), "")
    sample = clips.sample(25)
    assert np.bincount(sample.labels).tolist() == [5] * 5


@pytest.mark.needs_tool("gcc")
def test_a_target_that_does_not_build_fails_and_the_others_run(
    graph: Graph, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyscene.firmware_harness.build import image

    monkeypatch.setattr(image, "C_FLAGS", (*image.C_FLAGS, "-DTS_KERNELS_H"))
    host, numpy = verify(graph, x, targets=("c-host", "numpy-double")).results
    assert (host.status, numpy.status) == ("failed", "equal")
    assert "gcc failed" in host.note
    assert not host.passed


@pytest.mark.needs_module("ai_edge_litert", "tflite_micro", "onnxruntime")
def test_a_target_that_cannot_run_the_network_is_refused_and_the_others_run(capsys: pytest.CaptureFixture[str]) -> None:
    """TFLite has no average pool whose padding is neither SAME nor VALID."""
    shape, quant = (1, 5, 5, 3), Quant.per_tensor(0.1, 3)
    tensors = {name: Tensor(name, shape, "int8", quant) for name in ("x", "y")}
    pool = Node("pool", ops.Pool2D("average", (2, 2), (1, 1), (1, 1, 0, 0)), ("x",), "y")
    graph = Graph("pool", tensors, (pool,), ("x",), ("y",)).check()
    codes = random_input(np.random.default_rng(0), graph, 2)
    result = verify(graph, codes, targets=("litert", "tflm", "numpy-single", "ort"))
    assert [r.status for r in result.results] == ["refused", "refused", "equal", "named exception"]
    assert "'pool': TFLite has no such padding for a pool" in result.results[0].note
    assert [r.target for r in result.refused] == ["litert", "tflm"]
    assert not result.failed
    print_verification(result)
    assert "litert: 'pool': TFLite has no such padding" in capsys.readouterr().out


@pytest.fixture
def tie() -> tuple[Graph, np.ndarray]:
    """A square at a tie: its code depends on whether the scales are multiplied in double or in float32."""
    shape, tensors = (1, 1, 1, 4), {}
    for name, scale in (("x", "0x1.79702ep-4"), ("y", "0x1.90b352p+1")):
        tensors[name] = Tensor(name, shape, "int8", Quant.per_tensor(float.fromhex(scale), -128))
    graph = Graph("square", tensors, (Node("square", ops.Mul(), ("x", "x"), "y"),), ("x",), ("y",)).check()
    return graph, np.array([72, 10, 20, 30], np.int8).reshape(shape)


@pytest.mark.needs_module("ai_edge_litert", "tflite_micro")
def test_products_of_the_reference_kernels_differ_at_a_tie(tie: tuple[Graph, np.ndarray]) -> None:
    graph, codes = tie
    micro, reference = verify(graph, codes, targets=("tflm", "litert-reference")).results
    assert micro.status == "equal"
    assert reference.status == "named exception"
    assert reference.comparison is not None
    assert (reference.comparison.bytes_different, reference.comparison.max_lsb) == (1, 1)
    assert "float32" in reference.comparison.exceptions[0]


@pytest.mark.needs_module("ai_edge_litert")
def test_a_matrix_product_of_the_reference_kernels_rounds_once() -> None:
    """99 times 0.156 is 15.44; rounded to quarters first it is 15.5, and then 16."""
    x, out = Tensor("x", (1, 1), "int8", Quant((1.0,), 0)), Tensor("y", (1, 1), "int8", Quant((1.0,), 0))
    scale = (float(np.float32(0.156)),)
    weight = Tensor("weight", (1, 1), "int8", Quant(scale), np.zeros((1, 1), np.int8))
    bias = Tensor("bias", (1,), "int32", Quant(scale), np.array([99], np.int32))
    tensors = {tensor.name: tensor for tensor in (x, weight, bias, out)}
    node = Node("product", ops.FullyConnected(), ("x", "weight", "bias"), "y")
    graph = Graph("product", tensors, (node,), ("x",), ("y",)).check()
    codes = np.array([[3], [-7]], np.int8)
    (result,) = verify(graph, codes, targets=("litert-reference",)).results
    assert result.status == "named exception", result.remarks()
    assert result.comparison is not None
    assert (result.comparison.bytes_different, result.comparison.max_lsb) == (2, 1)


@pytest.mark.needs_module("ai_edge_litert")
@pytest.mark.parametrize("kind", ["fully_connected", "mul"])
def test_the_arithmetic_of_an_exception_is_exact(kind: str) -> None:
    """It predicts every byte of the reference kernels, and another byte is a difference."""
    differing = 0
    for seed in range(100, 141):
        graph = one_op(np.random.default_rng(seed), kind)
        codes = random_input(np.random.default_rng(seed), graph, 8)
        shown = LiteRTEngine(graph, to_tflite(graph, expose_all=True), "reference").outputs(codes)
        values = {name: tensor.data for name, tensor in graph.tensors.items()} | shown | {graph.input: codes}
        node = next(n for n in graph.nodes if ops.OPS[type(n.op)].name == kind)
        observed = ObservedOp(graph, node, tuple(values[i] for i in node.inputs), "double", shown[node.output])
        known = EXCEPTIONS["litert-reference", type(node.op)]
        differing += not np.array_equal(observed.computed(), observed.output)
        assert known.covers(observed, observed.computed()), seed
        wrong = observed.output.copy()
        wrong.flat[0] ^= 1
        assert not known.covers(replace(observed, output=wrong), observed.computed()), seed
    assert differing or kind == "mul"  # near-ties of products are rarer


@pytest.mark.needs_module("ai_edge_litert")
def test_clips_with_other_scores_are_compared_op_by_op(tie: tuple[Graph, np.ndarray]) -> None:
    """The scores of a clip differ while every golden vector is equal: the op that causes it is named."""
    graph, codes = tie
    golden, labels = np.zeros_like(codes), np.zeros(3, np.int64)
    clips = LabelledCodes(np.concatenate([golden, codes, golden]), labels, labels, np.full(3, "a"), "one tie")
    (result,) = verify(graph, golden, targets=("litert-reference",), labelled=clips).results
    assert result.predictions is not None
    assert (result.status, result.predictions.scores_different) == ("named exception", 1)
    assert result.comparison is not None
    assert (result.comparison.vectors, result.comparison.bytes_different) == (2, 1)


def test_clips_without_labels_give_the_agreement_with_float(graph: Graph, x: np.ndarray) -> None:
    codes = random_input(np.random.default_rng(0), graph, 6)
    clips = LabelledCodes(codes, None, np.zeros(6, np.int64), np.full(6, "a"), "noise")
    verification = verify(graph, x, targets=("numpy-double",), labelled=clips)
    (result,) = verification.results
    assert (verification.float_accuracy, result.accuracy) == (None, None)
    assert result.predictions is not None
    assert (result.predictions.clips, result.predictions.scores_different) == (6, 0)
    predictions = clips.oracle(graph, "double").reshape(6, -1).argmax(axis=1)
    assert result.predictions.float_agreement == np.mean(predictions == 0)
