"""A TFLite file as typed records, validated once and completely: every engine and every reader gets only such files.

Refuses, naming the tensor or operator: bytes that are no TFLite file; numbers of tensors, buffers and operator codes
that do not exist; constants whose bytes are not those of their type and shape; scales and zero points that are not one
or one per slice; sizes beyond :data:`LARGEST_SIZE`; operators that read what no operator before them writes; options
out of range or of another operator; several graphs; and buffers outside the flatbuffer. Metadata, signatures and
descriptions are not read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import RuntimeFailure, TinysceneError
from .flatbuffer import Malformed, bulk, present, read_flatbuffer, scalar, table, tables, text, union, vector

TYPES = (
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64"),
    *("complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16", "int2", "uint4"),
)  # by their number in the file
_BITS = {
    **{"float32": 32, "float16": 16, "int32": 32, "uint8": 8, "int64": 64, "bool": 8, "int16": 16, "complex64": 64},
    **{"int8": 8, "float64": 64, "complex128": 128, "uint64": 64, "uint32": 32, "uint16": 16, "int4": 4},
    **{"bfloat16": 16, "int2": 2, "uint4": 4},
}
# Operators that the integer graph is written with or read from; engines in this process get files of these only.
PLAIN_OPERATORS = {
    **{0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE"},
    **{9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 21: "RELU6", 22: "RESHAPE"},
    **{25: "SOFTMAX", 34: "PAD", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 43: "SQUEEZE", 45: "STRIDED_SLICE"},
    **{70: "EXPAND_DIMS", 76: "RSQRT", 114: "QUANTIZE"},
}
LARGEST_SIZE = 2**31 - 1  # elements of a tensor
LARGEST_WINDOW = 65_535  # stride, dilation and size of a window, in elements
MOST_ITEMS = 65_536  # tensors, operators, buffers
MOST_DIMENSIONS = 8
SHARED_CONSTANTS = 16  # times the file's size that its constants may take together, where tensors share buffers
GET_ANOTHER = "get the file again, compare its size or checksum, or ask its author for another"
_MAX_FLOAT = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Quantization:
    min: np.ndarray = vector(0, "<f4")
    max: np.ndarray = vector(1, "<f4")
    scale: np.ndarray = vector(2, "<f4", 0, _MAX_FLOAT)
    zero_point: np.ndarray = vector(3, "<i8", -(2**31), 2**31 - 1)
    details: bool = present(5)
    quantized_dimension: int = scalar(6, "<i4", 0, 0, MOST_DIMENSIONS - 1)


@dataclass(frozen=True, eq=False)
class Tensor:
    shape: np.ndarray = vector(0, "<i4", 0)
    type: int = scalar(1, "<i1", 0, 0)
    buffer: int = scalar(2, "<u4")
    name: str = text(3)
    quantization: Quantization | None = table(4, Quantization)
    is_variable: bool = scalar(5, "?", False)
    sparsity: bool = present(6)
    shape_signature: np.ndarray = vector(7, "<i4", -1)
    variant_tensors: bool = present(9)
    external_buffer: int = scalar(10, "<u4", 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Buffer:
    data: np.ndarray = bulk(0)
    offset: int = scalar(1, "<u8", 0, 0, 1)  # 0 and 1 mean that the data are in the flatbuffer
    size: int = scalar(2, "<u8", 0, 0, 1)


@dataclass(frozen=True, eq=False)
class OperatorCode:
    deprecated_builtin_code: int = scalar(0, "<i1", 0, 0, 127)
    version: int = scalar(2, "<i4", 1, 1, 1000)
    builtin_code: int = scalar(3, "<i4", 0, 0, 2**15)

    @property
    def code(self) -> int:
        """Its number; files from before 2020 have it in the older field only."""
        return max(self.builtin_code, self.deprecated_builtin_code)


def _padding(slot: int) -> int:
    return _range(slot, "<i1", 0, 0, 1)


def _activation(slot: int) -> int:
    return _range(slot, "<i1", 0, 0, 5)


def _window(slot: int, default: int = 0) -> int:
    return _range(slot, "<i4", default, 1, LARGEST_WINDOW)


def _range(slot: int, dtype: str, default: int, low: int, high: int) -> int:
    field: int = scalar(slot, dtype, default, low, high)
    return field


@dataclass(frozen=True)
class Conv2DOptions:
    padding: int = _padding(0)
    stride_w: int = _window(1)
    stride_h: int = _window(2)
    fused_activation_function: int = _activation(3)
    dilation_w_factor: int = _window(4, 1)
    dilation_h_factor: int = _window(5, 1)


@dataclass(frozen=True)
class DepthwiseConv2DOptions:
    padding: int = _padding(0)
    stride_w: int = _window(1)
    stride_h: int = _window(2)
    depth_multiplier: int = _range(3, "<i4", 0, 0, LARGEST_WINDOW)
    fused_activation_function: int = _activation(4)
    dilation_w_factor: int = _window(5, 1)
    dilation_h_factor: int = _window(6, 1)


@dataclass(frozen=True)
class Pool2DOptions:
    padding: int = _padding(0)
    stride_w: int = _window(1)
    stride_h: int = _window(2)
    filter_width: int = _window(3)
    filter_height: int = _window(4)
    fused_activation_function: int = _activation(5)


@dataclass(frozen=True)
class FullyConnectedOptions:
    fused_activation_function: int = _activation(0)
    weights_format: int = _range(1, "<i1", 0, 0, 1)
    keep_num_dims: bool = scalar(2, "?", False)


@dataclass(frozen=True)
class SoftmaxOptions:
    beta: float = scalar(0, "<f4", 0.0)


@dataclass(frozen=True)
class ElementwiseOptions:
    """Of ADD, SUB and MUL."""

    fused_activation_function: int = _activation(0)


@dataclass(frozen=True)
class ConcatenationOptions:
    axis: int = _range(0, "<i4", 0, -MOST_DIMENSIONS, MOST_DIMENSIONS - 1)
    fused_activation_function: int = _activation(1)


@dataclass(frozen=True)
class ReducerOptions:
    keep_dims: bool = scalar(0, "?", False)


@dataclass(frozen=True)
class StridedSliceOptions:
    begin_mask: int = scalar(0, "<i4")
    end_mask: int = scalar(1, "<i4")
    ellipsis_mask: int = scalar(2, "<i4")
    new_axis_mask: int = scalar(3, "<i4")
    shrink_axis_mask: int = scalar(4, "<i4")


Options = (
    Conv2DOptions
    | DepthwiseConv2DOptions
    | Pool2DOptions
    | FullyConnectedOptions
    | SoftmaxOptions
    | ElementwiseOptions
    | ConcatenationOptions
    | ReducerOptions
    | StridedSliceOptions
)
_OPTIONS: dict[int, type] = {
    1: Conv2DOptions,
    2: DepthwiseConv2DOptions,
    5: Pool2DOptions,
    8: FullyConnectedOptions,
    9: SoftmaxOptions,
    10: ConcatenationOptions,
    11: ElementwiseOptions,
    21: ElementwiseOptions,
    27: ReducerOptions,
    28: ElementwiseOptions,
    32: StridedSliceOptions,
}  # by the number of the union's type
_TYPE_OF_CODE = {0: 11, 1: 5, 2: 10, 3: 1, 4: 2, 9: 8, 17: 5, 18: 21, 25: 9, 40: 27, 41: 28, 45: 32}


@dataclass(frozen=True, eq=False)
class Operator:
    opcode_index: int = scalar(0, "<u4")
    inputs: np.ndarray = vector(1, "<i4", -1, MOST_ITEMS - 1)
    outputs: np.ndarray = vector(2, "<i4", 0, MOST_ITEMS - 1)
    options_type: int = scalar(3, "<u1")
    options: Options | None = union(4, _OPTIONS)


@dataclass(frozen=True, eq=False)
class Subgraph:
    tensors: tuple[Tensor, ...] = tables(0, Tensor, MOST_ITEMS)
    inputs: np.ndarray = vector(1, "<i4", 0, MOST_ITEMS - 1)
    outputs: np.ndarray = vector(2, "<i4", 0, MOST_ITEMS - 1)
    operators: tuple[Operator, ...] = tables(3, Operator, MOST_ITEMS)
    name: str = text(4)


@dataclass(frozen=True, eq=False)
class TfliteTables:
    """The root table. ``graph`` is the only one of ``subgraphs``."""

    version: int = scalar(0, "<u4", 0, 3, 3)
    operator_codes: tuple[OperatorCode, ...] = tables(1, OperatorCode, MOST_ITEMS)
    subgraphs: tuple[Subgraph, ...] = tables(2, Subgraph, MOST_ITEMS)
    buffers: tuple[Buffer, ...] = tables(4, Buffer, MOST_ITEMS)

    @property
    def graph(self) -> Subgraph:
        return self.subgraphs[0]


def read_tables(data: bytes, where: str, error: type[TinysceneError] = RuntimeFailure) -> TfliteTables:
    """The records of a file.

    Raises:
        error: see the module's refusals; ``where`` names the file.
    """
    if data[4:8] != b"TFL3":
        got = f"{len(data):,} bytes without the TFL3 identifier"
        raise error(where, "not a readable TFLite file", got=got, next_step=GET_ANOTHER)
    try:
        model = read_flatbuffer(TfliteTables, data)
        if len(model.subgraphs) != 1:
            raise Malformed("", "several graphs in one file", "one", str(len(model.subgraphs)))
        _check(model, len(data))
    except Malformed as problem:
        place = problem.field.removeprefix("subgraph 0, ")
        raise error(
            f"{where}, {place}" if place else where,
            f"not a readable TFLite file: {problem.what}",
            expected=problem.expected or None,
            got=problem.got or None,
            next_step=GET_ANOTHER,
        ) from None
    return model


def require_plain(model: TfliteTables, where: str) -> None:
    """Refuse custom operators, control flow, and whatever else no integer graph is written with; RuntimeFailure."""
    for number, operator in enumerate(model.graph.operators):
        code = model.operator_codes[operator.opcode_index].code
        if code not in PLAIN_OPERATORS:
            expected = ", ".join(sorted(PLAIN_OPERATORS.values()))
            raise RuntimeFailure(f"{where}, operator {number}", "not an operator of an integer graph", expected=expected, got=code)


def _check(model: TfliteTables, n_bytes: int) -> None:
    """What one table says about another. Everything else is in the records."""
    graph = model.graph
    constant_bytes = 0
    for number, tensor in enumerate(graph.tensors):
        place = f"tensor {number} '{tensor.name[:80]}'"
        _below(tensor.buffer, len(model.buffers), f"{place}, buffer")
        _check_tensor(tensor, model.buffers[tensor.buffer], place)
        constant_bytes += len(model.buffers[tensor.buffer].data)
    if constant_bytes > SHARED_CONSTANTS * n_bytes:
        raise Malformed("", f"tensors that share buffers take over {SHARED_CONSTANTS} times the file")
    for ends, name in ((graph.inputs, "inputs"), (graph.outputs, "outputs")):
        for index in ends.tolist():
            _below(index, len(graph.tensors), name)
    for number, operator in enumerate(graph.operators):
        place = f"operator {number}"
        _below(operator.opcode_index, len(model.operator_codes), f"{place}, opcode_index")
        for index in (*operator.inputs.tolist(), *operator.outputs.tolist()):
            _below(index, len(graph.tensors), f"{place}, inputs and outputs")
        code = model.operator_codes[operator.opcode_index].code
        expected = _TYPE_OF_CODE.get(code, operator.options_type)
        if operator.options_type not in (0, expected):
            raise Malformed(place, "its options are those of another operator", str(expected), str(operator.options_type))
        if expected in _OPTIONS and operator.options is None:
            raise Malformed(place, "has no options")
    _check_order(model)


def _check_tensor(tensor: Tensor, buffer: Buffer, place: str) -> None:
    shape, size = tensor.shape.tolist(), math.prod(tensor.shape.tolist())
    if len(shape) > MOST_DIMENSIONS or size > LARGEST_SIZE:
        expected = f"{MOST_DIMENSIONS} dimensions and {LARGEST_SIZE:,} elements at most"
        raise Malformed(place, "too large", expected, _sizes(shape))
    signature = tensor.shape_signature.tolist()
    if signature and (len(signature) != len(shape) or any(s not in (-1, n) for s, n in zip(signature, shape, strict=True))):
        raise Malformed(place, "shape_signature contradicts shape", _sizes(shape), _sizes(signature))
    quantization = tensor.quantization
    if quantization is not None and len(quantization.scale):
        scales, axis = len(quantization.scale), quantization.quantized_dimension
        slices = shape[axis] if axis < len(shape) else 1
        if scales not in (1, slices):
            raise Malformed(place, "number of scales", f"1, or {slices} as dimension {axis} has slices", str(scales))
        if len(quantization.zero_point) not in (0, 1, scales):
            raise Malformed(place, "number of zero points", str(scales), str(len(quantization.zero_point)))
    bits = _BITS.get(TYPES[tensor.type]) if tensor.type < len(TYPES) else None
    stored = len(buffer.data)
    if stored and bits is not None and not tensor.sparsity and stored != -(-size * bits // 8):
        expected = f"{-(-size * bits // 8):,} bytes for {TYPES[tensor.type]} {_sizes(shape)}"
        raise Malformed(place, "its buffer has another size", expected, f"{stored:,} bytes")


def _check_order(model: TfliteTables) -> None:
    """Each tensor is written at most once, and nothing is read before it is written."""
    graph = model.graph
    sizes = [math.prod(tensor.shape.tolist()) for tensor in graph.tensors]
    held = {
        number
        for number, tensor in enumerate(graph.tensors)
        if len(model.buffers[tensor.buffer].data) or tensor.is_variable or not sizes[number]
    }
    written = held | set(graph.inputs.tolist())
    for number, operator in enumerate(graph.operators):
        for index in operator.inputs.tolist():
            if index >= 0 and index not in written:
                raise Malformed(f"operator {number}", f"reads tensor {index}, which no operator before it writes")
        for index in operator.outputs.tolist():
            if index in written and sizes[index]:
                raise Malformed(f"operator {number}", f"writes tensor {index}, which is written or stored already")
            written.add(index)
    for index in graph.outputs.tolist():
        if index not in written:
            raise Malformed("outputs", f"tensor {index} is an output that no operator writes")


def _below(index: int, count: int, field: str) -> None:
    if index >= count:
        raise Malformed(field, "names one that does not exist", f"0 to {count - 1}", str(index))


def _sizes(shape: list[int]) -> str:
    return f"({', '.join(map(str, shape))})"
