"""Readers of convolutions and pools.

A convolution of rows, as PyTorch writes Conv1d, becomes one of images of height 1. Refuses weights that are not
constant, padding modes other than zeros, and sums of windows that differ in size.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.ops import Pads, Shape

from .builder import Array, OnnxGraphBuilder
from .values import NHWC, Bias, Codes, Pending, QuantConstant
from .weights import add_weights, narrow, narrow_depthwise, quantised_weight, real_bias

Pair = tuple[int, int]
_SAME = ("SAME_UPPER", "SAME_LOWER")


def image_of(b: OnnxGraphBuilder, codes: Codes) -> Codes:
    """The input of a window: NCHW as it is, rows NCL as images of height 1, and features NC as ones of one position."""
    if len(codes.order) == 2:
        n, channels = b.shape(codes)
        return Codes(b.reshaped(Codes(b.ordered(codes, (0, 1)), (0, 1)), (n, 1, 1, channels)).name, NHWC)
    if len(codes.order) == 3:
        n, channels, length = b.shape(codes)
        rows = Codes(b.ordered(codes, (0, 2, 1)), (0, 1, 2))
        return Codes(b.reshaped(rows, (n, 1, length, channels)).name, NHWC)
    return Codes(b.nhwc(codes), NHWC)


def shaped(b: OnnxGraphBuilder, pending: Pending, rank: int) -> Pending:
    """The result of a window with as many axes as its input."""
    if rank == 4:
        return pending

    def rows(codes: Codes) -> Codes:
        n, _, length, channels = b.tensors[codes.name].shape
        if rank == 2:
            return b.reshaped(Codes(codes.name, (0, 1, 2, 3)), (n, channels))
        flat = b.reshaped(Codes(codes.name, (0, 1, 2, 3)), (n, length, channels))
        return Codes(flat.name, (0, 2, 1))

    return pending.followed_by(rows)


def weighted(b: OnnxGraphBuilder, pending: Pending, rank: int) -> Pending:
    """As :func:`shaped`, of an op with weights."""
    return replace(shaped(b, pending, rank), channels_at=(1, rank))


def _pair(values: object, default: int, rank: int) -> Pair:
    """An attribute for height and width; rows have no height."""
    stated = [int(v) for v in values] if isinstance(values, list | tuple) else [default] * (rank - 2)
    return (stated[0], stated[1]) if len(stated) == 2 else (default, stated[0])


def window_pads(b: OnnxGraphBuilder, size: Shape, kernel: Pair, stride: Pair, dilation: Pair) -> Pads:
    """Top, left, bottom and right, with what ``ceil_mode`` adds to stated pads at the end."""
    reach = ops.spanned(kernel, dilation)
    pads = _stated_pads(b, ops.same_pads(size, reach, stride))
    if not b.attributes().get("ceil_mode", 0) or _auto_pad(b) in _SAME:
        return pads
    rest = [(size[i] + pads[i] + pads[i + 2] - reach[i]) % stride[i] for i in (0, 1)]
    bottom, right = (pads[i + 2] + (stride[i] - rest[i]) % stride[i] for i in (0, 1))
    return pads[0], pads[1], bottom, right


def _auto_pad(b: OnnxGraphBuilder) -> str:
    name: bytes = b.attributes().get("auto_pad", b"NOTSET")
    return name.decode()


def _stated_pads(b: OnnxGraphBuilder, same: Pads) -> Pads:
    """Top, left, bottom and right from ``pads``, or ``same`` with an odd pad where ``auto_pad`` puts it."""
    auto = _auto_pad(b)
    top, left, bottom, right = same
    if auto in _SAME:
        return same if auto == "SAME_UPPER" else (bottom, right, top, left)
    stated = [int(v) for v in b.attributes().get("pads", [])] if auto == "NOTSET" else []
    pads = stated or [0, 0, 0, 0]
    return (pads[0], pads[1], pads[2], pads[3]) if len(pads) == 4 else (0, pads[0], 0, pads[1])


def _conv(b: OnnxGraphBuilder) -> None:
    weight = quantised_weight(b, 1)
    convolution(b, b.codes(0), weight, real_bias(b, 2, len(weight.codes)), (1, 2))


def convolution(
    b: OnnxGraphBuilder, codes: Codes, weight: QuantConstant, bias: Array | None, positions: tuple[int, int]
) -> None:
    """The pending result of a convolution with the current node's attributes.

    Args:
        weight: as in the file.
        bias: real values (channels,), or None.
        positions: of weight and bias among the node's inputs, for their names.
    """
    rank, attributes = len(codes.order), b.attributes()
    if weight.codes.ndim != rank or rank not in (3, 4):
        b.refuse("limit: axes of a convolution", expected="1 or 2 beside batch and channels", got=rank - 2)
    if rank == 3:
        weight = QuantConstant(weight.codes[:, :, None], weight.scale, weight.axis)
    image = image_of(b, codes)
    source = b.tensors[image.name]
    groups, channels = int(attributes.get("group", 1)), source.shape[3]
    kernel = (weight.codes.shape[2], weight.codes.shape[3])
    stride, dilation = (_pair(attributes.get(name), 1, rank) for name in ("strides", "dilations"))
    pads = window_pads(b, source.shape[1:3], kernel, stride, dilation)
    depthwise = groups == channels and weight.codes.shape[1] == 1 and groups > 1
    placed = weight.moved((1, 2, 3, 0)) if depthwise else weight.moved((0, 2, 3, 1))
    title, name = b.current.name or b.title, b.current.input[positions[0]]
    bias_name = b.current.input[positions[1]] if b.has(positions[1]) else f"{b.title}_bias"

    def emit(pending: Pending, relu: bool, quant: Quant) -> str:
        x, narrowed, axis = image.name, placed, 0
        op: ops.Op = ops.Conv2D(stride, pads, relu, dilation, groups)
        if depthwise and -128 <= placed.codes.min() <= placed.codes.max() <= 127:
            op, axis = ops.DepthwiseConv2D(stride, pads, relu, dilation), 3
        elif depthwise:
            x, narrowed = narrow_depthwise(b, x, placed)
        elif groups == 1:
            x, narrowed = narrow(b, x, placed)
        names = add_weights(b, (name, bias_name), source.quant, narrowed, axis, bias, pending)
        return b.node(title, op, (x, *names), quant, output=title)

    shape = (1, *ops.window_output(source.shape[1:3], ops.spanned(kernel, dilation), stride, pads), len(weight.codes))
    b.result(weighted(b, b.pending(emit, shape, NHWC, fuses_relu=True), rank))


def _conv_transpose(b: OnnxGraphBuilder) -> None:
    x, weight, attributes = b.codes(0), quantised_weight(b, 1), b.attributes()
    rank = len(x.order)
    if weight.codes.ndim != rank or rank not in (3, 4):
        b.refuse("limit: axes of a convolution", expected="1 or 2 beside batch and channels", got=rank - 2)
    dilation = _pair(attributes.get("dilations"), 1, rank)
    if int(attributes.get("group", 1)) != 1 or dilation != (1, 1) or attributes.get("output_shape"):
        b.refuse("limit: groups, dilation or a stated size of a transposed convolution", expected="none of them")
    bias = real_bias(b, 2, weight.codes.shape[1])
    if rank == 3:
        weight = QuantConstant(weight.codes[:, :, None], weight.scale, weight.axis)
    image, placed = image_of(b, x), weight.moved((1, 2, 3, 0))
    source, kernel = b.tensors[image.name], (weight.codes.shape[2], weight.codes.shape[3])
    stride = _pair(attributes.get("strides"), 1, rank)
    more = _pair(attributes.get("output_padding"), 0, rank)
    top, left, bottom, right = _crops(b, kernel, stride, more)
    height, width = (stride[i] * (source.shape[1 + i] - 1) + kernel[i] + more[i] for i in (0, 1))
    op = ops.TransposeConv2D(stride, (height - top - bottom, width - left - right), (top, left))
    title, name = b.current.name or b.title, b.current.input[1]
    bias_name = b.current.input[2] if b.has(2) else f"{b.title}_bias"

    def emit(pending: Pending, relu: bool, quant: Quant) -> str:
        names = add_weights(b, (name, bias_name), source.quant, placed, 0, bias, pending)
        return b.node(title, replace(op, relu=relu), (image.name, *names), quant, output=title)

    shape = (1, *op.size, len(placed.codes))
    b.result(weighted(b, b.pending(emit, shape, NHWC, fuses_relu=True), rank))


def _crops(b: OnnxGraphBuilder, kernel: Pair, stride: Pair, more: Pair) -> Pads:
    """What is cut off a transposed convolution: top, left, bottom, right."""
    whole = (kernel[0] + more[0], kernel[1] + more[1])
    return _stated_pads(b, ops.same_pads(stride, whole, stride))


def _max_pool(b: OnnxGraphBuilder) -> None:
    """The largest code is the code of the largest value, so that the result has the input's codes."""
    attributes = b.attributes()
    if len(b.current.output) > 1:
        b.refuse("limit: indices of the largest elements")

    def pooled(codes: Codes) -> Codes:
        rank, image = len(codes.order), image_of(b, codes)
        kernel, stride = (_pair(attributes.get(name), 1, rank) for name in ("kernel_shape", "strides"))
        if _pair(attributes.get("dilations"), 1, rank) != (1, 1):
            b.refuse("limit: dilation of a pool", expected=1, got=attributes["dilations"])
        pads = window_pads(b, b.tensors[image.name].shape[1:3], kernel, stride, (1, 1))
        op = ops.Pool2D("max", kernel, stride, pads)
        out = b.node(b.title, op, (image.name,), b.quant(image))
        if rank == 4:
            return Codes(out, NHWC)
        n, _, length, channels = b.tensors[out].shape
        return Codes(b.reshaped(Codes(out, (0, 1, 2, 3)), (n, length, channels)).name, (0, 2, 1))

    b.move(pooled)


