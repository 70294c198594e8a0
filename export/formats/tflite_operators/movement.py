"""Readers of TFLite operators: operations that only move elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.tflite_schema import (
    ConcatenationOptions,
    ReshapeOptions,
    SqueezeOptions,
    StridedSliceOptions,
)

from ..tflite_file import Operator
from .common import Row, append, constant_name, options_of, same_elements

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

MOST_PARTS = 1024  # of a concatenation


def _reshape(builder: GraphBuilder, operator: Operator) -> None:
    """The shape is an input or an option; where a file has neither, the output's own shape is the only one."""
    if len(operator.inputs) > 1 and operator.inputs[1] >= 0:
        stated = builder.constant(
            operator, 1, np.int32, rank=1
        )  # a shape that is computed could differ from the output's
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
    shape, axes = builder.activation(operator.inputs[0]).shape, builder.constant(operator, 1, np.int32).ravel().tolist()
    if len(axes) != 1 or not -len(shape) - 1 <= axes[0] <= len(shape):
        raise builder.refusal(operator, "no single axis of the output", got=axes[:8])
    axis = axes[0] % (len(shape) + 1)
    builder.require_shape(operator, (*shape[:axis], 1, *shape[axis:]))
    same_elements(builder, operator)


def _transpose(builder: GraphBuilder, operator: Operator) -> None:
    x, order = builder.activation(operator.inputs[0]), builder.constant(operator, 1, np.int32).ravel().tolist()
    if sorted(order) != list(range(len(x.shape))):
        raise builder.refusal(operator, "no order of the axes", expected=f"0 to {len(x.shape) - 1}", got=order[:8])
    builder.require_shape(operator, tuple(x.shape[axis] for axis in order))
    wide = [axis for axis in order if x.shape[axis] > 1]
    if wide == sorted(wide):
        same_elements(builder, operator)
        return
    out, name = builder.activation(operator.output), constant_name(builder, operator, 1, "_order")
    if order[0] == 0:
        builder.node(ops.Transpose(tuple(order)), (x.name,), out, name)
        return
    places = [sorted(wide).index(axis) + 1 for axis in wide]  # an axis of size 1 becomes the batch
    bare = builder.inner(x, "bare", (1, *(size for size in x.shape if size > 1)))
    builder.node(ops.Reshape(bare.shape), (x.name,), bare)
    turned = builder.inner(x, "turned", (1, *(size for size in out.shape if size > 1)))
    builder.node(ops.Transpose((0, *places)), (bare.name,), turned)
    builder.node(ops.Reshape(out.shape), (turned.name,), out)


def _slice(builder: GraphBuilder, operator: Operator) -> None:
    """Each axis is whole, from its first element to its last; an axis of one element may be removed."""
    shape, options = builder.activation(operator.inputs[0]).shape, options_of(operator, StridedSliceOptions)
    begins, ends, strides = (builder.constant(operator, i, np.int32, rank=1).tolist() for i in (1, 2, 3))
    if options.ellipsis_mask or options.new_axis_mask or options.offset:
        raise builder.refusal(operator, "ellipsis, new axes and offsets are not supported")
    if not len(begins) == len(ends) == len(strides) <= len(shape):
        raise builder.refusal(operator, "number of axes", expected=len(shape), got=(len(begins), len(ends)))
    result = list(shape)
    for axis, (begin, end, stride) in reversed(list(enumerate(zip(begins, ends, strides, strict=True)))):
        size, removed = shape[axis], bool(options.shrink_axis_mask >> axis & 1)
        first = 0 if options.begin_mask >> axis & 1 and not removed else begin + size * (begin < 0)
        last = size if removed or options.end_mask >> axis & 1 else end + size * (end < 0)
        if first != 0 or last < size or stride < 1 or (stride > 1 < size) or (removed and size > 1):
            got = f"axis {axis}: {begin} to {end}, step {stride}"
            raise builder.refusal(operator, "does not keep all elements in order", expected=shape, got=got)
        if removed:
            del result[axis]
    builder.require_shape(operator, tuple(result))
    same_elements(builder, operator)


def _concatenation(builder: GraphBuilder, operator: Operator) -> None:
    """More than two inputs are joined one after the other; a single input is a reshape to its own shape."""
    if min(operator.inputs) < 0:
        raise builder.refusal(operator, "inputs are missing", got=operator.inputs[:8])
    parts = [builder.activation(index) for index in operator.inputs]
    total, rank = parts[0], len(parts[0].shape)
    axis = options_of(operator, ConcatenationOptions).axis
    if not -rank <= axis < rank or any(len(part.shape) != rank for part in parts):
        got = f"axis {axis} of {', '.join(str(part.shape) for part in parts[:4])}"
        raise builder.refusal(operator, "axis or dimensions of the inputs", got=got)
    axis %= rank
    if options_of(operator, ConcatenationOptions).fused_activation_function:
        raise builder.refusal(operator, "fused activation", expected="NONE: no engine computes another")
    if len(parts) == 1:
        append(builder, operator, lambda _: ops.Reshape(total.shape), (total.name,))
        return
    for count, part in enumerate(parts[1:-1], start=2):
        shape = (*total.shape[:axis], total.shape[axis] + part.shape[axis], *total.shape[axis + 1 :])
        joined = builder.inner(builder.activation(operator.output), f"first_{count}", shape)
        builder.node(ops.Concat(axis), (total.name, part.name), joined)
        total = joined
    append(builder, operator, lambda _: ops.Concat(axis), (total.name, parts[-1].name))


ROWS: dict[str, Row] = {
    "CONCATENATION": Row(_concatenation, 1, MOST_PARTS),
    "EXPAND_DIMS": Row(_expand_dims, 2, 2),
    "RESHAPE": Row(_reshape, 1, 2),
    "SQUEEZE": Row(_squeeze, 1, 1),
    "STRIDED_SLICE": Row(_slice, 4, 4),
    "TRANSPOSE": Row(_transpose, 2, 2),
}
