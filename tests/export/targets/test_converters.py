"""TensorFlow's converter and Core ML's: they write the integer graph, or the fault is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.graphs import OP_KINDS, Builder, one_op, random_input, small_net
from tinyscene.export.errors import ExportError
from tinyscene.export.targets import coreml, environments
from tinyscene.export.targets.conversion import compare_graphs
from tinyscene.export.targets.coreml import converted_for_coreml
from tinyscene.export.targets.table import Exposed
from tinyscene.export.targets.tensorflow_converter import converted_by_tensorflow, tensorflow_file
from tinyscene.export.targets.worker import JobInput, JobOutput
from tinyscene.export.targets.workers.records import CoremlRecord
from tinyscene.export.verify.verify import verify
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.install_hint import install_hint

NOT_TENSORFLOWS = {
    "softmax": "a part of the network is float32: MUL, SOFTMAX",  # with beta
    "pad": "'tf.PadV2' op is neither a custom op nor a flex op",
    "transpose_conv2d": "no scales for the outputs of a transposed convolution",
    "lstm": "finds an LSTM in layers of Keras only",
    "fully_connected": "mismatched quantized axes",  # with one scale per output
    "table": "a table of codes is no function of TensorFlow's",
    "prelu": "a part of the network is float32",
    "dilated_depthwise": "no stride beside a dilation",
    "multiplied_depthwise": "no stride beside a dilation",
}
OTHER_KINDS = OP_KINDS[6:]  # which the small net does not have
QUICK = ("rsqrt", "transpose_conv2d")
SIX_AXES = ("transpose", "pad", "slice", "parts")  # one axis more than Core ML has, in some random nets


def _without_lowest_code(graph: Graph) -> Graph:
    """With weights from -127 on, as TensorFlow has them."""
    tensors = {
        name: replace(t, data=np.maximum(t.data, -127)) if t.data is not None and t.dtype == "int8" else t
        for name, t in graph.tensors.items()
    }
    return replace(graph, tensors=tensors)


def _net() -> tuple[Graph, np.ndarray]:
    graph = small_net(np.random.default_rng(3), grn=True)
    return graph, random_input(np.random.default_rng(4), graph, 2)


@pytest.mark.foreign("tensorflow")
@pytest.mark.parametrize("grn", [False, True], ids=["plain", "grn"])
def test_tensorflow_writes_the_same_network(grn: bool) -> None:
    graph = _without_lowest_code(small_net(np.random.default_rng(3), grn=grn))
    x = random_input(np.random.default_rng(4), graph, 2)
    found = converted_by_tensorflow(Exposed(graph), x)
    assert (found.status, found.bytes_different, found.fault) == ("named exception", 0, "")
    assert found.bytes_compared > sum(t.n_bytes for t in graph.constants())
    assert "scales differ by a step or two of float32" in found.exceptions[0]
    assert "version 2.21.0" in found.note
    assert "0 of 20 scores differ" in found.note


@pytest.mark.foreign("tensorflow")
@pytest.mark.parametrize("kind", [kind for kind in OTHER_KINDS if kind not in ("lookup", *NOT_TENSORFLOWS)])
def test_tensorflow_converts_the_other_ops(kind: str) -> None:
    graph = _without_lowest_code(one_op(np.random.default_rng(1), kind))
    found = converted_by_tensorflow(Exposed(graph), random_input(np.random.default_rng(2), graph, 2))
    # TensorFlow writes one slice where two are alike, so that only scores are compared.
    assert found.status in (("converted",) if kind == "parts" else ("equal", "named exception"))


@pytest.mark.foreign("tensorflow")
@pytest.mark.parametrize("kind", NOT_TENSORFLOWS)
def test_what_tensorflow_has_no_form_of_is_refused_by_it_alone(kind: str) -> None:
    graph = _without_lowest_code(one_op(np.random.default_rng(1), kind))
    codes = random_input(np.random.default_rng(2), graph, 2)
    (result,) = verify(graph, codes, targets=("tensorflow-converter",)).results
    assert (result.status, NOT_TENSORFLOWS[kind] in result.note) == ("refused", True), result.note


@pytest.mark.foreign("tensorflow")
def test_a_weight_below_tensorflows_is_refused_by_it_alone() -> None:
    graph = one_op(np.random.default_rng(1), "dilated_conv2d")
    assert min(int(t.data.min()) for t in graph.constants() if t.dtype == "int8") == -128
    (result,) = verify(graph, random_input(np.random.default_rng(2), graph), targets=("tensorflow-converter",)).results
    assert result.status == "refused"
    assert "a weight has the code -128" in result.note


Fault = Callable[[Graph], Graph]


def _with(graph: Graph, name: str, **changed: object) -> Graph:
    return replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], **changed)})


def _other_weight(graph: Graph) -> Graph:
    name = graph.nodes[1].inputs[1]
    data = graph.tensors[name].data.copy()
    data[0, 0, 0, 0] ^= 1
    return _with(graph, name, data=data)


def _other_scale(graph: Graph) -> Graph:
    output = graph.tensors[graph.nodes[1].output]
    return _with(graph, output.name, quant=Quant.per_tensor(output.quant.scale[0] * 1.001, output.quant.zero_point))


def _other_zero_point(graph: Graph) -> Graph:
    output = graph.tensors[graph.nodes[4].output]
    return _with(graph, output.name, quant=replace(output.quant, zero_point=output.quant.zero_point + 1))


def _steps_off(graph: Graph) -> Graph:
    output = graph.tensors[graph.nodes[1].output]
    return _with(
        graph, output.name, quant=Quant.per_tensor(np.nextafter(np.float32(output.quant.scale[0]), np.float32(1)), -128)
    )


def _other_op(graph: Graph) -> Graph:
    nodes = list(graph.nodes)
    nodes[1] = replace(nodes[1], op=replace(nodes[1].op, relu=False))
    return replace(graph, nodes=tuple(nodes))


@pytest.mark.parametrize(
    ("plant", "status", "words"),
    [
        (_other_weight, "different", "1 of 360 codes of 'weight_1' differ"),
        (_other_scale, "different", "'conv2d_1_out' has another scale"),
        (_other_zero_point, "different", "'conv2d_4_out' has another quantisation"),
        (_other_op, "converted", "it writes 'conv2d_1' (conv2d) as another op"),
    ],
)
def test_a_difference_is_named(plant: Fault, status: str, words: str) -> None:
    graph, x = _net()
    found = compare_graphs(graph, plant(graph), x, "planted")
    assert found.status == status
    assert words in found.fault + found.note


def test_a_scale_off_by_a_step_is_a_named_exception() -> None:
    graph, x = _net()
    found = compare_graphs(graph, _steps_off(graph), x, "planted")
    assert (found.status, found.fault) == ("named exception", "")
    assert found.max_lsb <= 1
    same = compare_graphs(graph, graph, x, "itself")
    assert (same.status, same.bytes_different, same.exceptions) == ("equal", 0, ())


@pytest.mark.needs_module("coremltools")
@pytest.mark.parametrize(
    "kind",
    [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in OTHER_KINDS if k != "lstm"],
)
def test_core_ml_supports_the_other_ops(kind: str) -> None:
    graph = one_op(np.random.default_rng(2 if kind in SIX_AXES else 1), kind)
    found = converted_for_coreml(Exposed(graph), random_input(np.random.default_rng(2), graph))
    assert (found.status, found.fault) == ("converted", "")


@pytest.mark.needs_module("coremltools")
@pytest.mark.parametrize(
    ("kind", "words"),
    [("lstm", "has a state of real numbers"), *((kind, "tensors have at most 5 axes") for kind in SIX_AXES[:1])],
)
def test_what_core_ml_has_no_form_of_is_refused_by_it_alone(kind: str, words: str) -> None:
    graph = one_op(np.random.default_rng(1), kind)
    (result,) = verify(graph, random_input(np.random.default_rng(2), graph), targets=("coreml",)).results
    assert (result.status, words in result.note) == ("refused", True), result.note


@pytest.mark.needs_module("coremltools")
def test_core_ml_stores_our_codes_and_verify_notes_that_it_was_not_run() -> None:
    graph, x = _net()
    (result,) = verify(graph, x, targets=("coreml",)).results
    weights = sum(t.data.size for t in graph.constants() if t.dtype == "int8")
    assert result.comparison is not None
    assert (result.status, result.means, result.comparison.bytes_compared) == ("converted", "converts", weights)
    assert not result.passed
    assert "not run: Core ML exists on Apple's systems only" in result.note


def test_a_package_with_other_weights_or_lost_quantisers_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x = _net()
    for quantised, different, words in (
        (len(graph.nodes) + 1, 3, "3 of 10 weight codes differ"),
        (5, 0, "5 of 34 activations are quantised"),
    ):
        record = CoremlRecord("9", 1, 1, quantised, weights=10, weights_different=different)
        monkeypatch.setattr(coreml, "WORKER", SimpleNamespace(run=lambda _, r=record: JobOutput(r, {}, {})))
        monkeypatch.setattr(coreml.importlib.util, "find_spec", lambda _: True)
        found = converted_for_coreml(Exposed(graph), x)
        assert (found.status, found.fault) == ("different", words)


def test_nodes_that_no_output_depends_on_are_not_expected_of_core_ml(monkeypatch: pytest.MonkeyPatch) -> None:
    """coremltools leaves them out, which was a failure."""
    b = Builder(np.random.default_rng(1), "unread", (4, 4, 3))
    x = b.conv(b.input, (1, 1), channels=4)
    b.conv(x, (1, 1), channels=2)
    seen: list[Graph] = []

    def run(job: JobInput) -> JobOutput[CoremlRecord]:
        seen.append(job.graph)
        return JobOutput(CoremlRecord("9", 1, 1, 2, weights=12, weights_different=0), {}, {})

    monkeypatch.setattr(coreml, "WORKER", SimpleNamespace(run=run))
    monkeypatch.setattr(coreml.importlib.util, "find_spec", lambda _: True)
    graph = b.graph(x)
    found = converted_for_coreml(Exposed(graph), random_input(np.random.default_rng(2), graph))
    assert (found.status, len(graph.nodes), len(seen[0].check().nodes)) == ("converted", 2, 1)


def test_without_the_tools_both_are_skipped_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("TINYSCENE_CACHE", str(tmp_path))
    monkeypatch.setattr(environments.importlib.util, "find_spec", lambda _: None)
    graph, x = _net()
    results = verify(graph, x, targets=("tensorflow-converter", "coreml")).results
    assert [r.status for r in results] == ["skipped", "skipped"]
    assert "python -m tinyscene.export.targets.environments tensorflow" in results[0].note
    assert install_hint("npu") in results[1].note


@pytest.mark.foreign("tensorflow")
def test_a_refusal_has_tensorflow_s_message(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = one_op(np.random.default_rng(0), "fully_connected")
    name = graph.nodes[1].inputs[1]
    channels = len(graph.tensors[name].data)
    per_channel = Quant.per_channel(np.full(channels, graph.tensors[name].quant.scale[0]), 0)
    bias = graph.nodes[1].inputs[2]
    bias_scale = Quant.per_channel(np.full(channels, graph.tensors[bias].quant.scale[0]), 0)
    changed = _with(_with(graph, name, quant=per_channel), bias, quant=bias_scale)
    with pytest.raises(ExportError, match="mismatched quantized axes"):
        tensorflow_file(changed)
