"""Readers of TFLite operators: parts of a tensor, by slices that engines and firmware run as one op.

An operator with several outputs becomes a slice for each output that is read. Refuses positions that are computed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Shape
from tinyscene.runtime.tflite_options import GatherOptions, StridedSliceOptions, UnpackOptions
from tinyscene.runtime.tflite_slices import strided

from ..tflite_file import Operator
from .common import Row, constant_name, options_of, rows_of, to_output
from .elementwise import gathered_table

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

Places = tuple[int, int, int]  # begin, size and step on one axis


def _strided_slice(builder: GraphBuilder, operator: Operator) -> None:
    size, options = builder.file.shape(operator.inputs[0]), options_of(operator, StridedSliceOptions)
    begins, ends, steps = (builder.integers(operator, i, rank=1).tolist() for i in (1, 2, 3))
    try:
        places, shape = strided(options, size, begins, ends, steps)
    except ValueError as problem:
        raise builder.refusal(operator, str(problem), expected=f"parts of {size}") from None
    builder.require_shape(operator, shape)
    _part(builder, operator, places, constant_name(builder, operator, 1, "_begin"))


def _slice(builder: GraphBuilder, operator: Operator) -> None:
    """A size of -1 reaches to the end."""
    shape = builder.file.shape(operator.inputs[0])
    begins, sizes = (builder.integers(operator, i, rank=1).tolist() for i in (1, 2))
    if len(begins) != len(shape) or len(sizes) != len(shape):
        raise builder.refusal(operator, "number of axes", expected=len(shape), got=(len(begins), len(sizes)))
    rows = zip(begins, sizes, shape, strict=True)
    places = [(begin, extent - begin if size == -1 else size, 1) for begin, size, extent in rows]
    for axis, (begin, size, _) in enumerate(places):
        if not (begin >= 0 < size and begin + size <= shape[axis]):
            expected, got = f"a part of {shape[axis]} elements", f"{size} from {begin} on"
            raise builder.refusal(operator, f"part of axis {axis}", expected=expected, got=got)
    builder.require_shape(operator, tuple(size for _, size, _ in places))
    _part(builder, operator, places, constant_name(builder, operator, 1, "_begin"))


def _split(builder: GraphBuilder, operator: Operator) -> None:
    """Equal parts; the axis is the first input."""
    shape, parts = builder.file.shape(operator.inputs[1]), len(operator.outputs)
    axis = _axis(builder, operator, 0, shape)
    if shape[axis] % parts:
        raise builder.refusal(operator, "parts of unequal size", expected=f"a divisor of {shape[axis]}", got=parts)
    _parts(builder, operator, axis, [shape[axis] // parts] * parts, source=1)


def _split_v(builder: GraphBuilder, operator: Operator) -> None:
    """Parts of given sizes, of which one may be -1: what the others leave."""
    shape, sizes = builder.file.shape(operator.inputs[0]), builder.integers(operator, 1, rank=1).tolist()
    axis = _axis(builder, operator, 2, shape)
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = shape[axis] - sum(sizes) - 1
    if len(sizes) != len(operator.outputs) or min(sizes, default=0) < 1 or sum(sizes) != shape[axis]:
        expected = f"{len(operator.outputs)} sizes that add up to {shape[axis]}"
        raise builder.refusal(operator, "sizes of the parts", expected=expected, got=sizes[:8])
    _parts(builder, operator, axis, sizes)


def _unpack(builder: GraphBuilder, operator: Operator) -> None:
    """Each output is one place of an axis, without the axis."""
    shape, axis = builder.file.shape(operator.inputs[0]), options_of(operator, UnpackOptions).axis
    rank = len(shape)
    if not -rank <= axis < rank or shape[axis] != len(operator.outputs):
        expected, got = f"an axis of {len(operator.outputs)} elements", f"axis {axis} of {shape}"
        raise builder.refusal(operator, "axis", expected=expected, got=got)
    _parts(builder, operator, axis % rank, [1] * len(operator.outputs), keep_axis=False)


def _parts(
    builder: GraphBuilder, operator: Operator, axis: int, sizes: list[int], *, source: int = 0, keep_axis: bool = True
) -> None:
    """A slice for each output that is read."""
    begin, whole = 0, builder.file.shape(operator.inputs[source])
    for position, size in enumerate(sizes):
        shape = (*whole[:axis], *([size] if keep_axis else []), *whole[axis + 1 :])
        if builder.file.is_read(operator.outputs[position]):
            builder.require_shape(operator, shape, position)
            _part(builder, operator, _on_axis(whole, axis, (begin, size, 1)), source=source, position=position)
        begin += size


def _gather(builder: GraphBuilder, operator: Operator) -> None:
    """Constant places of an axis: a slice for each run of evenly spaced ones. A single number removes the axis.

    Codes of an activation as indices are those of a table.
    """
    if operator.inputs[1] in builder.indices:
        gathered_table(builder, operator)
        return
    shape, options = builder.file.shape(operator.inputs[0]), options_of(operator, GatherOptions)
    indices, rank = builder.integers(operator, 1), len(shape)
    if options.batch_dims or not -rank <= options.axis < rank or indices.ndim > 1 or not indices.size:
        stated = f"axis {options.axis}, batch_dims {options.batch_dims}, indices {indices.shape}"
        raise builder.refusal(operator, "places", expected="a number or a list of numbers for one axis", got=stated)
    axis, places = options.axis % rank, indices.ravel().tolist()
    outside = [place for place in places if not 0 <= place < shape[axis]]
    if outside:
        expected = f"0 to {shape[axis] - 1}"
        raise builder.refusal(operator, "place outside of the axis", expected=expected, got=outside[:8])
    builder.require_shape(operator, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))
    runs = [_on_axis(shape, axis, run) for run in _runs(places)]
    if len(runs) == 1:
        _part(builder, operator, runs[0])
        return
    x, before = rows_of(builder, operator.inputs[0], moves_first=axis == 0)
    names = []
    for run in runs:
        op = _slice_op(run, before)
        part = builder.inner(x, "part", op.size)
        builder.node(op, (x.name,), part)
        names.append(part.name)
    builder.node(ops.Concat(axis + before), tuple(names), builder.activation(operator.output))


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


def _reverse(builder: GraphBuilder, operator: Operator) -> None:
    """All elements of these axes, backwards."""
    shape, stated = builder.file.shape(operator.inputs[0]), builder.integers(operator, 1).ravel().tolist()
    axes = {axis % len(shape) for axis in stated if -len(shape) <= axis < len(shape)}
    if not axes or len(axes) != len(stated) or max(axes) - min(axes) >= len(axes):  # others no engine runs
        expected = f"different neighbours from 0 to {len(shape) - 1}"
        raise builder.refusal(operator, "axes", expected=expected, got=stated[:8])
    builder.require_shape(operator, shape)
    places = [(n - 1, n, -1) if axis in axes and n > 1 else (0, n, 1) for axis, n in enumerate(shape)]
    _part(builder, operator, places)


def _axis(builder: GraphBuilder, operator: Operator, position: int, shape: Shape) -> int:
    """A constant axis, not that of the batch unless it has the whole of it."""
    numbers = builder.integers(operator, position).ravel().tolist()
    if len(numbers) != 1 or not -len(shape) <= numbers[0] < len(shape):
        raise builder.refusal(operator, "axis", expected=f"0 to {len(shape) - 1}", got=numbers[:8])
    return int(numbers[0]) % len(shape)


def _on_axis(shape: Shape, axis: int, places: Places) -> list[Places]:
    return [places if at == axis else (0, size, 1) for at, size in enumerate(shape)]


def _part(
    builder: GraphBuilder,
    operator: Operator,
    places: list[Places],
    name: str | None = None,
    *,
    source: int = 0,
    position: int = 0,
) -> None:
    """The output at ``position`` as the slice of these places of the axes of the input at ``source``."""
    x, before = rows_of(builder, operator.inputs[source], moves_first=False)
    to_output(builder, operator, _slice_op(places, before), x, name, position)


def _slice_op(places: list[Places], before: int) -> ops.Slice:
    begin, size, step = (tuple(column) for column in np.array([(0, 1, 1)] * before + places).T.tolist())
    return ops.Slice(begin, size, step)


ROWS: dict[str, Row] = {
    "GATHER": Row(_gather, 2, 2),
    "REVERSE_V2": Row(_reverse, 2, 2),
    "SLICE": Row(_slice, 3, 3),
    "SPLIT": Row(_split, 2, 2),
    "SPLIT_V": Row(_split_v, 3, 3),
    "STRIDED_SLICE": Row(_strided_slice, 4, 4),
    "UNPACK": Row(_unpack, 1, 1),
}
