"""The tables of a TFLite file that are read, as records: type and range of every field.

Fields have the slots of TensorFlow Lite's published schema. Tables and fields without a record here (metadata,
signatures, descriptions) are not read. The options of operators are in :mod:`.tflite_options`.
"""
# ruff: noqa: RUF009, the calls in the records make fields, as dataclasses.field does

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .flatbuffer import bulk, present, scalar, table, tables, text, union, vector
from .tflite_options import MOST_DIMENSIONS, MOST_ITEMS, OPTIONS, Options

IDENTIFIER = b"TFL3"  # bytes 4 to 7 of a file
# Bits of an element by the name of its type, in the order of the types' numbers; None where they vary.
TYPE_BITS: dict[str, int | None] = {
    "float32": 32,
    "float16": 16,
    "int32": 32,
    "uint8": 8,
    "int64": 64,
    "string": None,
    "bool": 8,
    "int16": 16,
    "complex64": 64,
    "int8": 8,
    "float64": 64,
    "complex128": 128,
    "uint64": 64,
    "resource": None,
    "variant": None,
    "uint32": 32,
    "uint16": 16,
    "int4": 4,
    "bfloat16": 16,
    "int2": 2,
    "uint4": 4,
}
TYPES = tuple(TYPE_BITS)
# Operators that the integer graph is written with or read from; engines in this process get files of these only.
PLAIN_OPERATORS = {
    0: "ADD",
    1: "AVERAGE_POOL_2D",
    2: "CONCATENATION",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    5: "DEPTH_TO_SPACE",
    6: "DEQUANTIZE",
    9: "FULLY_CONNECTED",
    11: "L2_NORMALIZATION",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    18: "MUL",
    19: "RELU",
    20: "RELU_N1_TO_1",
    21: "RELU6",
    22: "RESHAPE",
    23: "RESIZE_BILINEAR",
    25: "SOFTMAX",
    26: "SPACE_TO_DEPTH",
    28: "TANH",
    34: "PAD",
    36: "GATHER",
    37: "BATCH_TO_SPACE_ND",
    38: "SPACE_TO_BATCH_ND",
    39: "TRANSPOSE",
    40: "MEAN",
    41: "SUB",
    43: "SQUEEZE",
    44: "UNIDIRECTIONAL_SEQUENCE_LSTM",
    45: "STRIDED_SLICE",
    47: "EXP",
    49: "SPLIT",
    50: "LOG_SOFTMAX",
    53: "CAST",
    54: "PRELU",
    55: "MAXIMUM",
    57: "MINIMUM",
    59: "NEG",
    60: "PADV2",
    65: "SLICE",
    67: "TRANSPOSE_CONV",
    69: "TILE",
    70: "EXPAND_DIMS",
    73: "LOG",
    74: "SUM",
    75: "SQRT",
    76: "RSQRT",
    82: "REDUCE_MAX",
    83: "PACK",
    88: "UNPACK",
    89: "REDUCE_MIN",
    97: "RESIZE_NEAREST_NEIGHBOR",
    98: "LEAKY_RELU",
    99: "SQUARED_DIFFERENCE",
    100: "MIRROR_PAD",
    101: "ABS",
    102: "SPLIT_V",
    105: "REVERSE_V2",
    111: "ELU",
    114: "QUANTIZE",
    117: "HARD_SWISH",
    126: "BATCH_MATMUL",
    130: "BROADCAST_TO",
    150: "GELU",
    152: "RELU_0_TO_1",
}
# By code, the first input that may be -1, for none; engines follow any other missing input as if it were a tensor.
FIRST_OPTIONAL = {3: 2, 4: 2, 9: 2, 44: 1, 67: 3}
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


@dataclass(frozen=True, eq=False)
class Operator:
    opcode_index: int = scalar(0, "<u4")
    inputs: np.ndarray = vector(1, "<i4", -1, MOST_ITEMS - 1)
    outputs: np.ndarray = vector(2, "<i4", 0, MOST_ITEMS - 1)
    options_type: int = scalar(3, "<u1")
    options: Options | None = union(4, OPTIONS)
    intermediates: np.ndarray = vector(8, "<i4", 0, MOST_ITEMS - 1)


@dataclass(frozen=True, eq=False)
class Subgraph:
    tensors: tuple[Tensor, ...] = tables(0, Tensor, MOST_ITEMS)
    inputs: np.ndarray = vector(1, "<i4", 0, MOST_ITEMS - 1)
    outputs: np.ndarray = vector(2, "<i4", 0, MOST_ITEMS - 1)
    operators: tuple[Operator, ...] = tables(3, Operator, MOST_ITEMS)
    name: str = text(4)


@dataclass(frozen=True, eq=False)
class TfliteTables:
    """The root table. ``graph`` is the main one of ``subgraphs``, which operators of it may run."""

    version: int = scalar(0, "<u4", 0, 3, 3)
    operator_codes: tuple[OperatorCode, ...] = tables(1, OperatorCode, MOST_ITEMS)
    subgraphs: tuple[Subgraph, ...] = tables(2, Subgraph, MOST_ITEMS)
    buffers: tuple[Buffer, ...] = tables(4, Buffer, MOST_ITEMS)

    @property
    def graph(self) -> Subgraph:
        return self.subgraphs[0]
