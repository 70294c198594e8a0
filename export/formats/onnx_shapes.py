"""Shapes of an ONNX file with operators on codes, which onnx's shape inference does not know.

Infers the shapes of a twin: every operator on codes is replaced by the float operator of the same shapes, and stored
codes by inputs of their size. Refuses nothing: shapes that remain unknown are missing in the result.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

# The float operator, and the positions of the values among the inputs; the others are scales and zero points.
ON_CODES: dict[str, tuple[str, tuple[int, ...]]] = {
    "QLinearConv": ("Conv", (0, 3, 8)),
    "ConvInteger": ("Conv", (0, 1)),
    "QLinearMatMul": ("MatMul", (0, 3)),
    "MatMulInteger": ("MatMul", (0, 1)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "MatMulIntegerToFloat": ("MatMul", (0, 1)),
    "QGemm": ("Gemm", (0, 3, 6)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearReduceMean": ("ReduceMean", (0,)),
    "QLinearSigmoid": ("Sigmoid", (0,)),
    "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearSoftmax": ("Softmax", (0,)),
    "QLinearConcat": ("Concat", tuple(range(2, 3 * 1024, 3))),
    "QuantizeLinear": ("Identity", (0,)),
    "DequantizeLinear": ("Identity", (0,)),
}
_OWN_ATTRIBUTES = {"channels_last", "opset"}  # of the operators on codes, which the float ones lack
_CODES = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32)


def inferred_values(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Shapes of the activations, as far as they follow from those of the inputs."""
    graph = model.graph
    weights = [t for t in graph.initializer if t.data_type in _CODES or t.data_type == TensorProto.FLOAT]
    rest = [t for t in graph.initializer if t not in weights]
    ends = [helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, list(tensor.dims)) for tensor in weights] + [
        _as_float(value) for value in graph.input if value.name not in {tensor.name for tensor in weights}
    ]
    outputs = [helper.make_empty_tensor_value_info(value.name) for value in graph.output]
    twin = helper.make_graph([_float_node(node) for node in graph.node], graph.name, ends, outputs, rest)
    opsets = [opset for opset in model.opset_import if not opset.domain]
    inferred = onnx.shape_inference.infer_shapes(helper.make_model(twin, opset_imports=opsets), strict_mode=False)
    known = [*inferred.graph.value_info, *inferred.graph.output]
    return [value for value in known if value.type.tensor_type.HasField("shape")]


def _as_float(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    if copy.type.tensor_type.elem_type in _CODES:
        copy.type.tensor_type.elem_type = TensorProto.FLOAT
    return copy


def _float_node(node: onnx.NodeProto) -> onnx.NodeProto:
    kind, positions = ON_CODES.get(node.op_type, (node.op_type, None))
    if positions is None:
        return node
    twin = onnx.NodeProto()
    twin.CopyFrom(node)
    twin.op_type, twin.domain = kind, ""
    del twin.input[:], twin.output[1:], twin.attribute[:]
    twin.input.extend(node.input[at] for at in positions if at < len(node.input))
    if kind != "Identity":
        twin.attribute.extend(each for each in node.attribute if each.name not in _OWN_ATTRIBUTES)
    return twin
