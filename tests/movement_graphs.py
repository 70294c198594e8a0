"""Random nodes that only move elements, with any number of axes: for :mod:`tests.graphs` and the nets of other tests.

Each reads a tensor of four axes and returns one, with reshapes around an op that is drawn with another number of axes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor

if TYPE_CHECKING:
    from tests.graphs import Builder, Rng

MOVEMENT_KINDS = ("transpose", "pad", "slice", "parts", "resize")
_RANKS = (2, 3, 4, 4, 4, 5, 6)


def random_movement(b: Builder, rng: Rng, kind: str, x: str) -> str:
    """Append an op of this kind that reads ``x`` (1, H, W, C), with random attributes; returns (1, ., ., .).

    A transpose reads the input instead of a tensor in which it could move nothing.
    """
    if kind == "resize":
        return b.moved(_resize(rng, b.tensors[x].shape), x)
    if kind == "transpose" and sum(size > 1 for size in b.tensors[x].shape) < 2:
        x = b.input
    ranks = _RANKS[1:] if kind == "transpose" else _RANKS  # one axis behind the batch has one order
    shape = _other_shape(rng, b.tensors[x].shape, int(rng.choice(ranks)))
    part = x if len(shape) == 4 else b.reshape(x, shape)
    y = _parts(b, rng, part) if kind == "parts" else b.moved(_moving_op(rng, kind, b.tensors[part]), part)
    _, *sizes = b.tensors[y].shape
    if len(sizes) == 3:
        return y
    first, *between, last = sizes if len(sizes) > 1 else (1, *sizes)
    return b.reshape(y, (1, first, math.prod(between), last))


def _moving_op(rng: Rng, kind: str, x: Tensor) -> ops.Movement:
    """A reshape to the same shape where each of some draws moves nothing, as in a tensor of one element."""
    for _ in range(8):
        op = _random_op(rng, kind, x)
        if not ops.keeps_order(op, x.shape):
            return op
    return ops.Reshape(x.shape)


def _random_op(rng: Rng, kind: str, x: Tensor) -> ops.Transpose | ops.Pad | ops.Slice:
    axes = range(1, len(x.shape))
    if kind == "transpose":
        return ops.Transpose((0, *rng.permutation(axes).tolist()))
    if kind == "pad":
        most = 3 if len(axes) < 4 else 2  # so that tensors of many axes stay small
        before, after = ((0, *rng.integers(0, most, len(axes)).tolist()) for _ in range(2))
        return ops.Pad(before, after, x.quant.zero_point if rng.integers(2) else int(rng.integers(-128, 128)))
    places = [_random_places(rng, x.shape[axis]) for axis in axes]
    begin, size, step = zip((0, 1, 1), *places, strict=True)
    return ops.Slice(begin, size, step)


def _resize(rng: Rng, shape: ops.Shape) -> ops.Resize:
    """To at most twice the height and width, so that tensors stay small."""
    size = (int(rng.integers(1, 2 * shape[1] + 1)), int(rng.integers(1, 2 * shape[2] + 1)))
    grid = str(rng.choice(["asymmetric", "align_corners", "half_pixel"]))
    return ops.Resize("nearest" if rng.integers(2) else "bilinear", size, grid)


def _random_places(rng: Rng, size: int) -> tuple[int, int, int]:
    """Begin, size and step on an axis, which is whole in one of three cases."""
    if rng.integers(3) == 0:
        return 0, size, 1
    begin = int(rng.integers(size))
    step = int(rng.choice([1, 1, 2, 3, -1, -2]))
    return begin, int(rng.integers((size - 1 - begin if step > 0 else begin) // abs(step) + 1)) + 1, step


def _parts(b: Builder, rng: Rng, x: str) -> str:
    """Two to five parts along an axis, some of them slices."""
    shape = b.tensors[x].shape
    axis = int(rng.integers(1, len(shape)))
    names = []
    for _ in range(int(rng.integers(2, 6))):
        most = int(rng.integers(1, shape[axis] + 1))
        size = (*shape[:axis], most, *shape[axis + 1 :])
        op = ops.Slice((0,) * len(shape), size, (1,) * len(shape))
        names.append(x if most == shape[axis] else b.moved(op, x))
    return b.moved(ops.Concat(axis), *names)


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
