"""Every engine against the interpreter, op by op and byte by byte.

Exact: ``double`` on LiteRT's reference kernels and TFLite Micro; ``single`` on LiteRT's default kernels and, but for
five ops, on ONNX Runtime. The exceptions are named here: it sums, multiplies and averages in other orders, so ADD, SUB,
MUL and MEAN may differ by one there beside ties, and average pools at ties, which are many.
LiteRT's reference kernels compute LOGISTIC in float (see test_logistic_at_near_ties) and round FULLY_CONNECTED once:
there ``double`` is TFLite Micro alone.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.graphs import OP_KINDS, Builder, one_op, random_input, small_net
from tests.random_nodes import SPREAD_KINDS
from tinyscene.runtime.engine_names import ENGINE_NAMES
from tinyscene.runtime.engines import (
    ENGINES,
    LiteRTEngine,
    NumpyEngine,
    OrtEngine,
    TFLMEngine,
)
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Quant

SEEDS = range(60)
# Share of elements that may differ by one where an engine rounds an op by another rule.
OTHER_ROUNDING = {
    **{("ort", kind): 1e-3 for kind in ("add", "sub", "mul", "mean", "reduce")},
    ("ort", "broadcast"): 1e-3,
    ("ort", "prelu"): 0.1,
    ("ort", "squared_difference"): 0.05,
    ("ort", "l2_norm"): 0.2,
    ("ort", "log_softmax"): 1e-2,
    ("litert", "log_softmax"): 1e-2,
    ("ort", "resize"): 0.3,
    ("litert", "batch_matmul"): 2e-2,  # its own kernel follows ``double`` where a zero point is not 0
    ("ort", "pool2d"): 0.2,
    ("litert-reference", "fully_connected"): 1e-2,
    ("litert-reference", "lstm"): 0.3,
}
LARGEST_DIFFERENCE = {
    "log_softmax": 2,
    "lstm": 8,
    "squared_difference": 16,
    "broadcast": 16,
}  # in codes; of the others 1


def test_the_table_has_every_name():
    assert set(ENGINES) == set(ENGINE_NAMES)


@pytest.fixture(autouse=True)
def _packages(needs_module):
    needs_module("onnxruntime", "ai_edge_litert", "onnx")


def _foreign(graph, write):
    """The engines that run the graph: the others refuse it by their limits (test_engine_limits.py)."""
    to_tflite, to_onnx = write
    tflite = to_tflite(graph, expose_all=True)
    others = [
        lambda: OrtEngine(graph, to_onnx(graph, expose_all=True)),
        lambda: LiteRTEngine(graph, tflite),
        lambda: LiteRTEngine(graph, tflite, "reference"),
    ]
    if importlib.util.find_spec("tflite_micro"):
        others.append(lambda: TFLMEngine(graph, tflite))
    for opened in others:
        try:
            yield opened()
        except TinysceneError as limit:
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
                    assert off.max() <= LARGEST_DIFFERENCE.get(kind, 1)
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
