"""A part of one axis of an activation."""

from __future__ import annotations

from tinyscene.runtime import ops

from .builder import OnnxGraphBuilder
from .values import Codes


def cut(b: OnnxGraphBuilder, codes: Codes, axis: int, start: int, end: int, step: int) -> Codes:
    """A part of one axis, with Python's meaning of start, end and step."""
    shape = b.shape(codes)
    axis = b.axis(axis, len(shape))
    indices = range(*slice(start, None if step < 0 and end < -shape[axis] else end, step).indices(shape[axis]))
    if not len(indices):
        b.refuse("slice without elements", got=f"axis {axis}: {start} to {end}, step {step}")
    if len(indices) == shape[axis] and step == 1:
        return codes
    inside, rank = codes.order[axis], len(shape)
    begin = tuple(indices[0] if at == inside else 0 for at in range(rank))
    sizes = tuple(len(indices) if at == inside else n for at, n in enumerate(b.tensors[codes.name].shape))
    steps = tuple(indices.step if at == inside else 1 for at in range(rank))
    name = b.node(b.added("slice"), ops.Slice(begin, sizes, steps), (codes.name,), b.quant(codes))
    return Codes(name, codes.order)
