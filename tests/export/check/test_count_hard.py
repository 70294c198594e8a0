"""Counts of files that are hard to count: shared constants, operators on codes, 4 bits, operators without a rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("ai_edge_litert")

from onnx import TensorProto, helper, numpy_helper

from tests.export.formats.tflite_models import OPS, TYPES, Net
from tinyscene import command_line
from tinyscene.export.check.count_onnx import onnx_layers
from tinyscene.export.check.count_tflite import tflite_layers
from tinyscene.export.formats.tflite_read import from_tflite
from tinyscene.runtime.cost import Cost, count, graph_cost


def onnx_cost(
    nodes: list, constants: dict[str, np.ndarray], shape: tuple[int, ...], out: tuple[int, ...], rule: str = "dcase"
) -> Cost:
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, out)
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return count(onnx_layers(model.SerializeToString(), Path("f.onnx")), rule, source="")


def figures(cost: Cost) -> tuple[int, int, int]:
    return cost.parameters, cost.macs, cost.n_bytes


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_a_weight_of_two_convolutions_is_stored_once_and_multiplied_twice():
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1] * 4)]
    nodes.append(helper.make_node("Conv", ["h", "w", "b"], ["y"], pads=[1] * 4))
    assert figures(onnx_cost(nodes, {"w": f32(4, 4, 3, 3), "b": f32(4)}, (1, 4, 8, 8), (1, 4, 8, 8))) == (
        148,
        2 * 148 * 64,
        592,
    )
    net = Net(np.random.default_rng(0), (6, 6, 4))
    first = net.conv(net.input, 4, (3, 3), padding="SAME")
    net.tensors[first.index].quantization = net.tensors[net.input.index].quantization  # the bias has one scale too
    second = net.conv(first, 4, (3, 3), padding="SAME")
    net.operators[1].inputs = [first.index, *net.operators[0].inputs[1:]]
    data = net.finish(second)
    assert figures(count(tflite_layers(data, Path("f.tflite")), "dcase", source="")) == (148, 2 * 148 * 36, 160)
    assert figures(graph_cost(from_tflite(data), "dcase")) == (148, 2 * 148 * 36, 160)


CODES = {"s": np.float32(0.1), "z": np.uint8(3), "ws": np.float32(0.2), "wz": np.int8(0)}


def test_scales_of_operators_on_codes_are_no_parameters_and_their_shapes_are_known():
    """As ONNX Runtime's quantiser writes the QOperator form."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z", "b"], ["c"]),
        helper.make_node("QLinearAdd", ["c", "s", "z", "c", "s", "z", "s", "z"], ["a"], domain="com.microsoft"),
        helper.make_node(
            "QLinearGlobalAveragePool", ["a", "s", "z", "s", "z"], ["p"], domain="com.microsoft", channels_last=0
        ),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("QGemm", ["f", "s", "z", "v", "ws", "wz", "o", "s", "z"], ["g"], domain="com.microsoft"),
        helper.make_node("DequantizeLinear", ["g", "s", "z"], ["y"]),
    ]
    weights = {"w": np.ones((4, 3, 3, 3), np.int8), "v": np.ones((4, 2), np.int8)}
    constants = {**CODES, **weights, "b": np.ones(4, np.int32), "o": np.ones(2, np.int32)}
    cost = onnx_cost(nodes, constants, (1, 3, 10, 10), (1, 2))
    assert figures(cost) == (112 + 10, 112 * 64 + 10, 124 + 16)
    assert [layer.output_shape for layer in cost.layers][-1] == (1, 2)


def test_dynamically_quantised_products_and_transposed_convolutions_are_counted():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("Mul", ["s", "ws"], ["factor"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["acc"]),
        helper.make_node("Cast", ["acc"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "factor"], ["product"]),
        helper.make_node("Add", ["b", "product"], ["y"]),
    ]
    constants = {"w": np.ones((8, 16), np.int8), "b": f32(16), "ws": CODES["ws"], "wz": CODES["wz"]}
    assert figures(onnx_cost(nodes, constants, (1, 10, 8), (1, 10, 16))) == (144, 10 * 144, 128 + 64)
    transposed = [helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2, 2], pads=[1] * 4)]
    constants = {"w": f32(4, 6, 4, 4), "b": f32(6)}
    assert figures(onnx_cost(transposed, constants, (1, 4, 8, 8), (1, 6, 16, 16))) == (390, 390 * 256, 1560)
    assert onnx_cost(transposed, constants, (1, 4, 8, 8), (1, 6, 16, 16), "stored").macs == 384 * 64, (
        "each input element once"
    )


