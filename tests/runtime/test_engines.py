"""Every engine against the interpreter, op by op and byte by byte.

Exact: ``double`` on LiteRT's reference kernels and TFLite Micro; ``single`` on LiteRT's default kernels and, but for
two ops, on ONNX Runtime. The exceptions are named here: ONNX Runtime sums and multiplies in float32, which rounds some
ties otherwise, so ADD and MUL may differ by one there, rarely.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from runtime import engines
from runtime.engines import (
    ENGINES,
    LiteRTEngine,
    NumpyEngine,
    OrtEngine,
    TFLMEngine,
    available_engines,
    open_engine,
)
from runtime.errors import RuntimeFailure
from runtime.graph import Graph
from tests.graphs import OP_KINDS, one_op, random_input, small_net

SEEDS = range(60)
ORT_ROUNDS_OTHERWISE = ("add", "mul")
ORT_SHARE = 1e-3  # of elements that may be one off there


@pytest.fixture(autouse=True)
def _packages(needs_module):
    needs_module("onnxruntime", "ai_edge_litert", "onnx")


@pytest.fixture
def write():
    """Functions of export that write the files; imported late, for their packages may be missing."""
    from export.to_onnx import to_onnx
    from export.to_tflite import to_tflite

    return to_tflite, to_onnx


def _foreign(graph, write):
    to_tflite, to_onnx = write
    tflite, onnx = to_tflite(graph, expose_all=True), to_onnx(graph, expose_all=True)
    yield OrtEngine(graph, onnx)
    yield LiteRTEngine(graph, tflite)
    yield LiteRTEngine(graph, tflite, "reference")
    if importlib.util.find_spec("tflite_micro"):
        yield TFLMEngine(graph, tflite)


def _expected(graph, x):
    return {rounding: NumpyEngine(graph, rounding).outputs(x) for rounding in ("double", "single")}


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("kind", OP_KINDS)
def test_one_op(kind, write):
    odd, seen = 0, 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        graph = one_op(rng, kind)
        x = random_input(rng, graph, 2)
        expected = _expected(graph, x)
        for engine in _foreign(graph, write):
            assert engine.notes == ()
            outputs = engine.outputs(x)
            assert set(outputs) == {node.output for node in graph.nodes}
            for name, got in outputs.items():
                wanted = expected[engine.rounding][name]
                assert got.dtype == np.int8
                assert got.shape == wanted.shape
                if engine.name == "ort" and kind in ORT_ROUNDS_OTHERWISE:
                    off = np.abs(got.astype(int) - wanted)
                    assert off.max() <= 1
                    odd, seen = odd + int(off.sum()), seen + off.size
                else:
                    assert np.array_equal(got, wanted), (engine.name, seed, name)
    assert odd <= ORT_SHARE * seen


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("grn", [False, True])
def test_small_nets_layer_by_layer(grn, write):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        graph = small_net(rng, grn=grn)
        x = random_input(rng, graph, 2)
        expected = _expected(graph, x)
        for engine in _foreign(graph, write):
            if engine.name == "ort":
                continue  # one byte off in a sum goes on through the net; its ops are compared above
            for name, got in engine.outputs(x).items():
                assert np.array_equal(got, expected[engine.rounding][name]), (engine.name, seed, name)


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
def test_plain_files_give_the_answer(files, name):
    """Without exposed activations; the batch is a loop and its order is kept."""
    x = random_input(np.random.default_rng(5), files.graph, 20)
    engine = open_engine(name, files)
    assert engine.name == name
    got = engine.output_codes(x)
    assert got.shape == (20, 10)
    wanted = NumpyEngine(files.graph, engine.rounding).outputs(x)[files.graph.output]
    off = np.abs(got.astype(int) - wanted)
    assert off.max() <= (2 if name == "ort" else 0)
    assert np.array_equal(got, np.concatenate([engine.output_codes(x[i : i + 1]) for i in range(20)]))
    assert np.array_equal(got, engine.outputs(x)[files.graph.output])


def test_results_of_one_call_outlive_the_next(files):
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
def test_codes_of_another_form_are_refused(files, name, x):
    if available_engines()[name]:
        pytest.skip(available_engines()[name])
    with pytest.raises(RuntimeFailure, match=r"wrong shape or type; expected int8 \(batch, 20, 14, 1\); got"):
        open_engine(name, files).output_codes(x)


def test_a_file_of_another_graph_is_refused(files, write):
    to_tflite, to_onnx = write
    other = small_net(np.random.default_rng(4), grn=False, shape=(10, 14, 1))
    with pytest.raises(RuntimeFailure, match="engine ort: the file's"):
        open_engine("ort", replace(files, onnx=to_onnx(other)))
    for name in ("litert", "litert-reference"):
        with pytest.raises(RuntimeFailure, match=f"engine {name}: the file's input shape is not the graph's"):
            open_engine(name, replace(files, tflite=to_tflite(other)))


@pytest.mark.parametrize("name", ["ort", "litert", "litert-reference"])
def test_garbage_is_refused(files, name):
    with pytest.raises(RuntimeFailure, match=f"engine {name}: cannot load the model file.*tinyscene export"):
        open_engine(name, replace(files, tflite=b"not a model" * 20, onnx=b"not a model" * 20))


def test_an_unknown_engine_is_refused_with_the_known_ones(files):
    with pytest.raises(RuntimeFailure, match=r"engine 'tensorrt': unknown; expected numpy-double \|.*tflm"):
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
        monkeypatch.setitem(sys.modules, module, None)  # what bars an import in Python itself
    real = importlib.util.find_spec
    gone = (package, "tflite_runtime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module in gone else real(module))
    assert command in available_engines()[name]
    assert available_engines()["numpy-double"] == ""
    with pytest.raises(RuntimeFailure, match=f"its package cannot be imported.*{command}"):
        open_engine(name, files)


def test_running_without_xnnpack_is_said(files, monkeypatch):
    """Kernels without the delegate stand in for a machine on which XNNPACK does not start."""
    from ai_edge_litert import interpreter

    plain_kernels = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    stand_in = SimpleNamespace(Interpreter=interpreter.Interpreter, OpResolverType=SimpleNamespace(AUTO=plain_kernels))
    monkeypatch.setattr(engines, "_litert", lambda _name: stand_in)
    plain = LiteRTEngine(files.graph, files.tflite)
    assert plain.notes
    assert "without XNNPACK" in plain.notes[0]


def test_start_up_is_silent(files, capfd):
    for name, reason in available_engines().items():
        if not reason:
            open_engine(name, files).output_codes(random_input(np.random.default_rng(0), files.graph))
    assert capfd.readouterr() == ("", "")
