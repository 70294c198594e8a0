"""Calls in C: operations that only move elements."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.ops import Shape
from tinyscene.runtime.plan import Lead
from tinyscene.runtime.resize_tables import linear_places, nearest_places

from ..records import (
    ByRule,
    Fields,
    Layer,
    Values,
)
from .common import Row

Axis = tuple[int, int, int]  # size, and elements from one to the next in the input and in the output


def _reshape(graph: Graph, node: Node) -> Layer:
    size = graph.out(node).n_bytes
    return Layer("ts_reshape", "TsReshape", {"size": size}, lead=Lead(size, in_place=True))


def _transpose(graph: Graph, node: Node) -> Layer:
    op, (x,) = node.op, graph.ins(node)
    assert isinstance(op, ops.Transpose)
    steps = _steps(x.shape)
    axes = zip(graph.out(node).shape, (steps[axis] for axis in op.order), _steps(graph.out(node).shape), strict=True)
    return Layer("ts_copy", "TsCopy", _copied(axes))


def _pad(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Pad)
    steps = _steps(out.shape)
    begin = sum(before * step for before, step in zip(op.before, steps, strict=True))
    inside = _copied(zip(x.shape, _steps(x.shape), steps, strict=True), out_begin=begin)
    return Layer("ts_pad", "TsPad", {"size": out.n_bytes, "code": op.code, "inside": inside})


def _slice(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Slice)
    steps = _steps(x.shape)
    begin = sum(place * step for place, step in zip(op.begin, steps, strict=True))
    x_steps = (jump * step for jump, step in zip(op.step, steps, strict=True))
    return Layer("ts_copy", "TsCopy", _copied(zip(out.shape, x_steps, _steps(out.shape), strict=True), x_begin=begin))


def _steps(shape: Shape) -> tuple[int, ...]:
    """Elements from one to the next on each axis of a stored tensor."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _copied(axes: Iterable[Axis], x_begin: int = 0, out_begin: int = 0) -> Fields:
    """Fields of the record TsCopy, with as few axes as possible."""
    kept: list[Axis] = []
    for size, x_step, out_step in axes:
        if kept and kept[-1][1:] == (size * x_step, size * out_step):
            kept[-1] = (kept[-1][0] * size, x_step, out_step)
        elif size > 1:
            kept.append((size, x_step, out_step))
    numbers = tuple(number for axis in kept or [(1, 1, 1)] for number in axis)
    return {
        "n_axes": len(numbers) // 3,
        "x_begin": x_begin,
        "out_begin": out_begin,
        "axes": Values("int32_t", numbers),
    }


def _resize(graph: Graph, node: Node) -> Layer:
    op, (x,), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Resize)
    names, (_, *sizes, channels) = ("rows", "columns"), x.shape
    size: Fields = {"out_height": out.shape[1], "out_width": out.shape[2], "channels": channels, "in_width": sizes[1]}
    if op.kind == "nearest":
        nearest = (nearest_places(*pair, op.grid) for pair in zip(sizes, op.size, strict=True))
        places: Fields = {name: _integers(values) for name, values in zip(names, nearest, strict=True)}
        return Layer("ts_resize_nearest", "TsResize", size | places)

    def weighted(rule: Rounding) -> Fields:
        linear = (np.stack(linear_places(*pair, op.grid, rule), 1) for pair in zip(sizes, op.size, strict=True))
        return {name: _integers(values) for name, values in zip(names, linear, strict=True)}

    return Layer("ts_resize_bilinear", "TsResize", {**size, "by_rule": ByRule(weighted("double"), weighted("single"))})


def _integers(values: I64) -> Values:
    return Values("int32_t", tuple(values.ravel().tolist()))


def _concat(graph: Graph, node: Node) -> Layer:
    op, parts = node.op, graph.ins(node)
    assert isinstance(op, ops.Concat)
    sizes = tuple(math.prod(part.shape[op.axis :]) for part in parts)
    repeats: Fields = {"repeats": parts[0].n_bytes // sizes[0]}
    if len(sizes) == 2:
        return Layer("ts_concat", "TsConcat", {**repeats, "a_size": sizes[0], "b_size": sizes[1]})
    fields: Fields = {**repeats, "n_parts": len(sizes), "sizes": Values("int32_t", sizes)}
    return Layer("ts_concat_parts", "TsConcatParts", fields, inputs_in_array=True)


ROWS: dict[type, Row] = {
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.Pad: _pad,
    ops.Slice: _slice,
    ops.Concat: _concat,
    ops.Resize: _resize,
}
