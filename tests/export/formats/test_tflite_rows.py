"""Reductions over any axes and products of rows, in files of other makers: read, and computed as their own engines do.

The first axis of an inner tensor may hold rows of one input, as converters write a dense layer over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import OPS, Edge, Net
from tests.graphs import random_input
from tinyscene.export.check.count_tflite import tflite_layers
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.export.verify.verify import verify
from tinyscene.runtime import ops
from tinyscene.runtime.cost import Rule, count, graph_cost
from tinyscene.runtime.engines import LiteRTEngine, NumpyEngine, TFLMEngine

pytestmark = pytest.mark.needs_module("ai_edge_litert", "tflite_micro", "onnxruntime")


def net_of(shape: tuple[int, ...]) -> Net:
    return Net(np.random.default_rng(5), shape)


def rows(net: Net, x: Edge, outputs: int, *, keep: bool) -> Edge:
    """A dense layer whose weight has the length of the last axis."""
    options = schema.FullyConnectedOptionsT()
    options.keepNumDims = keep
    inputs, leading = x.shape[-1], x.shape[:-1]
    out = net.out((*(leading if keep else (int(np.prod(leading)),)), outputs))
    constants = net.weight((outputs, inputs), 0, inputs, x, True)
    return net.apply(OPS.FULLY_CONNECTED, [x.index, *constants], out, options)


def reduced(net: Net, kind: str, x: Edge, axes: list[int], *, keep: bool) -> Edge:
    options = schema.ReducerOptionsT()
    options.keepDims = keep
    gone = {axis % len(x.shape) for axis in axes}
    shape = tuple(1 if axis in gone else size for axis, size in enumerate(x.shape) if keep or axis not in gone)
    out = net.out(shape, like=x if kind in ("REDUCE_MAX", "REDUCE_MIN") else None)
    return net.apply(getattr(OPS, kind), [x.index, net.constant(np.array(axes, np.int32))], out, options)


def reshaped(net: Net, x: Edge, shape: tuple[int, ...]) -> Edge:
    return net.view("RESHAPE", x, shape, list(shape), options=schema.ReshapeOptionsT())


def require_equal(net: Net, output: Edge, exactly: Sequence[type] = (LiteRTEngine, TFLMEngine)) -> FileModel:
    """The file on its own engines, and our graph of it on ONNX Runtime and the reference kernels."""
    model = tflite_model(net.finish(output), "made")
    x = random_input(np.random.default_rng(1), model.graph, 4)
    for engine in (kind(model.graph, model.file("m.tflite")) for kind in exactly):
        expected = NumpyEngine(model.graph, engine.rounding).output_codes(x)
        assert np.array_equal(engine.output_codes(x), expected), engine.name
    results = verify(model.graph, x, targets=("litert", "litert-reference", "tflm", "ort")).results
    assert {result.status for result in results} <= {"equal", "named exception", "refused"}, results
    return model


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("kind", "axes"), [("MEAN", [1]), ("MEAN", [-1, 1]), ("SUM", [2, 3]), ("REDUCE_MAX", [1, 2]), ("REDUCE_MIN", [-2])]
)
def test_a_reduction_over_any_axes(kind: str, axes: list[int], keep: bool) -> None:
    net = net_of((6, 5, 4))
    require_equal(net, reduced(net, kind, net.input, axes, keep=keep))


def test_a_mean_of_ninety_thousand_elements() -> None:
    net = net_of((300, 300, 2))
    model = require_equal(net, reduced(net, "MEAN", net.input, [1, 2], keep=False))
    assert model.graph.nodes[0].op == ops.Reduce("mean", ops.SPACE, keep_dims=False)


@pytest.mark.parametrize("shape", [(3, 8), (2, 3, 8), (2, 3, 2, 8)], ids=str)
def test_a_product_of_rows_keeps_its_dimensions(shape: tuple[int, ...]) -> None:
    net = net_of(shape)
    graph = require_equal(net, rows(net, net.input, 5, keep=True)).graph
    assert len(graph.nodes) == 1
    n_rows = int(np.prod(shape[:-1]))
    expected: dict[Rule, int] = {"dcase": 45 * n_rows, "torchinfo": 45, "nessi": 40 * n_rows, "stored": 40 * n_rows}
    assert {rule: graph_cost(graph, rule).macs for rule in expected} == expected


def test_rows_in_the_first_axis_are_rows_of_one_input() -> None:
    """A dense layer over time, as a converter writes it, and the mean over time."""
    net = net_of((6, 2, 4))
    product = rows(net, rows(net, reshaped(net, net.input, (12, 4)), 7, keep=False), 5, keep=True)
    over_time = reduced(net, "MEAN", reshaped(net, product, (1, 12, 5)), [1], keep=False)
    graph = require_equal(net, over_time).graph
    assert [graph.out(node).shape for node in graph.nodes[:3]] == [(1, 12, 4), (1, 12, 7), (1, 12, 5)]


def test_a_reduction_over_rows_in_the_first_axis() -> None:
    net = net_of((6, 2, 4))
    product = rows(net, reshaped(net, net.input, (12, 4)), 7, keep=False)
    require_equal(net, reshaped(net, reduced(net, "REDUCE_MAX", product, [0], keep=False), (1, 7)))


@pytest.mark.parametrize("axes", [[0, 1, 2, 3], [1, 0]], ids=str)
@pytest.mark.parametrize("keep", [True, False])
def test_a_reduction_over_the_batch_too(axes: list[int], keep: bool) -> None:
    """The batch is 1."""
    net = net_of((6, 2, 4))
    require_equal(net, reduced(net, "MEAN", net.input, axes, keep=keep))


def test_rows_in_the_first_axis_of_the_output() -> None:
    net = net_of((3, 2, 8))
    graph = require_equal(net, rows(net, net.input, 5, keep=False)).graph
    assert graph.tensors[graph.output].shape == (1, 6, 5)


def test_a_product_flattens_rows_without_keeping_dimensions() -> None:
    net = net_of((3, 2, 8))
    graph = require_equal(net, net.flat(rows(net, net.input, 5, keep=False))).graph
    assert [type(node.op) for node in graph.nodes] == [ops.Reshape, ops.FullyConnected, ops.Reshape]


def products(net: Net, x: Edge, y: Edge, *, adj_x: bool, adj_y: bool) -> Edge:
    options = schema.BatchMatMulOptionsT()
    options.adjX, options.adjY, options.asymmetricQuantizeInputs = adj_x, adj_y, False
    shape = (x.shape[-1 if adj_x else -2], y.shape[-2 if adj_y else -1])
    shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), *shape)
    out = net.edge("products", shape, x.scale * y.scale * 60, 5)
    return net.apply(OPS.BATCH_MATMUL, [x.index, y.index], out, options)


def constant(net: Net, shape: tuple[int, ...], zero_point: int) -> Edge:
    index = net.constant(net.rng.integers(-128, 128, shape).astype(np.int8), 0.02)
    net.tensors[index].quantization.zeroPoint = np.array([zero_point], np.int64)
    return Edge(index, shape, 0.02, zero_point)


@pytest.mark.parametrize("zero_point", [0, 7])
@pytest.mark.parametrize(
    ("x", "y", "adj_x", "adj_y"),
    [
        ((4, 6), (1, 6, 5), False, False),
        ((4, 6), (6, 5), False, False),
        ((3, 6, 4), (1, 3, 5, 6), True, True),
        ((3, 4, 6), (1, 1, 6, 5), False, False),
        ((3, 4, 6), (6, 5), False, False),
        ((1, 2, 4, 6), (1, 3, 2, 5, 6), False, True),
    ],
    ids=str,
)
def test_products_with_a_constant(x, y, adj_x: bool, adj_y: bool, zero_point: int) -> None:
    """XNNPACK computes those whose second operand has zero point 0, and LiteRT's own kernel the others."""
    net = net_of(x)
    out = products(net, net.input, constant(net, y, zero_point), adj_x=adj_x, adj_y=adj_y)
    model = tflite_model(net.finish(out), "made")
    codes = random_input(np.random.default_rng(1), model.graph, 4)
    targets = ("litert", "litert-reference", "tflm", "ort", "ort-int8", "numpy-single")
    results = {result.target: result.status for result in verify(model.graph, codes, targets=targets).results}
    if zero_point:
        assert results.pop("litert") in ("equal", "named exception")
    assert set(results.values()) == {"equal"}, results
    own = NumpyEngine(model.graph, "double").output_codes(codes)
    assert np.array_equal(TFLMEngine(model.graph, model.file("m.tflite")).output_codes(codes), own)


