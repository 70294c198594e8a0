"""Float operators that move or repeat elements, those that change nothing, and resizing.

Refuses pads of other values than zeros, and steps that the batch takes part in.
"""

from __future__ import annotations

import numpy as np

from .builder import ProgramBuilder, Row


def _same(b: ProgramBuilder) -> None:
    b.result(b.ref(0))


def _shape(b: ProgramBuilder) -> None:
    """The shape for one clip is a constant."""
    shape = b.ref(0).shape
    b.fold(np.asarray(shape[b.attribute("start", 0) : b.attribute("end")], np.int64))


def _reshape(b: ProgramBuilder) -> None:
    x, shape = b.ref(0), b.integers(1, "shape") or []
    if not b.attribute("allowzero", 0):
        shape = [x.shape[axis] if size == 0 and axis < len(x.shape) else size for axis, size in enumerate(shape)]
    b.result(b.reshaped(x, shape))


def _flatten(b: ProgramBuilder) -> None:
    x = b.ref(0)
    axis = int(b.attribute("axis", 1))
    axis = axis + len(x.shape) if axis < 0 else axis
    b.result(b.reshaped(x, [int(np.prod(x.shape[:axis])), -1]))


def _transpose(b: ProgramBuilder) -> None:
    x = b.ref(0)
    b.result(b.call("permute.default", x, [int(v) for v in b.attribute("perm", range(len(x.shape))[::-1])]))


def _squeeze(b: ProgramBuilder) -> None:
    x, axes = b.ref(0), b.integers(1, "axes")
    gone = {axis % len(x.shape) for axis in axes} if axes else {axis for axis, n in enumerate(x.shape) if n == 1}
    if x.batch_axis in gone:
        b.refuse("limit: the batch is removed", expected="other axes")
    b.result(b.reshaped(x, [size for axis, size in enumerate(x.shape) if axis not in gone]))


def _unsqueeze(b: ProgramBuilder) -> None:
    x, axes = b.ref(0), b.integers(1, "axes") or []
    rank = len(x.shape) + len(axes)
    new, sizes = {axis % rank for axis in axes}, iter(x.shape)
    b.result(b.reshaped(x, [1 if axis in new else next(sizes) for axis in range(rank)]))


def _concat(b: ProgramBuilder) -> None:
    b.result(b.call("cat.default", [b.ref(at) for at in range(b.inputs())], int(b.attribute("axis"))))


def _slice(b: ProgramBuilder) -> None:
    x = b.ref(0)
    starts, ends = b.integers(1, "starts") or [], b.integers(2, "ends") or []
    axes = b.integers(3, "axes") or list(range(len(starts)))
    for axis, start, end, step in zip(axes, starts, ends, b.integers(4) or [1] * len(starts), strict=True):
        if step < 0:  # PyTorch's slices go forward only
            size = x.shape[axis]
            first, last, _ = slice(start, None if end < -size else end, step).indices(size)
            x = b.call("flip.default", x, [axis])
            start, end, step = size - 1 - first, size - 1 - last, -step
        x = b.call("slice.Tensor", x, axis, max(start, -(2**31)), min(end, 2**31), step)
    b.result(x)


