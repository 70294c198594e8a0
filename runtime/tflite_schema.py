"""The tables of a TFLite file that are read, as records: type and range of every field.

Fields have the slots of TensorFlow Lite's published schema. Tables and fields without a record here (metadata,
signatures, descriptions, options of operators that no integer graph has) are not read.
"""
# ruff: noqa: RUF009, the calls in the records make fields, as dataclasses.field does

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .flatbuffer import bulk, present, scalar, table, tables, text, union, vector

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
    45: "STRIDED_SLICE",
    47: "EXP",
    49: "SPLIT",
    50: "LOG_SOFTMAX",
    53: "CAST",
    54: "PRELU",
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
    100: "MIRROR_PAD",
    101: "ABS",
    102: "SPLIT_V",
    111: "ELU",
    114: "QUANTIZE",
    117: "HARD_SWISH",
    126: "BATCH_MATMUL",
    130: "BROADCAST_TO",
    150: "GELU",
    152: "RELU_0_TO_1",
}
LARGEST_WINDOW = 65_535  # stride, dilation and size of a window, in elements
MOST_ITEMS = 65_536  # tensors, operators, buffers
MOST_DIMENSIONS = 8
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
class TransposeConvOptions:
    padding: int = _padding(0)
    stride_w: int = _window(1)
    stride_h: int = _window(2)
    fused_activation_function: int = _activation(3)


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
class BatchMatMulOptions:
    adj_x: bool = scalar(0, "?", False)
    adj_y: bool = scalar(1, "?", False)


@dataclass(frozen=True)
class SoftmaxOptions:
    beta: float = scalar(0, "<f4", 0.0)


@dataclass(frozen=True)
class ElementwiseOptions:
    """Of ADD, SUB and MUL."""

    fused_activation_function: int = _activation(0)


@dataclass(frozen=True)
class CastOptions:
    """Types that engines take from the tensors instead."""

    in_data_type: int = scalar(0, "<i1", 0)
    out_data_type: int = scalar(1, "<i1", 0)


@dataclass(frozen=True)
class LeakyReluOptions:
    alpha: float = scalar(0, "<f4", 0.0)


@dataclass(frozen=True)
class GeluOptions:
    approximate: bool = scalar(0, "?", False)


@dataclass(frozen=True)
class ConcatenationOptions:
    axis: int = _range(0, "<i4", 0, -MOST_DIMENSIONS, MOST_DIMENSIONS - 1)
    fused_activation_function: int = _activation(1)


@dataclass(frozen=True)
class ReducerOptions:
    """Of MEAN, SUM, REDUCE_MAX and REDUCE_MIN."""

    keep_dims: bool = scalar(0, "?", False)


@dataclass(frozen=True)
class StridedSliceOptions:
    begin_mask: int = scalar(0, "<i4")
    end_mask: int = scalar(1, "<i4")
    ellipsis_mask: int = scalar(2, "<i4")
    new_axis_mask: int = scalar(3, "<i4")
    shrink_axis_mask: int = scalar(4, "<i4")
    offset: bool = scalar(5, "?", False)


@dataclass(frozen=True, eq=False)
class ReshapeOptions:
    """The shape, where it is no input; -1 at most once."""

    new_shape: np.ndarray = vector(0, "<i4", -1)


@dataclass(frozen=True, eq=False)
class SqueezeOptions:
    """The axes of size 1 that are removed; all of them where there are none."""

    squeeze_dims: np.ndarray = vector(0, "<i4", -MOST_DIMENSIONS, MOST_DIMENSIONS - 1)


@dataclass(frozen=True)
class MirrorPadOptions:
    """0: without the element at the end, 1: with it."""

    mode: int = _range(0, "<i1", 0, 0, 1)


@dataclass(frozen=True)
class ResizeBilinearOptions:
    align_corners: bool = scalar(2, "?", False)
    half_pixel_centers: bool = scalar(3, "?", False)


@dataclass(frozen=True)
class ResizeNearestNeighborOptions:
    align_corners: bool = scalar(0, "?", False)
    half_pixel_centers: bool = scalar(1, "?", False)


@dataclass(frozen=True)
class SpaceToDepthOptions:
    block_size: int = _window(0)


