"""Readers of TFLite operators: parts of a tensor, by slices that engines and firmware run as one op.

An operator with several outputs becomes a slice for each output that is read. Refuses positions that are computed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor
from tinyscene.runtime.ops import Shape
from tinyscene.runtime.tflite_schema import GatherOptions, StridedSliceOptions, UnpackOptions

from ..tflite_file import Operator
from ..tflite_slices import strided
from .common import Row, constant_name, options_of, to_output

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

Places = tuple[int, int, int]  # begin, size and step on one axis


def _strided_slice(builder: GraphBuilder, operator: Operator) -> None:
    x, options = builder.activation(operator.inputs[0]), options_of(operator, StridedSliceOptions)
    begins, ends, steps = (builder.integers(operator, i, rank=1).tolist() for i in (1, 2, 3))
    try:
        places, shape = strided(options, x.shape, begins, ends, steps)
    except ValueError as problem:
        raise builder.refusal(operator, str(problem), expected=f"parts of {x.shape}") from None
    builder.require_shape(operator, shape)
    to_output(builder, operator, _slice_op(places), x, constant_name(builder, operator, 1, "_begin"))


def _slice(builder: GraphBuilder, operator: Operator) -> None:
    """A size of -1 reaches to the end."""
    x = builder.activation(operator.inputs[0])
    begins, sizes = (builder.integers(operator, i, rank=1).tolist() for i in (1, 2))
    if len(begins) != len(x.shape) or len(sizes) != len(x.shape):
        raise builder.refusal(operator, "number of axes", expected=len(x.shape), got=(len(begins), len(sizes)))
    rows = zip(begins, sizes, x.shape, strict=True)
    places = [(begin, extent - begin if size == -1 else size, 1) for begin, size, extent in rows]
    for axis, (begin, size, _) in enumerate(places):
        if not (begin >= 0 < size and begin + size <= x.shape[axis]):
            expected, got = f"a part of {x.shape[axis]} elements", f"{size} from {begin} on"
            raise builder.refusal(operator, f"part of axis {axis}", expected=expected, got=got)
    builder.require_shape(operator, tuple(size for _, size, _ in places))
    to_output(builder, operator, _slice_op(places), x, constant_name(builder, operator, 1, "_begin"))


def _split(builder: GraphBuilder, operator: Operator) -> None:
    """Equal parts; the axis is the first input."""
    x = builder.activation(operator.inputs[1])
    axis, parts = _axis(builder, operator, 0, x.shape), len(operator.outputs)
    if x.shape[axis] % parts:
        raise builder.refusal(operator, "parts of unequal size", expected=f"a divisor of {x.shape[axis]}", got=parts)
    _parts(builder, operator, x, axis, [x.shape[axis] // parts] * parts)


def _split_v(builder: GraphBuilder, operator: Operator) -> None:
    """Parts of given sizes, of which one may be -1: what the others leave."""
    x, sizes = builder.activation(operator.inputs[0]), builder.integers(operator, 1, rank=1).tolist()
    axis = _axis(builder, operator, 2, x.shape)
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(sizes) - 1
    if len(sizes) != len(operator.outputs) or min(sizes, default=0) < 1 or sum(sizes) != x.shape[axis]:
        expected = f"{len(operator.outputs)} sizes that add up to {x.shape[axis]}"
        raise builder.refusal(operator, "sizes of the parts", expected=expected, got=sizes[:8])
    _parts(builder, operator, x, axis, sizes)


def _unpack(builder: GraphBuilder, operator: Operator) -> None:
    """Each output is one place of an axis, without the axis."""
    x, axis = builder.activation(operator.inputs[0]), options_of(operator, UnpackOptions).axis
    rank = len(x.shape)
    if not -rank <= axis < rank or x.shape[axis] != len(operator.outputs):
        expected, got = f"an axis of {len(operator.outputs)} elements", f"axis {axis} of {x.shape}"
        raise builder.refusal(operator, "axis", expected=expected, got=got)
    _parts(builder, operator, x, axis % rank, [1] * len(operator.outputs), keep_axis=False)


def _parts(
    builder: GraphBuilder, operator: Operator, x: Tensor, axis: int, sizes: list[int], keep_axis: bool = True
) -> None:
    begin = 0
    for position, size in enumerate(sizes):
        shape = (*x.shape[:axis], *([size] if keep_axis else []), *x.shape[axis + 1 :])
        if builder.file.is_read(operator.outputs[position]):
            builder.require_shape(operator, shape, position)
            to_output(builder, operator, _part_op(x.shape, axis, (begin, size, 1)), x, position=position)
        begin += size


def _gather(builder: GraphBuilder, operator: Operator) -> None:
    """Constant places of an axis: a slice for each run of evenly spaced ones. A single number removes the axis."""
    x, options = builder.activation(operator.inputs[0]), options_of(operator, GatherOptions)
    indices, rank = builder.integers(operator, 1), len(x.shape)
    if options.batch_dims or not -rank <= options.axis < rank or indices.ndim > 1 or not indices.size:
        got = f"axis {options.axis}, batch_dims {options.batch_dims}, indices {indices.shape}"
        raise builder.refusal(operator, "places", expected="a number or a list of numbers for one axis", got=got)
    axis, places = options.axis % rank, indices.ravel().tolist()
    if min(places) < 0 or max(places) >= x.shape[axis]:
        got = [place for place in places if not 0 <= place < x.shape[axis]][:8]
        raise builder.refusal(operator, "place outside of the axis", expected=f"0 to {x.shape[axis] - 1}", got=got)
    builder.require_shape(operator, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    runs = _runs(places)
    if len(runs) == 1:
        to_output(builder, operator, _part_op(x.shape, axis, runs[0]), x)
        return
    names = []
    for run in runs:
        op = _part_op(x.shape, axis, run)
        part = builder.inner(x, "part", op.size)
        builder.node(op, (x.name,), part)
        names.append(part.name)
    builder.node(ops.Concat(axis), tuple(names), builder.activation(operator.output))


def _runs(places: list[int]) -> list[Places]:
    """The places as (begin, size, step) of runs that are evenly spaced and as long as possible."""
    runs: list[Places] = [(places[0], 1, 1)]
    for previous, place in pairwise(places):
        begin, size, step = runs[-1]
        jump = place - previous
        if jump and (size == 1 or jump == step):
            runs[-1] = (begin, size + 1, jump)
        else:
            runs.append((place, 1, 1))
    return runs


def _axis(builder: GraphBuilder, operator: Operator, position: int, shape: Shape) -> int:
    """A constant axis, not that of the batch unless it has the whole of it."""
    numbers = builder.integers(operator, position).ravel().tolist()
    if len(numbers) != 1 or not -len(shape) <= numbers[0] < len(shape):
        raise builder.refusal(operator, "axis", expected=f"0 to {len(shape) - 1}", got=numbers[:8])
    return int(numbers[0]) % len(shape)


def _part_op(shape: Shape, axis: int, places: Places) -> ops.Slice:
    return _slice_op([places if at == axis else (0, size, 1) for at, size in enumerate(shape)])


def _slice_op(places: list[Places]) -> ops.Slice:
    begin, size, step = (tuple(column) for column in np.array(places).T.tolist())
    return ops.Slice(begin, size, step)


ROWS: dict[str, Row] = {
    "GATHER": Row(_gather, 2, 2),
    "SLICE": Row(_slice, 3, 3),
    "SPLIT": Row(_split, 2, 2),
    "SPLIT_V": Row(_split_v, 3, 3),
    "STRIDED_SLICE": Row(_strided_slice, 4, 4),
    "UNPACK": Row(_unpack, 1, 1),
}
