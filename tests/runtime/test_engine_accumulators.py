"""Factors above 1 with accumulators over all of int32: engines follow their rules, or are refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.firmware_harness.random_graphs import convolution
from tests.graphs import Rng, random_input
from tinyscene.runtime import engine_accumulators, ops
from tinyscene.runtime.accumulators import wraps_around
from tinyscene.runtime.engines import LiteRTEngine, OrtEngine, TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.interpreter import run

CHANNELS = 200
pytestmark = pytest.mark.needs_module("ai_edge_litert", "tflite_micro", "onnxruntime")


def _biases(rng: Rng, saturated: bool) -> np.ndarray:
    if saturated:  # as converters write them behind a layer whose scale has no meaning
        return np.where(rng.random(CHANNELS) < 0.5, -(2**31), 2**31 - 1)
    size = np.minimum((2.0 ** rng.uniform(0, 30.99, CHANNELS)).astype(np.int64), 2**31 - 1 - 127 * 133 * 4)
    return np.where(rng.random(CHANNELS) < 0.5, -size, size)


def _graph(rng: Rng, kind: str, lowest: float = -10, highest: float = 7.6, *, saturated: bool = False) -> Graph:
    """Biases up to the limits of int32, or at them, and factors from ``2**lowest`` to ``2**highest``."""
    scale, bias = 2.0 ** rng.uniform(lowest, highest, CHANNELS) * 0.1 / 0.03, _biases(rng, saturated)
    if kind == "fully_connected":
        return _product(rng, bias, np.float32(scale))
    channels, inputs = (None, CHANNELS) if kind == "depthwise_conv2d" else (CHANNELS, 1)
    graph = convolution(rng, (2, 3, inputs), (1, 1), channels=channels, bias=bias, weight_scale=scale)
    if kind != "transpose_conv2d":
        return graph
    return replace(graph, nodes=(replace(graph.nodes[0], op=ops.TransposeConv2D((1, 1), (2, 3))),)).check()


def _product(rng: Rng, bias: np.ndarray, scale: np.ndarray) -> Graph:
    x, out = Quant.per_tensor(0.03, 5), Quant.per_tensor(0.1, -7)
    weight = rng.integers(-127, 128, (CHANNELS, 4)).astype(np.int8)
    tensors = [
        Tensor("x", (1, 4), "int8", x),
        Tensor("w", weight.shape, "int8", Quant.per_channel(scale, 0), weight),
        Tensor("b", bias.shape, "int32", Quant.per_channel(np.float32(x.scale[0]) * scale, 0), np.int32(bias)),
        Tensor("y", (1, CHANNELS), "int8", out),
    ]
    node = Node("product", ops.FullyConnected(), ("x", "w", "b"), "y")
    return Graph("product", {t.name: t for t in tensors}, (node,), ("x",), ("y",)).check()


def _different(engine, graph: Graph) -> int:
    x = random_input(np.random.default_rng(1), graph, 3)
    return int((engine.output_codes(x) != run(graph, x, rounding=engine.rounding)).sum())


@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d", "transpose_conv2d", "fully_connected"])
def test_products_beyond_int32_wrap_around_or_saturate_as_in_each_engine(kind: str) -> None:
    to_onnx = pytest.importorskip("tinyscene.export.formats.onnx_write").to_onnx
    to_tflite = pytest.importorskip("tinyscene.runtime.tflite_write").to_tflite
    graph = _graph(np.random.default_rng(8), kind)
    x = random_input(np.random.default_rng(1), graph, 3)
    assert not np.array_equal(run(graph, x, rounding="double"), run(graph, x, rounding="single"))
    assert _different(TFLMEngine(graph, to_tflite(graph)), graph) == 0
    assert _different(OrtEngine(graph, to_onnx(graph)), graph) == 0
    refused = {"depthwise_conv2d": set(), "fully_connected": {"default", "reference"}}.get(kind, {"default"})
    for kernels in ("default", "reference"):
        if kernels not in refused:
            assert _different(LiteRTEngine(graph, to_tflite(graph), kernels), graph) == 0
            continue
        with pytest.raises(RuntimeFailure, match=r"^engine litert.*'(conv|product)': (XNNPACK|its matrix)") as refusal:
            LiteRTEngine(graph, to_tflite(graph), kernels)
        assert refusal.value.unsupported


@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d", "transpose_conv2d", "fully_connected"])
def test_factors_up_to_the_largest_shift(kind: str) -> None:
    """Of layers whose output has a scale without meaning; XNNPACK does not start with them."""
    to_onnx = pytest.importorskip("tinyscene.export.formats.onnx_write").to_onnx
    to_tflite = pytest.importorskip("tinyscene.runtime.tflite_write").to_tflite
    graph = _graph(np.random.default_rng(8), kind, highest=29.9)
    assert _different(TFLMEngine(graph, to_tflite(graph)), graph) == 0
    assert _different(OrtEngine(graph, to_onnx(graph)), graph) == 0
    with pytest.raises(RuntimeFailure, match=r"^engine litert.*'(conv|product)': .*XNNPACK") as refusal:
        LiteRTEngine(graph, to_tflite(graph), "default")
    assert refusal.value.unsupported


@pytest.mark.parametrize("kind", ["conv2d", "depthwise_conv2d", "transpose_conv2d", "fully_connected"])
def test_sums_beyond_int32_wrap_around_in_every_engine(kind: str) -> None:
    to_onnx = pytest.importorskip("tinyscene.export.formats.onnx_write").to_onnx
    to_tflite = pytest.importorskip("tinyscene.runtime.tflite_write").to_tflite
    graph = _graph(np.random.default_rng(8), kind, -31, -22, saturated=True)
    assert wraps_around(graph, graph.nodes[0])
    codes = run(graph, random_input(np.random.default_rng(1), graph, 3))
    assert (codes == -128).any()
    assert len(np.unique(codes)) > 100
    data = to_tflite(graph)
    for engine in (TFLMEngine(graph, data), LiteRTEngine(graph, data), LiteRTEngine(graph, data, "reference")):
        assert _different(engine, graph) == 0
    if kind != "transpose_conv2d":
        assert _different(OrtEngine(graph, to_onnx(graph)), graph) == 0
        return
    with pytest.raises(RuntimeFailure, match="transposed convolution sums beyond int32"):
        OrtEngine(graph, to_onnx(graph))


def test_the_reference_matrix_product_does_not_wrap_around(monkeypatch: pytest.MonkeyPatch) -> None:
    to_tflite = pytest.importorskip("tinyscene.runtime.tflite_write").to_tflite
    monkeypatch.setattr(engine_accumulators, "_LIMITS", {})
    graph = _graph(np.random.default_rng(8), "fully_connected")
    assert _different(LiteRTEngine(graph, to_tflite(graph), "reference"), graph) > 0
