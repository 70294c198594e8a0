"""Random nodes that only move elements, with any number of axes: for :mod:`tests.graphs` and the nets of other tests.

Each reads a tensor of four axes and returns one, with reshapes around an op that is drawn with another number of axes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tinyscene.runtime import ops

if TYPE_CHECKING:
    from tests.graphs import Builder, Rng

MOVEMENT_KINDS = ("transpose",)
_RANKS = (2, 3, 4, 4, 4, 5, 6)


def random_movement(b: Builder, rng: Rng, kind: str, x: str) -> str:
    """Append an op of this kind that reads ``x`` (1, H, W, C), with random attributes; returns (1, ., ., .)."""
    rank = int(rng.choice(_RANKS))
    shape = _other_shape(rng, b.tensors[x].shape, rank)
    if rank != 4:
        x = b.reshape(x, shape)
    y = b.moved(_random_op(rng, kind, shape), x)
    _, first, *between, last = (1, 1, *b.tensors[y].shape[1:]) if rank == 2 else b.tensors[y].shape
    return y if rank == 4 else b.reshape(y, (1, first, math.prod(between), last))


def _random_op(rng: Rng, kind: str, shape: ops.Shape) -> ops.Movement:
    rank = len(shape)
    return ops.Transpose((0, *(int(axis) for axis in rng.permutation(np.arange(1, rank)))))


def _other_shape(rng: Rng, shape: ops.Shape, rank: int) -> ops.Shape:
    """The same elements with this number of axes: the first axes joined, or the last ones split."""
    if rank < 4:
        return (1, *((math.prod(shape[1:-1]),) if rank == 3 else ()), math.prod(shape[1:] if rank == 2 else shape[-1:]))
    *first, last = shape
    while len(first) + 1 < rank:
        divisors = [n for n in range(1, last + 1) if last % n == 0]
        first.append(int(rng.choice(divisors)))
        last //= first[-1]
    return (*first, last)
