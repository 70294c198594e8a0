"""The closed op set: an op is a frozen record; the table has its name, shape rule and number of activation inputs.

Every other table (kernels, cost, ONNX, TFLite, C) has a row for each op; a test requires it. The annotations of the
records are the schema of stored graphs: they bound every attribute, and :meth:`Graph.check` applies them to graphs from
any source. Shape rules raise ValueError for inputs that do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from .records import Length, Range

# A tensor has at most 4 Mi elements: the SRAM of the largest emulated Cortex-M, and 256 MiB for eight int64 arrays of
# the NumPy interpreter. The other bounds follow: no side of it, no window and no step between windows is longer.
LARGEST_TENSOR_ELEMENTS = 2**22
HIGHEST_RANK = 6  # of TFLite Micro's and XNNPACK's shapes

Side = Annotated[int, Range(1, LARGEST_TENSOR_ELEMENTS)]
Step = Annotated[int, Range(1, 2**15)]
Pad = Annotated[int, Range(0, 2**15)]
Shape = Annotated[tuple[Side, ...], Length(1, HIGHEST_RANK)]
Stride = tuple[Step, Step]
Pads = tuple[Pad, Pad, Pad, Pad]  # top, left, bottom, right

LARGEST_WINDOWS = 2**24  # elements of all windows of one op, which the interpreter holds at once: 128 MiB in float64
# Elements of one row. TFLite's reference kernel and TFLite Micro shift right by 23 + log2 of the sum of exponentials,
# and end the process where that is more than 31: with 512 equal codes.
LARGEST_SOFTMAX = 511


@dataclass(frozen=True)
class Conv2D:
    """2-D convolution. Inputs: x NHWC, weight OHWI, bias int32 (O,)."""

    stride: Stride = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    relu: bool = False


@dataclass(frozen=True)
class DepthwiseConv2D:
    """Depthwise convolution, multiplier 1. Inputs: x NHWC, weight 1HWC, bias int32 (C,)."""

    stride: Stride = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    relu: bool = False


@dataclass(frozen=True)
class FullyConnected:
    """Matrix product. Inputs: x (1, K), weight (O, K), bias int32 (O,).

    If the weight has one scale for all outputs, the product of input and weight scale is rounded to float32; that of a
    1x1 convolution is not.
    """

    relu: bool = False


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape."""

    relu: bool = False


@dataclass(frozen=True)
class Sub:
    """Difference of two tensors of one shape."""

    relu: bool = False


@dataclass(frozen=True)
class Mul:
    """Product of x NHWC with a tensor of the same shape or of shape (1, 1, 1, C) or (1, 1, 1, 1)."""

    relu: bool = False


@dataclass(frozen=True)
class Mean:
    """Mean over ``space`` (height and width) or over ``channels``; dropping dimensions gives (N, C)."""

    over: Literal["space", "channels"] = "space"
    keep_dims: bool = True


@dataclass(frozen=True)
class Pool2D:
    """Largest or average code of a window of x NHWC, padding excluded; keeps scale and zero point."""

    kind: Literal["max", "average"]
    kernel: tuple[Side, Side]
    stride: Stride = (1, 1)
    pads: Pads = (0, 0, 0, 0)


@dataclass(frozen=True)
class Rsqrt:
    """1 / sqrt(x), elementwise, for x >= 0 (the zero point is the smallest code); 0 gives the largest code."""


@dataclass(frozen=True)
class Lookup:
    """A function of one element: 256 output codes.

    ``requantise`` changes scale and zero point only; ``relu6`` keeps them; ``logistic`` has scale 1/256 and zero point
    -128.
    """

    function: Literal["relu", "relu6", "logistic", "requantise"]


@dataclass(frozen=True)
class Softmax:
    """Softmax over the last axis; the output has scale 1/256 and zero point -128."""


@dataclass(frozen=True)
class Reshape:
    """The same elements in the same order. ``shape`` starts with the batch, 1."""

    shape: Shape


@dataclass(frozen=True)
class Concat:
    """Two tensors concatenated along ``axis``; all three have the same scale and zero point."""

    axis: Annotated[int, Range(1, HIGHEST_RANK - 1)]


Op = (
    Conv2D
    | DepthwiseConv2D
    | FullyConnected
    | Add
    | Sub
    | Mul
    | Mean
    | Pool2D
    | Rsqrt
    | Lookup
    | Softmax
    | Reshape
    | Concat
)
WithRelu = Conv2D | DepthwiseConv2D | FullyConnected | Add | Sub | Mul  # ops with a fused ReLU, on or off


def window_output(size: Shape, kernel: tuple[int, int], stride: tuple[int, int], pads: Pads) -> Shape:
    """Output height and width of a sliding window."""
    height = (size[0] + pads[0] + pads[2] - kernel[0]) // stride[0] + 1
    width = (size[1] + pads[1] + pads[3] - kernel[1]) // stride[1] + 1
    return height, width


def window_elements(op: Op, weight: Shape, x: Shape, out: Shape) -> int:
    """Elements of all windows of a convolution or a pool, or of its padded input if these are more; 0 for other ops."""
    if not isinstance(op, Conv2D | DepthwiseConv2D | Pool2D):
        return 0
    kernel = op.kernel if isinstance(op, Pool2D) else weight[1:3]
    padded = (x[1] + op.pads[0] + op.pads[2]) * (x[2] + op.pads[1] + op.pads[3])
    return max(padded, out[1] * out[2] * math.prod(kernel)) * x[3]


