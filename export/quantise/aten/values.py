"""Values of an exported program: constants are tensors; everything else is a view of a stored tensor.

A view has the position of each of its elements in the stored tensor, for a batch of two. An operator that only moves
elements is run on the positions, so that no such operator needs a rule of its own, and a chain of them costs what its
result needs. A position of -1 is a zero of a pad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tinyscene.runtime.ops import Pads, Shape

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


def stored_shape(shape: tuple[int, ...], order: Order) -> Shape:
    """The graph's shape of a tensor with PyTorch's ``shape``: the batch is 1."""
    sizes = [shape[axis] for axis in order[1:]]
    return (1, 1, *sizes) if order == (0, 2, 1) else (1, *sizes)


def whole(name: str, shape: tuple[int, ...], order: Order) -> View:
    """The view of all elements of a stored tensor, in PyTorch's ``shape``."""
    sizes = [shape[axis] for axis in order]
    positions = torch.arange(math.prod(shape)).reshape(sizes)
    return View(name, positions.permute(tuple(order.index(axis) for axis in range(len(order)))))


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


def without_pads(view: View) -> tuple[View, Pads]:
    """An image without the zeros around it, and their number at the top, the left, the bottom and the right."""
    inside = view.positions[0, 0] != ZERO
    lines, columns = inside.any(dim=1).nonzero(), inside.any(dim=0).nonzero()
    if not len(lines):
        return view, (0, 0, 0, 0)
    top, bottom = int(lines[0]), int(lines[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    height, width = inside.shape
    inner = View(view.name, view.positions[:, :, top:bottom, left:right])
    return inner, (top, left, height - bottom, width - right)
