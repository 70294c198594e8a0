"""Op records and shape rules: operations that only move elements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from ..records import Length, Range
from .shapes import (
    HIGHEST_RANK,
    OpRow,
    Shape,
    of_rank,
    same,
)

Axis = Annotated[int, Range(0, HIGHEST_RANK - 1)]


@dataclass(frozen=True)
class Reshape:
    """The same elements in the same order. ``shape`` starts with the batch, 1."""

    shape: Shape


@dataclass(frozen=True)
class Transpose:
    """The axes in another order: output axis ``i`` is input axis ``order[i]``; the batch stays the first."""

    order: Annotated[tuple[Axis, ...], Length(1, HIGHEST_RANK)]


@dataclass(frozen=True)
class Concat:
    """Two tensors concatenated along ``axis``; all three have the same scale and zero point."""

    axis: Annotated[int, Range(1, HIGHEST_RANK - 1)]


def _reshape_shape(op: Reshape, x: Shape) -> Shape:
    same(math.prod(op.shape), math.prod(x), "elements")
    return op.shape


def _transpose_shape(op: Transpose, x: Shape) -> Shape:
    if sorted(op.order) != list(range(len(x))) or op.order[0] != 0:
        raise ValueError(f"order {op.order}, expected the axes of {x} with the batch first")
    return tuple(x[axis] for axis in op.order)


def keeps_order(op: Transpose, x: Shape) -> bool:
    """Whether the elements of an input of this shape stay in their order: then the op is a reshape."""
    moved = [axis for axis in op.order if x[axis] > 1]
    return moved == sorted(moved)


def _concat_shape(op: Concat, a: Shape, b: Shape) -> Shape:
    if not 1 <= op.axis < len(a):
        raise ValueError(f"axis {op.axis}, expected 1 to {len(a) - 1}")
    of_rank(len(a), b)
    same(b[: op.axis] + b[op.axis + 1 :], a[: op.axis] + a[op.axis + 1 :], "second tensor's other axes")
    return (*a[: op.axis], a[op.axis] + b[op.axis], *a[op.axis + 1 :])


Movement = Reshape | Transpose | Concat  # ops that keep scale and zero point, since they compute nothing

ROWS: dict[type, OpRow] = {
    Reshape: OpRow("reshape", _reshape_shape, 1, 1),
    Transpose: OpRow("transpose", _transpose_shape, 1, 1),
    Concat: OpRow("concat", _concat_shape, 2, 2),
}
