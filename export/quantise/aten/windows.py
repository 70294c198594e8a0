"""Operators of PyTorch that are convolutions, over images or sequences, also transposed ones."""

from __future__ import annotations

from torch import Tensor, nn

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Pads

from ..float_steps import ConvStep
from .call import Call
from .reader import Reader, Row
from .values import View, image_of, without_pads


def _convolution(reader: Reader, call: Call) -> View:
    """Convolution over images or sequences, with numbers of zeros or "valid" or "same" as padding."""
    weight, bias, x = call.tensor("weight"), call.tensor("bias"), call.view("input")
    if weight is None:
        reader.refuse(call, "a convolution whose weight is computed from the input")
    sequence = weight.ndim == 3
    kernel = (1, int(weight.shape[2])) if sequence else (int(weight.shape[2]), int(weight.shape[3]))
    stride, dilation = axes_of(call, "stride", sequence), axes_of(call, "dilation", sequence)
    x, around = without_pads(image_of(x))
    pads = tuple(a + b for a, b in zip(around, window_pads(call, kernel, dilation, sequence), strict=True))
    conv = _module(weight[:, :, None] if sequence else weight, bias, stride, dilation, int(call["groups"]))
    return reader.add(call.node, ConvStep(call.name, (reader.stored(x),), conv, as_pads(pads)), call.shape)


def axes_of(call: Call, argument: str, sequence: bool) -> tuple[int, int]:
    """An argument for height and width; a sequence has a height of 1."""
    first, second = call.pair(argument)
    return (1, second) if sequence else (first, second)


def _transposed_convolution(reader: Reader, call: Call) -> View:
    """With groups or dilation it is a convolution of the input with zeros between its elements."""
    weight, bias, x = call.tensor("weight"), call.tensor("bias"), image_of(call.view("input"))
    if weight is None:
        reader.refuse(call, "a convolution whose weight is computed from the input")
    sequence = weight.ndim == 3
    weight = weight[:, :, None] if sequence else weight
    stride, dilation = axes_of(call, "stride", sequence), axes_of(call, "dilation", sequence)
    crop, more = (_axes_from_zero(call, name, sequence) for name in ("padding", "output_padding"))
    groups = int(call["groups"])
    kernel = ops.spanned((int(weight.shape[2]), int(weight.shape[3])), dilation)
    size = [(n - 1) * s + k - 2 * p + m for n, s, k, p, m in zip(x.shape[2:], stride, kernel, crop, more, strict=True)]
    by_group = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)  # (groups, O / groups, I / groups, ...)
    weight = by_group.reshape(-1, *by_group.shape[2:])
    name = reader.stored(x)
    if groups == 1 and dilation == (1, 1):
        op = ops.TransposeConv2D(stride, (size[0], size[1]), crop)
        step = ConvStep(call.name, (name,), _module(weight, bias), (0, 0, 0, 0), transposed=op)
        return reader.add(call.node, step, call.shape)
    before = [k - 1 - p for k, p in zip(kernel, crop, strict=True)]
    after = [m - n * s + p for m, n, s, p in zip(size, x.shape[2:], stride, crop, strict=True)]
    around = as_pads(tuple(max(pad, 0) for pad in (*before, *after)))  # below 0: cut off the result
    conv = _module(weight.flip(2, 3), bias, dilation=dilation, groups=groups)
    step = ConvStep(call.name, (_spread(reader, name, stride),), conv, around)
    whole = [m - min(first, 0) - min(last, 0) for m, first, last in zip(size, before, after, strict=True)]
    if whole == size:
        return reader.add(call.node, step, call.shape)
    positions = reader.add(call.node, step, (len(x.positions), len(weight), *whole)).positions
    for axis, first in enumerate(before):
        positions = positions.narrow(axis + 2, -min(first, 0), size[axis])
    return View(step.name, positions.reshape(call.shape))


def _axes_from_zero(call: Call, argument: str, sequence: bool) -> tuple[int, int]:
    first, second = call.pair(argument, 0)
    return (0, second) if sequence else (first, second)


def _module(
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution with a weight (O, I / groups, kH, kW)."""
    kernel, channels = (int(weight.shape[2]), int(weight.shape[3])), int(weight.shape[1]) * groups
    conv = nn.Conv2d(
        channels, len(weight), kernel, stride, dilation=dilation, groups=groups, bias=bias is not None, device="meta"
    )
    conv.weight = nn.Parameter(weight)
    if bias is not None:
        conv.bias = nn.Parameter(bias)
    return conv


def depthwise(factor: Tensor, offset: Tensor | None) -> nn.Conv2d:
    """A factor and an offset for each channel, as a 1x1 convolution."""
    conv = nn.Conv2d(len(factor), len(factor), 1, groups=len(factor), bias=offset is not None, device="meta")
    conv.weight = nn.Parameter(factor.reshape(-1, 1, 1, 1))
    if offset is not None:
        conv.bias = nn.Parameter(offset.flatten())
    return conv


def _spread(reader: Reader, name: str, stride: tuple[int, int]) -> str:
    """An image (1, H, W, C) with zeros behind each row and column: (1, H * stride, W * stride, C)."""
    _, height, width, channels = reader.shapes[name]
    down, across = stride
    for before, after, times in ((height * width, channels, across), (height, width * across * channels, down)):
        if times > 1:
            name = reader.reshaped(name, (1, before, 1, after))
            name = reader.padded(name, [(0, 0), (0, 0), (0, times - 1), (0, 0)])
    return reader.reshaped(name, (1, height * down, width * across, channels))


def window_pads(call: Call, kernel: tuple[int, int], dilation: tuple[int, int], sequence: bool) -> Pads:
    padding = call["padding"]
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":  # an odd zero is behind the input
        return ops.same_pads((1, 1), ops.spanned(kernel, dilation), (1, 1))  # for any size, since the stride is 1
    vertical, horizontal = call.pair("padding", 0)
    return (0, horizontal, 0, horizontal) if sequence else (vertical, horizontal, vertical, horizontal)


def as_pads(pads: tuple[int, ...]) -> Pads:
    top, left, bottom, right = pads
    return top, left, bottom, right


ROWS: dict[str, Row] = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv_transpose1d": _transposed_convolution,
    "conv_transpose2d": _transposed_convolution,
}