def _conv_shape(op: Conv2D, x: Shape, weight: Shape, bias: Shape) -> Shape:
    out_c, k_h, k_w, in_c = _of_rank(4, weight)
    _same(in_c, _of_rank(4, x)[3], "weight input channels")
    _same(bias, (out_c,), "bias shape")
    return (1, *window_output(x[1:3], (k_h, k_w), op.stride, op.pads), out_c)


def _depthwise_shape(op: DepthwiseConv2D, x: Shape, weight: Shape, bias: Shape) -> Shape:
    one, k_h, k_w, channels = _of_rank(4, weight)
    _same((one, channels), (1, _of_rank(4, x)[3]), "weight shape (1, ., ., C)")
    _same(bias, (channels,), "bias shape")
    return (1, *window_output(x[1:3], (k_h, k_w), op.stride, op.pads), channels)


def _fully_connected_shape(op: FullyConnected, x: Shape, weight: Shape, bias: Shape) -> Shape:
    outputs, inputs = _of_rank(2, weight)
    _same(x, (1, inputs), "input shape")
    _same(bias, (outputs,), "bias shape")
    return (1, outputs)


def _pair_shape(op: Add | Sub, a: Shape, b: Shape) -> Shape:
    _same(b, a, "second operand's shape")
    return a


def _mul_shape(op: Mul, a: Shape, b: Shape) -> Shape:
    if b != a and (len(a) != 4 or b not in ((1, 1, 1, a[3]), (1, 1, 1, 1))):
        raise ValueError(f"second factor's shape: expected {a}, (1, 1, 1, C) or (1, 1, 1, 1), got {b}")
    return a


def _mean_shape(op: Mean, x: Shape) -> Shape:
    channels = _of_rank(4, x)[3]
    if op.over == "channels":
        return (*x[:3], 1) if op.keep_dims else x[:3]
    return (1, 1, 1, channels) if op.keep_dims else (1, channels)


def _pool_shape(op: Pool2D, x: Shape) -> Shape:
    channels = _of_rank(4, x)[3]
    top, left, bottom, right = op.pads
    if max(top, bottom) >= op.kernel[0] or max(left, right) >= op.kernel[1]:
        raise ValueError(f"pads {op.pads} leave windows without an element, expected less than {op.kernel}")
    return (1, *window_output(x[1:3], op.kernel, op.stride, op.pads), channels)


def _elementwise_shape(op: Rsqrt | Lookup, x: Shape) -> Shape:
    return x


def _softmax_shape(op: Softmax, x: Shape) -> Shape:
    if x[-1] > LARGEST_SOFTMAX:
        raise ValueError(f"row of {x[-1]} elements, expected at most {LARGEST_SOFTMAX}")
    return x


def _reshape_shape(op: Reshape, x: Shape) -> Shape:
    _same(math.prod(op.shape), math.prod(x), "elements")
    return op.shape


def _concat_shape(op: Concat, a: Shape, b: Shape) -> Shape:
    if not 1 <= op.axis < len(a):
        raise ValueError(f"axis {op.axis}, expected 1 to {len(a) - 1}")
    _of_rank(len(a), b)
    _same(b[: op.axis] + b[op.axis + 1 :], a[: op.axis] + a[op.axis + 1 :], "second tensor's other axes")
    return (*a[: op.axis], a[op.axis] + b[op.axis], *a[op.axis + 1 :])


def _of_rank(rank: int, shape: Shape) -> Shape:
    if len(shape) != rank:
        raise ValueError(f"shape {shape}, expected {rank} axes")
    return shape


def _same(got: object, expected: object, what: str) -> None:
    if got != expected:
        raise ValueError(f"{what}: expected {expected}, got {got}")


@dataclass(frozen=True)
class OpRow:
    """Name and shape rule of an op, as the graph needs them."""

    name: str
    shape: Callable[..., Shape]  # output shape from the op and its input shapes
    n_activations: int  # leading inputs that are activations; the rest are weight and bias
    n_inputs: int


OPS: dict[type, OpRow] = {
    Conv2D: OpRow("conv2d", _conv_shape, 1, 3),
    DepthwiseConv2D: OpRow("depthwise_conv2d", _depthwise_shape, 1, 3),
    FullyConnected: OpRow("fully_connected", _fully_connected_shape, 1, 3),
    Add: OpRow("add", _pair_shape, 2, 2),
    Sub: OpRow("sub", _pair_shape, 2, 2),
    Mul: OpRow("mul", _mul_shape, 2, 2),
    Mean: OpRow("mean", _mean_shape, 1, 1),
    Pool2D: OpRow("pool2d", _pool_shape, 1, 1),
    Rsqrt: OpRow("rsqrt", _elementwise_shape, 1, 1),
    Lookup: OpRow("lookup", _elementwise_shape, 1, 1),
    Softmax: OpRow("softmax", _softmax_shape, 1, 1),
    Reshape: OpRow("reshape", _reshape_shape, 1, 1),
    Concat: OpRow("concat", _concat_shape, 2, 2),
}


def is_conv(op: Op) -> bool:
    """Whether the op is a convolution, with a window, a weight and a bias."""
    return isinstance(op, Conv2D | DepthwiseConv2D)


def has_relu(op: Op) -> bool:
    """Whether a ReLU is fused into the op."""
    return isinstance(op, WithRelu) and op.relu


def has_weight(op: Op) -> bool:
    """Whether the op has a weight and a bias."""
    return is_conv(op) or isinstance(op, FullyConnected)