@dataclass(frozen=True)
class DepthToSpaceOptions:
    block_size: int = _window(0)


@dataclass(frozen=True)
class PackOptions:
    values_count: int = _range(0, "<i4", 0, 0, MOST_ITEMS)
    axis: int = _range(1, "<i4", 0, -MOST_DIMENSIONS, MOST_DIMENSIONS)


@dataclass(frozen=True)
class UnpackOptions:
    num: int = _range(0, "<i4", 0, 0, MOST_ITEMS)
    axis: int = _range(1, "<i4", 0, -MOST_DIMENSIONS, MOST_DIMENSIONS - 1)


@dataclass(frozen=True)
class SplitOptions:
    num_splits: int = _range(0, "<i4", 0, 0, MOST_ITEMS)


@dataclass(frozen=True)
class SplitVOptions:
    num_splits: int = _range(0, "<i4", 0, 0, MOST_ITEMS)


@dataclass(frozen=True)
class GatherOptions:
    axis: int = _range(0, "<i4", 0, -MOST_DIMENSIONS, MOST_DIMENSIONS - 1)
    batch_dims: int = _range(1, "<i4", 0, -MOST_DIMENSIONS, MOST_DIMENSIONS - 1)


Options = (
    Conv2DOptions
    | DepthwiseConv2DOptions
    | TransposeConvOptions
    | Pool2DOptions
    | FullyConnectedOptions
    | BatchMatMulOptions
    | SoftmaxOptions
    | ElementwiseOptions
    | LeakyReluOptions
    | CastOptions
    | GeluOptions
    | ConcatenationOptions
    | ReducerOptions
    | StridedSliceOptions
    | ReshapeOptions
    | SqueezeOptions
    | MirrorPadOptions
    | PackOptions
    | UnpackOptions
    | SplitOptions
    | SplitVOptions
    | GatherOptions
    | ResizeBilinearOptions
    | ResizeNearestNeighborOptions
    | SpaceToDepthOptions
    | DepthToSpaceOptions
)
OPTIONS: dict[int, type] = {
    1: Conv2DOptions,
    2: DepthwiseConv2DOptions,
    5: Pool2DOptions,
    8: FullyConnectedOptions,
    9: SoftmaxOptions,
    10: ConcatenationOptions,
    11: ElementwiseOptions,
    15: ResizeBilinearOptions,
    17: ReshapeOptions,
    19: SpaceToDepthOptions,
    21: ElementwiseOptions,
    23: GatherOptions,
    27: ReducerOptions,
    28: ElementwiseOptions,
    30: SqueezeOptions,
    32: StridedSliceOptions,
    35: SplitOptions,
    37: CastOptions,
    49: TransposeConvOptions,
    59: PackOptions,
    64: UnpackOptions,
    74: ResizeNearestNeighborOptions,
    75: LeakyReluOptions,
    77: MirrorPadOptions,
    79: SplitVOptions,
    94: DepthToSpaceOptions,
    101: BatchMatMulOptions,
    116: GeluOptions,
}  # by the number of the union's type
# The type of the options by the code of the operator.
OPTIONS_TYPE_OF_CODE = {
    0: 11,
    1: 5,
    2: 10,
    3: 1,
    4: 2,
    5: 94,
    9: 8,
    17: 5,
    18: 21,
    22: 17,
    23: 15,
    25: 9,
    26: 19,
    36: 23,
    40: 27,
    41: 28,
    43: 30,
    45: 32,
    47: 33,
    49: 35,
    53: 37,
    59: 42,
    67: 49,
    74: 27,
    81: 27,
    82: 27,
    83: 59,
    88: 64,
    89: 27,
    97: 74,
    98: 75,
    100: 77,
    101: 78,
    102: 79,
    117: 91,
    126: 101,
    150: 116,
}
OPTIONAL = (17, 30)  # where an operator without options has their defaults


@dataclass(frozen=True, eq=False)
class Operator:
    opcode_index: int = scalar(0, "<u4")
    inputs: np.ndarray = vector(1, "<i4", -1, MOST_ITEMS - 1)
    outputs: np.ndarray = vector(2, "<i4", 0, MOST_ITEMS - 1)
    options_type: int = scalar(3, "<u1")
    options: Options | None = union(4, OPTIONS)


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
