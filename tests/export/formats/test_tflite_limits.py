"""What a TFLite file may have and the integer graph has not: refused by number and name, with what helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.formats.test_tflite_elementwise import require_equal
from tests.export.formats.test_tflite_movement import options, read
from tests.export.formats.tflite_models import OPS, TYPES, Edge, Net
from tinyscene.export.check.count_tflite import tflite_layers
from tinyscene.export.errors import ExportError
from tinyscene.export.formats.tflite_limits import LIMITS
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.runtime import ops
from tinyscene.runtime.cost import count
from tinyscene.runtime.tflite_write import finished

SHAPE = (4, 6, 5)


def net_of(kind: str) -> tuple[Net, Edge]:
    net = Net(np.random.default_rng(0), SHAPE)
    return net, net.apply(getattr(OPS, kind), [net.input.index], net.out((1, *SHAPE)))


@pytest.mark.parametrize("kind", LIMITS)
def test_an_operator_without_an_op_is_a_limit_with_a_next_step(kind: str) -> None:
    net, out = net_of(kind)
    with pytest.raises(ExportError, match=rf"operator 0 \({kind}\): limit: .*; next: ") as refusal:
        read(net, out)
    assert LIMITS[kind].what in str(refusal.value)


def test_an_operator_that_no_row_names_is_refused_with_those_that_are_read() -> None:
    with pytest.raises(ExportError, match=r"operator 0 \(FLOOR\): limit: not supported; expected ABS, ADD, "):
        read(*net_of("FLOOR"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("FLOAT32", "limit: activations of float32; .* got float32 with .* next: convert the float network"),
        ("INT16", "limit: activations of 16 bits; .* next: convert the float network with int8 activations"),
    ],
)
def test_activations_of_another_type_are_a_limit(kind: str, message: str) -> None:
    net, out = net_of("LOGISTIC")
    for edge in (net.input, out):
        net.tensors[edge.index].type = getattr(TYPES, kind)
    with pytest.raises(ExportError, match=rf"operator 0 \(LOGISTIC\), tensor 0 .*: {message}"):
        read(net, out)


@pytest.mark.parametrize("kind", ["DIV", "SELECT_V2"])
def test_a_float_network_is_refused_for_its_type_where_an_operator_is_a_limit_of_codes(kind: str) -> None:
    net, out = net_of(kind)
    for edge in (net.input, out):
        net.tensors[edge.index].type = TYPES.FLOAT32
    with pytest.raises(ExportError, match=rf"operator 0 \({kind}\): limit: activations of float32; next: convert"):
        read(net, out)


def test_several_graphs_are_a_limit_of_loops() -> None:
    net, out = net_of("LOGISTIC")
    model = schema.ModelT.InitFromPackedBuf(net.finish(out), 0)
    model.subgraphs.append(model.subgraphs[0])
    message = "limit: several graphs in one file, as of loops .* next: convert an LSTM of Keras 2"
    with pytest.raises(ExportError, match=message):
        from_tflite(finished(model))


def between_reals(net: Net, move: Callable[[Net, int], int]) -> Edge:
    """DEQUANTIZE, what ``move`` appends to a float32 tensor, and QUANTIZE to the scale of the codes."""
    real = net.tensor("real", (1, *SHAPE), TYPES.FLOAT32)
    net.operator(OPS.DEQUANTIZE, [net.input.index], real, schema.DequantizeOptionsT())
    moved = move(net, real)
    out = net.edge("codes", tuple(net.tensors[moved].shape), net.input.scale, net.input.zero_point)
    return net.apply(OPS.QUANTIZE, [moved], out, schema.QuantizeOptionsT())


def _split(net: Net, real: int) -> int:
    axis, parts = (
        net.constant(np.array(2, np.int32)),
        [net.tensor(f"p{i}", (1, 4, 3, 5), TYPES.FLOAT32) for i in (0, 1)],
    )
    net.operator(OPS.SPLIT, [axis, real], parts[0], options("Split", numSplits=2))
    net.operators[-1].outputs = parts
    return parts[1]


def _square(net: Net, real: int) -> int:
    out = net.tensor("squared", (1, *SHAPE), TYPES.FLOAT32)
    net.operator(OPS.SQUARE, [real], out, options("Square"))
    return out


@pytest.mark.needs_module("tflite_micro")
def test_codes_that_are_moved_as_reals_are_moved_codes() -> None:
    net = Net(np.random.default_rng(0), SHAPE)
    model = read(net, between_reals(net, _split))
    assert {type(node.op) for node in model.graph.nodes} <= {ops.Reshape, ops.Slice}
    require_equal(model.graph, model.file("m.tflite"))


@pytest.mark.parametrize("scale", [None, 0.3], ids=["computed with", "another scale"])
def test_reals_that_are_more_than_moved_codes_are_a_limit(scale: float | None) -> None:
    net = Net(np.random.default_rng(0), SHAPE)
    out = between_reals(net, _split if scale else _square)
    if scale:
        net.tensors[out.index].quantization.scale = np.array([scale], np.float32)
    named = "SPLIT" if scale else "SQUARE"
    message = rf"operator 0 \(DEQUANTIZE\): limit: a part of the network is float32: {named}; next"
    with pytest.raises(ExportError, match=message):
        read(net, out)


def test_layers_with_a_state_are_counted_although_no_graph_has_them(tmp_path: Any) -> None:
    net = Net(np.random.default_rng(0), (8,))
    state, rng = net.tensor("state", (1, 20), TYPES.INT16, 0.01), net.rng
    net.tensors[state].isVariable = True
    features = net.constant(rng.integers(-9, 9, (4, 8)).astype(np.int8), 0.1)
    times, bias = net.constant(np.ones((4, 5), np.int16), 0.1), net.constant(np.zeros(4, np.int32), 0.01)
    made, inputs = options("SVDF", rank=1, fusedActivationFunction=0), [net.input.index, features, times, bias, state]
    out = net.apply(OPS.SVDF, inputs, net.edge("out", (1, 4), 0.1, 0), made)
    assert count(tflite_layers(net.finish(out), tmp_path), "stored", source="").macs == 4 * 8 + 4 * 5
    with pytest.raises(
        ExportError, match=r"operator 0 \(SVDF\): limit: it keeps a state of its own from one run to the next"
    ):
        read(net, out)