def _split(b: ProgramBuilder) -> None:
    x, axis = b.ref(0), int(b.attribute("axis", 0))
    sizes, parts = b.integers(1, "split"), b.outputs()
    if sizes is None:
        size = -(-x.shape[axis] // parts)
        sizes = [min(size, x.shape[axis] - size * part) for part in range(parts)]
    split = b.call("split_with_sizes.default", x, sizes, axis)
    for number in range(parts):
        b.result(b.part(split, number), number)


def _pad(b: ProgramBuilder) -> None:
    x, pads = b.ref(0), b.integers(1, "pads") or []
    value = float(b.constant(2).ravel()[0]) if b.has(2) else float(b.attribute("value", 0.0))
    mode = {"edge": "replicate", "wrap": "circular"}.get(text := b.attribute("mode", b"constant").decode(), text)
    if mode == "constant" and value != 0.0:
        b.refuse("limit: padding", expected="zeros", got=value)
    axes, rank = b.integers(3), len(x.shape)
    around = np.zeros((rank, 2), np.int64)
    around[[axis % rank for axis in axes] if axes else slice(None)] = np.reshape(pads, (2, -1)).T
    if around[0].any():
        b.refuse("limit: padding of the batch")
    if mode == "constant":
        b.result(b.call("pad.default", x, [int(v) for v in around[::-1].ravel()]))
        return
    for axis, (before, behind) in enumerate(around.tolist()):  # PyTorch's other modes pad the last axis of a sequence
        if before or behind:
            order = [*(a for a in range(rank) if a != axis), axis]
            last = b.call("permute.default", x, order)
            padded = b.call("pad.default", last, [before, behind, *[0] * (2 * max(0, rank - 3))], mode)
            x = b.call("permute.default", padded, [order.index(a) for a in range(rank)])
    b.result(x)


def _gather(b: ProgramBuilder) -> None:
    """Elements at constant places of an axis; one place drops the axis."""
    x, places, axis = b.ref(0), b.constant(1), int(b.attribute("axis", 0))
    if axis % len(x.shape) == x.batch_axis:
        b.refuse("limit: places in the batch")
    if places.ndim == 0:
        b.result(b.call("select.int", x, axis, int(places)))
    elif places.ndim == 1:
        b.result(b.call("index_select.default", x, axis, places.astype(np.int64) % x.shape[axis]))
    else:
        b.refuse("limit: axes of the places", expected="0 or 1", got=places.ndim)


def _depth_to_space(b: ProgramBuilder) -> None:
    x, size, (n, c, h, w) = b.ref(0), int(b.attribute("blocksize")), b.ref(0).shape
    if b.attribute("mode", b"DCR") == b"CRD":
        b.result(b.call("pixel_shuffle.default", x, size))
        return
    blocks = b.reshaped(x, [n, size, size, c // size**2, h, w])
    moved = b.call("permute.default", blocks, [0, 3, 4, 1, 5, 2])
    b.result(b.reshaped(moved, [n, c // size**2, h * size, w * size]))


def _space_to_depth(b: ProgramBuilder) -> None:
    x, size, (n, c, h, w) = b.ref(0), int(b.attribute("blocksize")), b.ref(0).shape
    blocks = b.reshaped(x, [n, c, h // size, size, w // size, size])
    moved = b.call("permute.default", blocks, [0, 3, 5, 1, 2, 4])
    b.result(b.reshaped(moved, [n, c * size**2, h // size, w // size]))


def _resize(b: ProgramBuilder) -> None:
    """By the sizes that the factors give; which coordinates are meant is decided by comparing the answers."""
    x, rank = b.ref(0), len(b.ref(0).shape)
    sizes = b.integers(3) if b.has(3) else None
    if sizes is None:
        at = 2 if b.has(2) else 1
        sizes = [int(np.floor(n * factor)) for n, factor in zip(x.shape, b.constant(at).ravel().tolist(), strict=True)]
    mode, coordinates = b.attribute("mode", b"nearest"), b.attribute("coordinate_transformation_mode", b"half_pixel")
    if rank != 4 or sizes[:2] != list(x.shape[:2]) or mode not in (b"nearest", b"linear"):
        b.refuse("limit: resizing", expected="height and width, 'nearest' or 'linear'", got=f"{mode!r} to {sizes}")
    if mode == b"nearest":
        b.result(b.call("upsample_nearest2d.vec", x, sizes[2:], None))
    else:
        b.result(b.call("upsample_bilinear2d.vec", x, sizes[2:], coordinates == b"align_corners", None))


def _expand(b: ProgramBuilder) -> None:
    x, shape = b.ref(0), b.integers(1) or []
    target = list(np.broadcast_shapes(tuple(x.shape), tuple(shape)))
    if len(target) != len(x.shape) or target[0] != 1:
        b.refuse("limit: a new axis, or a larger batch", got=target)
    b.result(b.call("expand.default", x, [-1, *target[1:]]))


def _tile(b: ProgramBuilder) -> None:
    b.result(b.call("repeat.default", b.ref(0), b.integers(1) or []))


ROWS: dict[str, Row] = {
    **dict.fromkeys(("Identity", "Dropout", "Cast"), _same),
    "Shape": _shape,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Gather": _gather,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Expand": _expand,
    "Tile": _tile,
}
