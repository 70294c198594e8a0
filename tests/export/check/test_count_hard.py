"""Counts of files that are hard to count: shared constants, operators on codes, 4 bits, operators without a rule."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("ai_edge_litert")

from onnx import TensorProto, helper, numpy_helper
from rich.cells import cell_len

from tests.export.formats.tflite_models import OPS, TYPES, Net
from tinyscene import command_line
from tinyscene.export.check.count_onnx import onnx_layers
from tinyscene.export.check.count_tflite import tflite_layers
from tinyscene.export.errors import ExportError
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


def test_scales_for_each_channel_of_a_dynamically_quantised_product_are_no_parameters():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("Mul", ["s", "ws"], ["factor"]),
        helper.make_node("MatMulInteger", ["q", "w", "z", "wz"], ["acc"]),
        helper.make_node("Cast", ["acc"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "factor"], ["y"]),
    ]
    constants = {"w": np.ones((8, 16), np.int8), "ws": f32(16), "wz": np.zeros(16, np.int8)}
    assert figures(onnx_cost(nodes, constants, (1, 10, 8), (1, 10, 16))) == (128, 10 * 128, 128)


def test_scales_of_operators_without_a_rule_are_no_parameters():
    lstm = ["x", "w", "r", "b", "", "", "", "", "ws", "z", "ws", "z"]
    node = helper.make_node("DynamicQuantizeLSTM", lstm, ["y"], hidden_size=4, domain="com.microsoft")
    constants = {"w": np.ones((1, 3, 16), np.int8), "r": np.ones((1, 4, 16), np.int8), "b": f32(1, 32)}
    cost = onnx_cost([node], {**constants, "ws": f32(1), "z": np.zeros(1, np.int8)}, (5, 1, 3), (5, 1, 1, 4))
    assert (cost.parameters, cost.n_bytes, len(cost.uncounted)) == (144, 240, 1)
    node = helper.make_node(
        "MatMulNBits", ["x", "b", "s"], ["y"], K=64, N=4, bits=4, block_size=32, domain="com.microsoft"
    )
    cost = onnx_cost([node], {"b": np.ones((4, 2, 16), np.uint8), "s": f32(8)}, (1, 64), (1, 4))
    assert (cost.parameters, cost.n_bytes, len(cost.uncounted)) == (256, 128, 1)


@pytest.mark.parametrize("op", ["LayerNormalization", "InstanceNormalization"])
def test_a_normalisation_without_a_rule_is_named_with_its_parameters(op):
    """They were 0 B: a constant of one axis was taken for a number of the formula."""
    cost = onnx_cost([helper.make_node(op, ["x", "s", "b"], ["y"])], {"s": f32(8), "b": f32(8)}, (1, 8, 8), (1, 8, 8))
    assert (cost.parameters, cost.n_bytes, cost.uncounted) == (16, 64, (f"'y' ({op})",))
    resized = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="nearest")
    assert onnx_cost([resized], {"s": np.float32([1, 1, 2])}, (1, 8, 8), (1, 8, 16)).uncounted == ()


def test_the_count_of_a_loop_is_no_parameter():
    ends = [
        helper.make_tensor_value_info("i", TensorProto.INT64, ()),
        helper.make_tensor_value_info("more", TensorProto.BOOL, ()),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, (1, 8)),
    ]
    nodes = [helper.make_node("MatMul", ["state", "w"], ["next"]), helper.make_node("Identity", ["more"], ["again"])]
    outs = [
        helper.make_tensor_value_info("again", TensorProto.BOOL, ()),
        helper.make_tensor_value_info("next", TensorProto.FLOAT, (1, 8)),
    ]
    body = helper.make_graph(nodes, "body", ends, outs, [numpy_helper.from_array(f32(8, 8), "w")])
    node = helper.make_node("Loop", ["n", "yes", "x"], ["y"], body=body)
    cost = onnx_cost([node], {"n": np.array(3), "yes": np.array(True)}, (1, 8), (1, 8))
    assert (cost.parameters, cost.n_bytes, len(cost.uncounted)) == (64, 256, 1)


@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
def test_weights_of_4_bits_in_an_onnx_file_take_half_a_byte(kind):
    weight = helper.make_tensor("w", getattr(TensorProto, kind), (5, 3), [1] * 15)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["real"]),
        helper.make_node("MatMul", ["x", "real"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, n)) for name, n in (("x", 5), ("y", 3))]
    scale = numpy_helper.from_array(np.float32(0.1), "s")
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight, scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    layers = onnx_layers(model.SerializeToString(), Path("f.onnx"))
    assert figures(count(layers, "dcase", source="")) == (15, 15, 8)


def test_a_tensor_without_its_zeros_is_refused():
    """Its product was listed with 0 parameters."""
    values = helper.make_tensor("w", TensorProto.FLOAT, (3,), [1.0, 2.0, 3.0])
    places = helper.make_tensor("places", TensorProto.INT64, (3,), [0, 5, 9])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, n)) for name, n in (("x", 8), ("y", 4))]
    sparse = helper.make_sparse_tensor(values, places, [8, 4])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], sparse_initializer=[sparse])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ExportError, match="limit: tensor 'w' is stored sparsely"):
        onnx_layers(model.SerializeToString(), Path("f.onnx"))


@pytest.mark.parametrize("name", ["a" * 300, "\n" * 300, "\N{CJK UNIFIED IDEOGRAPH-7573}" * 300, "a b " * 100])
def test_a_table_with_long_names_is_no_wider_than_100_columns(name, tmp_path, capsys):
    """300 characters that are escaped took 1,200 columns, and two columns each in some scripts."""
    net = Net(np.random.default_rng(0), (4, 4, 3))
    out = net.conv(net.input, 5)
    net.tensors[out.index].name = name
    path = tmp_path / "m.tflite"
    path.write_bytes(net.finish(out))
    for command, is_row in (("check", "CONV_2D"), ("inspect", "Conv2D")):
        assert command_line.main([command, str(path)]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(("rule ", str(tmp_path)))]
        assert sum(is_row in line for line in lines) == 1
        assert max(cell_len(line) for line in lines) <= 100


def test_of_many_operators_without_a_rule_the_first_are_named(tmp_path, capsys):
    net = Net(np.random.default_rng(0), (4, 4, 3))
    out, weight = net.input, net.constant(np.ones((3, 3), np.int8), 0.1)
    for _ in range(9):
        out = net.apply(OPS.SVDF, [out.index, weight], net.out((1, 4, 4, 3)))
    path = tmp_path / "m.tflite"
    path.write_bytes(net.finish(out))
    assert command_line.main(["check", str(path)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("no rule counts")]
    assert line.endswith(" (SVDF), 4 more (--json names all); count them by hand")


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