def test_weights_of_4_bits_are_counted_and_read():
    net = Net(np.random.default_rng(0), (4, 4, 3))
    out = net.conv(net.input, 5)
    weight = net.tensors[net.operators[0].inputs[1]]
    codes = np.random.default_rng(1).integers(-8, 8, 15)
    halves = np.append(codes & 15, 0).astype(np.uint8).reshape(-1, 2)
    weight.type, net.buffers[weight.buffer].data = TYPES.INT4, halves[:, 0] | halves[:, 1] << 4
    data = net.finish(out)
    assert figures(count(tflite_layers(data, Path("f.tflite")), "dcase", source="")) == (20, 20 * 16, 8 + 20)
    stored = next(t.data for t in from_tflite(data).constants() if t.dtype == "int8")
    assert stored.ravel().tolist() == codes.tolist()


def test_an_operator_without_a_rule_is_named_and_the_others_are_counted(tmp_path, capsys):
    net = Net(np.random.default_rng(0), (4, 4, 3))
    out = net.conv(net.input, 5)
    lstm = net.edge("state", out.shape, out.scale, out.zero_point)
    weight = net.constant(np.ones((5, 5), np.int8), 0.1)
    path = tmp_path / "lstm.tflite"
    path.write_bytes(net.finish(net.apply(OPS.SVDF, [out.index, weight], lstm)))
    assert command_line.main(["check", str(path)]) == 1
    text = capsys.readouterr().out
    assert "no rule counts the MACs of 'state' (SVDF)" in text
    assert "FAIL  macs: unknown, at least 320 MAC" in text
    assert command_line.main(["check", str(path), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["parameters"], record["uncounted"]) == (20 + 25, ["'state' (SVDF)"])


def test_a_recurrent_operator_is_named_instead_of_what_prepares_its_state():
    nodes = [
        helper.make_node("Expand", ["zeros", "size"], ["state"]),
        helper.make_node("GRU", ["x", "w", "r", "", "", "state"], ["y"], hidden_size=2),
    ]
    constants = {"zeros": f32(1, 1, 2), "size": np.array([1, 1, 1]), "w": f32(1, 6, 3), "r": f32(1, 6, 2)}
    cost = onnx_cost(nodes, constants, (5, 1, 3), (5, 1, 1, 2))
    assert [layer.op for layer in cost.layers if not layer.counted] == ["GRU"]
    assert cost.parameters == 30


def test_joined_names_of_fused_layers_take_one_line(tmp_path, capsys):
    net = Net(np.random.default_rng(0), (4, 4, 3))
    out = net.conv(net.input, 5)
    net.tensors[out.index].name = ";".join(f"model/a_long_name_of_a_layer_{i}/BiasAdd" for i in range(5))
    path = tmp_path / "long.tflite"
    path.write_bytes(net.finish(out))
    assert command_line.main(["check", str(path)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "CONV_2D" in line]
    assert len(rows) == 1
    assert rows[0].startswith("\N{HORIZONTAL ELLIPSIS}")


def test_weights_inside_the_branches_of_a_condition_are_counted_once(tmp_path, capsys):
    """They were 0 B, which passed every limit."""

    def branch(name: str, weight: str, stored: bool) -> onnx.GraphProto:
        nodes = [helper.make_node("Conv", ["x", weight], [f"{name}_y"], pads=[1] * 4)]
        own = [numpy_helper.from_array(f32(4, 4, 3, 3), weight)] if stored else []
        return helper.make_graph(
            nodes, name, [], [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, (1, 4, 8, 8))], own
        )

    node = helper.make_node(
        "If", ["yes"], ["y"], then_branch=branch("a", "inner", True), else_branch=branch("b", "outer", False)
    )
    cost = onnx_cost([node], {"yes": np.array([True]), "outer": f32(4, 4, 3, 3)}, (1, 4, 8, 8), (1, 4, 8, 8))
    assert (cost.parameters, cost.n_bytes, len(cost.uncounted)) == (288, 1152, 1)


def test_a_batch_of_minus_one_is_one_that_varies():
    """As Paddle's converter writes it; it was refused as a damaged file."""
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [-1, 4, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [-1, 4, 8, 8])
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(f32(4, 4, 3, 3), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    layers = onnx_layers(model.SerializeToString(), Path("f.onnx"))
    assert figures(count(layers, "dcase", source="")) == (144, 144 * 64, 576)
