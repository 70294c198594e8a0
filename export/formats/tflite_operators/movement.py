"""Readers of TFLite operators: operations that only move elements; slices are in :mod:`.slices`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor
from tinyscene.runtime.ops import Shape
from tinyscene.runtime.tflite_options import (
    ConcatenationOptions,
    MirrorPadOptions,
    PackOptions,
    ReshapeOptions,
    SqueezeOptions,
)

from ..tflite_file import Operator
from .common import Row, constant_name, options_of, rows_of, same_elements, to_output

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

MOST_PARTS = 1024  # of a concatenation
WITH_PADS = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D")


def _reshape(builder: GraphBuilder, operator: Operator) -> None:
    """The shape is an input or an option; where a file has neither, the output's own shape is the only one."""
    if len(operator.inputs) > 1:
        stated = builder.integers(operator, 1, rank=1)  # a shape that is computed could differ from the output's
    else:
        stated = options_of(operator, ReshapeOptions).new_shape if operator.options else np.zeros(0, np.int32)
    sizes = tuple(stated.tolist())
    if sizes:
        elements = math.prod(builder.activation(operator.inputs[0]).shape)
        rest = -math.prod(sizes) if sizes.count(-1) == 1 else 0
        expected = tuple(elements // rest if size == -1 and rest > 0 else size for size in sizes)
        builder.require_shape(operator, expected)
    same_elements(builder, operator)


def _squeeze(builder: GraphBuilder, operator: Operator) -> None:
    builder.activation(operator.inputs[0])
    shape = builder.file.shape(operator.inputs[0])
    stated = options_of(operator, SqueezeOptions).squeeze_dims.tolist() if operator.options else []
    axes = {axis + len(shape) * (axis < 0) for axis in stated} or {a for a, size in enumerate(shape) if size == 1}
    if any(not 0 <= axis < len(shape) or shape[axis] != 1 for axis in axes):
        raise builder.refusal(operator, "removes an axis that is not of size 1", expected=shape, got=stated[:8])
    builder.require_shape(operator, tuple(size for axis, size in enumerate(shape) if axis not in axes))
    same_elements(builder, operator)


def _expand_dims(builder: GraphBuilder, operator: Operator) -> None:
    shape, axes = builder.file.shape(operator.inputs[0]), builder.integers(operator, 1).ravel().tolist()
    if len(axes) != 1 or not -len(shape) - 1 <= axes[0] <= len(shape):
        raise builder.refusal(operator, "no single axis of the output", got=axes[:8])
    axis = axes[0] % (len(shape) + 1)
    builder.require_shape(operator, (*shape[:axis], 1, *shape[axis:]))
    same_elements(builder, operator)


def _transpose(builder: GraphBuilder, operator: Operator) -> None:
    shape, order = builder.file.shape(operator.inputs[0]), builder.integers(operator, 1).ravel().tolist()
    if sorted(order) != list(range(len(shape))):
        raise builder.refusal(operator, "no order of the axes", expected=f"0 to {len(shape) - 1}", got=order[:8])
    builder.require_shape(operator, tuple(shape[axis] for axis in order))
    wide = [axis for axis in order if shape[axis] > 1]
    if wide == sorted(wide):
        same_elements(builder, operator)
        return
    x, before = rows_of(builder, operator.inputs[0], moves_first=order[0] != 0)
    op = ops.Transpose((*range(before), *(axis + before for axis in order)))
    to_output(builder, operator, op, x, constant_name(builder, operator, 1, "_order"))


def _pad(builder: GraphBuilder, operator: Operator) -> None:
    """A convolution that reads the output takes over its pads; when another operator reads it, they become a node."""
    source, output, shape = operator.inputs[0], operator.output, builder.file.shape(operator.inputs[0])
    quant, amounts = builder.activation(source).quant, builder.integers(operator, 1)
    if amounts.shape != (len(shape), 2) or (amounts < 0).any():
        what, expected = "amounts before and after each axis", f"{len(shape)} pairs"
        raise builder.refusal(operator, what, expected=expected, got=amounts.tolist()[:8])
    builder.require_shape(operator, tuple(np.add(shape, amounts.sum(axis=1)).tolist()))
    if builder.file.type(output) != "int8" or builder.file.quant(output) != quant:
        raise builder.refusal(operator, "changes scale or zero point", expected=quant)
    code = quant.zero_point
    if operator.kind == "PADV2":
        stored = builder.constant(operator, 2, np.int8)
        if stored.size != 1 or builder.file.quant(operator.inputs[2]) != quant:
            raise builder.refusal(operator, "pads with several codes, or of another scale", expected=quant)
        code = int(stored.ravel()[0])
    if operator.kind == "PADV2" or len(shape) != 4 or amounts[[0, 3]].any() or not _before_window(builder, output):
        _pad_node(builder, operator, amounts, code)
        return
    (top, bottom), (left, right) = amounts[1:3].tolist()
    builder.window_pads[output] = source, (top, left, bottom, right), builder.file.names[operator.inputs[1]]
    builder.unread[output] = lambda: _pad_node(builder, operator, amounts, code)


def _before_window(builder: GraphBuilder, index: int) -> bool:
    """Whether an operator reads the tensor that can pad its own input."""
    return any(index in reader.inputs and reader.kind in WITH_PADS for reader in builder.file.operators)


def _pad_node(builder: GraphBuilder, operator: Operator, amounts: npt.NDArray[np.int64], code: int) -> None:
    reader, builder.current = builder.current, operator
    x, before = rows_of(builder, operator.inputs[0], moves_first=bool(amounts[0].any()))
    front, back = ((*[0] * before, *column) for column in amounts.T.tolist())
    to_output(builder, operator, ops.Pad(front, back, code), x, constant_name(builder, operator, 1, "_amounts"))
    builder.current = reader


def _mirror_pad(builder: GraphBuilder, operator: Operator) -> None:
    """Slices that run backwards from each end, axis by axis; the reflection leaves the end itself out."""
    shape, amounts = builder.file.shape(operator.inputs[0]), builder.integers(operator, 1)
    skipped = 1 - options_of(operator, MirrorPadOptions).mode
    if amounts.shape != (len(shape), 2) or (amounts < 0).any() or (amounts > np.array(shape)[:, None] - skipped).any():
        expected = f"pads of at most the size {'less one ' * skipped}of each axis"
        raise builder.refusal(operator, "mirrored pads", expected=expected, got=amounts.tolist()[:8])
    builder.require_shape(operator, tuple(np.add(shape, amounts.sum(axis=1)).tolist()))
    x, before = rows_of(builder, operator.inputs[0], moves_first=bool(amounts[0].any()))
    for axis, (front, back) in enumerate(amounts.tolist(), start=before):
        if not front + back:
            continue
        parts = [_mirrored(builder, x, axis, front - 1 + skipped, front)] if front else []
        parts.append(x)
        if back:
            parts.append(_mirrored(builder, x, axis, x.shape[axis] - 1 - skipped, back))
        x = builder.inner(x, "mirrored", (*x.shape[:axis], x.shape[axis] + front + back, *x.shape[axis + 1 :]))
        builder.node(ops.Concat(axis), tuple(part.name for part in parts), x)
    out = builder.activation(operator.output)
    builder.node(ops.Reshape(out.shape), (x.name,), out)


def _mirrored(builder: GraphBuilder, x: Tensor, axis: int, begin: int, size: int) -> Tensor:
    """``size`` elements of an axis from ``begin`` on, backwards."""
    places = [(0, extent, 1) for extent in x.shape]
    places[axis] = (begin, size, -1)
    op = ops.Slice(*zip(*places, strict=True))
    part = builder.inner(x, "mirror", op.size)
    builder.node(op, (x.name,), part)
    return part


def _concatenation(builder: GraphBuilder, operator: Operator) -> None:
    if options_of(operator, ConcatenationOptions).fused_activation_function:
        raise builder.refusal(operator, "fused activation", expected="NONE: no engine computes another")
    axis, shapes = options_of(operator, ConcatenationOptions).axis, _shapes(builder, operator)
    rank = len(shapes[0])
    if not -rank <= axis < rank or any(len(shape) != rank for shape in shapes):
        got = f"axis {axis} of {', '.join(map(str, shapes[:4]))}"
        raise builder.refusal(operator, "axis or dimensions of the inputs", got=got)
    axis %= rank
    moves_first = axis == 0 or any(shape[0] != 1 for shape in shapes)
    rows = [rows_of(builder, index, moves_first=moves_first) for index in operator.inputs]
    _join(builder, operator, [x for x, _ in rows], axis + rows[0][1])


def _pack(builder: GraphBuilder, operator: Operator) -> None:
    """A new axis in each input, along which they are joined."""
    axis, shapes = options_of(operator, PackOptions).axis, _shapes(builder, operator)
    rank = len(shapes[0])
    if not -rank - 1 <= axis <= rank or any(shape != shapes[0] for shape in shapes):
        got = f"axis {axis} of {', '.join(map(str, shapes[:4]))}"
        raise builder.refusal(operator, "axis or shapes of the inputs", got=got)
    axis %= rank + 1
    builder.require_shape(operator, (*shapes[0][:axis], len(shapes), *shapes[0][axis:]))
    parts = []
    for index in operator.inputs:
        x = builder.activation(index)
        parts.append(builder.inner(x, "wide", (1, *shapes[0][:axis], 1, *shapes[0][axis:])))
        builder.node(ops.Reshape(parts[-1].shape), (x.name,), parts[-1])
    _join(builder, operator, parts, axis + 1)


def _shapes(builder: GraphBuilder, operator: Operator) -> list[Shape]:
    if min(operator.inputs) < 0:
        raise builder.refusal(operator, "inputs are missing", got=operator.inputs[:8])
    return [builder.file.shape(index) for index in operator.inputs]


def _join(builder: GraphBuilder, operator: Operator, parts: list[Tensor], axis: int) -> None:
    """A single part is a reshape; a result with another number of axes than the output is followed by one."""
    names, out = tuple(part.name for part in parts), builder.activation(operator.output)
    joined = sum(part.shape[axis] for part in parts)
    shape = (*parts[0].shape[:axis], joined, *parts[0].shape[axis + 1 :])
    if len(parts) > 1 and len(shape) == len(out.shape):
        builder.node(ops.Concat(axis), names, out)
        return
    if len(parts) > 1:
        inner = builder.inner(parts[0], "joined", shape)
        builder.node(ops.Concat(axis), names, inner)
        names = (inner.name,)
    builder.node(ops.Reshape(out.shape), names, out)


ROWS: dict[str, Row] = {
    "CONCATENATION": Row(_concatenation, 1, MOST_PARTS),
    "EXPAND_DIMS": Row(_expand_dims, 2, 2),
    "MIRROR_PAD": Row(_mirror_pad, 2, 2),
    "PACK": Row(_pack, 1, MOST_PARTS),
    "PAD": Row(_pad, 2, 2),
    "PADV2": Row(_pad, 3, 3),
    "RESHAPE": Row(_reshape, 1, 2),
    "SQUEEZE": Row(_squeeze, 1, 1),
    "TRANSPOSE": Row(_transpose, 2, 2),
}
