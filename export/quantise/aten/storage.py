"""Brings the elements of a view into a stored tensor of their own: the steps that move them.

Slices, transpositions, reversals, repetitions, concatenations of these, pads of zeros, and reshapes between them.
Refuses other moves.
"""

from __future__ import annotations

import itertools
import math
from typing import NoReturn

import torch
from torch import Tensor

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Shape
from tinyscene.runtime.resize_tables import runs

from ..float_steps import OpStep, Step
from .values import (
    ZERO,
    Order,
    View,
    box_of,
    channels_last,
    digits,
    divided,
    positions_in,
    rows,
    spanned_by,
    stored_shape,
    transposition,
    uneven_axis,
    without_zeros,
)


class Storage:
    """``steps`` and ``shapes`` by the name of the tensor that a step writes."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.shapes: dict[str, Shape] = {}
        self._moves: dict[tuple[tuple[str, ...], ops.Op], str] = {}

    def refuse_at(self, where: str, what: str) -> NoReturn:
        raise NotImplementedError

    def unique(self, name: str) -> str:
        numbers = itertools.count(len(self.steps))
        title = name
        while title in self.shapes:
            title = f"{name}_{next(numbers)}"
        return title

    def stored(self, view: View, order: Order | None = None) -> str:
        """The name of a tensor with the elements of ``view`` in the graph's order; adds steps that move them if needed.

        Raises:
            ExportError: no op of the set moves elements in this way.
        """
        order = channels_last(len(view.shape)) if order is None else order
        inner, around = without_zeros(view)
        flat = rows(inner.positions, order)
        if flat is None or around[0] != (0, 0):
            self.refuse_at(view.name, "elements of one batch entry move to another")
        if bool((flat == ZERO).any()):
            self.refuse_at(view.name, "zeros between its elements")
        name = self._arranged(view.name, flat, stored_shape(inner.shape, order))
        if any(pair != (0, 0) for pair in around):
            name = self.padded(name, [around[axis] for axis in order])
        return name

    def _arranged(self, name: str, flat: Tensor, shape: Shape) -> str:
        """Some elements of a tensor in another order: a slice, a transposition, and reshapes between them."""
        sizes, strides = digits(flat)
        if min(strides, default=1) <= 0 and torch.equal(spanned_by(flat[0], sizes, strides), flat):
            return self.reshaped(self._repeated(name, flat.reshape(sizes), strides), shape)
        source, places = self._sliced(name, flat) if flat.numel() < math.prod(self.shapes[name]) else (name, flat)
        found = transposition(places) if places.numel() == math.prod(self.shapes[source]) else None
        if found is None or len(found[0]) >= ops.HIGHEST_RANK:
            return self._joined(name, flat, shape)
        (axes, order), name = found, source
        if order != tuple(range(len(order))):
            name = self.reshaped(name, (1, *axes))
            moved_shape = (1, *(axes[axis] for axis in order))
            name = self.moved(name, ops.Transpose((0, *(axis + 1 for axis in order))), moved_shape)
        return self.reshaped(name, shape)

    def _joined(self, name: str, flat: Tensor, shape: Shape) -> str:
        """Parts of one axis, each with one distance between its elements, joined.

        The other axes are arranged first, once, where the parts together have evenly spaced elements.
        """
        grid = flat.reshape(shape)
        found = uneven_axis(grid)
        if found is None:
            self.refuse_at(name, "its elements are repeated or reordered in a way that no op of the set has")
        axis, places = found
        distinct, numbers = torch.unique(places, return_inverse=True)
        if len(runs(distinct.tolist())) == 1:
            first = [int((places == place).nonzero()[0]) for place in distinct]
            grid = grid.index_select(axis, torch.tensor(first))
            name = self._arranged(name, grid.flatten(), tuple(grid.shape))
            grid, places = torch.arange(grid.numel()).reshape(grid.shape).index_select(axis, numbers), numbers
        parts = grid.split([len(part) for part in runs(places.tolist())], axis)  # type: ignore[no-untyped-call]
        names = tuple(self._arranged(name, part.flatten(), tuple(part.shape)) for part in parts)
        return self.moved(names, ops.Concat(axis), shape)

    def _repeated(self, name: str, grid: Tensor, strides: list[int]) -> str:
        """Positions ``grid``, of which the axes with a stride of 0 repeat elements, and those below 0 reverse them."""
        once, sizes = grid, list(grid.shape)
        for axis, stride in enumerate(strides):
            if stride <= 0:
                once = once.narrow(axis, 0, 1) if stride == 0 else once.flip(axis)
        shape = (1, *(size for size in once.shape if size > 1))
        name = self._arranged(name, once.flatten(), shape if len(shape) <= ops.HIGHEST_RANK else (1, once.numel()))
        now = list(once.shape)
        for axis, stride in enumerate(strides):
            before, after = math.prod(now[:axis]), math.prod(now[axis + 1 :])
            if stride == 0:
                name = self.reshaped(name, (1, before, 1, after))
                op = ops.Resize("nearest", (before, sizes[axis]), "asymmetric")
                name = self.moved(name, op, (1, before, sizes[axis], after))
            elif stride < 0:
                place = (1, before, sizes[axis], after)
                back = ops.Slice((0, 0, sizes[axis] - 1, 0), place, (1, 1, -1, 1))
                name = self.moved(self.reshaped(name, place), back, place)
            now[axis] = sizes[axis]
        return name

    def _sliced(self, name: str, flat: Tensor) -> tuple[str, Tensor]:
        """A slice with all elements of ``flat``, and their positions in it; the tensor itself if no slice has them."""
        source = self.shapes[name]
        for shape in (source, divided(source, flat)):
            box = box_of(flat, shape)
            if box is not None and len(shape) <= ops.HIGHEST_RANK:
                places = torch.full((math.prod(shape),), ZERO)
                places[positions_in(box, shape)] = torch.arange(flat.numel())
                op = ops.Slice(box.begin, box.size, box.step)
                return self.moved(self.reshaped(name, shape), op, box.size), places[flat]
        return name, flat

    def reshaped(self, name: str, shape: Shape) -> str:
        step = self.steps.get(name)
        if isinstance(step, OpStep) and isinstance(step.op, ops.Reshape):
            (name,) = step.inputs
        return name if self.shapes[name] == shape else self.moved(name, ops.Reshape(shape), shape)

    def padded(self, name: str, around: list[tuple[int, int]]) -> str:
        """Zeros around a tensor; their code is known when the graph is written."""
        shape = self.shapes[name]
        around = [(0, 0)] * (len(shape) - len(around)) + around
        before, after = zip(*around, strict=True)
        padded = tuple(size + first + last for size, (first, last) in zip(shape, around, strict=True))
        return self.moved(name, ops.Pad(before, after, 0), padded)

    def moved(self, inputs: str | tuple[str, ...], op: ops.Op, shape: Shape) -> str:
        """The output of an op that moves elements; one step for equal ones."""
        inputs = (inputs,) if isinstance(inputs, str) else inputs
        if (inputs, op) not in self._moves:
            step = OpStep(self.unique(f"{inputs[0]}.{ops.OPS[type(op)].name}"), inputs, op)
            self.steps[step.name], self.shapes[step.name] = step, shape
            self._moves[inputs, op] = step.name
        return self._moves[inputs, op]
