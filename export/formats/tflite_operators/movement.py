"""Readers of TFLite operators: operations that only move elements; slices are in :mod:`.slices`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor
from tinyscene.runtime.tflite_schema import (
    ConcatenationOptions,
    MirrorPadOptions,
    PackOptions,
    ReshapeOptions,
    SqueezeOptions,
)

from ..tflite_builder import Padding
from ..tflite_file import Operator
from .common import Row, append, constant_name, options_of, same_elements, to_output

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

MOST_PARTS = 1024  # of a concatenation


def _reshape(builder: GraphBuilder, operator: Operator) -> None:
    """The shape is an input or an option; where a file has neither, the output's own shape is the only one."""
    if len(operator.inputs) > 1 and operator.inputs[1] >= 0:
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
    shape = builder.activation(operator.inputs[0]).shape
    stated = options_of(operator, SqueezeOptions).squeeze_dims.tolist() if operator.options else []
    axes = {axis + len(shape) * (axis < 0) for axis in stated} or {a for a, size in enumerate(shape) if size == 1}
    if any(not 0 <= axis < len(shape) or shape[axis] != 1 for axis in axes):
        raise builder.refusal(operator, "removes an axis that is not of size 1", expected=shape, got=stated[:8])
    builder.require_shape(operator, tuple(size for axis, size in enumerate(shape) if axis not in axes))
    same_elements(builder, operator)


def _expand_dims(builder: GraphBuilder, operator: Operator) -> None:
    shape, axes = builder.activation(operator.inputs[0]).shape, builder.integers(operator, 1).ravel().tolist()
    if len(axes) != 1 or not -len(shape) - 1 <= axes[0] <= len(shape):
        raise builder.refusal(operator, "no single axis of the output", got=axes[:8])
    axis = axes[0] % (len(shape) + 1)
    builder.require_shape(operator, (*shape[:axis], 1, *shape[axis:]))
    same_elements(builder, operator)


def _transpose(builder: GraphBuilder, operator: Operator) -> None:
    x, order = builder.activation(operator.inputs[0]), builder.integers(operator, 1).ravel().tolist()
    if sorted(order) != list(range(len(x.shape))):
        raise builder.refusal(operator, "no order of the axes", expected=f"0 to {len(x.shape) - 1}", got=order[:8])
    builder.require_shape(operator, tuple(x.shape[axis] for axis in order))
    wide = [axis for axis in order if x.shape[axis] > 1]
    if wide == sorted(wide):
        same_elements(builder, operator)
        return
    if order[0] == 0:
        to_output(builder, operator, ops.Transpose(tuple(order)), x, constant_name(builder, operator, 1, "_order"))
        return
    places = [sorted(wide).index(axis) + 1 for axis in wide]  # an axis of size 1 becomes the batch
    bare = builder.inner(x, "bare", (1, *(size for size in x.shape if size > 1)))
    builder.node(ops.Reshape(bare.shape), (x.name,), bare)
    to_output(builder, operator, ops.Transpose((0, *places)), bare)


def _pad(builder: GraphBuilder, operator: Operator) -> None:
    """Store the pads: a convolution that reads the output takes them over; for other readers they become a node."""
    source, output = builder.activation(operator.inputs[0]), operator.output
    amounts = builder.integers(operator, 1)
    if amounts.shape != (len(source.shape), 2) or (amounts < 0).any() or amounts[0].any():
        what, expected = "amounts before and after each axis", f"{len(source.shape)} pairs, the first (0, 0)"
        raise builder.refusal(operator, what, expected=expected, got=amounts.tolist()[:8])
    builder.require_shape(operator, tuple(np.add(source.shape, amounts.sum(axis=1)).tolist()))
    if builder.file.type(output) != "int8" or builder.file.quant(output) != source.quant:
        raise builder.refusal(operator, "changes scale or zero point", expected=source.quant)
    code = source.quant.zero_point
    if operator.kind == "PADV2":
        stored = builder.constant(operator, 2, np.int8)
        if stored.size != 1 or builder.file.quant(operator.inputs[2]) != source.quant:
            raise builder.refusal(operator, "pads with several codes, or of another scale", expected=source.quant)
        code = int(stored.ravel()[0])
    before, after = (tuple(column) for column in amounts.T.tolist())
    builder.padded[output] = Padding(operator, ops.Pad(before, after, code))


