"""The closed op set: an op is a frozen record; the table has its name, shape rule and number of activation inputs.

Every other table (kernels, cost, ONNX, TFLite, C, PyTorch) has a row for each op; a test requires it. Each table is a
package with one file for each family of ops: :mod:`.windows`, :mod:`.products`, :mod:`.elementwise`,
:mod:`.reductions`, :mod:`.recurrent` and :mod:`.movement`. The annotations of the records are the schema of stored
graphs: they bound every attribute, and :meth:`Graph.check` applies them to graphs from any source.
"""

from __future__ import annotations

import math

from . import elementwise, movement, products, recurrent, reductions, windows
from .elementwise import (
    Add,
    Extremum,
    Function,
    Lookup,
    Mul,
    Pair,
    PRelu,
    Rsqrt,
    SquaredDifference,
    Sub,
    Table,
    aligned,
)
from .movement import (
    Concat,
    Grid,
    Movement,
    Pad,
    Reshape,
    Resize,
    Slice,
    Transpose,
    fixed_steps,
    keeps_order,
)
from .products import BatchMatMul, FullyConnected, matrix
from .recurrent import GATES, Lstm
from .reductions import SPACE, L2Norm, LogSoftmax, Reduce, Softmax, is_mean_over_space
from .shapes import (
    HIGHEST_RANK,
    LARGEST_TENSOR_ELEMENTS,
    LARGEST_WINDOWS,
    OpRow,
    Pads,
    Shape,
    Stride,
)
from .windows import (
    Conv2D,
    DepthwiseConv2D,
    Pool2D,
    TransposeConv2D,
    same_crop,
    same_pads,
    spanned,
    transposed_size,
    window_output,
)

__all__ = [
    "GATES",
    "HIGHEST_RANK",
    "LARGEST_TENSOR_ELEMENTS",
    "LARGEST_WINDOWS",
    "OPS",
    "SPACE",
    "Add",
    "BatchMatMul",
    "Concat",
    "Conv2D",
    "DepthwiseConv2D",
    "Extremum",
    "FullyConnected",
    "Function",
    "Grid",
    "L2Norm",
    "LogSoftmax",
    "Lookup",
    "Lstm",
    "Movement",
    "Mul",
    "Op",
    "OpRow",
    "PRelu",
    "Pad",
    "Pads",
    "Pair",
    "Pool2D",
    "Reduce",
    "Reshape",
    "Resize",
    "Rsqrt",
    "Shape",
    "Slice",
    "Softmax",
    "SquaredDifference",
    "Stride",
    "Sub",
    "Table",
    "Transpose",
    "TransposeConv2D",
    "WithRelu",
    "aligned",
    "fixed_steps",
    "has_relu",
    "has_weight",
    "is_conv",
    "is_mean_over_space",
    "keeps_order",
    "matrix",
    "same_crop",
    "same_pads",
    "selects_codes",
    "spanned",
    "title",
    "transposed_size",
    "weight_channel_axis",
    "window_elements",
    "window_output",
]

Op = (
    Conv2D
    | DepthwiseConv2D
    | TransposeConv2D
    | FullyConnected
    | BatchMatMul
    | Add
    | Sub
    | Mul
    | SquaredDifference
    | Extremum
    | Reduce
    | Pool2D
    | Rsqrt
    | PRelu
    | Lookup
    | Table
    | Softmax
    | LogSoftmax
    | L2Norm
    | Lstm
    | Reshape
    | Transpose
    | Pad
    | Slice
    | Resize
    | Concat
)
WithRelu = Conv2D | DepthwiseConv2D | TransposeConv2D | FullyConnected | Add | Sub | Mul  # with a fused ReLU or none

OPS: dict[type, OpRow] = {
    **windows.ROWS,
    **products.ROWS,
    **elementwise.ROWS,
    **reductions.ROWS,
    **recurrent.ROWS,
    **movement.ROWS,
}


def window_elements(op: Op, weight: Shape, x: Shape, out: Shape) -> int:
    """Elements of all windows of a convolution or a pool, or of its padded input if these are more; 0 for other ops."""
    if isinstance(op, TransposeConv2D):
        return math.prod(transposed_size(op, x, weight[1:3])) * out[3]
    if not isinstance(op, Conv2D | DepthwiseConv2D | Pool2D):
        return 0
    kernel = op.kernel if isinstance(op, Pool2D) else weight[1:3]
    padded = (x[1] + op.pads[0] + op.pads[2]) * (x[2] + op.pads[1] + op.pads[3])
    channels = x[3] if isinstance(op, Conv2D) else out[3]
    return max(padded, out[1] * out[2] * math.prod(kernel)) * channels


def is_conv(op: Op) -> bool:
    """Whether the op is a convolution, with a window, a weight and a bias."""
    return isinstance(op, Conv2D | DepthwiseConv2D | TransposeConv2D)


def has_relu(op: Op) -> bool:
    """Whether a ReLU is fused into the op."""
    return isinstance(op, WithRelu) and op.relu


def selects_codes(op: Op) -> bool:
    """Whether the op's output consists of codes of its input, without rounding."""
    return isinstance(op, Pool2D | Reduce) and op.kind in ("max", "min")


def title(op: Op) -> str:
    """Name of an op in reports: that of the table, or the kind of a reduction."""
    return op.kind if isinstance(op, Reduce) else OPS[type(op)].name


def weight_channel_axis(op: Op) -> int:
    """Axis of the output channels in the weight of an op with one."""
    return 3 if isinstance(op, DepthwiseConv2D) else 0


def has_weight(op: Op) -> bool:
    """Whether the op has a weight and a bias."""
    return is_conv(op) or isinstance(op, FullyConnected)
