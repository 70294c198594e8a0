"""Operators of PyTorch that combine elements along axes: mean, sum, largest and smallest element, softmax."""

from __future__ import annotations

from typing import Literal

from tinyscene.runtime import ops

from ..float_steps import OpStep
from .call import Call
from .reader import Reader, Row
from .values import View, channels_last

Kind = Literal["mean", "sum", "max", "min"]


def _reduce(kind: Kind) -> Row:
    def row(reader: Reader, call: Call) -> View:
        x, dims = call.view(), call.arguments.get("dim")
        rank = len(x.shape)
        dims = [dims] if isinstance(dims, int) else dims or range(rank)
        axes = sorted(int(dim) % rank for dim in dims)
        if axes[0] == 0:
            reader.refuse(call, f"{kind} over the batch")
        return add_reduction(reader, call, ops.Reduce(kind, _graph_axes(rank, axes)), axes)

    return row


def add_reduction(reader: Reader, call: Call, op: ops.Reduce, axes: list[int]) -> View:
    """Append a reduction over PyTorch's ``axes``; axes that are not kept are dropped from the view of the result."""
    x = call.view()
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    result = reader.add(call.node, OpStep(call.name, (reader.stored(x),), op), kept)
    return View(result.name, result.positions.reshape(call.shape))


def _graph_axes(rank: int, axes: list[int]) -> tuple[int, ...]:
    order = channels_last(rank)
    added = 1 if rank == 3 else 0  # a sequence is an image of height 1
    return tuple(sorted(order.index(axis) + added for axis in axes))


def _softmax(reader: Reader, call: Call) -> View:
    """Over one axis, which is the last one in the graph."""
    x, rank = call.view(), len(call.shape)
    dim = int(call["dim"]) % rank
    order = channels_last(rank)
    if order[-1] != dim:
        order = (*(axis for axis in range(rank) if axis != dim), dim)
    step = OpStep(call.name, (reader.stored(x, order),), ops.Softmax())
    return reader.add(call.node, step, call.shape, order)


ROWS: dict[str, Row] = {
    "mean": _reduce("mean"),
    "sum": _reduce("sum"),
    "amax": _reduce("max"),
    "amin": _reduce("min"),
    "softmax": _softmax,
}
