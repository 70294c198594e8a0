"""Readers of a dilated convolution in the form of older converters: SPACE_TO_BATCH_ND, CONV_2D, BATCH_TO_SPACE_ND.

The batch of the convolution is one of every d-th row and column of the input, so that neighbours of its kernel are d
elements apart. In one dimension (1, W, C), an EXPAND_DIMS or a RESHAPE before the convolution and a SQUEEZE or a
RESHAPE after it give it a height of 1. Refuses any other operator between the two, strides and padding of the
convolution, and an output that is cropped by more than the input is padded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Tensor

from ..tflite_file import Operator
from .common import Row
from .windows import ConvolutionWindow, append_convolution, convolution_options

if TYPE_CHECKING:
    from ..tflite_builder import GraphBuilder

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
EXPANDING, SQUEEZING = ("EXPAND_DIMS", "RESHAPE"), ("SQUEEZE", "RESHAPE")


@dataclass(frozen=True)
class _Chain:
    """The operators from SPACE_TO_BATCH_ND to BATCH_TO_SPACE_ND; ``views``: those between them that move nothing."""

    first: Operator
    convolution: Operator
    last: Operator
    views: tuple[Operator, ...]


def _space_to_batch(builder: GraphBuilder, operator: Operator) -> None:
    """Append the dilated convolution, with a reshape before and after it where the input has one dimension."""
    chain = _chain(builder, operator)
    source = builder.activation(operator.inputs[0])
    line = len(source.shape) == 3
    if not line:
        builder.activation(operator.inputs[0], rank=4)
    dilation, pads = _geometry(builder, chain, source)
    _require_same_codes(builder, chain)
    builder.merged |= {op.index for op in (chain.convolution, chain.last, *chain.views)}
    window = ConvolutionWindow((1, 1), pads, dilation)
    out = builder.activation(chain.last.output)
    if not line:
        append_convolution(builder, chain.convolution, source, window, out)
        return
    flat = builder.inner(source, "with_height", (1, 1, *source.shape[1:]))
    builder.node(ops.Reshape(flat.shape), (source.name,), flat)
    inner = builder.inner(out, "with_height", (1, 1, *out.shape[1:]))
    append_convolution(builder, chain.convolution, flat, window, inner)
    builder.node(ops.Reshape(out.shape), (inner.name,), out)


def _chain(builder: GraphBuilder, operator: Operator) -> _Chain:
    """The operators up to BATCH_TO_SPACE_ND, each of which alone reads the output of the one before."""
    chain, convolution = [operator], None
    while chain[-1].kind != "BATCH_TO_SPACE_ND":
        output = chain[-1].output
        readers = [op for op in builder.file.operators if output in op.inputs]
        views = EXPANDING if convolution is None else SQUEEZING
        allowed = ("BATCH_TO_SPACE_ND", *CONVOLUTIONS, *views)
        if len(readers) != 1 or readers[0].kind not in allowed or output in builder.file.outputs or len(chain) > 4:
            got = ", ".join(op.kind for op in readers) or "no operator"
            raise builder.refusal(operator, "a batch is read by", expected="one convolution alone", got=got)
        chain += readers
        convolution = readers[0] if readers[0].kind in CONVOLUTIONS else convolution
    if convolution is None:
        raise builder.refusal(operator, "a batch without a convolution is not supported")
    views_between = tuple(op for op in chain[1:-1] if op is not convolution)
    return _Chain(operator, convolution, chain[-1], views_between)


def _geometry(builder: GraphBuilder, chain: _Chain, source: Tensor) -> tuple[ops.Stride, ops.Pads]:
    """Dilation, and the pads that remain where the output is cropped."""
    first, last, sizes = chain.first, chain.last, source.shape[1:-1]
    block, closing = (builder.constant(op, 1, np.int32, rank=1).tolist() for op in (first, last))
    pads, crops = (builder.constant(op, 2, np.int32, rank=2) for op in (first, last))
    if len(block) != len(sizes) or block != closing or min(block) < 1 or pads.shape != (len(sizes), 2) != crops.shape:
        raise builder.refusal(last, "does not undo the SPACE_TO_BATCH_ND", expected=block, got=closing)
    padded = [size + total for size, total in zip(sizes, pads.sum(axis=1).tolist(), strict=True)]
    if min(pads.min(), crops.min()) < 0 or any(size % b for size, b in zip(padded, block, strict=True)):
        raise builder.refusal(first, "not whole blocks", expected=f"multiples of {block}", got=padded)
    left = pads - crops
    if left.min() < 0:
        raise builder.refusal(last, "crops more than was padded", got=left.tolist())
    _check_convolution(builder, chain, [size // b for size, b in zip(padded, block, strict=True)], source.shape[-1])
    (top, bottom), (before, after) = [[0, 0], *left.tolist()][-2:]
    dilation = [1, *block][-2:]
    return (dilation[0], dilation[1]), (top, before, bottom, after)


def _check_convolution(builder: GraphBuilder, chain: _Chain, parts: list[int], channels: int) -> None:
    """The convolution is plain, and every output between has the shape that its operator computes.

    ``parts``: height and width, or width alone, of each entry of the batch.
    """
    options = convolution_options(chain.convolution)
    weight = builder.constant(chain.convolution, 1, np.int8, rank=4)
    strides = (options.stride_h, options.stride_w, options.dilation_h_factor, options.dilation_w_factor)
    kernel, line = weight.shape[1:3], len(parts) == 1
    unpadded = options.padding == schema.Padding.VALID or kernel == (1, 1)
    if strides != (1, 1, 1, 1) or not unpadded or (line and kernel[0] != 1):
        what = "a convolution of a batch with strides, dilation, padding or, in one dimension, height"
        raise builder.refusal(chain.convolution, what, expected="padding VALID, strides of 1", got=strides)
    batch, outputs = builder.file.shape(chain.first.output)[:1], builder.file.shape(chain.convolution.output)[3:]
    builder.require_shape(chain.first, (math.prod(builder.constant(chain.first, 1, np.int32)), *parts, channels))
    high = [1, *parts][-2:]
    convolved = (high[0] - kernel[0] + 1, high[1] - kernel[1] + 1)
    if line != (len(chain.views) == 2):
        raise builder.refusal(chain.first, "a batch is reshaped", expected=2 if line else 0, got=len(chain.views))
    for view, shape in zip(chain.views, ((*batch, *high, channels), (*batch, convolved[1], *outputs)), strict=False):
        builder.require_shape(view, shape)
    builder.require_shape(chain.convolution, (*batch, *convolved, *outputs))


def _require_same_codes(builder: GraphBuilder, chain: _Chain) -> None:
    """Refuse a change of scale or zero point where elements only move."""
    file = builder.file
    before, convolved = file.quant(chain.first.inputs[0]), file.quant(chain.convolution.output)
    for op in (chain.first, *chain.views, chain.last):
        expected = before if op.index < chain.convolution.index else convolved
        if file.type(op.output) != "int8" or file.quant(op.output) != expected:
            raise builder.refusal(op, "changes scale or zero point", expected=expected, got=file.quant(op.output))


ROWS: dict[str, Row] = {"SPACE_TO_BATCH_ND": Row(_space_to_batch, 3, 3)}
