"""Read the layers of an ONNX file, float or with quantise/dequantise pairs, for the counting rules.

Refuses files that onnx refuses, shapes that are not fixed (the batch may vary), operators with parameters that no
published rule counts, and convolutions whose groups do not fit their channels.
"""

from __future__ import annotations

import math
from pathlib import Path

import onnx

from tinyscene.runtime.cost import Array, Kind, Layer, layer_of
from tinyscene.runtime.errors import GET_ANOTHER

from ..errors import ExportError, require_counted
from ..formats.onnx_file import OnnxFile, read_onnx

_UNCOUNTED = {"ConvTranspose", "ConvInteger", "DeformConv", "Einsum", "GRU", "LSTM", "RNN", "If", "Loop", "Scan"}
TRANSPARENT = {"QuantizeLinear", "DequantizeLinear", "Identity"}
_KINDS: dict[str, Kind] = {
    "Conv": "conv",
    "QLinearConv": "conv",
    "Gemm": "linear",
    "MatMul": "linear",
    "QLinearMatMul": "linear",
    "BatchNormalization": "norm",
    "Add": "add",
    "Mul": "mul",
    "GlobalAveragePool": "mean",
    "ReduceMean": "mean",
    "AveragePool": "pool",
    "MaxPool": "pool",
}
# Positions of weight and bias among the inputs; for MatMul, Add and Mul it is the input that is constant.
_ROLES = {
    "Conv": (1, 2),
    "Gemm": (1, 2),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3, None),
    "BatchNormalization": (1, 2),
}


def onnx_layers(data: bytes, path: Path) -> list[Layer]:
    """One layer per operator; ``path`` is used in messages only.

    Raises:
        ExportError: the file is unreadable, a shape is unknown, or an operator has no counting rule.
    """
    file = read_onnx(data, str(path))
    if file.incomplete:
        raise ExportError(str(path), "shapes cannot be inferred", got=file.incomplete)
    source = OnnxLayers(file, path)
    return [source.layer(node) for node in source.nodes]


class OnnxLayers:
    """Shapes and constants of an ONNX graph by tensor name, and its nodes in the terms of the counting rules."""

    def __init__(self, file: OnnxFile, path: Path) -> None:
        self.path = path
        self.producers = {name: node for node in file.graph.node for name in node.output}
        self.constants = file.constants
        self._behind: dict[str, str] = {}
        for node in file.graph.node:  # in order: what a node reads has its entry
            if node.op_type in TRANSPARENT and node.input and node.output:
                self._behind[node.output[0]] = self.behind(node.input[0])
        self.nodes = [n for n in file.graph.node if n.output and n.op_type not in TRANSPARENT | {"Constant"}]
        self.shapes = {v.name: _sizes(v) for v in file.values()}

    def layer(self, node: onnx.NodeProto) -> Layer:
        """Raises ExportError where no rule counts the node, or its shape is unknown."""
        name, op = node.name or node.output[0], node.op_type
        require_counted(str(self.path), name, op, _UNCOUNTED)
        kind, stored = _KINDS.get(op, "other"), self.stored(node)
        if kind == "other" and any(c.ndim >= 2 for c in stored.values()):
            raise ExportError(f"{self.path}, '{name}'", f"{op} with parameters has no counting rule")
        data_input = next((n for n in node.input if n and n not in stored), "")
        weight, bias = self.roles(node, stored)
        if op == "Add" and bias and self.made_by(data_input) == "MatMul":
            kind = "linear"  # the bias of the product before it
        shape, kernel = self.shape(node.output[0]), stored.get(weight)
        if kind == "conv" and kernel is not None:
            self._require_groups(node, name, kernel)
        return layer_of(
            name,
            op,
            kind,
            shape,
            input_shape=self.shape(data_input) if data_input else (),
            channel_axis=1 if len(shape) > 2 else -1,
            weight=kernel,
            bias=stored.get(bias),
            scale=self.scale(weight),
            depthwise=kind == "conv"
            and kernel is not None
            and kernel.shape[1:2] == (1,)
            and min(shape[1:2], default=0) > 1,
            window=_window(node, kernel),
            constant_bytes=sum(c.nbytes for c in stored.values()),
        )

    def _require_groups(self, node: onnx.NodeProto, name: str, kernel: Array) -> None:
        """Refuse a convolution that no engine computes; neither onnx's checker nor shape inference compares these."""
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        channels, outputs, each = self.shape(node.input[0])[1], kernel.shape[0], kernel.shape[1]
        if groups < 1 or outputs % groups or channels != groups * each:
            raise ExportError(
                f"{self.path}, '{name}'",
                f"invalid {node.op_type}: its groups do not fit its channels",
                expected=f"groups that divide {outputs} outputs, and {each} input channels for each",
                got=f"{groups} groups, {channels} input channels",
                next_step=GET_ANOTHER,
            )

    def stored(self, node: onnx.NodeProto) -> dict[str, Array]:
        """The constant inputs, by name."""
        arrays = {name: self.constant(name) for name in node.input if name}
        return {name: array for name, array in arrays.items() if array is not None}

    def constant(self, name: str) -> Array | None:
        """The stored array of a name, also through quantise, dequantise and identity nodes."""
        return self.constants.get(self.behind(name))

    def behind(self, name: str) -> str:
        """The tensor behind quantise, dequantise and identity nodes."""
        return self._behind.get(name, name)

    def scale(self, name: str) -> Array | None:
        inputs = [*self.producers[name].input] if self.made_by(name) == "DequantizeLinear" else []
        return self.constants.get(inputs[1]) if len(inputs) > 1 else None

    def made_by(self, name: str) -> str:
        return self.producers[name].op_type if name in self.producers else ""

    def roles(self, node: onnx.NodeProto, stored: dict[str, Array]) -> tuple[str, str]:
        """Names of weight and bias among the inputs; empty if there is none."""
        if node.op_type in _ROLES:
            inputs = dict(enumerate(node.input))
            weight, bias = _ROLES[node.op_type]
            return inputs.get(weight, ""), inputs.get(bias, "") if bias is not None else ""
        # A constant without dimensions is a literal of the formula (an epsilon, a one), not a parameter.
        one = next((name for name, array in stored.items() if array.ndim), "")
        if node.op_type in ("MatMul", "Mul"):
            return one, ""
        return ("", one) if node.op_type == "Add" else ("", "")

    def shape(self, name: str) -> tuple[int, ...]:
        sizes = self.shapes.get(name)
        if sizes is None or None in sizes:
            raise ExportError(
                f"{self.path}, tensor '{name}'",
                "unknown shape",
                expected="fixed sizes (the batch may vary)",
                got=sizes,
                next_step="set the sizes with 'python -m onnxruntime.tools.make_dynamic_shape_fixed'",
            )
        return tuple(int(size) for size in sizes if size is not None)


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Sizes, None where unknown; a batch of any size is counted as one clip."""
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]
    return tuple(1 if at == 0 else size for at, size in enumerate(sizes))


def _window(node: onnx.NodeProto, kernel: Array | None) -> int:
    if kernel is not None:
        return math.prod(kernel.shape[2:])
    return next((math.prod(a.ints) for a in node.attribute if a.name == "kernel_shape"), 1)
