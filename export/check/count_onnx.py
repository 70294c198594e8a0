"""Read the layers of an ONNX file for the counting rules: float, or quantised in either form.

An operator that no published rule counts becomes a layer of kind ``uncounted``, with its parameters. Refuses files that
onnx refuses, shapes that are not fixed (the batch may vary), and convolutions whose groups do not fit their channels.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import onnx

from tinyscene.runtime.cost import Array, Kind, Layer, counted_once, layer_of
from tinyscene.runtime.errors import GET_ANOTHER

from ..errors import ExportError, no_counting_rule
from ..formats.onnx_file import OnnxFile, read_onnx
from ..formats.onnx_shapes import ON_CODES

_UNCOUNTED = {"DeformConv", "Einsum", "GRU", "LSTM", "RNN", "If", "Loop", "Scan"}
# Positions of the values among the inputs; the others are scales and zero points. ONNX Runtime's own operators.
_VALUES = {
    **{op: positions for op, (_, positions) in ON_CODES.items()},
    "DynamicQuantizeLSTM": tuple(range(8)),
    "QAttention": (0, 1, 2, 5, 8),
    "MatMulNBits": (0, 1, 5),
}
_INTEGER_PRODUCTS = ("MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
TRANSPARENT = {"QuantizeLinear", "DequantizeLinear", "Identity"}
_KINDS: dict[str, Kind] = {
    "Conv": "conv",
    "QLinearConv": "conv",
    "ConvInteger": "conv",
    "ConvTranspose": "deconv",
    **dict.fromkeys(("Gemm", "QGemm"), "linear"),
    **dict.fromkeys(("MatMul", "QLinearMatMul", *_INTEGER_PRODUCTS), "linear"),
    "BatchNormalization": "norm",
    **dict.fromkeys(("Add", "QLinearAdd"), "add"),
    **dict.fromkeys(("Mul", "QLinearMul"), "mul"),
    **dict.fromkeys(("GlobalAveragePool", "QLinearGlobalAveragePool", "ReduceMean", "QLinearReduceMean"), "mean"),
    **dict.fromkeys(("AveragePool", "QLinearAveragePool"), "pool"),
    "MaxPool": "pool",
}
# Operators whose constants are parameters, though no rule counts a multiplication with them, and those that only move.
_WITH_OPERANDS = {"Sub", "Div", "Max", "Min", "Pow", "PRelu", "Where", "Gather"}
_MOVING = {"Concat", "Pad", "Reshape", "Transpose", "Expand", "Unsqueeze", "Squeeze", "Slice", "Cast", "Shape"}
_MOVING |= {"OneHot", "Resize", "Upsample"}
# Positions of weight and bias among the inputs; for MatMul, Add and Mul it is the input that is constant.
_ROLES = {
    "Conv": (1, 2),
    "Gemm": (1, 2),
    "ConvTranspose": (1, 2),
    "ConvInteger": (1, None),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3, None),
    "QGemm": (3, 6),
    **dict.fromkeys(_INTEGER_PRODUCTS, (1, None)),
    "BatchNormalization": (1, 2),
}


def onnx_layers(data: bytes, path: Path) -> list[Layer]:
    """One layer per operator; ``path`` is used in messages only.

    Raises:
        ExportError: the file is unreadable, or a shape is unknown.
    """
    file = read_onnx(data, str(path))
    if file.incomplete:
        raise ExportError(str(path), "shapes cannot be inferred", got=file.incomplete)
    source = OnnxLayers(file, path)
    return [source.named(node) for node in source.nodes]


class OnnxLayers:
    """Shapes and constants of an ONNX graph by tensor name, and its nodes in the terms of the counting rules."""

    def __init__(self, file: OnnxFile, path: Path) -> None:
        self.path = path
        self.producers = {name: node for node in file.graph.node for name in node.output}
        self.constants = file.constants
        self._counted: set[str] = set()  # constants of nested graphs
        self._behind: dict[str, str] = {}
        for node in file.graph.node:  # in order: what a node reads has its entry
            if node.input and node.output and self._is_transparent(node):
                self._behind[node.output[0]] = self.behind(node.input[0])
        self.nodes = [
            n for n in file.graph.node if n.output and n.op_type != "Constant" and not self._is_transparent(n)
        ]
        self.shapes = {v.name: _sizes(v) for v in file.values()}
        self._first = {self.behind(name): node.output[0] for node in reversed(self.nodes) for name in node.input}

    def _is_transparent(self, node: onnx.NodeProto) -> bool:
        """Whether a node stands between a layer and its constants or activations; Brevitas clips codes of weights."""
        return node.op_type in TRANSPARENT or (node.op_type == "Clip" and self.behind(node.input[0]) in self.constants)

    def named(self, node: onnx.NodeProto) -> Layer:
        """As :meth:`layer`; a node that no rule counts is of kind ``uncounted``, with all its constants."""
        try:
            return self.layer(node)
        except ExportError as problem:
            if not problem.unsupported:
                raise
        stored = self.stored(node).items()
        own = [array for name, array in stored if _is_parameter(array) and not self._repeated(node, name)]
        own += [array for name, array in self._nested(node).items() if name not in self._counted]
        self._counted |= self._nested(node).keys()
        weights, n_bytes = sum(_n_elements(node, array) for array in own), sum(map(_n_bytes, own))
        shape = self._known_shape(node.output[0])
        title = node.name or node.output[0]
        return Layer(title, node.op_type, "uncounted", shape, weights=weights, constant_bytes=n_bytes)

    def _nested(self, node: onnx.NodeProto) -> dict[str, Array]:
        """Parameters of the graphs inside a node, such as the branches of If, and those here that they read."""
        graphs = [graph for each in node.attribute for graph in ([each.g] if each.HasField("g") else each.graphs)]
        found = {tensor.name: onnx.numpy_helper.to_array(tensor) for graph in graphs for tensor in graph.initializer}
        for inner in (inner for graph in graphs for inner in graph.node):
            if inner.op_type == "Constant" and inner.attribute and inner.attribute[0].HasField("t"):
                found[inner.output[0]] = onnx.numpy_helper.to_array(inner.attribute[0].t)
            found |= {name: self.constants[name] for name in inner.input if name in self.constants}
            found |= self._nested(inner)
        return {name: array for name, array in found.items() if _is_parameter(array)}

    def _repeated(self, node: onnx.NodeProto, name: str) -> bool:
        """Whether an earlier node reads the constant too."""
        return bool(self._first[self.behind(name)] != node.output[0])

    def layer(self, node: onnx.NodeProto) -> Layer:
        """Raises ExportError where no rule counts the node, or its shape is unknown."""
        name, op = node.name or node.output[0], node.op_type
        if op in _UNCOUNTED or (node.domain and op not in _KINDS | ON_CODES):
            raise no_counting_rule(str(self.path), name, op)
        kind, stored = _KINDS.get(op, "other"), self.stored(node)
        if kind == "other" and op not in _WITH_OPERANDS | _MOVING and any(map(_has_channels, stored.values())):
            raise no_counting_rule(str(self.path), name, f"{op} with parameters")
        data_input = next((n for n in node.input if n and n not in stored), "")
        weight, bias = self.roles(node, stored)
        if op == "Add" and bias and self._is_product(data_input):
            kind = "linear"  # the bias of the product before it
        shape = self.shape(node.output[0]) if kind != "other" else self._known_shape(node.output[0])
        kernel = stored.get(weight)
        if kind == "conv" and kernel is not None:
            self._require_groups(node, name, kernel)
        again = {name: array for name, array in stored.items() if self._repeated(node, name)}
        layer = layer_of(
            name,
            op,
            kind,
            shape,
            input_shape=self.shape(data_input) if data_input and kind != "other" else (),
            channel_axis=1 if len(shape) > 2 and kind != "linear" else -1,
            weight=kernel,
            bias=stored.get(bias),
            scale=self.scale(weight),
            depthwise=kind == "conv"
            and kernel is not None
            and kernel.shape[1:2] == (1,)
            and min(shape[1:2], default=0) > 1,
            window=_window(node, kernel),
            constant_bytes=sum(map(_n_bytes, stored.values())),
        )
        parameters = sum(array.size for name, array in again.items() if name in (weight, bias))
        return counted_once(layer, parameters, sum(map(_n_bytes, again.values())))

    def _require_groups(self, node: onnx.NodeProto, name: str, kernel: Array) -> None:
        """Refuse a convolution that no engine computes; neither onnx's checker nor shape inference compares these."""
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        source = self.shape(node.input[0])
        if len(source) < 2 or len(kernel.shape) < 2:
            what, expected = f"invalid {node.op_type}: an input without channels", "(batch, channels, ...)"
            raise ExportError(f"{self.path}, '{name}'", what, expected=expected, got=source, next_step=GET_ANOTHER)
        channels, outputs, each = source[1], kernel.shape[0], kernel.shape[1]
        if groups < 1 or outputs % groups or channels != groups * each:
            raise ExportError(
                f"{self.path}, '{name}'",
                f"invalid {node.op_type}: its groups do not fit its channels",
                expected=f"groups that divide {outputs} outputs, and {each} input channels for each",
                got=f"{groups} groups, {channels} input channels",
                next_step=GET_ANOTHER,
            )

    def stored(self, node: onnx.NodeProto) -> dict[str, Array]:
        """The constant inputs by name, without scales and zero points; two names of one constant are one."""
        if node.op_type == "Mul" and any(map(self._is_scale, node.input)):
            return {}  # the scales of a weight, for the product of codes behind
        positions = _VALUES.get(node.op_type, tuple(range(len(node.input))))
        names = [node.input[at] for at in positions if at < len(node.input) and node.input[at]]
        of_constant = {self.behind(name): name for name in reversed(names)}
        arrays = {name: self.constant(name) for name in names if of_constant[self.behind(name)] == name}
        return {name: array for name, array in arrays.items() if array is not None}

    def _is_scale(self, name: str) -> bool:
        """Whether the tensor is the scale of an activation that is quantised as it comes."""
        node = self.producers.get(name)
        return node is not None and node.op_type == "DynamicQuantizeLinear" and name == node.output[1]

    def _is_product(self, name: str) -> bool:
        """Whether the tensor is a matrix product, also one in integers that a factor brings to real numbers."""
        node = self.producers.get(self.behind(name))
        while node is not None and node.op_type in ("Cast", "Mul"):
            whole = [each for each in node.input if self.shapes.get(each) not in ((), (1,)) and not self._literal(each)]
            node = self.producers.get(self.behind(whole[0])) if len(whole) == 1 else None
        return bool(node is not None and node.op_type in ("MatMul", *_INTEGER_PRODUCTS))

    def _literal(self, name: str) -> bool:
        array = self.constant(name)
        return array is not None and array.size == 1

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
        # Neither is a table of codes, which belongs to a function.
        table = node.op_type == "Gather" and all(array.shape == (256,) for array in stored.values())
        one = next((name for name, array in stored.items() if array.ndim and array.dtype != np.int64 and not table), "")
        if node.op_type in ("MatMul", "Mul", "QLinearMul"):
            return one, ""
        return ("", one) if node.op_type in {"Add", "QLinearAdd"} | _WITH_OPERANDS else ("", "")

    def _known_shape(self, name: str) -> tuple[int, ...]:
        """A shape that no count needs: nothing where a size is unknown."""
        sizes = self.shapes.get(name, ())
        return () if None in sizes else tuple(size for size in sizes if size is not None)

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


