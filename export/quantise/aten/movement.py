"""Operators of PyTorch that only move elements, those that change nothing in evaluation, and resizing.

Most are run on the positions of the elements: what has to be moved is decided where the result is read. Refuses
elements of one batch entry in another, and resizing to places that no op has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional

from tinyscene.runtime import ops
from tinyscene.runtime.arrays import F32
from tinyscene.runtime.resize_tables import WEIGHT_BITS, linear_places, nearest_places
from tinyscene.training.models.program import MOVING, UNCHANGED

from ..float_steps import OpStep
from .call import Call
from .reader import Reader, Row
from .values import ZERO, Value, View, graph_axis, image_of, rows

_RESIZES = (
    "upsample_nearest1d upsample_nearest2d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "upsample_linear1d upsample_bilinear2d"
)


def _move(reader: Reader, call: Call) -> Any:
    moved = _on_positions(reader, call, call.node.args, call.node.kwargs)
    name = call.view(next(iter(call.arguments))).name
    return View(name, moved) if isinstance(moved, Tensor) else [View(name, part) for part in moved]


def _positions(value: Value) -> Tensor:
    """Positions of a view; a constant is itself."""
    return value.positions.contiguous() if isinstance(value, View) else value


def _on_positions(reader: Reader, call: Call, args: Any, kwargs: Any) -> Any:
    """The operator's result for the positions of its arguments."""
    given = fx.map_arg((args, kwargs), lambda node: _positions(reader.values[node]))
    assert callable(call.node.target)
    return call.node.target(*given[0], **given[1])


