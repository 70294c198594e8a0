"""Values of an exported program: constants are tensors; everything else is a view of a stored tensor.

A view has the position of each of its elements in the stored tensor, for a batch of two. An operator that only moves
elements is run on the positions, so that no such operator needs a rule of its own, and a chain of them costs what its
result needs. A position of -1 is a zero of a pad.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyscene.runtime.ops import Pads, Shape
from tinyscene.runtime.resize_tables import runs

BATCH = 2  # of the exported program: unlike the 1 of other axes, it shows where the batch goes
ZERO = -1  # position of an element that is zero
Order = tuple[int, ...]  # axes of PyTorch in the order of the graph


@dataclass(frozen=True, eq=False)
class View:
    """``positions``: int64 in PyTorch's shape, each an element of the stored tensor ``name`` or ``ZERO``."""

    name: str
    positions: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.positions.shape)


Value = View | Tensor


def channels_last(rank: int) -> Order:
    """The order of the axes in the graph: images are NHWC, sequences (batch, channels, time) are images of height 1."""
    return {4: (0, 2, 3, 1), 3: (0, 2, 1)}.get(rank, tuple(range(rank)))


def graph_axis(rank: int, axis: int) -> int:
    """The axis of a stored tensor that is PyTorch's ``axis``; a sequence is an image of height 1."""
    return channels_last(rank).index(axis) + (1 if rank == 3 else 0)


def stored_shape(shape: tuple[int, ...], order: Order) -> Shape:
    """The graph's shape of a tensor with PyTorch's ``shape``: the batch is 1."""
    sizes = [shape[axis] for axis in order[1:]]
    return (1, 1, *sizes) if order == (0, 2, 1) else (1, *sizes)


def whole(name: str, shape: tuple[int, ...], order: Order) -> View:
    """The view of all elements of a stored tensor, in PyTorch's ``shape``."""
    sizes = [shape[axis] for axis in order]
    positions = torch.arange(math.prod(shape)).reshape(sizes)
    return View(name, positions.permute(tuple(order.index(axis) for axis in range(len(order)))))


def image_of(view: View) -> View:
    """A sequence (batch, channels, time) as an image of height 1."""
    return View(view.name, view.positions[:, :, None]) if view.positions.ndim == 3 else view


def rows(positions: Tensor, order: Order) -> Tensor | None:
    """Positions of one batch entry in the graph's order, flat; None if entries of the batch are mixed.

    The stored tensor has the same number of elements in each entry of the batch.
    """
    if len(positions) != BATCH:
        return None
    first, second = (entry.flatten() for entry in positions.permute(order))
    per_entry = int((second - first).max())
    same = torch.equal(torch.where(first == ZERO, ZERO, first + per_entry), second)
    return first if same else None


