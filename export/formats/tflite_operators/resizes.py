"""Readers of TFLite operators: resizing, blocks between space and depth, and repetition.

Blocks become a reshape, a transpose and a reshape; a repetition is a concatenation of a tensor with itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.ops import Shape
from tinyscene.runtime.tflite_options import (
    DepthToSpaceOptions,
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
    SpaceToDepthOptions,
)

from ..tflite_file import Operator
from .common import Reader, Row, constant_name, rows_of

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

MOST_COPIES = 1024  # along one axis


def _resize(kind: Literal["nearest", "bilinear"]) -> Reader:
    def read(builder: GraphBuilder, operator: Operator) -> None:
        x, options = builder.activation(operator.inputs[0], rank=4), operator.options
        assert isinstance(options, ResizeBilinearOptions | ResizeNearestNeighborOptions)
        size = builder.integers(operator, 1, rank=1).tolist()
        if options.align_corners and options.half_pixel_centers:
            raise builder.refusal(operator, "align_corners and half_pixel_centers", expected="at most one of the two")
        if len(size) != 2 or min(size) < 1:
            raise builder.refusal(operator, "size", expected="height and width", got=size[:8])
        builder.require_shape(operator, (x.shape[0], *size, x.shape[3]))
        aligned, centred = options.align_corners, options.half_pixel_centers
        grid: Literal["asymmetric", "align_corners", "half_pixel"] = "half_pixel" if centred else "asymmetric"
        op = ops.Resize(kind, (size[0], size[1]), "align_corners" if aligned else grid)
        out = builder.activation(operator.output)
        builder.node(op, (x.name,), out, constant_name(builder, operator, 1, "_size"))

    return read


def _depth_to_space(builder: GraphBuilder, operator: Operator) -> None:
    options = operator.options
    assert isinstance(options, DepthToSpaceOptions)
    block, (batch, height, width, channels) = options.block_size, builder.activation(operator.inputs[0], rank=4).shape
    if channels % block**2:
        raise builder.refusal(operator, "channels", expected=f"a multiple of {block**2}", got=channels)
    depth = channels // block**2
    builder.require_shape(operator, (batch, height * block, width * block, depth))
    _swapped(builder, operator, (batch, height, width, block, block * depth))


def _space_to_depth(builder: GraphBuilder, operator: Operator) -> None:
    options = operator.options
    assert isinstance(options, SpaceToDepthOptions)
    block, (batch, height, width, channels) = options.block_size, builder.activation(operator.inputs[0], rank=4).shape
    if height % block or width % block:
        raise builder.refusal(operator, "height and width", expected=f"multiples of {block}", got=(height, width))
    builder.require_shape(operator, (batch, height // block, width // block, channels * block**2))
    _swapped(builder, operator, (batch, height // block, block, width // block, block * channels))


def _swapped(builder: GraphBuilder, operator: Operator, shape: Shape) -> None:
    """The elements as this shape with its third and fourth axis in the other order."""
    x, out = builder.activation(operator.inputs[0]), builder.activation(operator.output)
    blocks = builder.inner(x, "blocks", shape)
    builder.node(ops.Reshape(shape), (x.name,), blocks)
    swapped = builder.inner(x, "swapped", (*shape[:2], shape[3], shape[2], shape[4]))
    builder.node(ops.Transpose((0, 1, 3, 2, 4)), (blocks.name,), swapped)
    builder.node(ops.Reshape(out.shape), (swapped.name,), out)


def _tile(builder: GraphBuilder, operator: Operator) -> None:
    shape, copies = builder.file.shape(operator.inputs[0]), builder.integers(operator, 1, rank=1).tolist()
    if len(copies) != len(shape) or min(copies) < 1:
        raise builder.refusal(operator, "copies", expected=f"{len(shape)} numbers from 1 on", got=copies[:8])
    _repeated(builder, operator, copies)


def _broadcast_to(builder: GraphBuilder, operator: Operator) -> None:
    shape, target = builder.file.shape(operator.inputs[0]), builder.integers(operator, 1, rank=1).tolist()
    fits = len(target) == len(shape) and all(n in (1, m) for n, m in zip(shape, target, strict=True))
    if not fits or min(target) < 1:
        raise builder.refusal(operator, "shape to broadcast to", expected=f"{shape}, or more in place of 1", got=target)
    _repeated(builder, operator, [m if n == 1 else 1 for n, m in zip(shape, target, strict=True)])


def _repeated(builder: GraphBuilder, operator: Operator, copies: list[int]) -> None:
    shape = builder.file.shape(operator.inputs[0])
    if max(copies) > MOST_COPIES:
        raise builder.refusal(operator, "copies along one axis", expected=f"at most {MOST_COPIES:,}", got=max(copies))
    builder.require_shape(operator, tuple(np.multiply(shape, copies).tolist()))
    x, before = rows_of(builder, operator.inputs[0], moves_first=copies[0] > 1)
    for axis, count in enumerate(copies, start=before):
        if count > 1:
            source = x
            x = builder.inner(source, "repeated", (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]))
            builder.node(ops.Concat(axis), (source.name,) * count, x)
    out = builder.activation(operator.output)
    builder.node(ops.Reshape(out.shape), (x.name,), out)


ROWS: dict[str, Row] = {
    "BROADCAST_TO": Row(_broadcast_to, 2, 2),
    "DEPTH_TO_SPACE": Row(_depth_to_space, 1, 1),
    "RESIZE_BILINEAR": Row(_resize("bilinear"), 2, 2),
    "RESIZE_NEAREST_NEIGHBOR": Row(_resize("nearest"), 2, 2),
    "SPACE_TO_DEPTH": Row(_space_to_depth, 1, 1),
    "TILE": Row(_tile, 2, 2),
}
