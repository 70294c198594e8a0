"""Operators of PyTorch that slide a window: convolutions with their BatchNorm, and pools."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Pads

from ..float_steps import ConvStep, OpStep, PoolStep
from .call import Call
from .reader import Reader, Row
from .values import View, without_pads


def _convolution(reader: Reader, call: Call) -> View:
    """Convolution over images or sequences, with numbers of zeros or "valid" or "same" as padding."""
    weight, bias, x = call.tensor("weight"), call.tensor("bias"), call.view("input")
    if weight is None:
        reader.refuse(call, "a convolution whose weight is computed from the input")
    sequence = weight.ndim == 3
    kernel = (1, int(weight.shape[2])) if sequence else (int(weight.shape[2]), int(weight.shape[3]))
    stride, dilation = _axes(call, "stride", sequence), _axes(call, "dilation", sequence)
    x, around = without_pads(_image(x))
    pads = tuple(a + b for a, b in zip(around, _pads(call, kernel, dilation, sequence), strict=True))
    groups, channels = int(call["groups"]), x.shape[1]
    conv = nn.Conv2d(
        channels, len(weight), kernel, stride, dilation=dilation, groups=groups, bias=bias is not None, device="meta"
    )
    conv.weight = nn.Parameter(weight[:, :, None] if sequence else weight)
    if bias is not None:
        conv.bias = nn.Parameter(bias)
    return reader.add(call.node, ConvStep(call.name, (reader.stored(x),), conv, as_pads(pads)), call.shape)


def _axes(call: Call, argument: str, sequence: bool) -> tuple[int, int]:
    """An argument for height and width; a sequence has a height of 1."""
    first, second = call.pair(argument)
    return (1, second) if sequence else (first, second)


def _pads(call: Call, kernel: tuple[int, int], dilation: tuple[int, int], sequence: bool) -> Pads:
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


def _image(view: View) -> View:
    """A sequence (batch, channels, time) as an image of height 1."""
    return View(view.name, view.positions[:, :, None]) if view.positions.ndim == 3 else view


def _batch_norm(reader: Reader, call: Call) -> View:
    """Merged with the convolution or linear layer before it; elsewhere a 1x1 depthwise convolution."""
    norm = _norm(call)
    step = reader.fusible(call, "input")
    if isinstance(step, ConvStep) and step.norm is None and not step.relu:
        return reader.fuse(call, replace(step, norm=norm))
    x = call.view("input")
    if len(x.shape) not in (3, 4):
        reader.refuse(call, "BatchNorm1d of features that does not directly follow a linear layer")
    channels = x.shape[1]
    conv = nn.Conv2d(channels, channels, 1, groups=channels, bias=False, device="meta")
    conv.weight = nn.Parameter(torch.ones(channels, 1, 1, 1))
    return reader.add(call.node, ConvStep(call.name, (reader.stored(x),), conv, (0, 0, 0, 0), norm), call.shape)


def _norm(call: Call) -> nn.BatchNorm2d:
    mean, variance = call.tensor("running_mean"), call.tensor("running_var")
    assert mean is not None
    assert variance is not None
    norm = nn.BatchNorm2d(len(mean), eps=call["eps"], momentum=call["momentum"], device="meta")
    weight, bias = call.tensor("weight"), call.tensor("bias")
    norm.weight = nn.Parameter(torch.ones_like(mean) if weight is None else weight)
    norm.bias = nn.Parameter(torch.zeros_like(mean) if bias is None else bias)
    norm.running_mean, norm.running_var = mean, variance
    norm.num_batches_tracked = torch.zeros((), dtype=torch.long)
    return norm.eval()


def _average_pool(reader: Reader, call: Call) -> View:
    """A window that reaches into its padding counts it unless ``count_include_pad`` is off."""
    kernel, stride, pads, x = _window(reader, call)
    if call["ceil_mode"] or call.arguments.get("divisor_override"):
        reader.refuse(call, "average pool with ceil_mode or divisor_override")
    x, around = without_pads(x)
    counted = bool(call["count_include_pad"])
    if any(around) and any(pads) and not counted:
        reader.refuse(call, "average pool over zeros of a pad that excludes its own padding")
    total = as_pads(tuple(a + b for a, b in zip(around, pads, strict=True)))
    if any(around) or (counted and any(pads)):
        step = PoolStep(call.name, (reader.stored(x),), kernel, stride, total, x.shape[1])
        return reader.add(call.node, step, call.shape)
    return _add_pool(reader, call, x, ops.Pool2D("average", kernel, stride, total))


def _max_pool(reader: Reader, call: Call) -> View:
    kernel, stride, pads, x = _window(reader, call)
    if call["ceil_mode"] or call.pair("dilation") != (1, 1):
        reader.refuse(call, "max pool with ceil_mode or dilation")
    return _add_pool(reader, call, x, ops.Pool2D("max", kernel, stride, pads))


def _add_pool(reader: Reader, call: Call, x: View, op: ops.Pool2D) -> View:
    return reader.add(call.node, OpStep(call.name, (reader.stored(x),), op), call.shape)


def _window(reader: Reader, call: Call) -> tuple[tuple[int, int], tuple[int, int], Pads, View]:
    """Kernel, stride, pads and the image of a pool over an image or a sequence."""
    x, sequence = call.view(), len(call.view().shape) == 3
    kernel = _axes(call, "kernel_size", sequence)
    stride = kernel if not call["stride"] else _axes(call, "stride", sequence)
    return kernel, stride, _pads(call, kernel, (1, 1), sequence), _image(x)


def _global_average(reader: Reader, call: Call) -> View:
    """The mean of all positions; other output sizes must divide the input's."""
    x = call.view()
    out = [int(n) for n in call["output_size"]]
    size = x.shape[2:]
    if all(n == 1 for n in out):
        op = ops.Reduce("mean", ops.SPACE)
        return reader.add(call.node, OpStep(call.name, (reader.stored(x),), op), call.shape)
    if len(out) != 2 or any(have % want for have, want in zip(size, out, strict=True)):
        reader.refuse(call, f"adaptive pooling of {tuple(size)} to {tuple(out)}: expected 1, or divisors of the size")
    kernel = (size[0] // out[0], size[1] // out[1])
    return _add_pool(reader, call, x, ops.Pool2D("average", kernel, kernel))


ROWS: dict[str, Row] = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "batch_norm": _batch_norm,
    "avg_pool1d": _average_pool,
    "avg_pool2d": _average_pool,
    "max_pool1d": _max_pool,
    "max_pool2d": _max_pool,
    "adaptive_avg_pool1d": _global_average,
    "adaptive_avg_pool2d": _global_average,
}
