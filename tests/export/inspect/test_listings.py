"""Tables of models: equal to the counts of ``tinyscene check``, to the constants of the graph, to the emitted C."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from pydantic import TypeAdapter

from tests.export.formats.tflite_models import Net, half_precision, odd_parts, resnet8
from tests.export.tiny import tiny_net
from tests.graphs import small_net
from tinyscene.export.check.count import artefact_cost
from tinyscene.export.formats.onnx_write import to_onnx
from tinyscene.export.inspect.graph_listing import graph_listing
from tinyscene.export.inspect.read import inspect_model
from tinyscene.export.inspect.records import FrontEndRow, Inspection, shape_text
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.kernel_set import C_FOLDER
from tinyscene.firmware_harness.emit.model import emit
from tinyscene.runtime.bundle import BundleContent, Golden, write_bundle
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.manifest import Provenance
from tinyscene.runtime.plan import plan
from tinyscene.runtime.spec import preset
from tinyscene.runtime.tflite_write import to_tflite
from tinyscene.training.models.checkpoint import save_model
from tinyscene.training.models.config import named_config

GRAPH = small_net(np.random.default_rng(2), grn=True)


def _file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def _totals(model: Inspection) -> tuple[int, int, int]:
    return model.parameters, model.parameter_bytes, model.macs


# --- counts


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_totals_are_those_of_check(suffix, tmp_path):
    path = _file(tmp_path, f"m.{suffix}", to_tflite(GRAPH) if suffix == "tflite" else to_onnx(GRAPH))
    checked = artefact_cost(path, "dcase")
    assert _totals(inspect_model(path)) == (checked.parameters, checked.n_bytes, checked.macs)


def test_each_node_has_the_costs_that_check_lists(tmp_path):
    path = _file(tmp_path, "m.tflite", to_tflite(GRAPH))
    checked = [(r.macs, r.n_bytes, r.parameters) for r in artefact_cost(path, "dcase").layers if r.op != "PAD"]
    assert [(n.macs, n.parameter_bytes, n.parameters) for n in inspect_model(path).nodes] == checked


def test_bytes_and_macs_follow_from_the_constants():
    """The rule once more, from the arrays: no reader and no cost table between them and the record."""
    model = graph_listing(GRAPH, "graph", "c99", "layers").record("m")
    for node, row in zip(GRAPH.nodes, model.nodes, strict=True):
        constants = [t.data for t in GRAPH.ins(node) if t.data is not None]
        assert row.parameter_bytes == sum(data.nbytes for data in constants), row.name
        scalar = bool(constants) and constants[0].shape[:3] == (1, 1, 1) and np.ptp(constants[0]) == 0
        if constants and not scalar:
            out = GRAPH.out(node).shape
            assert row.macs == sum(data.size for data in constants) * int(np.prod(out[1:-1])), row.name


def test_a_bundle_has_arena_labels_and_front_end(tmp_path):
    frontend = replace(preset("cpm23"), name="small", n_mels=20, clip_samples=6501)
    labels = tuple(f"scene_{i}" for i in range(GRAPH.tensors[GRAPH.output].shape[-1]))
    codes = np.zeros((1, *GRAPH.tensors[GRAPH.input].shape[1:]), np.int8)
    graph = replace(GRAPH, labels=labels)
    content = BundleContent(graph, frontend, to_tflite(graph), to_onnx(graph), Golden.of(graph, codes))
    bundle = write_bundle(tmp_path / "bundle", content, Provenance("nothing", {}))
    model, checked = inspect_model(bundle.path), artefact_cost(bundle.path, "dcase")
    assert _totals(model) == (checked.parameters, checked.n_bytes, checked.macs)
    assert model.labels == labels
    assert model.arena_bytes == plan(GRAPH).arena_bytes
    front_end = FrontEndRow("small", 32_000, 6501, 20, 14, frontend.digest())
    assert model.front_end == front_end
    assert model.inputs[0].shape == GRAPH.tensors[GRAPH.input].shape


def test_a_checkpoint_layer_by_layer(tmp_path):
    path, config = tmp_path / "m.pt", named_config("cpm23-8", n_classes=5, padding="same")
    save_model(path, tiny_net(), config, preset("cpm23"), tuple("abcde"), {})
    model, checked = inspect_model(path), artefact_cost(path, "dcase")
    assert _totals(model) == (checked.parameters, checked.n_bytes, checked.macs)
    assert [node.name for node in model.nodes] == [row.name for row in checked.layers]
    written = {*(tensor.name for tensor in (*model.inputs, *(node.output for node in model.nodes)))}
    assert all(set(node.inputs) <= written for node in model.nodes)
    assert model.nodes[-1].output.name == model.outputs[0].name
    assert (model.arena_bytes, model.firmware) == (None, None)


# --- kernels


@pytest.mark.parametrize("cpu", ["c99", "dsp", "mve"])
def test_kernels_are_those_that_the_emitted_c_calls(cpu):
    model = graph_listing(GRAPH, "graph", cpu, "speed").record("m")
    emitted = emit(GRAPH, kernel_set_named(cpu), "speed")
    called = re.findall(r"^    (ts_\w+)\(&ts_model_constants.layer_\d+", emitted.model_c, re.M)
    first_nodes = [node for node in model.nodes if node.call is not None and node.call.first == node.number]
    assert [node.call.kernel for node in first_nodes if node.call] == called
    portable = (C_FOLDER / "ts_kernels.h").read_text()
    assert [bool(node.call and node.call.portable) for node in first_nodes] == [f"{k}(" in portable for k in called]
    assert all(node.call and node.call.first <= node.number <= node.call.last for node in model.nodes)


def test_layers_mode_runs_every_node_by_itself():
    model = graph_listing(GRAPH, "graph", "dsp", "layers").record("m")
    assert model.firmware is not None
    assert model.firmware.calls == len(model.nodes)
    assert model.arena_bytes is not None


# --- files that are no integer graph


def test_a_float_tflite_file(tmp_path):
    path = _file(tmp_path, "half.tflite", half_precision())
    model, checked = inspect_model(path), artefact_cost(path, "dcase")
    assert _totals(model) == (checked.parameters, checked.n_bytes, checked.macs)
    assert [node.op for node in model.nodes] == ["CONV_2D"]
    assert model.nodes[0].inputs == (model.inputs[0].name,)


def test_a_refused_tflite_file_is_listed_with_the_reason(tmp_path):
    net = Net(np.random.default_rng(0), (6, 6, 2))
    x = net.conv(net.input, 4, (3, 3))
    y = net.alone("FLOOR", x, net.out(x.shape))
    model = inspect_model(_file(tmp_path, "floor.tflite", net.finish(y)))
    assert [node.op for node in model.nodes] == ["CONV_2D", "FLOOR"]
    assert model.nodes[1].output.scale == pytest.approx(y.scale)
    assert "operator 1 (FLOOR): limit: not supported" in model.notes[0]
    assert model.firmware is None


def test_an_int8_onnx_file_is_listed_as_the_graph_that_it_is(tmp_path):
    model = inspect_model(_file(tmp_path, "m.onnx", to_onnx(GRAPH, codes="int8")))
    quants = {(q.scale[0], q.zero_point) for node in GRAPH.nodes if (q := GRAPH.out(node).quant)}
    assert {(node.output.scale, node.output.zero_point) for node in model.nodes} == quants
    assert model.source == "int8 ONNX file, as an integer graph"
    assert model.firmware is not None


def test_the_nodes_of_a_quantised_onnx_file_that_is_no_graph_have_its_scales(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Det", ["d"], ["y"]),
    ]
    model = _onnx_file(tmp_path, nodes, {name: CODES[name] for name in "sz"}, (1, 3))
    assert "not an integer graph: operator 2 (Det 'y'): limit: Det is not supported" in model.notes[0]


def _onnx_file(tmp_path, nodes: list, constants: dict[str, np.ndarray], out: tuple[int, ...] = (1, 4, 8, 8)):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", (1, 3, 8, 8)), ("y", out))]
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return inspect_model(_file(tmp_path, "made.onnx", model.SerializeToString()))


CODES = {"s": np.float32(0.1), "z": np.uint8(3), "w": np.ones((4, 3, 3, 3), np.int8), "wz": np.int8(0)}


def test_the_output_of_codes_is_linked_to_the_node_that_writes_it(tmp_path):
    """Its box stood alone, because a DequantizeLinear was between them; scales were listed among the inputs."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "wz", "s", "z"], ["c"], pads=[1] * 4),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    model = _onnx_file(tmp_path, nodes, CODES)
    (node,) = model.nodes
    assert (node.inputs, node.output.name, model.outputs[0].name) == (("x",), "y", "y")


