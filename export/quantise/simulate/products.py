"""PyTorch functions of the ops: matrix products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from .common import Row


def _fully_connected(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, ops.FullyConnected)
    x, weight, bias = ins
    y = F.linear(x.permute(0, 2, 3, 1) if x.ndim == 4 else x, weight, bias)
    y = y.permute(0, 3, 1, 2) if y.ndim == 4 else y
    return torch.relu(y) if node.op.relu else y


def _batch_matmul(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    op = node.op
    assert isinstance(op, ops.BatchMatMul)
    x, y = (value.permute(0, 2, 3, 1) if value.ndim == 4 else value for value in ins)
    product = torch.matmul(x.mT if op.adj_x else x, y.mT if op.adj_y else y)
    return product.permute(0, 3, 1, 2) if product.ndim == 4 else product


ROWS: dict[type[ops.Op], Row] = {ops.FullyConnected: _fully_connected, ops.BatchMatMul: _batch_matmul}