def _average_pool(b: OnnxGraphBuilder) -> None:
    average_pool(b, b.codes(0))


def average_pool(b: OnnxGraphBuilder, codes: Codes) -> None:
    """With the input's scale a pool of codes; with another one a convolution with equal weights, where every window
    counts as many elements."""
    attributes, rank = b.attributes(), len(codes.order)
    image = image_of(b, codes)
    source = b.tensors[image.name]
    kernel, stride = (_pair(attributes.get(name), 1, rank) for name in ("kernel_shape", "strides"))
    pads = window_pads(b, source.shape[1:3], kernel, stride, (1, 1))
    counted = bool(attributes.get("count_include_pad", 0)) or not any(pads)
    if counted and any(pads) and attributes.get("ceil_mode", 0):
        b.refuse("limit: counted padding beside ceil_mode")
    title = b.current.name or b.title

    def emit(pending: Pending, __: bool, quant: Quant) -> str:
        if quant == source.quant and not (counted and any(pads)):
            return b.node(title, ops.Pool2D("average", kernel, stride, pads), (image.name,), quant, output=title)
        if not counted:
            pool = b.node(b.added("average"), ops.Pool2D("average", kernel, stride, pads), (image.name,), source.quant)
            return b.function(Codes(pool, NHWC), lambda real: real, quant).name
        ones = np.ones((1, *kernel, source.shape[3]), np.int64)
        share = QuantConstant(ones, np.full(1, 1 / math.prod(kernel), np.float32), None)
        names = add_weights(b, (b.added("weight"), b.added("bias")), source.quant, share, 3, None, pending)
        return b.node(title, ops.DepthwiseConv2D(stride, pads), (image.name, *names), quant, output=title)

    shape = (1, *ops.window_output(source.shape[1:3], kernel, stride, pads), source.shape[3])
    b.result(shaped(b, b.pending(emit, shape, NHWC), rank))


