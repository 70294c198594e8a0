"""Engines on the files of a model: what they return, and which files and names they refuse."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import Net
from tests.graphs import Builder, random_input, small_net
from tinyscene.runtime import engines
from tinyscene.runtime.engines import (
    ENGINES,
    LiteRTEngine,
    NumpyEngine,
    available_engines,
    open_engine,
)
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.tflite_write import finished


@pytest.fixture(autouse=True)
def _packages(needs_module):
    needs_module("onnxruntime", "ai_edge_litert", "onnx")


@dataclass(frozen=True)
class Files:
    """A bundle's two files, in memory."""

    graph: Graph
    tflite: bytes
    onnx: bytes

    def file(self, name):
        return {"model.tflite": self.tflite, "model.onnx": self.onnx}[name]


@pytest.fixture
def files(write):
    to_tflite, to_onnx = write
    graph = small_net(np.random.default_rng(4), grn=True)
    return Files(graph, to_tflite(graph), to_onnx(graph))


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("name", ENGINES)
def test_files_without_exposed_activations(files, name):
    """A batch is run input by input, in order."""
    x = random_input(np.random.default_rng(5), files.graph, 20)
    engine = open_engine(name, files)
    assert engine.name == name
    got = engine.output_codes(x)
    assert got.shape == (20, 10)
    reference = NumpyEngine(files.graph, engine.rounding).outputs(x)[files.graph.output]
    off = np.abs(got.astype(int) - reference)
    assert off.max() <= (2 if name == "ort" else 0)
    assert np.array_equal(got, np.concatenate([engine.output_codes(x[i : i + 1]) for i in range(20)]))
    assert np.array_equal(got, engine.outputs(x)[files.graph.output])


def test_results_are_not_overwritten_by_the_next_call(files):
    x = random_input(np.random.default_rng(5), files.graph, 2)
    for name, reason in available_engines().items():
        if not reason:
            engine = open_engine(name, files)
            first = engine.output_codes(x[:1])
            copy = first.copy()
            engine.output_codes(x[1:])
            assert np.array_equal(first, copy), name


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize(
    "x",
    [np.zeros((1, 14, 20, 1), np.int8), np.zeros((1, 20, 14, 1), np.uint8), np.zeros((20, 14, 1), np.int8)],
    ids=["turned", "unsigned", "rank"],
)
def test_codes_of_another_shape_or_type_are_refused(files, name, x):
    if available_engines()[name]:
        pytest.skip(available_engines()[name])
    with pytest.raises(RuntimeFailure, match=r"wrong shape or type; expected int8 \(batch, 20, 14, 1\); got"):
        ENGINES[name].open(files, 1).output_codes(x)


def test_a_file_of_another_graph_is_refused(files, write):
    to_tflite, to_onnx = write
    other = small_net(np.random.default_rng(4), grn=False, shape=(10, 14, 1))
    with pytest.raises(RuntimeFailure, match="engine ort: the model file's inputs differs"):
        ENGINES["ort"].open(replace(files, onnx=to_onnx(other)), 1)
    for name in ("litert", "litert-reference"):
        with pytest.raises(
            RuntimeFailure,
            match=f"engine {name}: the model file's input shapes differs from the graph's.*get the file again",
        ):
            ENGINES[name].open(replace(files, tflite=to_tflite(other)), 1)


@pytest.mark.parametrize("name", ["ort", "litert", "litert-reference", "tflm"])
def test_scores_of_another_size_are_refused(files, name, write):
    """The model file of a bundle from elsewhere is another network, with the graph's names and its input."""
    if reason := available_engines()[name]:
        pytest.skip(reason)
    to_tflite, to_onnx = write
    b = Builder(np.random.default_rng(4), "scores", (20, 14, 1))
    scores = b.graph(b.mean(b.conv(b.input, (1, 1), channels=7), keep_dims=False))
    output = replace(scores.tensors[scores.output], name=files.graph.output)
    nodes = (*scores.nodes[:-1], replace(scores.nodes[-1], output=output.name))
    tensors = {t.name: t for t in (*scores.tensors.values(), output) if t.name != scores.output or t is output}
    other = replace(scores, tensors=tensors, nodes=nodes, outputs=(output.name,)).check()
    other_files = replace(files, tflite=to_tflite(other), onnx=to_onnx(other))
    codes = random_input(np.random.default_rng(5), files.graph)
    with pytest.raises(RuntimeFailure, match=f"engine {name}: the model file's output '.*' differs from the graph's"):
        ENGINES[name].open(other_files, 1).output_codes(codes)


@pytest.mark.parametrize("name", ["litert", "litert-reference", "tflm"])
def test_a_model_file_that_an_engine_refuses_prints_nothing(files, name, capfd):
    """TFLite Micro writes several lines with carriage returns itself; the command prints one."""
    if reason := available_engines()[name]:
        pytest.skip(reason)
    net = Net(np.random.default_rng(4), (20, 14, 1))
    x = net.conv(net.input, 10, (20, 14), padding="VALID")
    scores = net.flat(x)
    net.tensors[x.index].type, net.tensors[scores.index].name = schema.TensorType.INT16, files.graph.output
    with pytest.raises(RuntimeFailure, match="cannot load the model file"):
        ENGINES[name].open(replace(files, tflite=net.finish(scores)), 1)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["litert-reference", "tflm"])
