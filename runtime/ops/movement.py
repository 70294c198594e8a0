"""Op records and shape rules: operations that move elements, and resizing, which may also weight them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from ..records import Length, Range
from .shapes import (
    HIGHEST_RANK,
    LARGEST_TENSOR_ELEMENTS,
    OpRow,
    Shape,
    Side,
    of_rank,
    same,
)

Axis = Annotated[int, Range(0, HIGHEST_RANK - 1)]

Place = Annotated[int, Range(0, LARGEST_TENSOR_ELEMENTS - 1)]

Jump = Annotated[int, Range(-(2**15), 2**15)]

Ranked = Length(1, HIGHEST_RANK)

Grid = Literal["asymmetric", "align_corners", "half_pixel"]


@dataclass(frozen=True)
class Reshape:
    """The same elements in the same order. ``shape`` starts with the batch, 1."""

    shape: Shape


@dataclass(frozen=True)
class Transpose:
    """The axes in another order: output axis ``i`` is input axis ``order[i]``; the batch stays the first."""

    order: Annotated[tuple[Axis, ...], Ranked]


@dataclass(frozen=True)
class Pad:
    """``before`` and ``after`` elements with one ``code`` around each axis but the batch."""

    before: Annotated[tuple[Place, ...], Ranked]
    after: Annotated[tuple[Place, ...], Ranked]
    code: Annotated[int, Range(-128, 127)]


@dataclass(frozen=True)
class Slice:
    """``size`` elements of each axis, from ``begin`` on and ``step`` apart, backwards for a negative step."""

    begin: Annotated[tuple[Place, ...], Ranked]
    size: Shape
    step: Annotated[tuple[Jump, ...], Ranked]


@dataclass(frozen=True)
class Concat:
    """Two or more tensors joined along ``axis``; all have the scale and zero point of the output."""

    axis: Annotated[int, Range(1, HIGHEST_RANK - 1)]


@dataclass(frozen=True)
class Resize:
    """Another height and width: for each place the nearest code, or the weighted mean of the four codes around it.

    ``grid``: output place i is input place i * step, of a step of input / output (``asymmetric``), with the last places
    on each other (``align_corners``), or with the centres of elements as places (``half_pixel``).
    """

    kind: Literal["nearest", "bilinear"]
    size: tuple[Side, Side]
    grid: Grid


def _reshape_shape(op: Reshape, x: Shape) -> Shape:
    same(math.prod(op.shape), math.prod(x), "elements")
    return op.shape


def _transpose_shape(op: Transpose, x: Shape) -> Shape:
    if sorted(op.order) != list(range(len(x))) or op.order[0] != 0:
        raise ValueError(f"order {op.order}, expected the axes of {x} with the batch first")
    return tuple(x[axis] for axis in op.order)


def _pad_shape(op: Pad, x: Shape) -> Shape:
    same((len(op.before), len(op.after)), (len(x), len(x)), "axes with pads")
    same((op.before[0], op.after[0]), (0, 0), "pads of the batch")
    return tuple(sum(sizes) for sizes in zip(op.before, x, op.after, strict=True))


def _slice_shape(op: Slice, x: Shape) -> Shape:
    same((len(op.begin), len(op.size), len(op.step)), (len(x),) * 3, "axes of the slice")
    same((op.begin[0], op.size[0]), (0, 1), "begin and size of the batch")
    for axis, (begin, size, step) in enumerate(zip(op.begin, op.size, op.step, strict=True)):
        last = begin + (size - 1) * step
        if step == 0 or not (begin < x[axis] and 0 <= last < x[axis]):
            raise ValueError(f"axis {axis}: {begin} to {last}, step {step}, expected elements 0 to {x[axis] - 1}")
    return op.size


def _concat_shape(op: Concat, first: Shape, *others: Shape) -> Shape:
    if not 1 <= op.axis < len(first):
        raise ValueError(f"axis {op.axis}, expected 1 to {len(first) - 1}")
    if not others:
        raise ValueError("one input, expected two or more")
    for other in others:
        of_rank(len(first), other)
        same(_without(op.axis, other), _without(op.axis, first), "another tensor's other axes")
    joined = first[op.axis] + sum(other[op.axis] for other in others)
    return (*first[: op.axis], joined, *first[op.axis + 1 :])


def _resize_shape(op: Resize, x: Shape) -> Shape:
    channels = of_rank(4, x)[3]
    for axis, count in enumerate(op.size, start=1):
        step, offset = fixed_steps(x[axis], count, op.grid)
        last = ((count - 1) * step + offset) >> 10
        if op.kind == "bilinear" and last >= x[axis]:  # rounded steps, added up, lead beyond the input
            raise ValueError(f"TFLite's places of 10 fractional bits reach {last}, expected at most {x[axis] - 1}")
    return (1, *op.size, channels)


def fixed_steps(size: int, count: int, grid: Grid) -> tuple[int, int]:
    """Input elements from one output to the next, and the place of the first, with 10 fractional bits."""
    between = 1 if grid == "align_corners" and count > 1 else 0
    step = (1024 * (size - between) + (count - between) // 2) // (count - between)
    return step, step // 2 - 512 if grid == "half_pixel" else 0


def _without(axis: int, shape: Shape) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def keeps_order(op: Transpose | Pad | Slice, x: Shape) -> bool:
    """Whether the output has the elements of an input of this shape in their order: then the op is a reshape."""
    if isinstance(op, Transpose):
        moved = [axis for axis in op.order if x[axis] > 1]
        return moved == sorted(moved)
    if isinstance(op, Pad):
        return not any((*op.before, *op.after))
    return op.size == x and not any(op.begin)


Movement = Reshape | Transpose | Pad | Slice | Concat | Resize  # ops that keep scale and zero point

ROWS: dict[type, OpRow] = {
    Reshape: OpRow("reshape", _reshape_shape, 1, 1),
    Transpose: OpRow("transpose", _transpose_shape, 1, 1),
    Pad: OpRow("pad", _pad_shape, 1, 1),
    Slice: OpRow("slice", _slice_shape, 1, 1),
    Concat: OpRow("concat", _concat_shape, None, None),
    Resize: OpRow("resize", _resize_shape, 1, 1),
}
