"""PyTorch functions of the ops: operations that only move elements."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.onnx_tensors import nchw_axis
from tinyscene.runtime.resize_tables import WEIGHT_BITS, linear_places, nearest_places

from .common import Row


def _as_stored(x: Tensor) -> Tensor:
    """From PyTorch's layout to the graph's."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def _as_image(y: Tensor) -> Tensor:
    return y.permute(0, 3, 1, 2) if y.ndim == 4 else y


def _reshape(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    """Reshape in NHWC order, as the graph does."""
    return _as_image(_as_stored(ins[0]).reshape(len(ins[0]), *graph.out(node).shape[1:]))


def _transpose(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, ops.Transpose)
    return _as_image(_as_stored(ins[0]).permute(node.op.order))


def _pad(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    op, quant = node.op, graph.out(node).quant
    assert isinstance(op, ops.Pad)
    around = [amount for pair in zip(op.before[::-1], op.after[::-1], strict=True) for amount in pair]
    return _as_image(F.pad(_as_stored(ins[0]), around, value=(op.code - quant.zero_point) * quant.scale[0]))


def _slice(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    op, y = node.op, _as_stored(ins[0])
    assert isinstance(op, ops.Slice)
    for axis in range(1, y.ndim):
        y = y.index_select(axis, op.begin[axis] + op.step[axis] * torch.arange(op.size[axis]))
    return _as_image(y)


def _resize(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    """With XNNPACK's places and weights; the axes of an image are 2 and 3."""
    op, y = node.op, ins[0]
    assert isinstance(op, ops.Resize)
    for axis, count in zip((2, 3), op.size, strict=True):
        if op.kind == "nearest":
            y = y.index_select(axis, torch.from_numpy(nearest_places(y.shape[axis], count, op.grid)))
            continue
        lower, upper, weight = map(torch.from_numpy, linear_places(y.shape[axis], count, op.grid, "single"))
        share = (weight / (1 << WEIGHT_BITS["single"])).reshape([-1 if at == axis else 1 for at in range(4)])
        y = y.index_select(axis, lower) * (1 - share) + y.index_select(axis, upper) * share
    return y


def _concat(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, ops.Concat)
    batch = max(len(x) for x in ins)
    parts = [x.expand(batch, *x.shape[1:]) for x in ins]
    return torch.cat(parts, dim=nchw_axis(node.op.axis, ins[0].ndim))


ROWS: dict[type[ops.Op], Row] = {
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Pad: _pad,
    ops.Slice: _slice,
    ops.Concat: _concat,
    ops.Resize: _resize,
}
