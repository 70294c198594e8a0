"""Readers of operators that only move elements: the result has the codes of the input.

Where a shape or an index must be known it is constant here, since shape arithmetic was folded before. Refuses moves of
the batch, and results of more elements than a tensor may have.
"""

from __future__ import annotations

import math

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import quantise
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.ops import Shape

from .builder import OnnxGraphBuilder
from .resizes import taken
from .slices import cut
from .values import Codes, Constant, Indices, Pending, QuantConstant


def _reshape(b: OnnxGraphBuilder) -> None:
    stated = b.integers(1, "shape") or ()
    zero_is_size = bool(b.attributes().get("allowzero", 0))

    def reshaped(codes: Codes) -> Codes:
        shape = b.shape(codes)
        sizes = [shape[i] if n == 0 and not zero_is_size and i < len(shape) else n for i, n in enumerate(stated)]
        return _to_shape(b, codes, tuple(sizes))

    b.move(reshaped)


def _to_shape(b: OnnxGraphBuilder, codes: Codes, sizes: Shape) -> Codes:
    """Reshape to sizes of which one may be -1."""
    elements = math.prod(b.shape(codes))
    rest = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) > 1 or rest <= 0 or elements % rest or (-1 not in sizes and rest != elements):
        b.refuse("shape", expected=f"{elements:,} elements", got=sizes)
    return b.reshaped(codes, tuple(elements // rest if size == -1 else size for size in sizes))


def _flatten(b: OnnxGraphBuilder) -> None:
    axis = int(b.attributes().get("axis", 1))

    def flat(codes: Codes) -> Codes:
        shape = b.shape(codes)
        first = axis % len(shape) if axis < 0 else axis
        return b.reshaped(codes, (math.prod(shape[:first]), math.prod(shape[first:])))

    b.move(flat)


def _squeeze(b: OnnxGraphBuilder) -> None:
    stated = b.integers(1, "axes")

    def squeezed(codes: Codes) -> Codes:
        shape = b.shape(codes)
        axes = {axis % len(shape) for axis in stated} if stated else {a for a, n in enumerate(shape) if n == 1}
        if any(shape[axis] != 1 for axis in axes):
            b.refuse("removes an axis that is not of size 1", expected=shape, got=stated)
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        return _without_moving(b, codes, kept, tuple(shape[axis] for axis in kept))

    b.move(squeezed)


def _without_moving(b: OnnxGraphBuilder, codes: Codes, kept: list[int], shape: Shape) -> Codes:
    """Axes of size 1 go: the others keep the graph's order, so that no element moves."""
    inside = [codes.order[axis] for axis in kept]
    order = tuple(sorted(inside).index(axis) for axis in inside)
    target = tuple(shape[order.index(at)] for at in range(len(shape)))
    if target[:1] != (1,):
        return b.reshaped(codes, shape)
    plain = Codes(codes.name, tuple(range(len(codes.order))))
    return Codes(b.reshaped(plain, target).name, order)


def _unsqueeze(b: OnnxGraphBuilder) -> None:
    stated = b.integers(1, "axes") or ()

    def unsqueezed(codes: Codes) -> Codes:
        shape = b.shape(codes)
        rank = len(shape) + len(stated)
        axes = {axis % rank for axis in stated}
        rest = iter(shape)
        return b.reshaped(codes, tuple(1 if axis in axes else next(rest) for axis in range(rank)))

    b.move(unsqueezed)


def _transpose(b: OnnxGraphBuilder) -> None:
    """No node: only the order of the axes changes, until an operator needs another one."""
    value, stated = b.value(0), b.attributes().get("perm")
    if isinstance(value, QuantConstant):
        b.result(value.moved(tuple(int(v) for v in stated or reversed(range(value.codes.ndim)))))
        return

    def turned(codes: Codes) -> Codes:
        rank = len(codes.order)
        permutation = [int(v) for v in stated] if stated else list(reversed(range(rank)))
        if sorted(permutation) != list(range(rank)):
            b.refuse("perm", expected=f"0 to {rank - 1} once each", got=permutation)
        return Codes(codes.name, tuple(codes.order[axis] for axis in permutation))

    b.move(turned)


def _concat(b: OnnxGraphBuilder) -> None:
    """Parts with another scale than the result get its codes by a table."""
    parts = [b.codes(at) for at in range(len(b.current.input))]
    rank = len(parts[0].order)
    if any(len(part.order) != rank for part in parts):
        b.refuse("parts", expected=f"{rank} axes each", got=[b.shape(part) for part in parts])
    order, axis = parts[0].order, int(b.attributes()["axis"]) % rank
    title = b.current.name or b.title
    names = [b.ordered(part, order) for part in parts]

    def emit(_: Pending, __: bool, quant: Quant) -> str:
        same = tuple(b.quantised(Codes(name, order), quant).name for name in names)
        return b.node(title, ops.Concat(order[axis]), same, quant, output=title)

    shapes = [b.tensors[name].shape for name in names]
    total = sum(shape[order[axis]] for shape in shapes)
    shape = tuple(total if at == order[axis] else size for at, size in enumerate(shapes[0]))
    pending = b.pending(emit, shape, order)
    quants = {b.quant(part) for part in parts}
    b.result(Codes(emit(pending, False, quants.pop()), order) if len(quants) == 1 else pending)


def _slice(b: OnnxGraphBuilder) -> None:
    starts, ends = (b.integers(at, name) or () for at, name in ((1, "starts"), (2, "ends")))
    axes, steps = b.integers(3, "axes"), b.integers(4)

    def sliced(codes: Codes) -> Codes:
        for axis, (start, end) in enumerate(zip(starts, ends, strict=True)):
            at = axes[axis] if axes is not None else axis
            codes = cut(b, codes, at, start, end, 1 if steps is None else steps[axis])
        return codes

    b.move(sliced)


def _split(b: OnnxGraphBuilder) -> None:
    codes = b.codes(0)
    axis, count = int(b.attributes().get("axis", 0)), len(b.current.output)
    size = b.shape(codes)[axis]
    stated = b.integers(1, "split")
    each = -(-size // count)
    sizes = stated or tuple(min(each, size - each * at) for at in range(count))
    if len(sizes) != count or sum(sizes) != size:
        b.refuse("sizes of the parts", expected=f"{count} with a sum of {size}", got=sizes)
    at = 0
    for position, part in enumerate(sizes):
        b.result(cut(b, codes, axis, at, at + part, 1), position)
        at += part


def _table(b: OnnxGraphBuilder, source: Constant | QuantConstant, indices: Indices) -> None:
    """A table with one entry for each code, a code or a real number; negative codes count from its end."""
    entries = source.real if isinstance(source, QuantConstant) else source.values
    if entries.shape != (256,):
        b.refuse("table", expected="256 entries", got=entries.shape)
    ordered = np.roll(entries, 128) if indices.dtype == "int8" else entries
    codes = indices.codes

    def emit(_: Pending, __: bool, quant: Quant) -> str:
        if ordered.dtype.kind == "f":
            return b.table(codes, quantise(ordered, quant), quant).name
        return b.table(codes, ordered.astype(np.int64) - (128 if ordered.dtype == np.uint8 else 0), quant).name

    b.result(b.pending(emit, b.tensors[codes.name].shape, codes.order))


def _gather(b: OnnxGraphBuilder) -> None:
    """A table of codes; of an activation one index, or indices that are evenly apart, which are a slice."""
    source, value = b.value(0), b.value(1)
    if isinstance(source, Constant | QuantConstant) and isinstance(value, Indices):
        _table(b, source, value)
        return
    codes, axis = b.codes(0), int(b.attributes().get("axis", 0))
    if not isinstance(value, Constant):
        b.refuse("limit: computed indices", expected="constant ones")
    axis = b.axis(axis, len(b.shape(codes)))
    size = b.shape(codes)[axis]
    if value.values.ndim > 1 or not value.values.size:
        b.refuse("limit: indices", expected="one or more, in one axis", got=value.values.shape)
    part = taken(b, codes, axis, [int(v) % size for v in value.values.ravel().tolist()])
    if value.values.ndim == 0:
        shape = b.shape(part)
        kept = [at for at in range(len(shape)) if at != axis]
        part = _without_moving(b, part, kept, tuple(shape[at] for at in kept))
    b.result(part)


def _blocks(b: OnnxGraphBuilder) -> None:
    """DepthToSpace and SpaceToDepth: a block of the image is next to channels, or behind them (DCR and CRD)."""
    attributes = b.attributes()
    size, to_space = int(attributes["blocksize"]), b.current.op_type == "DepthToSpace"
    behind = attributes.get("mode", b"DCR") == b"CRD"

    def moved(codes: Codes) -> Codes:
        n, c, h, w = b.shape(codes)
        if size < 1 or (c % size**2 if to_space else h % size + w % size):
            b.refuse("block size", expected=f"one that divides {(c, h, w)}", got=size)
        if to_space:
            parts = (n, c // size**2, size, size, h, w) if behind else (n, size, size, c // size**2, h, w)
            order = (0, 1, 4, 2, 5, 3) if behind else (0, 3, 4, 1, 5, 2)
            shape = (n, c // size**2, h * size, w * size)
        else:
            parts, order = (n, c, h // size, size, w // size, size), (0, 3, 5, 1, 2, 4)
            shape = (n, c * size**2, h // size, w // size)
        split = b.reshaped(codes, parts)
        return b.reshaped(Codes(split.name, tuple(split.order[axis] for axis in order)), shape)

    b.move(moved)


ROWS = {
    "Concat": _concat,
    "DepthToSpace": _blocks,
    "Flatten": _flatten,
    "Gather": _gather,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
