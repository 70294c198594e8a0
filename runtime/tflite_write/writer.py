"""The schema's objects of a file under construction: buffers, tensors, operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from .. import ops
from ..errors import RuntimeFailure
from ..graph import Graph, Node, Quant, Tensor
from ..tflite_schema import IDENTIFIER

_ALIGNMENT = 16

_NO_PADS: ops.Pads = (0, 0, 0, 0)


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


def finished(model: schema.ModelT) -> bytes:
    """The bytes of a model made of the schema's objects."""
    builder = _AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class TfliteWriter:
    """Builds the schema's object tree: buffers, tensors, operators."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.buffers = [schema.BufferT()]
        self.tensors: list[schema.TensorT] = []
        self.operators: list[schema.OperatorT] = []
        self.codes: list[tuple[int, int]] = []
        self.index: dict[str, int] = {}  # of the graph's tensors; names of others may equal theirs

    def finish(self, emitters: Mapping[type[ops.Op], Emitter], expose_all: bool) -> bytes:
        for name in self.graph.inputs:
            self.activation(self.graph.tensors[name])
        for node in self.graph.nodes:
            for tensor in self.graph.ins(node):
                if tensor.data is not None and tensor.name not in self.index:
                    self.index[tensor.name] = self.constant(tensor.name, tensor.data, tensor.quant)
            emitters[type(node.op)](self, node)
        exposed = [n.output for n in self.graph.nodes] if expose_all else self.graph.outputs
        subgraph = schema.SubGraphT()
        subgraph.name = self.graph.name
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        subgraph.inputs = [self.index[name] for name in self.graph.inputs]
        subgraph.outputs = [self.index[name] for name in exposed]
        model = schema.ModelT()
        model.version = 3
        model.description = f"tinyscene {self.graph.name}"
        model.subgraphs, model.buffers = [subgraph], self.buffers
        model.operatorCodes = [_operator_code(code, version) for code, version in self.codes]
        return finished(model)

    def activation(self, tensor: Tensor) -> int:
        self.index[tensor.name] = self._tensor(tensor.name, tensor.shape, schema.TensorType.INT8, 0, tensor.quant)
        return self.index[tensor.name]

    def inner(self, name: str, shape: Sequence[int], quant: Quant) -> int:
        """An activation between two operators of one node."""
        return self._tensor(name, shape, schema.TensorType.INT8, 0, quant)

    def index_tensor(self, name: str, shape: Sequence[int]) -> int:
        """An int32 tensor between operators of one node."""
        return self._tensor(name, shape, schema.TensorType.INT32, 0, None)

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

    def variable(self, name: str, shape: Sequence[int], dtype: Literal["int8", "int16"], quant: Quant) -> int:
        """A tensor whose value an operator keeps from one run to the next."""
        kind = schema.TensorType.INT8 if dtype == "int8" else schema.TensorType.INT16
        number = self._tensor(name, shape, kind, 0, quant)
        self.tensors[number].isVariable = True
        return number

    def intermediate(self, name: str, dtype: Literal["int8", "int16"], quant: Quant) -> int:
        """A tensor without elements, which states a scale and a zero point within an operator."""
        kind = schema.TensorType.INT8 if dtype == "int8" else schema.TensorType.INT16
        return self._tensor(name, (0,), kind, 0, quant)

    def operator(
        self,
        code: int,
        version: int,
        inputs: list[int],
        output: int,
        options: object,
        kind: int,
        intermediates: Sequence[int] = (),
    ) -> None:
        if (code, version) not in self.codes:
            self.codes.append((code, version))
        operator = schema.OperatorT()
        operator.opcodeIndex = self.codes.index((code, version))
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        operator.intermediates = list(intermediates) or None
        self.operators.append(operator)

    def inputs(self, node: Node) -> list[int]:
        return [self.index[name] for name in node.inputs]

    def padded(self, node: Node, kernel: tuple[int, ...], stride: tuple[int, int], pads: ops.Pads) -> tuple[int, int]:
        """(index of the window's input, TFLite padding mode); appends a PAD op where needed."""
        x = self.graph.ins(node)[0]
        if pads == ops.same_pads(x.shape[1:3], kernel, stride):
            return self.index[x.name], int(schema.Padding.SAME)
        if pads == _NO_PADS:
            return self.index[x.name], int(schema.Padding.VALID)
        if isinstance(node.op, ops.Pool2D) and node.op.kind != "max":
            raise RuntimeFailure(f"'{node.name}'", "TFLite has no such padding for a pool", got=pads, unsupported=True)
        lowest = isinstance(node.op, ops.Pool2D) and x.quant.zero_point > -128
        return self._padded(node, x, pads, lowest=lowest), int(schema.Padding.VALID)

    def _padded(self, node: Node, x: Tensor, pads: ops.Pads, *, lowest: bool) -> int:
        """Append a PAD with the zero point, or a PADV2 with the lowest code, which a maximum ignores."""
        top, left, bottom, right = pads
        shape = (1, x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
        name = f"{node.name}_pad_amounts" if lowest else f"{node.name}_pads"  # PADV2 is read as a node "<name>_pad"
        amounts = self.constant(name, np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
        padded = self.inner(f"{node.name}_padded", shape, x.quant)
        codes, options = schema.BuiltinOperator, schema.BuiltinOptions
        inputs = [self.index[x.name], amounts]
        if lowest:
            inputs.append(self.constant(f"{node.name}_pad_code", np.array(-128, np.int8), x.quant))
            self.operator(codes.PADV2, 2, inputs, padded, schema.PadV2OptionsT(), options.PadV2Options)
        else:
            self.operator(codes.PAD, 2, inputs, padded, schema.PadOptionsT(), options.PadOptions)
        return padded


def _operator_code(code: int, version: int) -> schema.OperatorCodeT:
    result = schema.OperatorCodeT()
    result.builtinCode, result.deprecatedBuiltinCode = code, min(code, 127)  # the older field has 8 bits
    result.version = version
    return result


def activation_of(relu: bool) -> int:
    kind = schema.ActivationFunctionType
    return int(kind.RELU if relu else kind.NONE)


Emitter = Callable[[TfliteWriter, Node], None]