def test_a_model_file_with_a_softmax_that_ends_the_process_is_refused(files, name):
    if reason := available_engines()[name]:
        pytest.skip(reason)
    net = Net(np.random.default_rng(4), (20, 14, 2))
    data = net.finish(net.softmax(net.flat(net.input)))
    with pytest.raises(RuntimeFailure, match="limit of elements in a row; expected at most 511; got 560"):
        ENGINES[name].open(replace(files, tflite=data), 1)


@pytest.mark.parametrize("name", ["ort", "litert", "litert-reference", "tflm"])
def test_invalid_model_files_are_refused(files, name):
    if reason := available_engines()[name]:
        pytest.skip(reason)
    with pytest.raises(RuntimeFailure, match=f"engine {name}, model file.*: not a readable (TFLite|ONNX) file"):
        ENGINES[name].open(replace(files, tflite=b"not a model" * 20, onnx=b"not a model" * 20), 1)


@pytest.mark.parametrize("name", ["litert", "litert-reference", "tflm"])
def test_no_engine_reads_the_tflite_file_of_a_bundle(files, name):
    """A bundle's digests prove nothing about its maker: the engine gets the graph, written again."""
    if reason := available_engines()[name]:
        pytest.skip(reason)
    codes = random_input(np.random.default_rng(5), files.graph)
    expected = open_engine(name, files).output_codes(codes)
    for data in (b"not a model" * 20, _with_variables(files.tflite)):
        assert np.array_equal(open_engine(name, replace(files, tflite=data)).output_codes(codes), expected)


def _with_variables(tflite: bytes) -> bytes:
    """The file with its last activations as variables, which end LiteRT's process."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(tflite, 0))
    for tensor in model.subgraphs[0].tensors[-3:]:
        tensor.isVariable = True
    return finished(model)


def test_an_onnx_file_that_the_engine_refuses_prints_nothing(files, capfd):
    """ONNX Runtime's wrapper prints to standard output, and its library to standard error, what they raise as well."""
    if reason := available_engines()["ort"]:
        pytest.skip(reason)
    import onnx

    model = onnx.load_model_from_string(files.onnx)
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    node.input[0] = "\x1b[31mnowhere"
    with pytest.raises(RuntimeFailure, match="engine ort: cannot load the model file"):
        open_engine("ort", replace(files, onnx=model.SerializeToString()))
    assert capfd.readouterr() == ("", "")


def test_values_that_are_not_finite_are_refused(files):
    if reason := available_engines()["ort"]:
        pytest.skip(reason)
    import onnx

    model = onnx.load_model_from_string(files.onnx)
    last = next(node for node in model.graph.node if node.output[0] == files.graph.output)
    last.output[0] = "finite"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(np.inf, np.float32), "infinity"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["finite", "infinity"], [files.graph.output]))
    codes = random_input(np.random.default_rng(5), files.graph)
    with pytest.raises(RuntimeFailure, match="engine ort: cannot run the model file; got the network has values"):
        open_engine("ort", replace(files, onnx=model.SerializeToString())).output_codes(codes)


def test_an_unknown_engine_is_refused_with_the_list_of_engines(files):
    with pytest.raises(RuntimeFailure, match=r"engine 'tensorrt': unknown; expected litert \|.*numpy-single"):
        open_engine("tensorrt", files)


PACKAGES = {
    "ort": ("onnxruntime", "pip install onnxruntime"),
    "litert": ("ai_edge_litert", "pip install ai-edge-litert"),
    "tflm": ("tflite_micro", "pip install --pre tflite-micro"),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_names_the_command(files, name, monkeypatch):
    package, command = PACKAGES[name]
    bars = {name for name in sys.modules if name.split(".")[0] == package} | {package}
    for module in bars:
        monkeypatch.setitem(sys.modules, module, None)  # makes Python refuse the import
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == package else real(module))
    assert command in available_engines()[name]
    assert available_engines()["numpy-double"] == ""
    with pytest.raises(RuntimeFailure, match=f"its package cannot be imported.*{command}"):
        open_engine(name, files)


def test_a_note_reports_a_run_without_xnnpack(files, monkeypatch):
    """Kernels without the delegate simulate a machine on which XNNPACK does not start."""
    from ai_edge_litert import interpreter

    plain_kernels = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    stand_in = SimpleNamespace(Interpreter=interpreter.Interpreter, OpResolverType=SimpleNamespace(AUTO=plain_kernels))
    monkeypatch.setattr(engines, "_package", lambda *_names: stand_in)
    plain = LiteRTEngine(files.graph, files.tflite)
    assert plain.notes
    assert "without XNNPACK" in plain.notes[0]


def test_start_up_is_silent(files, capfd):
    for name, reason in available_engines().items():
        if not reason:
            open_engine(name, files).output_codes(random_input(np.random.default_rng(0), files.graph))
    assert capfd.readouterr() == ("", "")
