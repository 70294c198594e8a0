"""PyTorch functions of the ops: reductions and softmax, which combine elements along axes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from .common import Row


def _softmax(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, ops.Softmax)
    return torch.softmax(node.op.beta * ins[0], dim=1 if ins[0].ndim == 4 else -1)


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "max": torch.amax,
    "min": torch.amin,
}


def _reduce(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    op, (x,) = node.op, ins
    assert isinstance(op, ops.Reduce)
    rows = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    y = _REDUCTIONS[op.kind](rows, dim=op.axes, keepdim=op.keep_dims)
    return y.permute(0, 3, 1, 2) if y.ndim == 4 else y


def _log_softmax(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    return torch.log_softmax(ins[0], dim=1 if ins[0].ndim == 4 else -1)


def _l2_norm(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    return F.normalize(ins[0], dim=1 if ins[0].ndim == 4 else -1)


ROWS: dict[type[ops.Op], Row] = {
    ops.L2Norm: _l2_norm,
    ops.LogSoftmax: _log_softmax,
    ops.Reduce: _reduce,
    ops.Softmax: _softmax,
}
