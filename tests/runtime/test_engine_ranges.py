"""Scale ratios from 2^-50 to 2^30: every engine computes what its rule defines, or refuses the graph by name."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs import random_input
from tinyscene.runtime import ops
from tinyscene.runtime.engine_ranges import require_supported
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import PROBABILITY, Graph, Node, Quant, Tensor

SHAPE = (1, 4, 3, 8)
KINDS = (
    "conv2d",
    "depthwise_conv2d",
    "fully_connected",
    "add",
    "small_add",
    "sub",
    "mul",
    "mean",
    "relu",
    "requantise",
)
LARGEST = {"mean": 250.0, "add": 2.0**17.9, "sub": 2.0**17.9}


def ratio_graph(rng: np.random.Generator, ratio: float, kinds: tuple[str, ...] = KINDS) -> Graph:
    """Ops that read one input side by side, each with this scale ratio or the largest it can have; in ``small_add``
    that of one operand.
    """
    x = Tensor("x", SHAPE, "int8", Quant.per_tensor(0.05, int(rng.integers(-60, 60))))
    other = Tensor("other", SHAPE, "int8", Quant.per_tensor(0.05, 9), rng.integers(-128, 128, SHAPE).astype(np.int8))
    small = Tensor("small", SHAPE, "int8", Quant.per_tensor(0.05 * min(ratio, 1.0), 9), other.data)
    flat = Tensor("flat", (1, 96), "int8", x.quant)
    tensors = {tensor.name: tensor for tensor in (x, other, small, flat)}
    nodes = [Node("flatten", ops.Reshape(flat.shape), ("x",), flat.name)]
    for kind in kinds:
        op, inputs, shape, product = _part(rng, kind, tensors)
        scale = 0.05 if kind == "small_add" else product / min(ratio, LARGEST.get(kind, ratio))
        out = Tensor(f"{kind}_out", shape, "int8", Quant.per_tensor(scale, int(rng.integers(-60, 60))))
        tensors[out.name] = out
        nodes.append(Node(kind, op, inputs, out.name))
    return Graph("ratio", tensors, tuple(nodes), ("x",), (nodes[-1].output,)).check()


def _part(
    rng: np.random.Generator, kind: str, tensors: dict[str, Tensor]
) -> tuple[ops.Op, tuple[str, ...], tuple[int, ...], float]:
    """An op, its inputs, its output's shape and the product of the scales that it divides by the output's."""
    plain: dict[str, ops.Op] = {
        "add": ops.Add(),
        "small_add": ops.Add(),
        "sub": ops.Sub(),
        "mul": ops.Mul(),
        "relu": ops.Lookup("relu"),
        "requantise": ops.Lookup("requantise"),
    }
    if kind == "mean":
        return ops.Reduce("mean", ops.SPACE), ("x",), (1, 1, 1, SHAPE[3]), 0.05
    if kind in plain:
        pair = ("x",) if isinstance(plain[kind], ops.Lookup) else ("x", "small" if kind == "small_add" else "other")
        return plain[kind], pair, SHAPE, 0.05 * 0.05 if kind == "mul" else 0.05
    shapes = {"conv2d": (8, 1, 1, 8), "depthwise_conv2d": (1, 1, 1, 8), "fully_connected": (5, 96)}
    shape = shapes[kind]
    channels, axis = (8, 3 if kind == "depthwise_conv2d" else 0) if len(shape) == 4 else (5, 0)
    scales = np.full(channels, 0.01, np.float32)
    weight = rng.integers(-20, 21, shape).astype(np.int8)
    tensors[f"{kind}_w"] = Tensor(f"{kind}_w", shape, "int8", Quant.per_channel(scales, axis), weight)
    bias = rng.integers(-50, 51, channels).astype(np.int32)
    bias_scale = np.float32(0.05) * scales
    tensors[f"{kind}_b"] = Tensor(f"{kind}_b", (channels,), "int32", Quant.per_channel(bias_scale, 0), bias)
    op = {"conv2d": ops.Conv2D(), "depthwise_conv2d": ops.DepthwiseConv2D(), "fully_connected": ops.FullyConnected()}
    if kind != "fully_connected":
        return op[kind], ("x", f"{kind}_w", f"{kind}_b"), SHAPE, 0.0005
    return op[kind], ("flat", f"{kind}_w", f"{kind}_b"), (1, 5), 0.0005


RATIOS = (2.0**-35, 2.0**-14, 2.0**-8.5, 200.0, 300.0, 5000.0, 2.0**16.5, 2.0**28.9)
ENGINES = ("litert", "litert-reference", "tflm", "ort")


@pytest.mark.needs_module("ai_edge_litert", "tflite_micro", "onnxruntime")
@pytest.mark.parametrize("ratio", RATIOS)
def test_every_engine_computes_its_rule_or_refuses_by_name(ratio):
    verify = pytest.importorskip("tinyscene.export.verify.verify").verify
    graph = ratio_graph(np.random.default_rng(0), ratio)
    x = random_input(np.random.default_rng(1), graph, 6)
    results = {result.target: result for result in verify(graph, x, targets=ENGINES).results}
    assert {name: r.remarks() for name, r in results.items() if not r.passed and r.status != "refused"} == {}
    refused = {name for name, result in results.items() if result.status == "refused"}
    expected = {"litert": ratio > 256, "litert-reference": ratio > 2**15, "ort": not 2.0**-32 <= ratio < 2**15}
    assert refused == {name for name, beyond in expected.items() if beyond}


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("ratio", [2.0**-35, pytest.param(5000.0, marks=pytest.mark.slow), 2.0**28.9])
def test_portable_c_computes_every_ratio(ratio):
    _require_equal(ratio, ("c-host", "c-host-single"))


@pytest.mark.slow
@pytest.mark.needs_tool("arm-none-eabi-gcc", "qemu-system-arm")
@pytest.mark.parametrize("ratio", RATIOS)
def test_fast_kernels_compute_every_ratio(ratio):
    _require_equal(ratio, ("c-cortex-m4", "c-cortex-m4-single", "c-cortex-m55", "c-cortex-m55-single"))


def _require_equal(ratio, targets):
    verify = pytest.importorskip("tinyscene.export.verify.verify").verify
    graph = ratio_graph(np.random.default_rng(0), ratio)
    results = verify(graph, random_input(np.random.default_rng(1), graph, 6), targets=targets).results
    assert {r.target: r.remarks() for r in results if r.status != "equal"} == {}


@pytest.mark.parametrize("engine", ["litert-reference", "tensorflow-reference"])
def test_a_logistic_of_a_scale_from_4_on_is_refused_for_the_float_kernels(engine):
    x, y = (Tensor(name, SHAPE, "int8", quant) for name, quant in (("x", Quant.per_tensor(4.0, 3)), ("y", PROBABILITY)))
    graph = Graph("logistic", {"x": x, "y": y}, (Node("sigmoid", ops.Lookup("logistic"), ("x",), "y"),), ("x",), ("y",))
    require_supported(graph.check(), "tflm")
    with pytest.raises(RuntimeFailure, match=rf"engine {engine}, 'sigmoid': .*inexact from scale 4 on") as refusal:
        require_supported(graph, engine)
    assert refusal.value.unsupported
