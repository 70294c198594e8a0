"""Calls in C: operations that only move elements."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.ops import Shape
from tinyscene.runtime.plan import Lead

from ..records import (
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


def _concat(graph: Graph, node: Node) -> Layer:
    op, (a, b) = node.op, graph.ins(node)
    assert isinstance(op, ops.Concat)
    a_size, b_size = (int(np.prod(t.shape[op.axis :])) for t in (a, b))
    fields: Fields = {"repeats": a.n_bytes // a_size, "a_size": a_size, "b_size": b_size}
    return Layer("ts_concat", "TsConcat", fields)


ROWS: dict[type, Row] = {ops.Reshape: _reshape, ops.Transpose: _transpose, ops.Concat: _concat}
