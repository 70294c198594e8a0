"""Every engine against the interpreter, op by op and byte by byte.

Exact: ``double`` on LiteRT's reference kernels and TFLite Micro; ``single`` on LiteRT's default kernels and, but for
five ops, on ONNX Runtime. The exceptions are named here: it sums, multiplies and averages in other orders, so ADD, SUB,
MUL and MEAN may differ by one there beside ties, and average pools at ties, which are many.
LiteRT's reference kernels compute LOGISTIC in float (see test_logistic_at_near_ties) and round FULLY_CONNECTED once:
there ``double`` is TFLite Micro alone.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from dataclasses import dataclass, replace
from types import SimpleNamespace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import Net
from tests.graphs import OP_KINDS, SPREAD_KINDS, Builder, one_op, random_input, small_net
from tinyscene.runtime import engines
from tinyscene.runtime.engine_names import ENGINE_NAMES
from tinyscene.runtime.engines import (
    ENGINES,
    LiteRTEngine,
    NumpyEngine,
    OrtEngine,
    TFLMEngine,
    available_engines,
    open_engine,
)
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Quant

SEEDS = range(60)
# Share of elements that may differ by one where an engine rounds an op by another rule.
OTHER_ROUNDING = {
    **{("ort", kind): 1e-3 for kind in ("add", "sub", "mul", "mean", "reduce")},
    ("ort", "broadcast"): 1e-3,
    ("ort", "prelu"): 0.1,
    ("ort", "pool2d"): 0.2,
    ("litert-reference", "fully_connected"): 1e-2,
}


def test_the_table_has_every_name():
    assert set(ENGINES) == set(ENGINE_NAMES)


@pytest.fixture(autouse=True)
def _packages(needs_module):
    needs_module("onnxruntime", "ai_edge_litert", "onnx")


@pytest.fixture
def write():
    """Functions of export that write the files; imported late, since their packages may be missing."""
    from tinyscene.export.formats.onnx_write import to_onnx
    from tinyscene.export.formats.tflite_write import to_tflite

    return to_tflite, to_onnx


def _foreign(graph, write):
    """The engines that run the graph: the others refuse it by their limits (test_engine_limits.py)."""
    to_tflite, to_onnx = write
    tflite, onnx = to_tflite(graph, expose_all=True), to_onnx(graph, expose_all=True)
    yield OrtEngine(graph, onnx)
    yield LiteRTEngine(graph, tflite)
    others = [lambda: LiteRTEngine(graph, tflite, "reference")]
    if importlib.util.find_spec("tflite_micro"):
        others.append(lambda: TFLMEngine(graph, tflite))
    for opened in others:
        try:
            yield opened()
        except RuntimeFailure as limit:
            if not limit.unsupported:
                raise


def _expected(graph, x):
    return {rounding: NumpyEngine(graph, rounding).outputs(x) for rounding in ("double", "single")}


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("kind", OP_KINDS)
def test_one_op(kind, write):
    odd: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in SEEDS[:15] if kind in SPREAD_KINDS else SEEDS:
        rng = np.random.default_rng(seed)
        graph = one_op(rng, kind)
        x = random_input(rng, graph, 2)
        expected = _expected(graph, x)
        for engine in _foreign(graph, write):
            assert engine.notes == ()
            outputs = engine.outputs(x)
            assert set(outputs) == {node.output for node in graph.nodes}
            for name, got in outputs.items():
                reference = expected[engine.rounding][name]
                assert got.dtype == np.int8
                assert got.shape == reference.shape
                if (engine.name, kind) in OTHER_ROUNDING:
                    off = np.abs(got.astype(int) - reference)
                    assert off.max() <= 1
                    odd[engine.name] += int(off.sum())
                    seen[engine.name] += off.size
                else:
                    assert np.array_equal(got, reference), (engine.name, seed, name)
    for name, elements in seen.items():
        assert odd[name] <= OTHER_ROUNDING[name, kind] * elements


@pytest.mark.parametrize("kind", ["square", "mean"])
def test_xnnpack_at_near_ties(kind, write):
    """Squares and means add the zero point before rounding; other ops add it afterwards."""
    to_tflite, _ = write
    differing = 0
    for ulp in range(-4, 5):
        b = Builder(np.random.default_rng(7), "tie", (5, 3, 256))
        source = b.graph(b.mul(b.input, b.input) if kind == "square" else b.mean(b.input))
        x_quant = Quant.per_tensor(0.04, -128)
        real = np.float32(106 * 106 * 0.04 * 0.04 if kind == "square" else 106 * 0.04)
        scale = np.float32(real / np.float32(42.5))
        scale = np.float32(scale + ulp * np.spacing(scale))
        tensors = dict(source.tensors)
        for name, quant in ((source.input, x_quant), (source.output, Quant.per_tensor(float(scale), -128))):
            tensors[name] = replace(tensors[name], quant=quant)
        graph = replace(source, tensors=tensors)
        x = np.tile(np.arange(-128, 128).astype(np.int8), (1, 5, 3, 1))
        reference = NumpyEngine(graph, "single").output_codes(x)
        assert np.array_equal(LiteRTEngine(graph, to_tflite(graph)).output_codes(x), reference), ulp
        differing += not np.array_equal(NumpyEngine(graph, "double").output_codes(x), reference)
    assert differing


def _logistic_near_ties(rng):
    """A graph of one logistic whose scale puts one code within some float32 steps of a tie."""
    distance, share = int(rng.integers(20, 250)), int(rng.integers(130, 250)) + 0.5
    positive = bool(rng.integers(2))
    scale = np.float32(np.log(share / (256 - share)) / distance)
    scale = np.float32(scale + int(rng.integers(-2, 3)) * np.spacing(scale))
    b = Builder(rng, "tie", (1, 1, 256), Quant.per_tensor(float(scale), -128 if positive else 127))
    return b.graph(b.lookup(b.input, "logistic"))


@pytest.mark.needs_module("tflite_micro")
def test_logistic_at_near_ties(write):
    """Three implementations: fixed point, float64, and float32 in LiteRT's reference kernels only."""
    to_tflite, _ = write
    x = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 1, 256)
    apart, reference_apart = 0, 0
    for seed in range(80):
        graph = _logistic_near_ties(np.random.default_rng(seed))
        data = to_tflite(graph)
        double, single = (NumpyEngine(graph, rule).output_codes(x) for rule in ("double", "single"))
        assert np.array_equal(LiteRTEngine(graph, data).output_codes(x), single), seed
        assert np.array_equal(TFLMEngine(graph, data).output_codes(x), double), seed
        reference = LiteRTEngine(graph, data, "reference").output_codes(x)
        assert np.abs(reference.astype(int) - double).max() <= 1
        apart += not np.array_equal(double, single)
        reference_apart += not np.array_equal(double, reference)
    assert apart
    assert reference_apart


