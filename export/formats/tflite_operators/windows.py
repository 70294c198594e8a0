"""Readers of TFLite operators: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor
from tinyscene.runtime.tflite_options import Conv2DOptions, DepthwiseConv2DOptions, Pool2DOptions, TransposeConvOptions

from ..tflite_file import LARGEST_ACTIVATION, Operator
from ..tflite_limits import EVEN_AVERAGE
from ..weight_parts import parts_of
from . import wide_weights
from .common import Reader, Row, append, options_of

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

Window = Conv2DOptions | DepthwiseConv2DOptions | Pool2DOptions


def _window(
    builder: GraphBuilder, operator: Operator, options: Window, span: tuple[int, int]
) -> tuple[Tensor, ops.Pads, str | None]:
    """The input of a sliding window, all pads around it, and the node's name where the name of a PAD contains it.

    ``span``: height and width of the window. A convolution takes over a PAD in front of it. A PAD writes the code of 0,
    and a max pool ignores padding: both are the same where 0 is the lowest code. In front of other pools a PAD stays a
    node.
    """
    index, (top, left, bottom, right), pads_name = operator.inputs[0], (0, 0, 0, 0), ""
    padding = builder.window_pads.get(index)
    if padding is not None and _takes_over(operator, builder.activation(padding[0])):
        index, (top, left, bottom, right), pads_name = padding
    x = builder.activation(index, rank=4)
    if options.padding == schema.Padding.SAME:
        size = (x.shape[1] + top + bottom, x.shape[2] + left + right)
        same = ops.same_pads(size, span, (options.stride_h, options.stride_w))
        top, left, bottom, right = top + same[0], left + same[1], bottom + same[2], right + same[3]
    padded = (x.shape[1] + top + bottom) * (x.shape[2] + left + right) * x.shape[3]
    if padded > LARGEST_ACTIVATION:
        expected, got = f"{LARGEST_ACTIVATION:,} elements at most", f"{padded:,} with padding"
        raise builder.refusal(operator, "input too large", expected=expected, got=got)
    name = pads_name.removesuffix("_pads") if pads_name.endswith("_pads") else None
    return x, (top, left, bottom, right), name


def _takes_over(operator: Operator, x: Tensor) -> bool:
    """Whether a PAD in front of the operator becomes its own padding."""
    return not operator.kind.endswith("POOL_2D") or (operator.kind[:3], x.quant.zero_point) == ("MAX", -128)


def _convolution(builder: GraphBuilder, operator: Operator) -> None:
    """CONV_2D or DEPTHWISE_CONV_2D."""
    options = convolution_options(operator)
    weight = builder.constant(operator, 1, np.int8, rank=4)
    dilation = options.dilation_h_factor, options.dilation_w_factor
    x, pads, name = _window(builder, operator, options, ops.spanned(weight.shape[1:3], dilation))
    window = ConvolutionWindow((options.stride_h, options.stride_w), pads, dilation)
    append_convolution(builder, operator, x, window, name=name)


def convolution_options(operator: Operator) -> Conv2DOptions | DepthwiseConv2DOptions:
    """The options of a CONV_2D or DEPTHWISE_CONV_2D."""
    dense = operator.kind == "CONV_2D"
    return options_of(operator, Conv2DOptions) if dense else options_of(operator, DepthwiseConv2DOptions)


@dataclass(frozen=True)
class ConvolutionWindow:
    """How a convolution slides over its input."""

    stride: ops.Stride
    pads: ops.Pads
    dilation: ops.Stride


def append_convolution(
    builder: GraphBuilder,
    operator: Operator,
    x: Tensor,
    window: ConvolutionWindow,
    out: Tensor | None = None,
    name: str | None = None,
) -> None:
    """Append the node of a CONV_2D or DEPTHWISE_CONV_2D on ``x``; ``out``: in place of the operator's output."""
    weight, channels = builder.centred_weight(operator, rank=4), x.shape[3]
    if operator.kind == "CONV_2D":
        groups = max(1, channels // weight.shape[3])
        x, codes = wide_weights.dense(builder, operator, x, weight)
        constants = builder.weight_and_bias(operator, x, codes, 0)

        def dense(relu: bool) -> ops.Op:
            return ops.Conv2D(window.stride, window.pads, relu, window.dilation, groups)

        append(builder, operator, dense, (x.name, *constants), name, out)
        return
    multiplier = options_of(operator, DepthwiseConv2DOptions).depth_multiplier
    if weight.shape[0] != 1 or weight.shape[3] != channels * multiplier:
        expected = f"(1, height, width, {channels} x {multiplier})"
        raise builder.refusal(operator, "weight shape", expected=expected, got=weight.shape)
    parts = parts_of(weight)
    wide = len(parts) > 1
    x, codes = wide_weights.grouped(builder, x, parts) if wide else (x, parts[0])
    constants = builder.weight_and_bias(operator, x, codes, 0 if wide else 3)

    def depthwise(relu: bool) -> ops.Op:
        if wide:
            return ops.Conv2D(window.stride, window.pads, relu, window.dilation, channels)
        return ops.DepthwiseConv2D(window.stride, window.pads, relu, window.dilation)

    append(builder, operator, depthwise, (x.name, *constants), name, out)


def _transpose_conv(builder: GraphBuilder, operator: Operator) -> None:
    """The first input is the output's shape; SAME crops what it would pad in a convolution from there."""
    options, shape = options_of(operator, TransposeConvOptions), builder.file.shape(operator.output)
    stated = tuple(builder.integers(operator, 0, rank=1).tolist())
    if len(stated) != 4:
        raise builder.refusal(operator, "output shape", expected="four axes", got=stated[:8])
    builder.require_shape(operator, stated)
    weight, stride = builder.constant(operator, 1, np.int8, rank=4), (options.stride_h, options.stride_w)
    size, x = (shape[1], shape[2]), builder.activation(operator.inputs[2], rank=4)
    same, kernel = options.padding == schema.Padding.SAME, weight.shape[1:3]
    counts = [-(-(n if same else n + 1 - k) // s) for n, k, s in zip(size, kernel, stride, strict=True)]
    if counts != list(x.shape[1:3]):
        raise builder.refusal(operator, "output shape does not fit the input's", expected=x.shape[1:3], got=counts)
    crop = ops.same_crop(size, kernel, stride) if same else (0, 0)
    reordered = replace(operator, inputs=(operator.inputs[2], operator.inputs[1], *operator.inputs[3:]))
    constants = builder.weight_and_bias(reordered, x, weight, 0)
    append(builder, operator, lambda relu: ops.TransposeConv2D(stride, size, crop, relu), (x.name, *constants))


def _pool(kind: Literal["average", "max"]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        options = options_of(operator, Pool2DOptions)
        kernel, stride = (options.filter_height, options.filter_width), (options.stride_h, options.stride_w)
        x, pads, name = _window(builder, operator, options, kernel)
        if kind == "average" and builder.file.is_uint8(operator.inputs[0]) and _even(x, kernel, stride, pads):
            raise builder.refusal(operator, f"limit: {EVEN_AVERAGE.what}", next_step=EVEN_AVERAGE.next_step)
        append(builder, operator, lambda _: ops.Pool2D(kind, kernel, stride, pads), (x.name,), name)

    return read


def _even(x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], pads: ops.Pads) -> bool:
    """Whether a window has an even number of elements inside the input."""
    counts = []
    for size, span, step, before, windows in zip(
        x.shape[1:3], kernel, stride, pads[:2], ops.window_output(x.shape[1:3], kernel, stride, pads), strict=True
    ):
        first = np.arange(windows) * step - before
        counts.append(np.minimum(first + span, size) - np.maximum(first, 0))
    return any((count % 2 == 0).any() for count in counts)


ROWS: dict[str, Row] = {
    "AVERAGE_POOL_2D": Row(_pool("average"), 1, 1),
    "CONV_2D": Row(_convolution, 2, 3),
    "DEPTHWISE_CONV_2D": Row(_convolution, 2, 3),
    "MAX_POOL_2D": Row(_pool("max"), 1, 1),
    "TRANSPOSE_CONV": Row(_transpose_conv, 3, 4),
}
