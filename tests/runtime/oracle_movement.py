"""The part of :mod:`tests.runtime.oracle` for ops that move elements or resample an image."""

from __future__ import annotations

import math
from fractions import Fraction

from tests.runtime.oracle_rounding import HALF, float32, half_away, half_even, half_up
from tinyscene.runtime.graph import Graph, Node


def _reshape(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    place = 0
    for index, size in zip(at[1:], graph.out(node).shape[1:], strict=True):
        place = place * size + index
    return int(arrays[0][at[0]].ravel()[place])


def _transpose(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    source = [0] * len(at)
    for index, axis in zip(at, node.op.order, strict=True):
        source[axis] = index
    return int(arrays[0][tuple(source)])


def _pad(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    source = tuple(index - before for index, before in zip(at, node.op.before, strict=True))
    inside = all(0 <= index < size for index, size in zip(source, arrays[0].shape, strict=True))
    return int(arrays[0][source]) if inside else node.op.code


def _slice(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    places = zip(at[1:], node.op.begin[1:], node.op.step[1:], strict=True)
    return int(arrays[0][(at[0], *(begin + index * step for index, begin, step in places))])


def _resize(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    """Exact fractions; the places of ``single`` are float32, those of ``double`` have 10 fractional bits."""
    op, x, (n, *where, channel) = node.op, arrays[0], at
    if op.kind == "nearest":
        rows, columns = (_nearest(i, x.shape[a], op.size[a - 1], op.grid) for a, i in enumerate(where, start=1))
        return int(x[n, rows, columns, channel])
    bits = 10 if rounding == "double" else 11
    axes = [_linear(i, x.shape[a], op.size[a - 1], op.grid, rounding) for a, i in enumerate(where, start=1)]
    total = Fraction(0)
    for row, row_weight in axes[0]:
        for column, column_weight in axes[1]:
            total += int(x[n, row, column, channel]) * row_weight * column_weight
    return (half_away if rounding == "double" else half_up)(total / 4**bits)


def _step(size: int, count: int, grid: str) -> Fraction:
    aligned = grid == "align_corners" and count > 1
    return Fraction(size - aligned, count - aligned)


def _nearest(index: int, size: int, count: int, grid: str) -> int:
    place = float32((index + (HALF if grid == "half_pixel" else 0)) * float32(_step(size, count, grid)))
    return min(half_up(place) if grid == "align_corners" else math.floor(place), size - 1)


def _linear(index: int, size: int, count: int, grid: str, rounding: str) -> list[tuple[int, int]]:
    """Two places and their weights."""
    if rounding == "double":
        step = half_up(1024 * _step(size, count, grid))
        place = Fraction(index * step + (step // 2 - 512 if grid == "half_pixel" else 0), 1024)
        lower, upper, one = max(math.floor(place), 0), min(max(math.ceil(place), 0), size - 1), 1024
    else:
        step = float32(_step(size, count, grid))
        place, one = float32(index * step), 2048
        if grid == "half_pixel":
            place = min(max(float32(place + float32(step / 2 - HALF)), Fraction(0)), Fraction(size - 1))
        lower = math.floor(place)
        upper = min(lower + 1, size - 1)
    weight = half_even((place - lower) * one)
    return [(lower, one - weight), (upper, weight)]


def _concat(graph: Graph, node: Node, arrays, at, rounding: str) -> int:
    place, axis = at[node.op.axis], node.op.axis
    for array in arrays:
        if place < array.shape[axis]:
            return int(array[(*at[:axis], place, *at[axis + 1 :])])
        place -= array.shape[axis]
    raise IndexError(at)
