"""Operators of PyTorch that combine elements along axes: mean, sum, largest and smallest element, softmax."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from tinyscene.runtime import ops

from ..float_steps import FunctionStep, OpStep
from . import elementwise
from .call import Call
from .reader import Reader, Row
from .values import View, channels_last, graph_axis

Kind = Literal["mean", "sum", "max", "min"]


def _reduce(kind: Kind) -> Row:
    def row(reader: Reader, call: Call) -> View:
        axes = _axes(reader, call, call.view(), f"{kind} over the batch")
        return add_reduction(reader, call, _over(kind, len(call.view().shape), axes), axes)

    return row


def _axes(reader: Reader, call: Call, x: View, over_the_batch: str) -> list[int]:
    """PyTorch's axes of a reduction, in order: all of them if none is given; the batch is refused with these words."""
    dims, rank = call.arguments.get("dim"), len(x.shape)
    axes = sorted(int(dim) % rank for dim in ([dims] if isinstance(dims, int) else dims or range(rank)))
    if axes[0] == 0:
        reader.refuse(call, over_the_batch)
    return axes


def _kept(x: View, axes: list[int]) -> tuple[int, ...]:
    """The shape of ``x`` with size 1 along ``axes``."""
    return tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))


def _as_called(call: Call, x: View, y: View, axes: list[int]) -> View:
    """``y``, which ``x`` was reduced to, without the axes that the call does not keep."""
    shape = [size for axis, size in enumerate(x.shape) if axis not in axes]
    return y if call.arguments.get("keepdim") else View(y.name, y.positions.reshape(shape))


def _over(kind: Kind, rank: int, axes: list[int]) -> ops.Reduce:
    """Over both axes of a sequence, which is an image of height 1, where it is over time."""
    over = {graph_axis(rank, axis) for axis in axes} | ({1} if rank == 3 and 2 in axes else set())
    return ops.Reduce(kind, tuple(sorted(over)))


def add_reduction(reader: Reader, call: Call, op: ops.Reduce, axes: list[int]) -> View:
    """Append a reduction over PyTorch's ``axes``; axes that are not kept are dropped from the view of the result."""
    x = call.view()
    result = reader.add(call.node, OpStep(call.name, (reader.stored(x),), op), _kept(x, axes))
    return _as_called(call, x, result, axes)


def _extreme(kind: Literal["max", "min"]) -> Row:
    """Of two tensors, or along one axis: its places, the second result, cannot be read."""

    def row(reader: Reader, call: Call) -> Any:
        if "other" in call.arguments:
            return elementwise.ROWS["maximum" if kind == "max" else "minimum"](reader, call)
        values = _reduce(kind)(reader, call)
        return [values, None] if "dim" in call.arguments else values

    return row


def _variance(reader: Reader, call: Call) -> View:
    """Mean square of the differences from the mean, times n / (n - correction); or its root."""
    x = call.view()
    axes = _axes(reader, call, x, f"'{call.operator}' over the batch")
    op, kept = _over("mean", len(x.shape), axes), _kept(x, axes)
    mean = reader.add(call.node, OpStep(f"{call.name}.mean", (reader.stored(x),), op), kept)
    centred = elementwise.add_pair(reader, call, ops.Sub(), x, mean, x.shape)
    square = elementwise.add_pair(reader, call, ops.Mul(), centred, centred, x.shape)
    power = reader.add(call.node, OpStep(f"{call.name}.power", (square.name,), op), kept)
    count = math.prod(x.shape[axis] for axis in axes)
    correction = call.arguments.get("correction")
    function = partial(
        _root_of_product if call.operator == "std" else torch.mul,
        torch.tensor(count / max(count - float(1 if correction is None else correction), 0.0)),
    )
    y = reader.add(call.node, FunctionStep(reader.unique(call.name), (power.name,), function), kept)
    return _as_called(call, x, y, axes)


def _norm(reader: Reader, call: Call) -> View:
    """The root of the sum of squares, or the sum of magnitudes: n times the mean, which every engine computes."""
    x, order = call.view("x" if "x" in call.arguments else "self"), call.arguments.get("ord", call.arguments.get("p"))
    axes = _axes(reader, call, x, f"'{call.operator}' over the batch")
    if order not in (1, 2):
        reader.refuse(call, f"a norm of order {order}; those of 1 and 2 have an integer form")
    if order == 2:
        parts = elementwise.add_pair(reader, call, ops.Mul(), x, x, x.shape)
    else:
        magnitude = FunctionStep(reader.unique(f"{call.name}.magnitude"), (reader.stored(x),), torch.abs)
        parts = reader.add(call.node, magnitude, x.shape)
    mean = OpStep(reader.unique(f"{call.name}.mean"), (reader.stored(parts),), _over("mean", len(x.shape), axes))
    y = reader.add(call.node, mean, _kept(x, axes))
    count = torch.tensor(float(math.prod(x.shape[axis] for axis in axes)))
    function = partial(_root_of_product if order == 2 else torch.mul, count)
    y = reader.add(call.node, FunctionStep(reader.unique(call.name), (y.name,), function), y.shape)
    return _as_called(call, x, y, axes)


def _root_of_product(factor: Tensor, x: Tensor) -> Tensor:
    return (factor * x.clamp(min=0)).sqrt()


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
    "max": _extreme("max"),
    "min": _extreme("min"),
    "linalg_vector_norm": _norm,
    "norm": _norm,
    "var": _variance,
    "std": _variance,
    "softmax": _softmax,
    "log_softmax": _softmax,
}
