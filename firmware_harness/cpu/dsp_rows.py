"""Rows of the DSP kernel set: one node as one call, None for shapes that only the portable kernel supports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.plan import Lead

from ..emit.broadcast import broadcast_axes, repeated_runs
from ..emit.ceiling import clip_bounds
from ..emit.records import Fields, Layer, codes_of, is_plain, window_fields
from .dsp_constants import (
    Folded,
    folded,
    groups_of,
    integer,
    low_code,
    padded_bytes,
    pointwise,
    product_rescale,
    strip_bytes,
    strips,
    summed,
    tiles_bytes,
    weight_bytes,
)

HEADER = "ts_dsp.h"
ROWS = 3  # of a plane
FEWEST_ROWS = 4  # of a matrix product
STRIP_BYTES = 4096  # of a depthwise convolution's planes
LONGEST_ROW = 64  # pixels of a 1x1 convolution per row of tiles


def conv2d(graph: Graph, node: Node) -> Layer | None:
    """A convolution."""
    op, (_, weight_t, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.Conv2D)
    if not is_plain(graph, node):
        return None
    channels, height, width, in_channels = weight_t.shape
    constants = folded(graph, node, codes_of(weight_t).reshape(channels, -1))
    if constants is None:
        return None
    window = _flattened(window_fields(graph, node, op, (height, width)))
    return _by_rows(graph, node, window, in_channels, constants)


def fully_connected(graph: Graph, node: Node) -> Layer | None:
    """A matrix product as the convolution of one pixel for each row; few rows are not worth widened weights."""
    weight = codes_of(graph.ins(node)[1])
    outputs, inputs = weight.shape
    constants = folded(graph, node, weight)
    if constants is None:
        return None
    n_rows = graph.out(node).n_bytes // outputs
    if n_rows < FEWEST_ROWS:
        return _dense(graph, node, constants, n_rows)
    sides = ("in_height", "in_width", "out_height", "out_width", "kernel_height", "kernel_width")
    window: Fields = {**dict.fromkeys((*sides, "stride_height", "stride_width"), 1), "pad_top": 0, "pad_left": 0}
    window["in_width"] = window["out_width"] = n_rows
    return _by_rows(graph, node, _flattened(window), inputs, constants)


def _dense(graph: Graph, node: Node, constants: Folded, n_rows: int) -> Layer:
    """The product of a matrix with each of ``n_rows`` rows of the input."""
    record = pointwise(constants, 1)
    fields: Fields = {
        "rows": n_rows,
        "inputs": constants.weight.shape[1],
        "outputs": len(constants.weight),
        "zero_point": constants.out.zero_point,
        "low": low_code(graph, node),
        "weight": record["weight"],
        "quads": record["quads"],
    }
    return Layer("ts_dsp_dense", "TsDspDense", fields, header=HEADER)


def _by_rows(graph: Graph, node: Node, window: Fields, in_channels: int, constants: Folded) -> Layer:
    if _is_dense(window):
        return _dense(graph, node, constants, 1)
    record = pointwise(constants, integer(window, "kernel_height"))
    weight_at = tiles_bytes(integer(window, "out_width"), integer(record, "groups"))
    lead = gathered_lead(window, in_channels, len(constants.weight))

    def layer(kept: bool) -> Layer:
        fields: Fields = {
            "window": window,
            "in_channels": in_channels,
            "in_zero_point": graph.ins(node)[0].quant.zero_point,
            "run_groups": groups_of(integer(window, "kernel_width") * in_channels, 1),
            "low": low_code(graph, node),
            "weight_at": weight_at,
            "padded_at": weight_at + weight_bytes(record, kept),
            "pointwise": record | {"kept": int(kept)},
        }
        scratch_bytes = weight_at + weight_bytes(record, kept) + padded_bytes(record, integer(window, "out_width"))
        return Layer("ts_dsp_conv2d", "TsDspConv2D", fields, scratch_bytes, HEADER, lead=lead)

    several_rows = integer(window, "out_height") > 1  # with one row, weights are widened only once in either variant
    return with_leaner(layer(kept=several_rows), layer(kept=False))


def with_leaner(fastest: Layer, *leaner: Layer) -> Layer:
    """The fastest layer with those of the others that need less scratch memory as leaner variants."""
    return replace(fastest, leaner=tuple(other for other in leaner if other.scratch_bytes < fastest.scratch_bytes))


def _is_dense(window: Fields) -> bool:
    """Whether there is one output pixel, whose window is the whole input."""
    kernel, size = (tuple(integer(window, f"{of}_{side}") for side in ("height", "width")) for of in ("kernel", "in"))
    outputs = integer(window, "out_height") * integer(window, "out_width")
    return kernel == size and outputs == 1 and not window["pad_top"] and not window["pad_left"]


def _flattened(window: Fields) -> Fields:
    """The window of a 1x1 convolution with the same pixels in longer rows, of an even length if possible."""
    pixels = integer(window, "in_height") * integer(window, "in_width")
    plain = {"kernel_height": 1, "kernel_width": 1, "stride_height": 1, "stride_width": 1, "pad_top": 0, "pad_left": 0}
    if any(window[name] != value for name, value in plain.items()) or pixels != integer(window, "out_height") * integer(
        window, "out_width"
    ):
        return window
    lengths = [n for n in range(1, min(pixels, LONGEST_ROW) + 1) if pixels % n == 0]
    length = max(lengths, key=lambda n: (n % 2 == 0, n))
    size = {"in_height": pixels // length, "in_width": length, "out_height": pixels // length, "out_width": length}
    return window | size


def gathered_lead(window: Fields, in_channels: int, channels: int) -> Lead:
    """Before an output row is written, its windows have been gathered."""
    free = [
        (y + 1) * integer(window, "stride_height") - integer(window, "pad_top")
        for y in range(integer(window, "out_height"))
    ]
    return row_lead(window, in_channels, channels, free)


def planes_lead(window: Fields, in_channels: int, channels: int) -> Lead:
    """Before an output row is written, the three input rows that it needs have been read."""
    stride, pad = integer(window, "stride_height"), integer(window, "pad_top")
    return row_lead(
        window, in_channels, channels, [y * stride - pad + ROWS for y in range(integer(window, "out_height"))]
    )


def row_lead(window: Fields, in_channels: int, channels: int, free: list[int]) -> Lead:
    """Lead of an output written row by row; ``free``: for each output row, the input rows that are no longer needed."""
    out_row, in_row = integer(window, "out_width") * channels, integer(window, "in_width") * in_channels
    in_height = integer(window, "in_height")
    leads = [out_row * (y + 1) - in_row * max(rows, 0) for y, rows in enumerate(free) if rows < in_height]
    return Lead(max(leads, default=-in_height * in_row))


def depthwise(graph: Graph, node: Node) -> Layer | None:
    """A 3x3 depthwise convolution with column strides of one or two."""
    op, (x, weight_t, _) = node.op, graph.ins(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    _, height, width, channels = weight_t.shape
    if (height, width) != (3, 3) or op.stride[1] > 2 or not is_plain(graph, node):
        return None
    constants = folded(graph, node, codes_of(weight_t).reshape(9, channels).T)
    if constants is None:
        return None
    window = window_fields(graph, node, op, (height, width))
    columns, out_height = columns_of(window), integer(window, "out_height")

    lead = _in_place(graph, node, window)

    def layer(rows: int) -> Layer:
        record = strips(constants, columns, x.quant.zero_point, rows)
        fields: Fields = {"window": window, "low": low_code(graph, node), "strips": record}
        scratch_bytes = strip_bytes(columns, _seen_rows(window, rows))
        return Layer("ts_dsp_depthwise", "TsDspDepthwise", fields, scratch_bytes, HEADER, lead=lead)

    fitting = [n for n in range(1, out_height + 1) if strip_bytes(columns, _seen_rows(window, n)) <= STRIP_BYTES]
    n_strips = -(-out_height // max(fitting, default=1))
    return with_leaner(layer(-(-out_height // n_strips)), layer(1))


def _seen_rows(window: Fields, rows: int) -> int:
    """Rows of the input under so many rows of a 3x3 window."""
    return (rows - 1) * integer(window, "stride_height") + ROWS


def _in_place(graph: Graph, node: Node, window: Fields) -> Lead | None:
    """Of four channels, all rows under a strip are read before it is written, and only then the next four: the output
    may replace an input of its shape."""
    x, out = graph.ins(node)[0], graph.out(node)
    fits = x.shape == out.shape and integer(window, "stride_height") == 1
    return Lead(out.n_bytes, in_place=True) if fits else None


def columns_of(window: Fields) -> int:
    """Columns of a plane: those of the padded input, or of the outputs' windows if these are more."""
    seen = (integer(window, "out_width") - 1) * integer(window, "stride_width") + 3
    return max(integer(window, "pad_left") + integer(window, "in_width"), seen)