def test_a_condition_reads_what_its_branches_read(tmp_path):
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Conv", ["x", "w"], [f"{name}_y"], pads=[1] * 4)
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, (1, 4, 8, 8))
        return helper.make_graph([node], name, [], [out])

    node = helper.make_node("If", ["yes"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    model = _onnx_file(tmp_path, [node], {"yes": np.array([True]), "w": np.ones((4, 3, 3, 3), np.float32)})
    assert model.nodes[0].inputs == ("x",)
    assert (model.parameters, model.parameter_bytes, model.uncounted) == (108, 432, (1,)), "as check counts them"


def test_onnx_nodes_without_a_rule_or_a_shape_are_listed(tmp_path):
    weight = helper.make_tensor("w", TensorProto.FLOAT, (2, 3, 3, 3), np.zeros(54))
    nodes = [
        helper.make_node("Einsum", ["x", "w"], ["y"], name="up", equation="abcd,befg->aecd"),
        helper.make_node("FromElsewhere", ["y"], ["z"], name="own", domain="elsewhere"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 4, 4))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 6, 6))
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    model = inspect_model(
        _file(tmp_path, "up.onnx", helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    )
    assert [node.macs for node in model.nodes] == [None, None]
    assert model.uncounted == (1, 2)
    assert "no counting rule" in model.nodes[0].not_counted
    assert shape_text(model.nodes[1].output.shape) == "unknown"


# --- the record


@pytest.mark.parametrize("make", [resnet8, odd_parts])
def test_the_record_survives_json(make, tmp_path):
    net, output = make(np.random.default_rng(0))
    model = inspect_model(_file(tmp_path, "m.tflite", net.finish(output)))
    assert TypeAdapter(Inspection).validate_json(model.to_json()) == model
    assert set(json.loads(model.to_json())) == set(Inspection.__dataclass_fields__)


def test_a_scale_that_is_no_number_is_refused(tmp_path):
    net = Net(np.random.default_rng(0), (4, 4, 2))
    output = net.conv(net.input, 3)
    net.tensors[output.index].quantization.scale = np.array([np.nan], np.float32)
    with pytest.raises(TinysceneError, match="tensor 3, quantization, scale"):
        inspect_model(_file(tmp_path, "nan.tflite", net.finish(output)))


@pytest.mark.parametrize(
    ("name", "content"), [("a.tflite", b"TFL3"), ("a.onnx", b"\x00"), ("a.txt", b""), ("a.pt", b"zip")]
)
def test_what_is_no_model_is_one_error(name, content, tmp_path):
    path = _file(tmp_path, name, content)
    with pytest.raises(TinysceneError, match=re.escape(str(path))):
        inspect_model(path)
    with pytest.raises(TinysceneError):
        inspect_model(path.with_name("missing.onnx"))


def test_an_input_that_the_file_does_not_have_is_a_damaged_file(tmp_path):
    net = Net(np.random.default_rng(0), (4, 4, 2))
    output = net.conv(net.input, 3)
    net.input = replace(net.input, index=99)
    with pytest.raises(TinysceneError, match="not a readable TFLite file"):
        inspect_model(_file(tmp_path, "m.tflite", net.finish(output)))


def test_an_unknown_kernel_set_is_refused():
    with pytest.raises(TinysceneError, match="c99 or dsp or mve"):
        graph_listing(GRAPH, "graph", "avx", "speed")


def test_onnx_files_are_checked_before_they_are_listed(tmp_path):
    model = onnx.load_model_from_string(to_onnx(GRAPH))
    model.graph.node[3].input[0] = "nowhere"
    with pytest.raises(TinysceneError, match="not a readable ONNX file"):
        inspect_model(_file(tmp_path, "m.onnx", model.SerializeToString()))