def affine(b: OnnxGraphBuilder, codes: Codes, factor: Bias, offset: Bias) -> Pending:
    """factor * x + offset for each channel, a 1x1 depthwise convolution: its weight codes are exact, 127 or -127."""
    image = image_of(b, codes)
    source = b.tensors[image.name]
    title = b.current.name or b.title
    scale = np.maximum(np.abs(factor), np.float32(1e-30)).astype(np.float32) / np.float32(127)
    weight = QuantConstant((np.sign(factor) * 127).astype(np.int64).reshape(1, 1, 1, -1), scale, 3)

    def emit(pending: Pending, relu: bool, quant: Quant) -> str:
        names = b.added("factor"), b.added("offset")
        names = add_weights(b, names, source.quant, weight, 3, offset.astype(np.float64), pending)
        return b.node(title, ops.DepthwiseConv2D(relu=relu), (image.name, *names), quant, output=title)

    return weighted(b, b.pending(emit, source.shape, NHWC, fuses_relu=True), len(codes.order))


def _batch_norm(b: OnnxGraphBuilder) -> None:
    gamma, beta, mean, variance = (b.constant(at).astype(np.float64).ravel() for at in range(1, 5))
    factor = gamma / np.sqrt(variance + b.attributes().get("epsilon", 1e-5))
    offset, factor = (beta - mean * factor).astype(np.float32), factor.astype(np.float32)
    value = b.value(0)
    if isinstance(value, Pending) and value.per_channel(np.zeros(())) is not None:
        b.result(value.times(factor).plus(offset))
        return
    b.result(affine(b, b.codes(0), factor, offset))


ROWS = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
}