def add(graph: Graph, node: Node) -> Layer | None:
    """A sum of two tensors of one shape."""
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Add)
    sum_record = summed(a.quant, b.quant, out.quant)
    if sum_record is None or a.shape != b.shape:
        return None
    larger, record = sum_record
    fields: Fields = {"size": int(np.prod(out.shape)), "larger": larger, "low": low_code(graph, node), "sum": record}
    return Layer("ts_dsp_add", "TsDspAdd", fields, header=HEADER, lead=Lead(0))


def clip(graph: Graph, node: Node) -> Layer | None:
    """A table that only bounds the codes."""
    bounds = clip_bounds(graph, node)
    if bounds is None:
        return None
    fields: Fields = {"size": graph.out(node).n_bytes, "low": bounds[0], "high": bounds[1]}
    return Layer("ts_dsp_clip_codes", "TsDspClip", fields, header=HEADER, n_inputs=1, lead=Lead(0))


def mul(graph: Graph, node: Node) -> Layer | None:
    """A product of two different tensors, the second of which is repeated whole or is one element."""
    op, (a, b), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Mul)
    rescale = product_rescale(a.quant, b.quant, out.quant)
    runs = repeated_runs(broadcast_axes(a.shape, b.shape))
    if node.inputs[0] == node.inputs[1] or rescale is None or runs is None:
        return None
    fields: Fields = {
        "repeats": runs[0],
        "size": runs[1],
        "a_zero_point": a.quant.zero_point,
        "b_zero_point": b.quant.zero_point,
        "rescale": rescale,
        "out_zero_point": out.quant.zero_point,
        "low": low_code(graph, node),
    }
    return Layer("ts_dsp_mul", "TsDspMul", fields, header=HEADER, lead=Lead(0))