def _mirror_pad(builder: GraphBuilder, operator: Operator) -> None:
    """Slices that run backwards from each end, axis by axis; the reflection leaves the end itself out."""
    x, amounts = builder.activation(operator.inputs[0]), builder.integers(operator, 1)
    skipped = 1 - options_of(operator, MirrorPadOptions).mode
    largest = np.array(x.shape)[:, None] - skipped
    if amounts.shape != (len(x.shape), 2) or (amounts < 0).any() or (amounts > largest).any() or amounts[0].any():
        expected = f"pads of at most the size {'less one ' * skipped}of each axis, none of the batch"
        raise builder.refusal(operator, "mirrored pads", expected=expected, got=amounts.tolist()[:8])
    builder.require_shape(operator, tuple(np.add(x.shape, amounts.sum(axis=1)).tolist()))
    axes = [axis for axis in range(len(x.shape)) if amounts[axis].any()]
    for axis in axes:
        before, after = amounts[axis].tolist()
        parts = [_mirrored(builder, x, axis, before - 1 + skipped, before)] if before else []
        parts.append(x)
        if after:
            parts.append(_mirrored(builder, x, axis, x.shape[axis] - 1 - skipped, after))
        names = tuple(part.name for part in parts)
        if axis == axes[-1]:
            builder.node(ops.Concat(axis), names, builder.activation(operator.output))
            return
        shape = (*x.shape[:axis], x.shape[axis] + before + after, *x.shape[axis + 1 :])
        x = builder.inner(x, "mirrored", shape)
        builder.node(ops.Concat(axis), names, x)
    same_elements(builder, operator)


def _mirrored(builder: GraphBuilder, x: Tensor, axis: int, begin: int, size: int) -> Tensor:
    """``size`` elements of an axis from ``begin`` on, backwards."""
    places = [(0, extent, 1) for extent in x.shape]
    places[axis] = (begin, size, -1)
    op = ops.Slice(*zip(*places, strict=True))
    part = builder.inner(x, "mirror", op.size)
    builder.node(op, (x.name,), part)
    return part


def _concatenation(builder: GraphBuilder, operator: Operator) -> None:
    """A single input is a reshape to its own shape."""
    if min(operator.inputs) < 0:
        raise builder.refusal(operator, "inputs are missing", got=operator.inputs[:8])
    parts = [builder.activation(index) for index in operator.inputs]
    rank, axis = len(parts[0].shape), options_of(operator, ConcatenationOptions).axis
    if not -rank <= axis < rank or any(len(part.shape) != rank for part in parts):
        got = f"axis {axis} of {', '.join(str(part.shape) for part in parts[:4])}"
        raise builder.refusal(operator, "axis or dimensions of the inputs", got=got)
    if options_of(operator, ConcatenationOptions).fused_activation_function:
        raise builder.refusal(operator, "fused activation", expected="NONE: no engine computes another")
    op = ops.Reshape(parts[0].shape) if len(parts) == 1 else ops.Concat(axis % rank)
    append(builder, operator, lambda _: op, tuple(part.name for part in parts))


def _pack(builder: GraphBuilder, operator: Operator) -> None:
    """A new axis in each input, along which they are joined."""
    parts, options = [builder.activation(index) for index in operator.inputs], options_of(operator, PackOptions)
    shape, axis = parts[0].shape, options.axis
    if not -len(shape) - 1 <= axis <= len(shape) or any(part.shape != shape for part in parts):
        got = f"axis {axis} of {', '.join(str(part.shape) for part in parts[:4])}"
        raise builder.refusal(operator, "axis or shapes of the inputs", got=got)
    axis %= len(shape) + 1
    builder.require_shape(operator, (*shape[:axis], len(parts), *shape[axis:]))
    wide = []
    for part in parts:
        wide.append(builder.inner(part, "wide", (*shape[:axis], 1, *shape[axis:])))
        builder.node(ops.Reshape(wide[-1].shape), (part.name,), wide[-1])
    out = builder.activation(operator.output)
    op = ops.Reshape(out.shape) if len(wide) == 1 else ops.Concat(axis)
    builder.node(op, tuple(part.name for part in wide), out)


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
