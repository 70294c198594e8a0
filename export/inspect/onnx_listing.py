"""An ONNX file node by node, float or quantised.

Quantise and dequantise nodes are read as what they state: scale and zero point of the activation between them. Nodes
that no counting rule covers, or whose shape is not fixed, are listed without MACs. Refuses what onnx itself refuses.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx

from ..check.count_onnx import TRANSPARENT, OnnxLayers
from ..errors import unreadable
from .records import Listing, NodeRow, Shape, TensorRow, costs_of, finite, weight_scales

# Positions of the output's scale and zero point among the inputs of operators on codes.
_OUTPUT_SCALE = {
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), (6, 7)),
    **dict.fromkeys(("QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSigmoid", "QLinearLeakyRelu"), (3, 4)),
}
NOTE = "not an integer graph: only bundles and int8 .tflite files become one"
_DTYPES = {code: name.lower() for name, code in onnx.TensorProto.DataType.items()}
_DTYPES |= {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}


def onnx_listing(path: Path) -> Listing:
    """The operations of a file.

    Raises:
        ExportError: unreadable.
    """
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
        model, note = _inferred(model)
        reader = _Reader(model.graph, path)
        listed = [node for node in model.graph.node if node.op_type not in TRANSPARENT | {"Constant"}]
        rows = tuple(reader.row(number, node) for number, node in enumerate(listed, start=1))
    except Exception as problem:  # protobuf, checker, inference and external data each raise their own
        raise unreadable(str(path), "ONNX", len(data), problem) from problem
    stored = {initializer.name for initializer in model.graph.initializer}
    inputs = tuple(reader.tensor(value.name) for value in model.graph.input if value.name not in stored)
    outputs = tuple(reader.tensor(reader.activation(value.name), value.name) for value in model.graph.output)
    quantised = any(re.search("Quant|QLinear|Integer", node.op_type) for node in model.graph.node)
    source = "quantised ONNX file" if quantised else "float ONNX file"
    return Listing(f"{source}, node by node", inputs, outputs, rows, notes=(NOTE, *note))


def _inferred(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with its shapes; where strict inference fails, with those that are known, and a note."""
    try:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True), ()
    except Exception as problem:
        reason = " ".join(str(problem).split())[:160]
        return onnx.shape_inference.infer_shapes(model), (f"shapes are not all known: {reason}",)


class _Reader(OnnxLayers):
    """Adds to the counts what a table shows: shapes that are not fixed, scales of codes, attributes."""

    def __init__(self, graph: onnx.GraphProto, path: Path) -> None:
        super().__init__(graph, path)
        values = [*graph.value_info, *graph.input, *graph.output]
        self.whole_shapes = {v.name: _shape(v) for v in values}
        self.dtypes = {v.name: _DTYPES.get(v.type.tensor_type.elem_type, "unknown") for v in values}
        self.quantisers = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}

    def row(self, number: int, node: onnx.NodeProto) -> NodeRow:
        """One line of the table."""
        costs = costs_of(lambda: self.layer(node))
        constants = self.stored(node)
        weight, _ = self.roles(node, constants)
        scales = self.scale(weight)
        attributes = {a.name: tuple(a.ints) for a in node.attribute if a.ints}
        kernel = constants.get(weight)
        taps = kernel.shape[2:] if node.op_type.endswith("Conv") and kernel is not None else ()
        return NodeRow(
            number,
            node.name or node.output[0],
            node.op_type,
            tuple(dict.fromkeys(self.activation(n) for n in node.input if n and n not in constants)),
            tuple(self.tensor(name) for name in node.output if name) or (TensorRow("", None, "unknown"),),
            _pair(attributes.get("kernel_shape", taps)),
            _pair(attributes.get("strides", (1,) * len(taps))),
            _detail(node),
            None if scales is None else weight_scales(np.ravel(scales).tolist()),
            **vars(costs),
        )

    def activation(self, name: str) -> str:
        """The tensor behind quantise, dequantise and identity nodes."""
        while self.made_by(name) in TRANSPARENT:
            name = self.producers[name].input[0]
        return name

    def tensor(self, name: str, shown_as: str = "") -> TensorRow:
        """An activation, with the scale of the codes that it becomes."""
        scale, zero_point = self.codes(name)
        return TensorRow(
            shown_as or name, self.whole_shapes.get(name), self.dtypes.get(name, "unknown"), scale, zero_point
        )

    def codes(self, name: str) -> tuple[float | None, int | None]:
        """Scale and zero point of an activation's codes, None where it has none or one per channel."""
        producer, quantiser = self.producers.get(name), self.quantisers.get(name)
        if producer is not None and producer.op_type in _OUTPUT_SCALE:
            node, positions = producer, _OUTPUT_SCALE[producer.op_type]
        elif quantiser is not None:
            node, positions = quantiser, (1, 2)
        else:
            return None, None
        scale, zero_point = (self.scalar(node, position) for position in positions)
        return (None if scale is None else finite(scale)), (None if zero_point is None else int(zero_point))

    def scalar(self, node: onnx.NodeProto, position: int) -> float | None:
        """A constant input of one element; None for others."""
        values = self.constants.get(node.input[position]) if position < len(node.input) else None
        return float(values.ravel()[0]) if values is not None and values.size == 1 else None


def _shape(value: onnx.ValueInfoProto) -> Shape:
    """Every size as the file has it; the counts take one clip of a batch instead."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim)


def _pair(values: tuple[int, ...]) -> tuple[int, int] | None:
    """(height, width); a window over time alone has height 1."""
    if len(values) == 1:
        return 1, int(values[0])
    return (int(values[0]), int(values[1])) if len(values) == 2 else None


def _detail(node: onnx.NodeProto) -> str:
    attributes = {a.name: a.i for a in node.attribute if a.type == onnx.AttributeProto.INT}
    groups = attributes.get("group", 1)
    parts = [f"groups {groups}"] if groups > 1 else []
    if "axis" in attributes:
        parts.append(f"axis {attributes['axis']}")
    return " ".join(parts)
