"""The options of TFLite operators, as records: type and range of every field, and which operator has which.

Fields have the slots of TensorFlow Lite's published schema. Options of operators that no integer graph has are not
read, except for numbers of other graphs.
"""
# ruff: noqa: RUF009, the calls in the records make fields, as dataclasses.field does

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from .flatbuffer import scalar, text, vector

LARGEST_WINDOW = 65_535  # stride, dilation and size of a window, in elements
MOST_ITEMS = 65_536  # tensors, operators, buffers
MOST_DIMENSIONS = 8


def _padding(slot: int) -> int:
    return _range(slot, "<i1", 0, 0, 1)


def _activation(slot: int) -> int:
    return _range(slot, "<i1", 0, 0, 5)


def _window(slot: int, default: int = 0) -> int:
    return _range(slot, "<i4", default, 1, LARGEST_WINDOW)


def _graph(slot: int) -> int:
    return _range(slot, "<i4", 0, 0, MOST_ITEMS - 1)


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
    """Of ADD, SUB, MUL and L2_NORMALIZATION."""

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
class UnidirectionalSequenceLSTMOptions:
    fused_activation_function: int = _activation(0)
    cell_clip: float = scalar(1, "<f4", 0.0)
    proj_clip: float = scalar(2, "<f4", 0.0)
    time_major: bool = scalar(3, "?", False)
    diagonal_recurrent_tensors: bool = scalar(5, "?", False)


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


@dataclass(frozen=True)
class IfOptions:
    then_subgraph_index: int = _graph(0)
    else_subgraph_index: int = _graph(1)


@dataclass(frozen=True)
class WhileOptions:
    cond_subgraph_index: int = _graph(0)
    body_subgraph_index: int = _graph(1)


@dataclass(frozen=True)
class CallOnceOptions:
    init_subgraph_index: int = _graph(0)


@dataclass(frozen=True)
class VarHandleOptions:
    container: str = text(0)
    shared_name: str = text(1)


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
    | UnidirectionalSequenceLSTMOptions
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
    | IfOptions
    | WhileOptions
    | CallOnceOptions
    | VarHandleOptions
)
OPTIONS: dict[int, type] = {
    1: Conv2DOptions,
    2: DepthwiseConv2DOptions,
    5: Pool2DOptions,
    8: FullyConnectedOptions,
    9: SoftmaxOptions,
    10: ConcatenationOptions,
    11: ElementwiseOptions,
    12: ElementwiseOptions,
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
    71: UnidirectionalSequenceLSTMOptions,
    74: ResizeNearestNeighborOptions,
    75: LeakyReluOptions,
    77: MirrorPadOptions,
    79: SplitVOptions,
    92: IfOptions,
    93: WhileOptions,
    94: DepthToSpaceOptions,
    101: BatchMatMulOptions,
    103: CallOnceOptions,
    111: VarHandleOptions,
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
    11: 12,
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
    44: 71,
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
    118: 92,
    119: 93,
    126: 101,
    129: 103,
    142: 111,
    150: 116,
}
OPTIONAL = (17, 30, 92, 93, 103, 111)  # an operator without them has their defaults, or names no other graph


def named_graphs(options: Options | None) -> tuple[int, ...]:
    """Numbers of the file's other graphs that an operator runs."""
    return astuple(options) if isinstance(options, IfOptions | WhileOptions | CallOnceOptions) else ()
