"""Reductions over any axes and products of rows, in files of other makers: read, and computed as their own engines do.

The first axis of an inner tensor may hold rows of one input, as converters write a dense layer over time.
"""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.tflite_models import OPS, Edge, Net
from tests.graphs import random_input
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.file_model import FileModel
from tinyscene.export.formats.tflite_model import tflite_model
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.export.verify.verify import verify
from tinyscene.runtime import ops
from tinyscene.runtime.cost import Rule, graph_cost
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


def require_equal(net: Net, output: Edge) -> FileModel:
    """The file on its own engines, and our graph of it on ONNX Runtime and the reference kernels."""
    model = tflite_model(net.finish(output), "made")
    x = random_input(np.random.default_rng(1), model.graph, 4)
    for engine in (LiteRTEngine(model.graph, model.data), TFLMEngine(model.graph, model.data)):
        expected = NumpyEngine(model.graph, engine.rounding).output_codes(x)
        assert np.array_equal(engine.output_codes(x), expected), engine.name
    results = verify(model.graph, x, targets=("litert", "litert-reference", "tflm", "ort")).results
    assert {result.status for result in results} <= {"equal", "named exception", "skipped"}, results
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


def test_a_product_flattens_rows_without_keeping_dimensions() -> None:
    net = net_of((3, 2, 8))
    graph = require_equal(net, net.flat(rows(net, net.input, 5, keep=False))).graph
    assert [type(node.op) for node in graph.nodes] == [ops.Reshape, ops.FullyConnected, ops.Reshape]


@pytest.mark.parametrize("axes", [[0, 1], [1, 1], [4]], ids=str)
def test_axes_that_are_refused(axes: list[int]) -> None:
    net = net_of((6, 5, 4))
    options, out = schema.ReducerOptionsT(), net.out((1, 4))
    net.apply(OPS.MEAN, [net.input.index, net.constant(np.array(axes, np.int32))], out, options)
    expected = r"operator 0 \(MEAN\): axes; expected different ones from 1 to 3, without the batch"
    with pytest.raises(ExportError, match=expected):
        from_tflite(net.finish(out))


def test_a_batch_at_the_ends_of_a_file_is_refused() -> None:
    net = net_of((6, 4))
    flat = reshaped(net, net.input, (6, 4))
    with pytest.raises(ExportError, match=r"a batch of more than one not supported; expected shape \(1, ...\)"):
        from_tflite(net.finish(flat))
