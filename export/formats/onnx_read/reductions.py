"""Readers of means, sums and extremes over axes, and of softmax over one axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from tinyscene.runtime import ops
from tinyscene.runtime.graph import PROBABILITY, Quant

from .builder import OnnxGraphBuilder
from .values import Codes, Pending

ReduceKind = Literal["mean", "sum", "max", "min"]


def _reduce(kind: ReduceKind) -> Callable[[OnnxGraphBuilder], None]:
    def read(b: OnnxGraphBuilder) -> None:
        codes, attributes = b.codes(0), b.attributes()
        rank = len(codes.order)
        stated = b.integers(1, "axes")
        if not stated and attributes.get("noop_with_empty_axes", 0):
            b.result(codes)
            return
        axes = {axis % rank for axis in (stated or range(rank))}
        reduce(b, codes, kind, axes, keep_dims=bool(attributes.get("keepdims", 1)))

    return read


def _global_pool(kind: ReduceKind) -> Callable[[OnnxGraphBuilder], None]:
    def read(b: OnnxGraphBuilder) -> None:
        codes = b.codes(0)
        reduce(b, codes, kind, set(range(2, len(codes.order))), keep_dims=True)

    return read


def reduce(b: OnnxGraphBuilder, codes: Codes, kind: ReduceKind, axes: set[int], *, keep_dims: bool) -> None:
    """The result, which has the input's codes for an extreme; ``axes``: of the file's tensor."""
    inside = tuple(sorted(codes.order[axis] for axis in axes))
    op = ops.Reduce(kind, inside, keep_dims)
    kept = [axis for axis in codes.order if keep_dims or axis not in inside]
    order = tuple(sorted(kept).index(axis) for axis in kept)
    shape = ops.OPS[ops.Reduce].shape(op, b.tensors[codes.name].shape)
    title = b.current.name or b.title

    def emit(_: Pending, __: bool, quant: Quant) -> str:
        return b.node(title, op, (codes.name,), quant, output=title)

    pending = b.pending(emit, shape, order)
    b.result(b.quantised(pending, b.quant(codes)) if kind in ("max", "min") else pending)


def _softmax(b: OnnxGraphBuilder) -> None:
    softmax(b, b.codes(0), int(b.attributes().get("axis", -1 if b.opset >= 13 else 1)))


def softmax(b: OnnxGraphBuilder, codes: Codes, axis: int) -> None:
    """Codes of softmax are 1/256 apart; another scale of the file is a table behind it."""
    rank = len(codes.order)
    axis %= rank
    others = [each for each in range(rank) if each != axis]
    order = tuple(rank - 1 if each == axis else others.index(each) for each in range(rank))
    if codes.order[axis] == rank - 1:
        order = codes.order
    source, title = b.ordered(codes, order), b.current.name or b.title

    def emit(_: Pending, __: bool, quant: Quant) -> str:
        if quant == PROBABILITY:
            return b.node(title, ops.Softmax(), (source,), quant, output=title)
        name = b.node(title, ops.Softmax(), (source,), PROBABILITY)
        return b.function(Codes(name, order), lambda real: real, quant).name

    b.result(replace(b.pending(emit, b.tensors[source].shape, order), natural=PROBABILITY))


ROWS = {
    "GlobalAveragePool": _global_pool("mean"),
    "GlobalMaxPool": _global_pool("max"),
    "ReduceMax": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceMin": _reduce("min"),
    "ReduceSum": _reduce("sum"),
    "Softmax": _softmax,
}