def _pad(reader: Reader, call: Call) -> View:
    """Around some axes zeros, another number, or elements of the axis itself."""
    x, value, around = call.view(), call["value"] or 0.0, [int(n) for n in call["pad"]]
    if call["mode"] == "constant" and value == 0.0:
        assert callable(call.node.target)
        return View(x.name, call.node.target(x.positions, around, "constant", ZERO))
    for pair, axis in enumerate(reversed(range(len(x.shape) - len(around) // 2, len(x.shape)))):
        before, after = around[2 * pair : 2 * pair + 2]
        if (before, after) == (0, 0):
            continue
        if call["mode"] == "constant":
            x = _with_constants(reader, call, x, axis, (before, after), float(value))
        else:
            places = torch.arange(x.shape[axis], dtype=torch.float64)[None, None]
            places = functional.pad(places, (before, after), call["mode"])[0, 0].long()
            x = View(x.name, x.positions.index_select(axis, places))
    return x


def _with_constants(reader: Reader, call: Call, x: View, axis: int, around: tuple[int, int], value: float) -> View:
    """A number before and behind an axis; a count below 0 removes elements."""
    before, after = around
    x = View(x.name, x.positions.narrow(axis, max(-before, 0), x.shape[axis] + min(before, 0) + min(after, 0)))
    sizes = [(*x.shape[:axis], max(count, 0), *x.shape[axis + 1 :]) for count in around]
    parts = [torch.full(size, value) if size[axis] else None for size in sizes]
    return joined(reader, call, [part for part in (parts[0], x, parts[1]) if part is not None], axis)


def joined(reader: Reader, call: Call, parts: Sequence[Value], axis: int) -> View:
    """A concatenation of views and constants; one view alone is itself."""
    first = parts[0]
    if len(parts) == 1 and isinstance(first, View):
        return first
    rank = len(first.shape)
    shape = [int(n) for n in first.shape]
    shape[axis] = sum(int(part.shape[axis]) for part in parts)
    names = tuple(reader.stored(part) if isinstance(part, View) else reader.constant(part, rank) for part in parts)
    step = OpStep(reader.unique(call.name), names, ops.Concat(graph_axis(rank, axis)))
    return reader.add(call.node, step, tuple(shape))


def _concatenate(reader: Reader, call: Call) -> View:
    rank = len(call.shape)
    axis = int(call["dim"]) % rank
    parts = [part for part in call["tensors"] if isinstance(part, View) or part.numel()]
    if axis == 0:
        return _joined_before_batch(reader, call, parts)
    return joined(reader, call, parts, axis)


def _joined_before_batch(reader: Reader, call: Call, parts: Sequence[Value]) -> View:
    """A concatenation along the first axis, where the batch is the second, as in the last states of an LSTM."""
    turned = [View(part.name, part.positions.transpose(0, 1)) for part in parts if isinstance(part, View)]
    if len(turned) < len(parts) or any(rows(part.positions, tuple(range(len(part.shape)))) is None for part in turned):
        reader.refuse(call, "a concatenation of batches")
    y = joined(reader, call, turned, 1)
    return View(y.name, y.positions.transpose(0, 1))


def _stack(reader: Reader, call: Call) -> View:
    axis = int(call["dim"]) % len(call.shape)
    if axis == 0:
        reader.refuse(call, "a concatenation of batches")
    parts = [
        View(part.name, part.positions.unsqueeze(axis)) if isinstance(part, View) else part.unsqueeze(axis)
        for part in call["tensors"]
    ]
    return joined(reader, call, parts, axis)


def _index(reader: Reader, call: Call) -> View:
    """Places that are constant, along one axis."""
    x = call.view()
    given = [(axis, index) for axis, index in enumerate(call["indices"]) if index is not None]
    if len(given) != 1 or not isinstance(given[0][1], Tensor) or given[0][0] == 0:
        reader.refuse(call, "elements by places of several axes or the batch, or places that are computed")
    return View(x.name, x.positions[tuple(slice(None) if index is None else index.cpu() for index in call["indices"])])


def _resize(reader: Reader, call: Call) -> View:
    """The nearest element, or a mean of four weighted by distance, where the op takes the same places as PyTorch."""
    x = call.view("input")
    image, linear = image_of(x), "linear" in call.operator
    out = (1, call.shape[2]) if len(call.shape) == 3 else (call.shape[2], call.shape[3])
    grid = _grid(reader, call, image, out, linear)
    op = ops.Resize("bilinear" if linear else "nearest", out, grid)
    return reader.add(call.node, OpStep(call.name, (reader.stored(image),), op), call.shape)


def _grid(reader: Reader, call: Call, image: View, out: tuple[int, int], linear: bool) -> ops.Grid:
    """The grid whose places are those that PyTorch takes, found by resizing places."""
    grids: tuple[ops.Grid, ...] = ("half_pixel", "align_corners", "asymmetric")
    for grid in grids:
        if all(
            np.allclose(_places(call, size, at), _own_places(size, count, grid, linear), atol=2e-3)
            for at, (size, count) in enumerate(zip(image.shape[2:], out, strict=True))
        ):
            return grid
    reader.refuse(call, f"'{call.operator}' of {tuple(image.shape[2:])} to {out} with places that no op has")


def _places(call: Call, size: int, at: int) -> F32:
    """The places between elements that PyTorch's operator reads along height (0) or width (1)."""
    places = torch.arange(size, dtype=torch.float32)
    if len(call.shape) == 3:
        if at == 0:
            return np.zeros(1, np.float32)
        shown = places[None, None]
    else:
        shape = call.view("input").shape[2:]
        shown = (places[:, None] if at == 0 else places[None]).expand(1, 1, *shape)
    given = [shown if isinstance(each, fx.Node) else each for each in call.node.args]
    assert callable(call.node.target)
    read = call.node.target(*given, **call.node.kwargs)[0, 0]
    line: F32 = (read if read.ndim == 1 else read.select(1 - at, 0)).numpy()
    return line


def _own_places(size: int, count: int, grid: ops.Grid, linear: bool) -> F32:
    if not linear:
        return nearest_places(size, count, grid).astype(np.float32)
    lower, upper, weight = linear_places(size, count, grid, "single")
    share = weight / np.float64(1 << WEIGHT_BITS["single"])
    places: F32 = (lower * (1 - share) + upper * share).astype(np.float32)
    return places


def _filled(reader: Reader, call: Call) -> Tensor:
    """A constant with the shape of a tensor, or one that is stated."""
    given = fx.map_arg((call.node.args, call.node.kwargs), lambda node: torch.zeros(reader.values[node].shape))
    assert callable(call.node.target)
    result: Tensor = call.node.target(*given[0], **given[1])
    return result


def _unchanged(reader: Reader, call: Call) -> View:
    """The first argument."""
    return call.view(next(iter(call.arguments)))


ROWS: dict[str, Row] = {
    **dict.fromkeys(MOVING, _move),
    **dict.fromkeys(UNCHANGED, _unchanged),
    **dict.fromkeys(["zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"], _filled),
    "pad": _pad,
    "cat": _concatenate,
    "stack": _stack,
    "index": _index,
    **dict.fromkeys(_RESIZES.split(), _resize),
}