def test_products_of_two_activations() -> None:
    """Attention: queries times keys, softmax, times values."""
    net = net_of((6, 8))
    queries, keys, values = (rows(net, net.input, 8, keep=True) for _ in range(3))
    shares = net.softmax(products(net, queries, keys, adj_x=False, adj_y=True))
    answers = products(net, shares, values, adj_x=False, adj_y=False)
    model = require_equal(net, rows(net, answers, 3, keep=True), exactly=(TFLMEngine,))
    graph, layers = model.graph, tflite_layers(model.file("m.tflite"), Path("made"))
    assert [graph.out(node).shape for node in graph.nodes[3:]] == [(1, 6, 6), (1, 6, 6), (1, 6, 8), (1, 6, 3)]
    for cost in (graph_cost(graph, "stored"), count(layers, "stored", source="file")):
        assert [layer.macs for layer in cost.layers[3:]] == [6 * 6 * 8, 0, 6 * 6 * 8, 6 * 8 * 3]


@pytest.mark.parametrize("beta", [1.0, 0.37, 4.0])
@pytest.mark.parametrize("shape", [(9,), (5, 4), (2, 3, 5), (2, 2, 3, 4)], ids=str)
def test_a_softmax_of_any_rank_and_beta(shape: tuple[int, ...], beta: float) -> None:
    net = net_of(shape)
    options, out = schema.SoftmaxOptionsT(), net.edge("shares", net.input.shape, 1 / 256, -128)
    options.beta = beta
    graph = require_equal(net, net.apply(OPS.SOFTMAX, [net.input.index], out, options)).graph
    assert graph.nodes[0].op == ops.Softmax(float(np.float32(beta)))