@pytest.mark.needs_module("tflite_micro")
def test_softmax_at_near_ties(write):
    """Rows of many terms whose largest output is at a near-tie, where the order of the float sum matters."""
    to_tflite, _ = write
    apart = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        codes = rng.integers(40, 120, (1, 1, 1, int(rng.integers(2, 60)))).astype(np.int8)
        codes[..., int(rng.integers(codes.shape[3]))] = 120
        below = 120 - codes.astype(np.float64).ravel()
        reference, low, high = int(rng.integers(20, 250)) + 0.5, 1e-4, 2.0
        for _ in range(60):  # the share grows with the scale
            middle = (low + high) / 2
            low, high = (middle, high) if 256 / np.exp(-middle * below).sum() < reference else (low, middle)
        scale = np.float32(low)
        scale = np.float32(scale + int(rng.integers(-2, 3)) * np.spacing(scale))
        b = Builder(rng, "tie", (1, 1, codes.shape[3]), Quant.per_tensor(float(scale), 5))
        graph = b.graph(b.softmax(b.input))
        data = to_tflite(graph)
        double, single = (NumpyEngine(graph, rule).output_codes(codes) for rule in ("double", "single"))
        assert np.array_equal(LiteRTEngine(graph, data).output_codes(codes), single), seed
        assert np.array_equal(LiteRTEngine(graph, data, "reference").output_codes(codes), double), seed
        assert np.array_equal(TFLMEngine(graph, data).output_codes(codes), double), seed
        apart += not np.array_equal(double, single)
    assert apart


