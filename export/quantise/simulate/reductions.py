"""PyTorch functions of the ops: means and softmax, which combine elements along axes."""

from __future__ import annotations

import torch
from torch import Tensor

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from .common import Row


def _softmax(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    return torch.softmax(ins[0], dim=1 if ins[0].ndim == 4 else -1)


def _mean(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, ops.Mean)
    if node.op.over == "space":
        return ins[0].mean(dim=(2, 3), keepdim=node.op.keep_dims)
    return ins[0].mean(dim=1, keepdim=True)


ROWS: dict[type[ops.Op], Row] = {ops.Mean: _mean, ops.Softmax: _softmax}
