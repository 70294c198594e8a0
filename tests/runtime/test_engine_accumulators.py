"""Factors above 1 with accumulators over all of int32: engines follow their rules, or are refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.firmware_harness.random_graphs import convolution
from tests.graphs import Rng, random_input
from tinyscene.runtime import engine_accumulators, ops
from tinyscene.runtime.engines import LiteRTEngine, OrtEngine, TFLMEngine
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor
from tinyscene.runtime.interpreter import run

CHANNELS = 200
pytestmark = pytest.mark.needs_module("ai_edge_litert", "tflite_micro", "onnxruntime")


def _biases(rng: Rng) -> np.ndarray:
    size = np.minimum((2.0 ** rng.uniform(0, 30.99, CHANNELS)).astype(np.int64), 2**31 - 1 - 127 * 133 * 4)
    return np.where(rng.random(CHANNELS) < 0.5, -size, size)


def _graph(rng: Rng, kind: str) -> Graph:
    """Biases up to the limits of int32 and factors from 2^-10 to 200."""
    scale = 2.0 ** rng.uniform(-10, 7.6, CHANNELS) * 0.1 / 0.03
    if kind == "fully_connected":
        return _product(rng, _biases(rng), np.float32(scale))
    channels, inputs = (None, CHANNELS) if kind == "depthwise_conv2d" else (CHANNELS, 1)
    graph = convolution(rng, (2, 3, inputs), (1, 1), channels=channels, bias=_biases(rng), weight_scale=scale)
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
    to_tflite = pytest.importorskip("tinyscene.export.formats.tflite_write").to_tflite
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


def test_the_reference_matrix_product_does_not_wrap_around(monkeypatch: pytest.MonkeyPatch) -> None:
    to_tflite = pytest.importorskip("tinyscene.export.formats.tflite_write").to_tflite
    monkeypatch.setattr(engine_accumulators, "_LIMITS", {})
    graph = _graph(np.random.default_rng(8), "fully_connected")
    assert _different(LiteRTEngine(graph, to_tflite(graph), "reference"), graph) > 0
