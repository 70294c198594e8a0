"""Op records and shape rules: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ..records import Range
from .shapes import (
    OpRow,
    Pad,
    Pads,
    Shape,
    Side,
    Stride,
    of_rank,
    same,
)


@dataclass(frozen=True)
class Conv2D:
    """2-D convolution. Inputs: x NHWC, weight (O, H, W, C / groups), bias int32 (O,).

    The outputs are in ``groups`` equal parts, and so are the inputs: each part of the outputs reads its part of the
    inputs. The taps of the kernel are ``dilation`` elements apart.
    """

    stride: Stride = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    relu: bool = False
    dilation: Stride = (1, 1)
    groups: Annotated[int, Range(1, 2**16)] = 1


@dataclass(frozen=True)
class DepthwiseConv2D:
    """Depthwise convolution. Inputs: x NHWC, weight (1, H, W, C x multiplier), bias int32 (C x multiplier,).

    The multiplier follows from the shapes: output channel ``o`` reads input channel ``o // multiplier``.
    """

    stride: Stride = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    relu: bool = False
    dilation: Stride = (1, 1)


@dataclass(frozen=True)
class TransposeConv2D:
    """Transposed convolution. Inputs: x NHWC, weight (O, H, W, C), bias int32 (O,).

    Each input pixel adds the weight times its value to a window of the output; windows are ``stride`` pixels apart.
    ``crop``: rows and columns that are cut off at the beginning. ``size``: height and width of the output from there
    on, which ends before the last window or after it.
    """

    stride: Stride
    size: tuple[Side, Side]
    crop: tuple[Pad, Pad] = (0, 0)
    relu: bool = False


@dataclass(frozen=True)
class Pool2D:
    """Largest or average code of a window of x NHWC, padding excluded; keeps scale and zero point."""

    kind: Literal["max", "average"]
    kernel: tuple[Side, Side]
    stride: Stride = (1, 1)
    pads: Pads = (0, 0, 0, 0)


def same_pads(size: Shape, kernel: Shape, stride: Shape) -> Pads:
    """Pads of TFLite's SAME: ceil(size / stride) windows; an odd pad is added at the end."""
    total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)]
    return total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2


def same_crop(size: Shape, kernel: Shape, stride: Shape) -> tuple[int, int]:
    """Rows and columns that a transposed convolution crops at its beginning: the pads of SAME on its output."""
    return same_pads(size, kernel, stride)[:2]


def window_output(size: Shape, kernel: tuple[int, int], stride: tuple[int, int], pads: Pads) -> Shape:
    """Output height and width of a sliding window."""
    height = (size[0] + pads[0] + pads[2] - kernel[0]) // stride[0] + 1
    width = (size[1] + pads[1] + pads[3] - kernel[1]) // stride[1] + 1
    return height, width


def spanned(kernel: Shape, dilation: tuple[int, int]) -> tuple[int, int]:
    """Height and width from the first tap of a dilated kernel to its last."""
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1


def _conv_shape(op: Conv2D, x: Shape, weight: Shape, bias: Shape) -> Shape:
    out_c, k_h, k_w, in_c = of_rank(4, weight)
    same(in_c * op.groups, of_rank(4, x)[3], "weight input channels times groups")
    same(out_c % op.groups, 0, f"rest of {out_c} output channels divided by {op.groups} groups")
    same(bias, (out_c,), "bias shape")
    return (1, *window_output(x[1:3], spanned((k_h, k_w), op.dilation), op.stride, op.pads), out_c)


def _depthwise_shape(op: DepthwiseConv2D, x: Shape, weight: Shape, bias: Shape) -> Shape:
    one, k_h, k_w, channels = of_rank(4, weight)
    same((one, channels % of_rank(4, x)[3]), (1, 0), "first axis of the weight, and rest of the last divided by C")
    same(bias, (channels,), "bias shape")
    return (1, *window_output(x[1:3], spanned((k_h, k_w), op.dilation), op.stride, op.pads), channels)


def transposed_size(op: TransposeConv2D, x: Shape, kernel: Shape) -> tuple[int, int]:
    """Height and width of the uncropped output: all windows, and what is read of the rest."""
    height, width = ((n - 1) * s + k for n, s, k in zip(x[1:3], op.stride, kernel, strict=True))
    return max(height, op.crop[0] + op.size[0]), max(width, op.crop[1] + op.size[1])


def _transposed_shape(op: TransposeConv2D, x: Shape, weight: Shape, bias: Shape) -> Shape:
    out_c, _, _, in_c = of_rank(4, weight)
    same(in_c, of_rank(4, x)[3], "weight input channels")
    same(bias, (out_c,), "bias shape")
    windows = [(n - 1) * s + k for n, s, k in zip(x[1:3], op.stride, weight[1:3], strict=True)]
    for crop, size, end, stride in zip(op.crop, op.size, windows, op.stride, strict=True):
        if crop + size >= end + stride:
            raise ValueError(f"output ends {crop + size - end} after the last window, expected less than {stride}")
    return (1, *op.size, out_c)


def _pool_shape(op: Pool2D, x: Shape) -> Shape:
    channels = of_rank(4, x)[3]
    top, left, bottom, right = op.pads
    if max(top, bottom) >= op.kernel[0] or max(left, right) >= op.kernel[1]:
        raise ValueError(f"pads {op.pads} leave windows without an element, expected less than {op.kernel}")
    return (1, *window_output(x[1:3], op.kernel, op.stride, op.pads), channels)


ROWS: dict[type, OpRow] = {
    Conv2D: OpRow("conv2d", _conv_shape, 1, 3),
    DepthwiseConv2D: OpRow("depthwise_conv2d", _depthwise_shape, 1, 3),
    TransposeConv2D: OpRow("transpose_conv2d", _transposed_shape, 1, 3),
    Pool2D: OpRow("pool2d", _pool_shape, 1, 1),
}
