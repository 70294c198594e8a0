"""Op records and shape rules: reductions and softmax, which combine elements along axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ..records import Length, Range
from .shapes import (
    HIGHEST_RANK,
    LARGEST_LOG_SOFTMAX,
    LARGEST_SUM_OF_SQUARES,
    OpRow,
    Shape,
)

Axis = Annotated[int, Range(1, HIGHEST_RANK - 1)]
Axes = Annotated[tuple[Axis, ...], Length(1, HIGHEST_RANK - 1)]


@dataclass(frozen=True)
class Reduce:
    """Mean, sum, largest or smallest element over ``axes``, which ascend and do not include the batch.

    ``max`` and ``min`` keep scale and zero point. ``keep_dims``: the reduced axes stay, with one element.
    """

    kind: Literal["mean", "sum", "max", "min"]
    axes: Axes
    keep_dims: bool = True


SPACE = (1, 2)  # height and width of an NHWC tensor


def is_mean_over_space(op: object, rank: int) -> bool:
    """Whether the op is a global average pool of an NHWC tensor."""
    return isinstance(op, Reduce) and (op.kind, op.axes, rank) == ("mean", SPACE, 4)


@dataclass(frozen=True)
class Softmax:
    """Softmax of ``beta`` times x over the last axis; the output has scale 1/256 and zero point -128."""

    beta: Annotated[float, Range(2.0**-40, 2.0**40)] = 1.0  # an exact float32


@dataclass(frozen=True)
class LogSoftmax:
    """Logarithm of the softmax over the last axis; the output has scale 1/16 and zero point 127."""


@dataclass(frozen=True)
class L2Norm:
    """x divided by the root of the sum of squares over the last axis; the output has scale 1/128 and zero point 0."""


def _reduce_shape(op: Reduce, x: Shape) -> Shape:
    if tuple(sorted(set(op.axes))) != op.axes or not 1 <= op.axes[0] <= op.axes[-1] < len(x):
        raise ValueError(f"axes {op.axes}, expected ascending ones from 1 to {len(x) - 1}")
    if op.keep_dims:
        return tuple(1 if axis in op.axes else size for axis, size in enumerate(x))
    return tuple(size for axis, size in enumerate(x) if axis not in op.axes)


def _softmax_shape(op: Softmax, x: Shape) -> Shape:
    return x


def _log_softmax_shape(op: LogSoftmax, x: Shape) -> Shape:
    if x[-1] > LARGEST_LOG_SOFTMAX:
        raise ValueError(f"row of {x[-1]} elements, a limit of the fixed point is {LARGEST_LOG_SOFTMAX}")
    return x


def _l2_norm_shape(op: L2Norm, x: Shape) -> Shape:
    if x[-1] > LARGEST_SUM_OF_SQUARES:
        raise ValueError(f"row of {x[-1]} elements, a limit of the sum of squares is {LARGEST_SUM_OF_SQUARES}")
    return x


ROWS: dict[type, OpRow] = {
    Reduce: OpRow("reduce", _reduce_shape, 1, 1),
    Softmax: OpRow("softmax", _softmax_shape, 1, 1),
    L2Norm: OpRow("l2_norm", _l2_norm_shape, 1, 1),
    LogSoftmax: OpRow("log_softmax", _log_softmax_shape, 1, 1),
}
