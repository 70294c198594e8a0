"""Dense convolutions and matrix products for Helium, the input's zero point in the bias.

Four pixels by two channels at a time, or eight channels of one row: for few rows, and for rescaling factors of one half
and above, which need a left shift under the rule `double`. Returns None, so that the portable kernel runs, for such a
convolution with groups, and for transposed ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rescale, conv_rescale, weight_rescale
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node
from tinyscene.runtime.plan import Lead

from ..emit.records import Fields, Layer, Values, codes_of, is_plain, output_fields, window_fields
from .mve_planes import depthwise_planes
from .mve_windows import HEADER, LANES, constants, moved_bias, shifts_right
from .patterns import is_one_by_one

PIXELS = 4  # computed side by side
MOST_PIECES = 15  # of a short window
LARGEST_OFFSET = 2**16 - 1  # from the first of four pixels to the last, in bytes
ROW_OUTPUTS = 8  # side by side
FOUR = 4  # outputs of a vector of sums


@dataclass(frozen=True)
class _Product:
    """Weights (channel, k), moved biases, factors and ends of a matrix product."""

    rows: I64
    bias: I64
    rescale: Rescale
    out: Fields
    groups: int = 1


def conv2d(graph: Graph, node: Node) -> Layer | None:
    """A convolution with any window, dilation and number of groups."""
    op, (x, weight, bias), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.Conv2D)
    if op.groups == x.shape[3] > 1 and (planes := depthwise_planes(graph, node)) is not None:
        return planes
    rows = codes_of(weight).reshape(weight.shape[0], -1)
    product = _Product(
        rows,
        moved_bias(codes_of(bias), rows, x.quant.zero_point),
        conv_rescale(x.quant, weight.quant, out.quant),
        output_fields(out.quant, op.relu),
        op.groups,
    )
    windows: Fields = {
        "window": window_fields(graph, node, op, weight.shape[1:3]),
        "dilation_height": op.dilation[0],
        "dilation_width": op.dilation[1],
        "in_channels": x.shape[3],
        "group_inputs": weight.shape[3],
        "in_zero_point": x.quant.zero_point,
    }
    if _by_pairs(product) and (out.shape[1] * out.shape[2] >= PIXELS or op.groups > 1):
        return _pairs(product, windows, _conv_lead(graph, node, op) if is_plain(graph, node) else None)
    if op.groups > 1:
        return None
    fields: Fields = {"windows": windows, "product": _row_fields(product, 1)}
    return Layer("ts_mve_conv_rows", "TsMveConvRows", fields, _whole(rows.shape[1]), HEADER)


def fully_connected(graph: Graph, node: Node) -> Layer:
    """A matrix product; one of many rows is a convolution of kernel 1x1."""
    op, (x, weight, bias), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.FullyConnected)
    rows = codes_of(weight)
    outputs, inputs = rows.shape
    moved = moved_bias(codes_of(bias), rows, x.quant.zero_point)
    r = weight_rescale(x.quant, weight.quant, out.quant)  # of all outputs, or of each
    rescale = Rescale(np.resize(r.multiplier, outputs), np.resize(r.shift, outputs), np.resize(r.factor, outputs))
    product = _Product(rows, moved, rescale, output_fields(out.quant, op.relu))
    n_rows = out.n_bytes // outputs
    if n_rows >= PIXELS and _by_pairs(product):
        return _pairs(product, _row_windows(n_rows, inputs, x.quant.zero_point), None)
    kernel, scratch_bytes = "ts_mve_fully_connected", 0
    if inputs % LANES:
        kernel, scratch_bytes = "ts_mve_fully_connected_padded", _whole(inputs)
    return Layer(kernel, "TsMveFullyConnected", _row_fields(product, n_rows), scratch_bytes, HEADER)


def windows_bytes(fields: Fields) -> int:
    """Scratch memory of a convolution with these fields of TsMveConv2D."""
    pieces, channels = fields["pieces"], fields["out_channels"]
    assert isinstance(pieces, int)
    assert isinstance(channels, int)
    return PIXELS * (LANES * (pieces if pieces > MOST_PIECES else MOST_PIECES) + channels)


def _row_windows(n_rows: int, inputs: int, zero_point: int) -> Fields:
    """Windows of one pixel in a row of pixels."""
    sides = ("in_height", "out_height", "kernel_height", "kernel_width", "stride_height", "stride_width")
    window: Fields = {**dict.fromkeys(sides, 1), "pad_top": 0, "pad_left": 0, "in_width": n_rows, "out_width": n_rows}
    channels: Fields = {"in_channels": inputs, "group_inputs": inputs, "in_zero_point": zero_point}
    return {"window": window, "dilation_height": 1, "dilation_width": 1, **channels}


def _by_pairs(product: _Product) -> bool:
    return shifts_right(product.rescale) and (PIXELS - 1) * len(product.rows) < LARGEST_OFFSET


def _pairs(product: _Product, windows: Fields, lead: Lead | None) -> Layer:
    channels, inputs = product.rows.shape
    group_outputs, pieces = channels // product.groups, -(-inputs // LANES)
    fields: Fields = {
        "windows": windows,
        "out_channels": channels,
        "group_outputs": group_outputs,
        "pieces": pieces,
        "weight": Values("int8_t", (*_paired(product.rows, group_outputs, pieces).ravel().tolist(), *[0] * LANES)),
        "constants": constants(product.rescale, product.bias, side_by_side=2, of_each=group_outputs),
        "out": product.out,
    }
    return Layer("ts_mve_conv2d", "TsMveConv2D", fields, windows_bytes(fields), HEADER, lead=lead)


def _conv_lead(graph: Graph, node: Node, op: ops.Conv2D) -> Lead:
    """Before four outputs are written, their windows have been copied or are read in place; later ones have not."""
    (_, _, in_width, in_channels), (_, height, width, channels) = (
        graph.ins(node)[0].shape,
        graph.out(node).shape,
    )
    if is_one_by_one(graph, node):
        n = height * width
        kept = PIXELS if _reads_in_place(in_channels) else 0
        written = (min(PIXELS, n), n)
        return Lead(max(pixels * channels - max(0, pixels - kept) * in_channels for pixels in written))
    needed = (max(0, y * op.stride[0] - op.pads[0]) * in_width * in_channels for y in range(height))
    return Lead(max((y + 1) * width * channels - kept for y, kept in enumerate(needed)))


def _reads_in_place(inputs: int) -> bool:
    """Whether the windows of a convolution of kernel 1x1 are its input."""
    return inputs % LANES == 0 and inputs > MOST_PIECES * LANES


def _paired(rows: I64, group_outputs: int, pieces: int) -> I64:
    """Weights (channel, k) in the order described at TsMveConv2D in ts_mve.h."""
    channels, n = rows.shape
    padded = np.zeros((channels // group_outputs, group_outputs + group_outputs % 2, pieces * LANES), np.int64)
    padded[:, :group_outputs, :n] = rows.reshape(-1, group_outputs, n)
    order = [0, *range(pieces - 1, 0, -1)] if pieces <= MOST_PIECES else range(pieces)
    return padded.reshape(-1, 2, pieces, LANES).transpose(0, 2, 1, 3)[:, order]


def _row_fields(product: _Product, n_rows: int) -> Fields:
    outputs, inputs = product.rows.shape
    pieces, together = -(-inputs // LANES), outputs // ROW_OUTPUTS * ROW_OUTPUTS
    padded = np.pad(product.rows, ((0, 0), (0, -inputs % LANES)))
    side_by_side = padded[:together].reshape(-1, ROW_OUTPUTS, pieces, LANES).swapaxes(1, 2)
    weights = np.concatenate((side_by_side.ravel(), padded[together:].ravel()))
    return {
        "rows": n_rows,
        "inputs": inputs,
        "outputs": outputs,
        "weight": Values("int8_t", tuple(weights.tolist())),
        "constants": constants(product.rescale, product.bias, side_by_side=FOUR),
        "out": product.out,
    }


def _whole(n_bytes: int) -> int:
    return -(-n_bytes // LANES) * LANES
