"""The TFLite file: its padding, alignment and parameters, read back with the schema."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from tests.graphs import Builder, small_net
from tinyscene.runtime import ops
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.tflite_write import to_tflite

sizes = st.integers(1, 40)


def operators(data: bytes) -> Counter[str]:
    model = schema.Model.GetRootAsModel(data, 0)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    graph = model.Subgraphs(0)
    codes = [model.OperatorCodes(graph.Operators(i).OpcodeIndex()) for i in range(graph.OperatorsLength())]
    return Counter(names[code.BuiltinCode()] for code in codes)


def one_conv(pads: ops.Pads, stride: tuple[int, int] = (2, 2)) -> Graph:
    b = Builder(np.random.default_rng(0), "conv", (8, 9, 3))
    return b.graph(b.conv(b.input, (3, 3), channels=4, stride=stride, pads=pads))


@given(size=sizes, kernel=st.integers(1, 7), stride=st.integers(1, 4))
def test_same_keeps_the_window_count_and_puts_the_odd_pad_behind(size: int, kernel: int, stride: int) -> None:
    top, left, bottom, right = ops.same_pads((size, size), (kernel, kernel), (stride, stride))
    assert (top, bottom) == (left, right)
    assert 0 <= bottom - top <= 1
    windows = (size + top + bottom - kernel) // stride + 1
    assert windows == max(-(-size // stride), (size - kernel) // stride + 1)


@pytest.mark.parametrize(
    ("pads", "expected"),
    [((0, 1, 1, 1), {"CONV_2D": 1}), ((0, 0, 0, 0), {"CONV_2D": 1}), ((1, 1, 1, 1), {"PAD": 1, "CONV_2D": 1})],
    ids=["same", "valid", "symmetric"],
)
def test_only_padding_that_is_neither_same_nor_valid_costs_a_pad(pads: ops.Pads, expected: dict[str, int]) -> None:
    assert operators(to_tflite(one_conv(pads))) == expected


def test_constants_lie_on_16_byte_boundaries() -> None:
    graph = small_net(np.random.default_rng(0), grn=True)
    data = to_tflite(graph)
    for tensor in graph.constants():
        assert tensor.data is not None
        if tensor.n_bytes >= 16:  # shorter ones may occur by chance elsewhere
            assert data.find(tensor.data.tobytes()) % 16 == 0, tensor.name


def test_parameters_are_those_of_the_graph() -> None:
    graph = small_net(np.random.default_rng(0), grn=True)
    subgraph = schema.Model.GetRootAsModel(to_tflite(graph, expose_all=True), 0).Subgraphs(0)
    found = {subgraph.Tensors(i).Name().decode(): subgraph.Tensors(i) for i in range(subgraph.TensorsLength())}
    for tensor in (*graph.activations(), *graph.constants()):
        quant = found[tensor.name].Quantization()
        assert quant.ScaleAsNumpy().astype(np.float64).tolist() == list(tensor.quant.scale)
        assert set(quant.ZeroPointAsNumpy().tolist()) == {tensor.quant.zero_point}
        assert tuple(found[tensor.name].ShapeAsNumpy()) == tensor.shape
    outputs = [subgraph.Tensors(i).Name().decode() for i in subgraph.OutputsAsNumpy()]
    assert outputs == [node.output for node in graph.nodes]


def test_a_graph_that_does_not_check_is_not_written() -> None:
    graph = one_conv((0, 0, 0, 0))
    broken = Graph(graph.name, graph.tensors, graph.nodes, graph.inputs, ("nowhere",))
    with pytest.raises(RuntimeFailure, match="nowhere"):
        to_tflite(broken)


def test_equal_graphs_give_equal_bytes() -> None:
    assert to_tflite(small_net(np.random.default_rng(1), grn=True)) == to_tflite(
        small_net(np.random.default_rng(1), grn=True)
    )
