"""Compute the operators of a TFLite file on integers that are known when it is read, such as the shape of a reshape.

Every shape is known, since a batch of unknown size is stored as 1. Leaves operators with an input that is not known,
with more than :data:`MOST_ELEMENTS`, or that are malformed: their readers refuse them by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.tflite_options import (
    ConcatenationOptions,
    ElementwiseOptions,
    GatherOptions,
    Options,
    PackOptions,
    ReducerOptions,
    ReshapeOptions,
    SqueezeOptions,
    StridedSliceOptions,
    UnpackOptions,
)
from tinyscene.runtime.tflite_slices import strided

if TYPE_CHECKING:
    from .tflite_file import Operator, TfliteFile

MOST_ELEMENTS = 1024
_TYPES = {"int32": np.int32, "int64": np.int64}
Integers = npt.NDArray[Any]


def fold(file: TfliteFile) -> None:
    """Move the results of known operators to ``file.computed``, and remove these operators."""
    left = []
    for operator in file.operators:
        results = _results(file, operator)
        if results is None:
            left.append(operator)
        else:
            file.computed |= dict(zip(operator.outputs, results, strict=True))
    file.operators = left


def _results(file: TfliteFile, operator: Operator) -> list[Integers] | None:
    row = _ROWS.get(operator.kind)
    types = [_TYPES.get(file.type(index)) for index in operator.outputs]
    inputs = _inputs(file, operator)
    if row is None or inputs is None or None in types:
        return None
    try:
        with np.errstate(all="ignore"):  # integers wrap, as in the engines
            results = row(operator.options, *inputs)
    except (ValueError, IndexError, TypeError):
        return None
    if len(results) != len(types) or sum(result.size for result in results) > MOST_ELEMENTS:
        return None
    return [result.astype(kind) for result, kind in zip(results, types, strict=True)]


def _inputs(file: TfliteFile, operator: Operator) -> list[Integers] | None:
    """Values of all inputs as int64, or None where one is not known; of SHAPE the shape itself."""
    if min(operator.inputs, default=-1) < 0:
        return None
    if operator.kind == "SHAPE":
        return [np.array(file.shape(operator.inputs[0]), np.int64)]
    if sum(math.prod(file.shape(index)) for index in operator.inputs) > MOST_ELEMENTS:
        return None
    values = []
    for index in operator.inputs:
        value = file.constant(index) if file.type(index) in _TYPES else None
        if value is None:
            return None
        values.append(value.astype(np.int64))
    return values


def _elementwise(function: Callable[[Integers, Integers], Integers]) -> Callable[..., list[Integers]]:
    def compute(options: Options | None, a: Integers, b: Integers) -> list[Integers]:
        if isinstance(options, ElementwiseOptions) and options.fused_activation_function:
            raise ValueError("fused activation")
        return [function(a, b)]

    return compute


def _floor_div(a: Integers, b: Integers) -> Integers:
    if not b.all():
        raise ValueError("division by zero")
    return np.asarray(a // b)


def _same(options: Options | None, x: Integers) -> list[Integers]:
    return [x]


def _reshape(options: Options | None, x: Integers, shape: Integers | None = None) -> list[Integers]:
    stated = shape if shape is not None else options.new_shape if isinstance(options, ReshapeOptions) else None
    if stated is None:
        raise ValueError("no shape")
    return [x.reshape(stated.ravel().tolist())]


def _squeeze(options: Options | None, x: Integers) -> list[Integers]:
    axes = tuple(options.squeeze_dims.tolist()) if isinstance(options, SqueezeOptions) else ()
    return [np.squeeze(x, axes or None)]


def _expand_dims(options: Options | None, x: Integers, axis: Integers) -> list[Integers]:
    return [np.expand_dims(x, int(axis.item()))]


def _concatenation(options: Options | None, *parts: Integers) -> list[Integers]:
    assert isinstance(options, ConcatenationOptions)
    return [np.concatenate(parts, options.axis)]


def _pack(options: Options | None, *parts: Integers) -> list[Integers]:
    assert isinstance(options, PackOptions)
    return [np.stack(parts, options.axis)]


def _unpack(options: Options | None, x: Integers) -> list[Integers]:
    assert isinstance(options, UnpackOptions)
    return list(np.moveaxis(x, options.axis, 0))


def _gather(options: Options | None, x: Integers, places: Integers) -> list[Integers]:
    assert isinstance(options, GatherOptions)
    if options.batch_dims:
        raise ValueError("batch_dims")
    return [np.asarray(x.take(places, options.axis))]


def _strided_slice(
    options: Options | None, x: Integers, begin: Integers, end: Integers, step: Integers
) -> list[Integers]:
    assert isinstance(options, StridedSliceOptions)
    places, shape = strided(options, x.shape, begin.tolist(), end.tolist(), step.tolist())
    for axis, (first, size, jump) in enumerate(places):
        x = x.take(first + jump * np.arange(size), axis)
    return [x.reshape(shape)]


def _slice(options: Options | None, x: Integers, begin: Integers, size: Integers) -> list[Integers]:
    for axis, (first, count) in enumerate(zip(begin.tolist(), size.tolist(), strict=True)):
        last = x.shape[axis] if count == -1 else first + count
        if not 0 <= first <= last <= x.shape[axis]:
            raise ValueError("part outside of the axis")
        x = x.take(np.arange(first, last), axis)
    return [x]


def _reduce_prod(options: Options | None, x: Integers, axes: Integers) -> list[Integers]:
    assert isinstance(options, ReducerOptions)
    return [np.asarray(np.prod(x, tuple(axes.ravel().tolist()), keepdims=options.keep_dims))]


_ROWS: dict[str, Callable[..., list[Integers]]] = {
    "ADD": _elementwise(np.add),
    "CAST": _same,
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": _expand_dims,
    "FLOOR_DIV": _elementwise(_floor_div),
    "GATHER": _gather,
    "MAXIMUM": _elementwise(np.maximum),
    "MINIMUM": _elementwise(np.minimum),
    "MUL": _elementwise(np.multiply),
    "PACK": _pack,
    "REDUCE_PROD": _reduce_prod,
    "RESHAPE": _reshape,
    "SHAPE": _same,
    "SLICE": _slice,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _elementwise(np.subtract),
    "UNPACK": _unpack,
}
