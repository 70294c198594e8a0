"""Write the integer graph as a TFLite file, op by op, with the graph's own quantisation parameters.

No converter is involved: the reference kernels compute on this file what :mod:`tinyscene.runtime.interpreter` computes
under ``double``. Padding that is neither SAME nor VALID becomes a PAD op. Constant data is 16-byte aligned, so that a
microcontroller can read it in place. Refuses graphs that are not valid, and pools with padding that TFLite lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node, Quant, Tensor

from ..errors import ExportError

_ALIGNMENT = 16
_NO_PADS: ops.Pads = (0, 0, 0, 0)


def to_tflite(graph: Graph, *, expose_all: bool = False) -> bytes:
    """TFLite bytes of a checked graph.

    Args:
        expose_all: make every activation an output of the file, in graph order.

    Raises:
        ExportError: a pool has padding that TFLite cannot express. RuntimeFailure: the graph is not valid.
    """
    return _Writer(graph.check(), expose_all).finish()


def same_pads(size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...]) -> ops.Pads:
    """Pads of TFLite's SAME: ceil(size / stride) windows; an odd pad is added at the end."""
    total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)]
    return total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns byte vectors (the constants) to 16 bytes; the generated code aligns them to 1."""

    head: int
    Bytes: bytearray

    def CreateNumpyVector(self, x: npt.NDArray[np.generic]) -> int:
        if x.dtype != np.uint8:
            return int(super().CreateNumpyVector(x))
        self.StartVector(1, x.size, _ALIGNMENT)
        self.head = self.head - x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return int(self.EndVector())


class _Writer:
    """Builds the schema's object tree: buffers, tensors, operators."""

    def __init__(self, graph: Graph, expose_all: bool) -> None:
        self.graph = graph
        self.expose_all = expose_all
        self.buffers = [schema.BufferT()]
        self.tensors: list[schema.TensorT] = []
        self.operators: list[schema.OperatorT] = []
        self.codes: list[tuple[int, int]] = []
        self.index: dict[str, int] = {}  # of the graph's tensors; names of others may equal theirs

    def finish(self) -> bytes:
        self.activation(self.graph.tensors[self.graph.input])
        for node in self.graph.nodes:
            for tensor in self.graph.ins(node):
                if tensor.data is not None and tensor.name not in self.index:
                    self.index[tensor.name] = self.constant(tensor.name, tensor.data, tensor.quant)
            EMITTERS[type(node.op)](self, node)
        exposed = [n.output for n in self.graph.nodes] if self.expose_all else [self.graph.output]
        subgraph = schema.SubGraphT()
        subgraph.name = self.graph.name
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        subgraph.inputs = [self.index[self.graph.input]]
        subgraph.outputs = [self.index[name] for name in exposed]
        model = schema.ModelT()
        model.version = 3
        model.description = f"tinyscene {self.graph.name}"
        model.subgraphs, model.buffers = [subgraph], self.buffers
        model.operatorCodes = [_operator_code(code, version) for code, version in self.codes]
        builder = _AlignedBuilder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def activation(self, tensor: Tensor) -> int:
        self.index[tensor.name] = self._tensor(tensor.name, tensor.shape, schema.TensorType.INT8, 0, tensor.quant)
        return self.index[tensor.name]

    def constant(self, name: str, data: npt.NDArray[np.generic], quant: Quant | None = None) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        self.buffers.append(buffer)
        kind = schema.TensorType.INT8 if data.dtype == np.int8 else schema.TensorType.INT32
        return self._tensor(name, data.shape, kind, len(self.buffers) - 1, quant)

    def _tensor(self, name: str, shape: Sequence[int], kind: int, buffer: int, quant: Quant | None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        if quant is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.asarray(quant.scale, np.float32)
            q.zeroPoint = np.full(len(quant.scale), quant.zero_point, np.int64)
            q.quantizedDimension = quant.axis or 0
            tensor.quantization = q
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, code: int, version: int, inputs: list[int], output: int, options: object, kind: int) -> None:
        if (code, version) not in self.codes:
            self.codes.append((code, version))
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index((code, version))
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.operators.append(operator)

    def inputs(self, node: Node) -> list[int]:
        return [self.index[name] for name in node.inputs]

    def padded(self, node: Node, kernel: tuple[int, ...], stride: tuple[int, int], pads: ops.Pads) -> tuple[int, int]:
        """(index of the window's input, TFLite padding mode); appends a PAD op where needed."""
        x = self.graph.ins(node)[0]
        if pads == same_pads(x.shape[1:3], kernel, stride):
            return self.index[x.name], int(schema.Padding.SAME)
        if pads == _NO_PADS:
            return self.index[x.name], int(schema.Padding.VALID)
        if isinstance(node.op, ops.Pool2D) and (node.op.kind, x.quant.zero_point) != ("max", -128):
            raise ExportError(f"'{node.name}'", "TFLite has no such padding for a pool", got=pads)
        top, left, bottom, right = pads
        shape = (1, x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        amounts_index = self.constant(f"{node.name}_pads", amounts)
        padded = self._tensor(f"{node.name}_padded", shape, schema.TensorType.INT8, 0, x.quant)
        self.operator(
            schema.BuiltinOperator.PAD,
            2,
            [self.index[x.name], amounts_index],
            padded,
            schema.PadOptionsT(),
            schema.BuiltinOptions.PadOptions,
        )
        return padded, int(schema.Padding.VALID)


def _operator_code(code: int, version: int) -> schema.OperatorCodeT:
    result = schema.OperatorCodeT()
    result.builtinCode = result.deprecatedBuiltinCode = code
    result.version = version
    return result


def _activation_of(relu: bool) -> int:
    kind = schema.ActivationFunctionType
    return int(kind.RELU if relu else kind.NONE)


def _window(options: Any, padding: int, stride: tuple[int, int], relu: bool) -> Any:
    options.padding = padding
    options.strideH, options.strideW = stride
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = _activation_of(relu)
    return options


def _conv2d(w: _Writer, node: Node) -> None:
    op, weight = node.op, w.graph.ins(node)[1]
    assert isinstance(op, ops.Conv2D)
    x, padding = w.padded(node, weight.shape[1:3], op.stride, op.pads)
    options = _window(schema.Conv2DOptionsT(), padding, op.stride, op.relu)
    output = w.activation(w.graph.out(node))
    inputs = [x, *w.inputs(node)[1:]]
    w.operator(schema.BuiltinOperator.CONV_2D, 3, inputs, output, options, schema.BuiltinOptions.Conv2DOptions)


def _depthwise(w: _Writer, node: Node) -> None:
    op, weight = node.op, w.graph.ins(node)[1]
    assert isinstance(op, ops.DepthwiseConv2D)
    x, padding = w.padded(node, weight.shape[1:3], op.stride, op.pads)
    options = _window(schema.DepthwiseConv2DOptionsT(), padding, op.stride, op.relu)
    options.depthMultiplier = 1
    output = w.activation(w.graph.out(node))
    inputs = [x, *w.inputs(node)[1:]]
    kind = schema.BuiltinOptions.DepthwiseConv2DOptions
    w.operator(schema.BuiltinOperator.DEPTHWISE_CONV_2D, 3, inputs, output, options, kind)


def _fully_connected(w: _Writer, node: Node) -> None:
    assert isinstance(node.op, ops.FullyConnected)
    options = schema.FullyConnectedOptionsT()
    options.fusedActivationFunction = _activation_of(node.op.relu)
    options.weightsFormat = 0
    options.keepNumDims = False
    output = w.activation(w.graph.out(node))
    kind = schema.BuiltinOptions.FullyConnectedOptions
    w.operator(schema.BuiltinOperator.FULLY_CONNECTED, 4, w.inputs(node), output, options, kind)


def _elementwise(name: str) -> Callable[[_Writer, Node], None]:
    """ADD, SUB or MUL."""

    def emit(w: _Writer, node: Node) -> None:
        options = getattr(schema, f"{name.title()}OptionsT")()
        options.fusedActivationFunction = _activation_of(ops.has_relu(node.op))
        options.potScaleInt16 = False
        output = w.activation(w.graph.out(node))
        kind = getattr(schema.BuiltinOptions, f"{name.title()}Options")
        w.operator(getattr(schema.BuiltinOperator, name), 2, w.inputs(node), output, options, kind)

    return emit


def _mean(w: _Writer, node: Node) -> None:
    assert isinstance(node.op, ops.Mean)
    axes = np.array([1, 2] if node.op.over == "space" else [3], np.int32)
    axes_index = w.constant(f"{node.name}_axes", axes)
    options = schema.ReducerOptionsT()
    options.keepDims = node.op.keep_dims
    output = w.activation(w.graph.out(node))
    inputs = [*w.inputs(node), axes_index]
    w.operator(schema.BuiltinOperator.MEAN, 2, inputs, output, options, schema.BuiltinOptions.ReducerOptions)


def _pool2d(w: _Writer, node: Node) -> None:
    op = node.op
    assert isinstance(op, ops.Pool2D)
    x, padding = w.padded(node, op.kernel, op.stride, op.pads)
    options = _window(schema.Pool2DOptionsT(), padding, op.stride, relu=False)
    options.filterHeight, options.filterWidth = op.kernel
    output = w.activation(w.graph.out(node))
    code = schema.BuiltinOperator.MAX_POOL_2D if op.kind == "max" else schema.BuiltinOperator.AVERAGE_POOL_2D
    w.operator(code, 2, [x], output, options, schema.BuiltinOptions.Pool2DOptions)


_FUNCTIONS = {"relu": "RELU", "relu6": "RELU6", "logistic": "LOGISTIC", "requantise": "QUANTIZE"}


def _lookup(w: _Writer, node: Node) -> None:
    assert isinstance(node.op, ops.Lookup)
    name = _FUNCTIONS[node.op.function]
    options, kind = None, schema.BuiltinOptions.NONE
    if name == "QUANTIZE":
        options, kind = schema.QuantizeOptionsT(), schema.BuiltinOptions.QuantizeOptions
    output = w.activation(w.graph.out(node))
    w.operator(getattr(schema.BuiltinOperator, name), 2, w.inputs(node), output, options, kind)


def _softmax(w: _Writer, node: Node) -> None:
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    output = w.activation(w.graph.out(node))
    w.operator(schema.BuiltinOperator.SOFTMAX, 2, w.inputs(node), output, options, schema.BuiltinOptions.SoftmaxOptions)


def _reshape(w: _Writer, node: Node) -> None:
    assert isinstance(node.op, ops.Reshape)
    shape_index = w.constant(f"{node.name}_shape", np.array(node.op.shape, np.int32))
    options = schema.ReshapeOptionsT()
    options.newShape = list(node.op.shape)
    output = w.activation(w.graph.out(node))
    inputs = [*w.inputs(node), shape_index]
    w.operator(schema.BuiltinOperator.RESHAPE, 1, inputs, output, options, schema.BuiltinOptions.ReshapeOptions)


def _concat(w: _Writer, node: Node) -> None:
    assert isinstance(node.op, ops.Concat)
    options = schema.ConcatenationOptionsT()
    options.axis = node.op.axis
    options.fusedActivationFunction = _activation_of(relu=False)
    output = w.activation(w.graph.out(node))
    kind = schema.BuiltinOptions.ConcatenationOptions
    w.operator(schema.BuiltinOperator.CONCATENATION, 2, w.inputs(node), output, options, kind)


def _rsqrt(w: _Writer, node: Node) -> None:
    output = w.activation(w.graph.out(node))
    w.operator(schema.BuiltinOperator.RSQRT, 2, w.inputs(node), output, None, schema.BuiltinOptions.NONE)


EMITTERS: dict[type[ops.Op], Callable[[_Writer, Node], None]] = {
    ops.Conv2D: _conv2d,
    ops.DepthwiseConv2D: _depthwise,
    ops.FullyConnected: _fully_connected,
    ops.Add: _elementwise("ADD"),
    ops.Sub: _elementwise("SUB"),
    ops.Mul: _elementwise("MUL"),
    ops.Mean: _mean,
    ops.Pool2D: _pool2d,
    ops.Rsqrt: _rsqrt,
    ops.Lookup: _lookup,
    ops.Softmax: _softmax,
    ops.Reshape: _reshape,
    ops.Concat: _concat,
}