def _n_bytes(array: Array) -> int:
    """Bytes in the file, which packs elements of 4 and of 2 bits."""
    bits = re.match(r"u?int([24])$|float(4)", array.dtype.name)
    return -(-array.size * int(bits[1] or bits[2]) // 8) if bits else array.nbytes


def _n_elements(node: onnx.NodeProto, array: Array) -> int:
    """Elements of a constant, several of which MatMulNBits has in one byte."""
    if node.op_type != "MatMulNBits" or array.dtype != np.uint8:
        return array.size
    return array.size * 8 // next((each.i for each in node.attribute if each.name == "bits" and each.i > 0), 4)


def _is_parameter(array: Array) -> bool:
    """Numbers without axes, shapes and conditions are none."""
    return bool(array.ndim and array.dtype not in (np.int64, np.bool_))


def _has_channels(array: Array) -> bool:
    """Whether a constant is a matrix, or one real number for each of several channels, as of a normalisation."""
    return array.ndim >= 2 or (array.size > 1 and array.dtype.kind not in "iub")


def _sizes(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """Sizes, None where unknown; a batch of any size is counted as one clip."""
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]
    return tuple(1 if at == 0 else size for at, size in enumerate(sizes))


def _window(node: onnx.NodeProto, kernel: Array | None) -> int:
    if kernel is not None:
        return math.prod(kernel.shape[2:])
    return next((math.prod(a.ints) for a in node.attribute if a.name == "kernel_shape"), 1)
