"""Weights of uint8 minus their zero point, which may leave int8: as a sum of int8 weights of the same input.

The products of each part are added to one accumulator, so that the result is exact. There are two parts but for zero
points at an end. Channels whose weights have a second part are copied behind the input's own, all of them where they
are in more than :data:`MOST_RUNS` places, and all of a depthwise convolution's; their MACs are computed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tinyscene.runtime import ops
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.graph import Tensor

from ..tflite_file import Operator
from ..weight_parts import parts_of

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

MOST_RUNS = 8  # successive channels that are copied; TensorFlow Lite Micro joins ten tensors


def dense(builder: GraphBuilder, operator: Operator, x: Tensor, weight: npt.NDArray[np.int16]) -> tuple[Tensor, I8]:
    """Input and weight of a sum over the last axis of both, the channels."""
    parts = parts_of(weight)
    if len(parts) == 1:
        return x, parts[0]
    if weight.shape[-1] != x.shape[-1]:
        got = f"groups of {weight.shape[-1]} channels and a weight that leaves int8"
        raise builder.refusal(operator, "limit: weights of uint8 in groups", expected="one group", got=got)
    runs = [(part, first, end) for part in parts[1:] for first, end in _runs(part)]
    if len(runs) > MOST_RUNS:
        runs = [(part, 0, x.shape[-1]) for part in parts[1:]]
    joined = [x.name, *(_channels(builder, x, first, end) for _, first, end in runs)]
    copies = builder.inner(x, "copies", (*x.shape[:-1], x.shape[-1] + sum(end - first for _, first, end in runs)))
    builder.node(ops.Concat(len(x.shape) - 1), tuple(joined), copies)
    return copies, np.concatenate([parts[0], *(part[..., first:end] for part, first, end in runs)], axis=-1)


def _runs(part: I8) -> list[tuple[int, int]]:
    """First channel and end of each run of channels that have a weight other than 0."""
    needed = part.any(axis=tuple(range(part.ndim - 1)))
    ends = np.flatnonzero(np.diff(np.concatenate([[False], needed, [False]])))
    return [(int(first), int(end)) for first, end in ends.reshape(-1, 2)]


def _channels(builder: GraphBuilder, x: Tensor, first: int, end: int) -> str:
    """The name of a tensor with these channels."""
    if (first, end) == (0, x.shape[-1]):
        return x.name
    rank = len(x.shape)
    part = builder.inner(x, f"channels_{first}_to_{end}", (*x.shape[:-1], end - first))
    builder.node(ops.Slice((*[0] * (rank - 1), first), part.shape, (1,) * rank), (x.name,), part)
    return part.name


def grouped(builder: GraphBuilder, x: Tensor, parts: list[I8]) -> tuple[Tensor, I8]:
    """Input and weight of a convolution of one group for each channel, from the parts of a depthwise one's weight."""
    count, (_, height, width, channels) = len(parts), x.shape
    last = builder.inner(x, "last", (*x.shape, 1))
    builder.node(ops.Reshape(last.shape), (x.name,), last)
    copies = builder.inner(x, "copies", (*x.shape, count))
    builder.node(ops.Concat(4), (last.name,) * count, copies)
    flat = builder.inner(x, "side_by_side", (1, height, width, channels * count))
    builder.node(ops.Reshape(flat.shape), (copies.name,), flat)
    return flat, np.ascontiguousarray(np.stack([part[0].transpose(2, 0, 1) for part in parts], axis=-1))
