"""An ONNX file: as the integer graph where it becomes one, otherwise node by node as the file has them.

Quantise and dequantise nodes are read as what they state: scale and zero point of the activation between them. Nodes
that no counting rule covers, or whose shape is not fixed, are listed without MACs. Refuses what onnx itself refuses.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx

from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.runtime.bounded_files import read_model

from ..check.count_onnx import OnnxLayers, onnx_layers
from ..errors import ExportError
from ..formats.onnx_file import OnnxFile, read_onnx
from ..formats.onnx_read import graph_of
from .file_graph import file_listing, no_graph_note
from .records import Listing, NodeRow, Shape, TensorRow, costs_of, finite, weight_scales

# Positions of the output's scale and zero point among the inputs of operators on codes.
_OUTPUT_SCALE = {
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd", "QLinearMul"), (6, 7)),
    **dict.fromkeys(("QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSigmoid", "QLinearLeakyRelu"), (3, 4)),
}
_DTYPES = {code: name.lower() for name, code in onnx.TensorProto.DataType.items()}
_DTYPES |= {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}


def onnx_listing(path: Path, cpu: str, optimise: Optimise) -> Listing:
    """The operations of a file.

    Raises:
        ExportError: unreadable.
    """
    data = read_model(path)
    file = read_onnx(data, str(path))
    if not any(re.search("Quant|QLinear|Integer", node.op_type) for node in file.graph.node):
        return _nodes(file, path, "float", "not an integer graph")
    try:
        graph, _ = graph_of(file, str(path), path.stem)
    except ExportError as problem:
        return _nodes(file, path, "quantised", no_graph_note(problem, path))
    return file_listing(graph, "ONNX", lambda: onnx_layers(data, path), cpu, optimise)


def _nodes(file: OnnxFile, path: Path, kind: str, note: str) -> Listing:
    reader, graph = _Reader(file, path), file.graph
    rows = tuple(reader.row(number, node) for number, node in enumerate(reader.nodes, start=1))
    inputs = tuple(reader.tensor(value.name) for value in graph.input if value.name not in file.constants)
    outputs = tuple(reader.tensor(reader.behind(value.name), reader.shown(value.name)) for value in graph.output)
    incomplete = (f"shapes are not all known: {file.incomplete}",) if file.incomplete else ()
    return Listing(f"{kind} ONNX file, node by node", inputs, outputs, rows, notes=(note, *incomplete))


class _Reader(OnnxLayers):
    """Adds to the counts what a table shows: shapes that are not fixed, scales of codes, attributes."""

    def __init__(self, file: OnnxFile, path: Path) -> None:
        super().__init__(file, path)
        self.whole_shapes = {v.name: _shape(v) for v in file.values()}
        self.dtypes = {v.name: _DTYPES.get(v.type.tensor_type.elem_type, "unknown") for v in file.values()}
        quantisers = (node for node in file.graph.node if node.op_type == "QuantizeLinear" and node.input)
        self.quantisers = {node.input[0]: node for node in quantisers}
        written = {name for node in self.nodes for name in node.output}
        ends = {self.behind(value.name): value.name for value in reversed(file.graph.output)}
        self.ends: dict[str, str] = {name: end for name, end in ends.items() if name in written}

    def row(self, number: int, node: onnx.NodeProto) -> NodeRow:
        """One line of the table."""
        costs = costs_of(lambda: self.layer(node), lambda: self.named(node))
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
            tuple(dict.fromkeys(self.shown(n) for n in _reads(node) if self.constant(n) is None)),
            tuple(self.tensor(name, self.shown(name)) for name in node.output if name)
            or (TensorRow("", None, "unknown"),),
            _pair(attributes.get("kernel_shape", taps)),
            _pair(attributes.get("strides", (1,) * len(taps))),
            _detail(node),
            None if scales is None else weight_scales(np.ravel(scales).tolist()),
            **vars(costs),
        )

    def shown(self, name: str) -> str:
        """The name of a tensor in the table: that of the network's output, if quantisers alone are between them."""
        return self.ends.get(self.behind(name), self.behind(name))

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
        whole = zero_point is not None and finite(zero_point) is not None
        return (None if scale is None else finite(scale)), int(zero_point) if whole and zero_point is not None else None

    def scalar(self, node: onnx.NodeProto, position: int) -> float | None:
        """A constant input of one element; None for others."""
        values = self.constants.get(node.input[position]) if position < len(node.input) else None
        return float(values.ravel()[0]) if values is not None and values.size == 1 else None


def _reads(node: onnx.NodeProto) -> list[str]:
    """Names that a node reads, and those that the graphs inside it read of the outer ones."""
    names = [name for name in node.input if name]
    for graph in (graph for each in node.attribute for graph in ([each.g] if each.HasField("g") else each.graphs)):
        own = {each.name for each in (*graph.input, *graph.initializer)}
        own |= {name for inner in graph.node for name in inner.output}
        names += [name for inner in graph.node for name in _reads(inner) if name not in own]
    return names


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