@pytest.mark.needs_module("tflite_micro")
@pytest.mark.parametrize("size", [511, 600, 3000])  # 512 equal shares are ties, which ONNX Runtime rounds to even
def test_a_long_softmax_of_equal_codes(size, write):
    """From 512 elements on LiteRT's reference kernel and TFLite Micro end the process (SIGABRT), and are refused."""
    b = Builder(np.random.default_rng(0), "row", (1, 1, size), Quant.per_tensor(0.1, 0))
    graph, codes = b.graph(b.softmax(b.input)), np.zeros((1, 1, 1, size), np.int8)
    names = []
    for engine in _foreign(graph, write):
        expected = NumpyEngine(graph, engine.rounding).output_codes(codes)
        assert np.array_equal(engine.output_codes(codes), expected), engine.name
        names.append(engine.name)
    assert names == ["ort", "litert"] + ["litert-reference", "tflm"] * (size < 512)


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
        open_engine(name, files).output_codes(x)


def test_a_file_of_another_graph_is_refused(files, write):
    to_tflite, to_onnx = write
    other = small_net(np.random.default_rng(4), grn=False, shape=(10, 14, 1))
    with pytest.raises(RuntimeFailure, match="engine ort: the model file's input shape differs"):
        open_engine("ort", replace(files, onnx=to_onnx(other)))
    for name in ("litert", "litert-reference"):
        with pytest.raises(
            RuntimeFailure,
            match=f"engine {name}: the model file's input shape differs from the graph's.*get the file again",
        ):
            open_engine(name, replace(files, tflite=to_tflite(other)))


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
    other = replace(scores, tensors=tensors, nodes=nodes, output=output.name).check()
    other_files = replace(files, tflite=to_tflite(other), onnx=to_onnx(other))
    codes = random_input(np.random.default_rng(5), files.graph)
    with pytest.raises(RuntimeFailure, match=f"engine {name}: the model file's output '.*' differs from the graph's"):
        open_engine(name, other_files).output_codes(codes)


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
        open_engine(name, replace(files, tflite=net.finish(scores)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["litert-reference", "tflm"])
def test_a_model_file_with_a_softmax_that_ends_the_process_is_refused(files, name):
    if reason := available_engines()[name]:
        pytest.skip(reason)
    net = Net(np.random.default_rng(4), (20, 14, 2))
    data = net.finish(net.softmax(net.flat(net.input)))
    with pytest.raises(RuntimeFailure, match="limit of elements in a row; expected at most 511; got 560"):
        open_engine(name, replace(files, tflite=data))


@pytest.mark.parametrize("name", ["ort", "litert", "litert-reference", "tflm"])
def test_invalid_model_files_are_refused(files, name):
    if reason := available_engines()[name]:
        pytest.skip(reason)
    with pytest.raises(RuntimeFailure, match=f"engine {name}, model file.*: not a readable (TFLite|ONNX) file"):
        open_engine(name, replace(files, tflite=b"not a model" * 20, onnx=b"not a model" * 20))


@pytest.mark.parametrize("name", ["litert", "tflm"])
def test_an_engine_never_sees_an_operator_that_no_graph_has(files, name):
    """A bundle's digests prove nothing about its maker: a custom operator or a loop stops here."""
    if reason := available_engines()[name]:
        pytest.skip(reason)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(files.tflite, 0))
    for row in model.operatorCodes:
        row.builtinCode = schema.BuiltinOperator.WHILE
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(
        RuntimeFailure, match=r"operator 0: not an operator of an integer graph; expected ADD, .*got 119"
    ):
        open_engine(name, replace(files, tflite=bytes(builder.Output())))


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
    gone = (package, "tflite_runtime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module in gone else real(module))
    assert command in available_engines()[name]
    assert available_engines()["numpy-double"] == ""
    with pytest.raises(RuntimeFailure, match=f"its package cannot be imported.*{command}"):
        open_engine(name, files)


def test_a_note_reports_a_run_without_xnnpack(files, monkeypatch):
    """Kernels without the delegate simulate a machine on which XNNPACK does not start."""
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