def entries_of_batch(positions: Tensor, per_entry: int) -> Tensor | None:
    """The numbers of the rows (of the last axis) of each batch entry, (batch, rows); None if entries are mixed.

    ``per_entry``: elements of one entry of the stored tensor. The batch may be on any axis, or part of one.
    """
    by_row = positions.reshape(-1, positions.shape[-1])
    entry = by_row.clamp(min=0) // per_entry
    counts = torch.bincount(entry[:, 0], minlength=BATCH)
    if not torch.equal(entry, entry[:, :1].expand_as(entry)) or counts.tolist() != [len(by_row) // BATCH] * BATCH:
        return None
    return torch.argsort(entry[:, 0], stable=True).reshape(BATCH, -1)


def without_zeros(view: View) -> tuple[View, list[tuple[int, int]]]:
    """The smallest part with all elements but zeros, and the numbers of zeros before and behind it on each axis."""
    part, around = view.positions, []
    for axis, size in enumerate(view.shape):
        inside = (view.positions.movedim(axis, 0).reshape(size, -1) != ZERO).any(dim=1).nonzero().flatten().tolist()
        first, last = (inside[0], inside[-1]) if inside else (0, size - 1)
        around.append((first, size - 1 - last))
        part = part.narrow(axis, first, last + 1 - first)
    return View(view.name, part), around


def without_pads(view: View) -> tuple[View, Pads]:
    """An image without zeros at the top, the left, the bottom and the right, and their numbers."""
    inner, around = without_zeros(view)
    if around[0] != (0, 0) or around[1] != (0, 0):
        return view, (0, 0, 0, 0)
    (top, bottom), (left, right) = around[2:]
    return inner, (top, left, bottom, right)


@dataclass(frozen=True)
class Box:
    """Part of a stored tensor: the first element of each axis, their number and the distance between them."""

    begin: Shape
    size: Shape
    step: Shape


def box_of(flat: Tensor, shape: Shape) -> Box | None:
    """The smallest box of a tensor of ``shape`` with all positions in ``flat``; None if it has others too."""
    begin, size, step = [], [], []
    for coordinates in torch.unravel_index(flat, shape):
        values = torch.unique(coordinates)
        begin.append(int(values[0]))
        size.append(len(values))
        step.append(int(values[1] - values[0]) if len(values) > 1 else 1)
    box = Box(tuple(begin), tuple(size), tuple(step))
    return (
        box
        if math.prod(size) == len(flat) and torch.equal(positions_in(box, shape).sort().values, flat.sort().values)
        else None
    )


def positions_in(box: Box, shape: Shape) -> Tensor:
    """The positions of a box's elements in a tensor of ``shape``, in their order."""
    axes = zip(box.begin, box.size, box.step, strict=True)
    part = torch.arange(math.prod(shape)).reshape(shape)
    for axis, (begin, size, step) in enumerate(axes):
        part = part.index_select(axis, begin + step * torch.arange(size))
    return part.flatten()


def once(view: View) -> View:
    """The view without repetitions: an axis along which all elements are the same has size 1."""
    positions = view.positions
    for axis in range(1, positions.ndim):
        first = positions.narrow(axis, 0, 1)
        if torch.equal(first.expand_as(positions), positions):
            positions = first
    return View(view.name, positions)


def uneven_axis(grid: Tensor) -> tuple[int, Tensor] | None:
    """An axis of positions (in the graph's order) along which they are not evenly spaced, and their places there."""
    for axis, size in enumerate(grid.shape):
        lines = grid.movedim(axis, 0).reshape(size, -1)
        places = lines - lines[:1]
        if len(runs(places[:, 0].tolist())) > 1 and torch.equal(places, places[:, :1].expand_as(places)):
            return axis, places[:, 0]
    return None


def digits(flat: Tensor) -> tuple[list[int], list[int]]:
    """Sizes and distances of the digits of positions, the outermost first; of those that fit, if not all do.

    A distance of 0 is a repetition; one below 0 a reversal.
    """
    first, sizes, strides, block = int(flat[0]), [], [], 1
    while block < len(flat):
        stride, size = int(flat[block]) - first, 1
        while block * size < len(flat) and int(flat[block * size]) == first + size * stride:
            size += 1
        sizes.append(size)
        strides.append(stride)
        block *= size
    return sizes[::-1], strides[::-1]


def spanned_by(first: Tensor, sizes: list[int], strides: list[int]) -> Tensor:
    """The positions that have these digits."""
    positions = first.reshape(1)
    for size, stride in zip(sizes, strides, strict=True):
        positions = (positions[:, None] + stride * torch.arange(size)).flatten()
    return positions


def divided(shape: Shape, flat: Tensor) -> Shape:
    """The shape with its axes divided where the positions ``flat`` are moved in parts of an axis, if they are."""
    ends = [math.prod(shape[axis:]) for axis in range(1, len(shape) + 1)]
    cuts = sorted({math.prod(shape), *ends, *(stride for stride in digits(flat)[1] if stride > 0)}, reverse=True)
    if any(outer % inner for outer, inner in itertools.pairwise(cuts)):
        return shape
    return (1, *(outer // inner for outer, inner in itertools.pairwise(cuts)))


def transposition(flat: Tensor) -> tuple[Shape, Order] | None:
    """A shape, and an order of its axes, whose transposition moves elements as ``flat`` says; None if there is none.

    ``flat`` has the position of each element before the move. Its digits, from the innermost axis of the result on,
    have a size and a distance; sorted by distance they are the axes before the move.
    """
    sizes, strides = digits(flat)
    before = sorted(range(len(sizes)), key=lambda axis: -strides[axis])
    shape = tuple(sizes[axis] for axis in before)
    order = tuple(before.index(axis) for axis in range(len(sizes)))
    if math.prod(sizes) != len(flat) or not torch.equal(
        torch.arange(len(flat)).reshape(shape).permute(order).flatten(), flat
    ):
        return None
    return shape, order
