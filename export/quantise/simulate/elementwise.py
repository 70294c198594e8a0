"""PyTorch functions of the ops: sums, products and functions of single elements."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node

from .common import Row

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "relu6": F.relu6,
    "relu_0_to_1": lambda x: x.clamp(0, 1),
    "relu_n1_to_1": F.hardtanh,
    "hard_swish": F.hardswish,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": F.elu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "exp": torch.exp,
    "log": lambda x: x.clamp(min=_SMALLEST).log(),
    "sqrt": lambda x: x.clamp(min=0).sqrt(),
    "abs": torch.abs,
    "neg": torch.neg,
    "requantise": lambda x: x,
}
_SMALLEST = 1e-12  # so that 1 / sqrt(0) is beyond every range, and finite


def _elementwise(function: Callable[[Tensor, Tensor], Tensor]) -> Row:
    def row(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
        assert isinstance(node.op, ops.Add | ops.Mul | ops.Sub)
        y = function(*_aligned(graph, node, ins))
        return torch.relu(y) if node.op.relu else y

    return row


def _aligned(graph: Graph, node: Node, ins: list[Tensor]) -> list[Tensor]:
    """Operands with the rank and the layout of the output, so that they are broadcast as in NHWC."""
    rank, result = len(graph.out(node).shape), []
    for tensor, x in zip(graph.ins(node), ins, strict=True):
        if len(tensor.shape) != rank:
            rows = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
            batch = 1 if tensor.data is not None else len(x)
            rows = rows.reshape(batch, *ops.aligned(tensor.shape, rank)[1:])
            x = rows.permute(0, 3, 1, 2) if rank == 4 else rows
        result.append(x)
    return result


def _squared_difference(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    a, b = _aligned(graph, node, ins)
    return (a - b).square()


def _extremum(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, ops.Extremum)
    return (torch.maximum if node.op.kind == "max" else torch.minimum)(*_aligned(graph, node, ins))


def _prelu(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    x, alpha = _aligned(graph, node, ins)
    return torch.where(x < 0, x * alpha, x)


def _lookup(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    assert isinstance(node.op, ops.Lookup)
    if node.op.function == "leaky_relu":
        return F.leaky_relu(ins[0], node.op.alpha)
    return _FUNCTIONS[node.op.function](ins[0])


def _table(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    """The table at the nearest code, also for an input that is not rounded."""
    x = graph.ins(node)[0].quant
    codes = (ins[0] / x.scale[0]).round() + x.zero_point
    return ins[1][(codes.clamp(-128, 127) + 128).long()]


def _rsqrt(graph: Graph, node: Node, ins: list[Tensor]) -> Tensor:
    return torch.rsqrt(ins[0].clamp(min=_SMALLEST))


ROWS: dict[type[ops.Op], Row] = {
    ops.Add: _elementwise(torch.add),
    ops.Sub: _elementwise(torch.sub),
    ops.Mul: _elementwise(torch.mul),
    ops.SquaredDifference: _squared_difference,
    ops.Extremum: _extremum,
    ops.Rsqrt: _rsqrt,
    ops.PRelu: _prelu,
    ops.Lookup: _lookup,
    ops.Table: _table,
}
