"""Operators of PyTorch that combine elements along axes: mean, sum, largest and smallest element, softmax."""

from __future__ import annotations

from typing import Literal

from tinyscene.runtime import ops

from ..float_steps import OpStep
from .call import Call
from .reader import Reader, Row
from .values import View, channels_last, graph_axis

Kind = Literal["mean", "sum", "max", "min"]


def _reduce(kind: Kind) -> Row:
    def row(reader: Reader, call: Call) -> View:
        x, dims = call.view(), call.arguments.get("dim")
        rank = len(x.shape)
        dims = [dims] if isinstance(dims, int) else dims or range(rank)
        axes = sorted(int(dim) % rank for dim in dims)
        if axes[0] == 0:
            reader.refuse(call, f"{kind} over the batch")
        over = {graph_axis(rank, axis) for axis in axes} | ({1} if rank == 3 and 2 in axes else set())
        op = ops.Reduce(kind, tuple(sorted(over)))  # over both axes of a sequence, which is an image of height 1
        return add_reduction(reader, call, op, axes)

    return row


def add_reduction(reader: Reader, call: Call, op: ops.Reduce, axes: list[int]) -> View:
    """Append a reduction over PyTorch's ``axes``; axes that are not kept are dropped from the view of the result."""
    x = call.view()
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    result = reader.add(call.node, OpStep(call.name, (reader.stored(x),), op), kept)
    return View(result.name, result.positions.reshape(call.shape))


def _softmax(reader: Reader, call: Call) -> View:
    """Over one axis, which is the last one in the graph."""
    op = ops.LogSoftmax() if call.operator == "log_softmax" else ops.Softmax()
    x, rank = call.view(), len(call.shape)
    dim = int(call["dim"]) % rank
    order = channels_last(rank)
    if order[-1] != dim:
        order = (*(axis for axis in range(rank) if axis != dim), dim)
    step = OpStep(call.name, (reader.stored(x, order),), op)
    return reader.add(call.node, step, call.shape, order)


ROWS: dict[str, Row] = {
    "mean": _reduce("mean"),
    "sum": _reduce("sum"),
    "amax": _reduce("max"),
    "amin": _reduce("min"),
    "softmax": _softmax,
    "log_softmax": _softmax,
}
