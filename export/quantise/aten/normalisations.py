"""Operators of PyTorch that normalise: with stored statistics, or with those of the input.

Stored statistics are merged with the layer before, or are a factor and an offset for each channel. Statistics of the
input are ops of their own, as in GRN. Refuses normalisation over the batch.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from tinyscene.runtime import ops

from ..float_steps import ConvStep, OpStep
from .call import Call
from .reader import Reader, Row
from .values import View, whole
from .windows import depthwise


def _batch_norm(reader: Reader, call: Call) -> View:
    """Merged with the convolution or linear layer before it; elsewhere a 1x1 depthwise convolution."""
    norm, x = _norm(call), call.view("input")
    step = reader.fusible(call, "input")
    if isinstance(step, ConvStep) and step.norm is None and not step.relu and (len(x.shape) == 2 or not step.rows):
        return reader.fuse(call, replace(step, norm=norm))
    image = View(x.name, x.positions.reshape(*x.shape[:2], -1, x.shape[-1] if len(x.shape) > 2 else 1))
    conv = depthwise(torch.ones(x.shape[1]), None)
    y = reader.add(call.node, ConvStep(call.name, (reader.stored(image),), conv, (0, 0, 0, 0), norm), image.shape)
    return View(y.name, y.positions.reshape(call.shape))


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


def _layer_norm(reader: Reader, call: Call) -> View:
    """Over the last axes: (batch, rows, 1, elements of a row)."""
    x = call.view("input")
    elements = math.prod(call["normalized_shape"])
    if math.prod(x.shape[1:]) < elements:
        reader.refuse(call, "normalisation over the batch")
    rows = View(x.name, x.positions.reshape(len(x.positions), -1, 1, elements))
    y = _normalised(reader, call, rows, (3,))
    y = _affine(reader, call, View(y.name, y.positions.permute(0, 3, 1, 2)))
    return View(y.name, y.positions.permute(0, 2, 3, 1).reshape(call.shape))


def _group_norm(reader: Reader, call: Call) -> View:
    """Over space and the channels of a group, or each channel: (batch, positions, groups, channels of a group)."""
    x = call.view(next(iter(call.arguments)))
    if call.arguments.get("running_mean") is not None:
        return _batch_norm(reader, call)
    batch, channels = x.shape[:2]
    groups = int(call.arguments.get("num_groups", channels))
    parts = x.positions.reshape(batch, groups, channels // groups, -1).permute(0, 3, 1, 2)
    y = _normalised(reader, call, View(x.name, parts), (1, 3))
    sizes = x.shape[2:] if len(x.shape) == 4 else (-1, 1)
    y = _affine(reader, call, View(y.name, y.positions.permute(0, 2, 3, 1).reshape(batch, channels, *sizes)))
    return View(y.name, y.positions.reshape(call.shape))


def _normalised(reader: Reader, call: Call, x: View, axes: tuple[int, ...]) -> View:
    """(x - mean) / sqrt(variance + eps) over ``axes`` of four axes, which the graph has in the same order."""
    order = (0, 1, 2, 3)
    small = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))

    def add(stage: str, op: ops.Op, shape: tuple[int, ...], *operands: str | Tensor) -> str:
        step = OpStep(f"{call.name}.{stage}", operands, op)
        return reader.add(call.node, step, shape, order).name

    name = reader.stored(x, order)
    mean = add("mean", ops.Reduce("mean", axes), small, name)
    centred = add("centred", ops.Sub(), x.shape, name, mean)
    square = add("square", ops.Mul(), x.shape, centred, centred)
    variance = add("variance", ops.Reduce("mean", axes), small, square)
    if call["eps"]:
        variance = add("positive", ops.Add(), small, variance, torch.full((1, 1, 1, 1), float(call["eps"])))
    inverse = add("inverse", ops.Rsqrt(), small, variance)
    return whole(add("normalised", ops.Mul(), x.shape, centred, inverse), x.shape, order)


def _affine(reader: Reader, call: Call, image: View) -> View:
    """A factor and an offset for each channel (axis 1) of four axes, where the operator has them."""
    weight, bias = call.tensor("weight"), call.tensor("bias")
    if weight is None and bias is None:
        return image
    factor = torch.ones(image.shape[1]) if weight is None else weight.flatten()
    step = ConvStep(call.name, (reader.stored(image),), depthwise(factor, bias), (0, 0, 0, 0))
    return reader.add(call.node, step, image.shape)


ROWS: dict[str, Row] = {
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _group_norm,
}