@pytest.mark.parametrize("shape", [(9,), (5, 4), (2, 3, 5), (2, 2, 3, 4)], ids=str)
def test_a_log_softmax_of_any_rank(shape: tuple[int, ...]) -> None:
    net = net_of(shape)
    out = net.edge("logarithms", net.input.shape, 1 / 16, 127)
    output = net.apply(OPS.LOG_SOFTMAX, [net.input.index], out, schema.LogSoftmaxOptionsT())
    require_equal(net, output, exactly=(TFLMEngine,))


def test_a_log_softmax_of_rows_beyond_the_fixed_point_is_refused() -> None:
    net = net_of((4096,))
    out = net.edge("logarithms", net.input.shape, 1 / 16, 127)
    output = net.apply(OPS.LOG_SOFTMAX, [net.input.index], out, schema.LogSoftmaxOptionsT())
    with pytest.raises(ExportError, match=r"LOG_SOFTMAX.*row of 4096 elements, a limit of the fixed point is 4095"):
        from_tflite(net.finish(output))


@pytest.mark.parametrize("axes", [[0], [1, 1], [4]], ids=str)
def test_axes_that_are_refused(axes: list[int]) -> None:
    net = net_of((6, 5, 4))
    options, out = schema.ReducerOptionsT(), net.out((1, 4))
    net.apply(OPS.MEAN, [net.input.index, net.constant(np.array(axes, np.int32))], out, options)
    expected = r"operator 0 \(MEAN\): axes; expected different ones from 0 to 3, not the batch alone"
    with pytest.raises(ExportError, match=expected):
        from_tflite(net.finish(out))


def test_a_batch_is_refused() -> None:
    net = net_of((6, 4))
    flat = reshaped(net, net.input, (1, 24))
    net.tensors[net.input.index].shape = [2, 3, 4]
    with pytest.raises(
        ExportError,
        match=r"limit: a first axis of more than one, .*; expected shape \(1, ...\); .* next: convert",
    ):
        from_tflite(net.finish(flat))
