"""PyTorch functions of the ops: convolutions and pools, which slide a window over height and width."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from .common import Row


def _conv(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    op, (x, weight, bias) = node.op, ins
    assert isinstance(op, ops.Conv2D | ops.DepthwiseConv2D)
    top, left, bottom, right = op.pads
    groups = x.shape[1] if isinstance(op, ops.DepthwiseConv2D) else op.groups
    padded = F.pad(x, (left, right, top, bottom))
    y = F.conv2d(padded, weight, bias, op.stride, dilation=op.dilation, groups=groups)
    return torch.relu(y) if op.relu else y


def _transposed(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    op, (x, weight, bias) = node.op, ins
    assert isinstance(op, ops.TransposeConv2D)
    y = transposed_convolution(op, x, weight) + bias[:, None, None]
    return torch.relu(y) if op.relu else y


def transposed_convolution(op: ops.TransposeConv2D, x: Tensor, weight: Tensor) -> Tensor:
    """Of images (n, C, H, W) with a weight (O, C, kH, kW), without bias."""
    windows = F.conv_transpose2d(x, weight.transpose(0, 1), None, op.stride)
    (top, left), (height, width) = op.crop, op.size
    rest = (0, max(left + width - windows.shape[3], 0), 0, max(top + height - windows.shape[2], 0))
    return F.pad(windows, rest)[:, :, top : top + height, left : left + width]


def _pool2d(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    """The average does not count padding."""
    op, (x,) = node.op, ins
    assert isinstance(op, ops.Pool2D)
    top, left, bottom, right = op.pads
    around = (left, right, top, bottom)
    if op.kind == "max":
        return F.max_pool2d(F.pad(x, around, value=-torch.inf), op.kernel, op.stride)
    inside = F.pad(torch.ones_like(x[:1]), around)
    return F.avg_pool2d(F.pad(x, around), op.kernel, op.stride) / F.avg_pool2d(inside, op.kernel, op.stride)


ROWS: dict[type[ops.Op], Row] = {
    ops.Conv2D: _conv,
    ops.DepthwiseConv2D: _conv,
    ops.TransposeConv2D: _transposed,
    ops.Pool2D: _pool2d,
}
