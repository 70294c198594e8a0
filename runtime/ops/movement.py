"""Op records and shape rules: operations that only move elements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from ..records import Range
from .shapes import (
    HIGHEST_RANK,
    OpRow,
    Shape,
    of_rank,
    same,
)


@dataclass(frozen=True)
class Reshape:
    """The same elements in the same order. ``shape`` starts with the batch, 1."""

    shape: Shape


@dataclass(frozen=True)
class Concat:
    """Two tensors concatenated along ``axis``; all three have the same scale and zero point."""

    axis: Annotated[int, Range(1, HIGHEST_RANK - 1)]


def _reshape_shape(op: Reshape, x: Shape) -> Shape:
    same(math.prod(op.shape), math.prod(x), "elements")
    return op.shape


def _concat_shape(op: Concat, a: Shape, b: Shape) -> Shape:
    if not 1 <= op.axis < len(a):
        raise ValueError(f"axis {op.axis}, expected 1 to {len(a) - 1}")
    of_rank(len(a), b)
    same(b[: op.axis] + b[op.axis + 1 :], a[: op.axis] + a[op.axis + 1 :], "second tensor's other axes")
    return (*a[: op.axis], a[op.axis] + b[op.axis], *a[op.axis + 1 :])


ROWS: dict[type, OpRow] = {
    Reshape: OpRow("reshape", _reshape_shape, 1, 1),
    Concat: OpRow("concat", _concat_shape, 2, 2),
}
