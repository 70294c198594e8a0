"""Depthwise convolutions for Helium with any kernel, stride, dilation, multiplier and rescaling factor: as planes.

Returns None, so that the portable kernel runs, for kernels of several lines of more than sixteen taps, and for lines or
pixels too large for the 16-bit offsets of a vector of codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rescale, conv_rescale
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node

from ..emit.records import Fields, Layer, Values, codes_of, output_fields
from .mve_windows import HEADER, LANES, Axis, axes_of, constants, moved_bias

CHANNELS = 8  # copied to planes at once
OUTPUTS = 8  # computed side by side
SCRATCH_BYTES = 4096  # of planes with more lines than one line of outputs needs
LARGEST_OFFSET = 2**16 - 1


@dataclass(frozen=True)
class _Planes:
    """A kernel (across, along, channel in, output), placed across and along the map."""

    across: Axis
    along: Axis
    taps: I64
    dilation: int  # across; along it is part of the taps
    multiplier: int
    interleaved: int  # lines

    @property
    def lines(self) -> int:
        return int(self.taps.shape[0])

    @property
    def groups(self) -> int:
        """Of interleaved lines."""
        return -(-self.lines // self.interleaved)

    @property
    def vectors(self) -> int:
        """Of a line of the kernel."""
        return -(-int(self.taps.shape[1]) * self.interleaved // LANES)

    @property
    def pieces(self) -> int:
        return self.groups * self.vectors

    @property
    def columns(self) -> int:
        """Pixels of a line in a plane, padding included."""
        reach = (self.along.out_size - 1) * self.along.stride + int(self.taps.shape[1])
        return max(reach, self.along.pad + self.along.in_size)

    @property
    def at_once(self) -> int:
        """Lines of outputs from one copy."""
        if self.dilation > 1 or self.interleaved > 1:
            return 1
        most = (SCRATCH_BYTES // (CHANNELS * self.columns) - self.lines) // self.across.stride + 1
        return max(1, min(most, self.across.out_size))

    @property
    def plane_bytes(self) -> int:
        lines = (self.at_once - 1) * self.across.stride + self.groups * self.interleaved
        return lines * self.columns

    @property
    def scratch_bytes(self) -> int:
        """With the vectors that begin in the last plane."""
        blocks = -(-self.along.out_size // OUTPUTS)
        return CHANNELS * self.plane_bytes + self._stride * blocks * OUTPUTS + self.vectors * LANES

    @property
    def possible(self) -> bool:
        """Whether pieces are equally far apart and offsets of codes fit into 16 bits."""
        offsets = (OUTPUTS - 1) * max(self.plane_bytes, self.along.out_pitch)
        one_line = self.lines == 1 and self.interleaved == 1
        return (one_line or self.vectors == 1) and offsets <= LARGEST_OFFSET

    @property
    def cost(self) -> int:
        """Instructions of eight channels, roughly."""
        outputs = self.across.out_size * -(-self.along.out_size // OUTPUTS) * OUTPUTS
        product = 2 if self._stride <= 2 else 3  # constant distances from vector to vector are part of a load
        copied = (self.at_once - 1) * self.across.stride + self.lines
        copies = -(-self.across.out_size // self.at_once)
        return CHANNELS * outputs * self.pieces * self.multiplier * product + 6 * copied * copies * self.along.in_size

    @property
    def _stride(self) -> int:
        """Bytes from the vectors of an output to those of the next."""
        return self.along.stride * self.interleaved


def depthwise_planes(graph: Graph, node: Node) -> Layer | None:
    """A depthwise convolution, or one of as many groups as channels; lines along rows or along columns."""
    op, (x, weight, bias), out = node.op, graph.ins(node), graph.out(node)
    assert isinstance(op, ops.DepthwiseConv2D | ops.Conv2D)
    channels, outputs = x.shape[3], out.shape[3]
    multiplier = outputs // channels
    codes = codes_of(weight)
    codes = (codes.transpose(3, 1, 2, 0) if isinstance(op, ops.Conv2D) else codes).reshape(*weight.shape[1:3], outputs)
    taps = codes.reshape(*weight.shape[1:3], channels, multiplier)
    rows, columns = axes_of(graph, node, op)
    ways = [
        _Planes(*way, multiplier, interleaved)
        for way in (
            (rows, columns, _dilated(taps, op.dilation[1]), op.dilation[0]),
            (columns, rows, _dilated(taps.swapaxes(0, 1), op.dilation[0]), op.dilation[1]),
        )
        for interleaved in (1, 2, 4)
    ]
    planes = min((way for way in ways if way.possible), key=lambda way: way.cost, default=None)
    if planes is None:
        return None
    moved = moved_bias(codes_of(bias), codes.reshape(-1, outputs).T, x.quant.zero_point)
    order = _order(channels, multiplier)
    rescale = conv_rescale(x.quant, weight.quant, out.quant)
    ordered = Rescale(rescale.multiplier[order], rescale.shift[order], rescale.factor[order])
    fields: Fields = {
        "across": planes.across.fields(),
        "along": planes.along.fields(),
        "channels": channels,
        "multiplier": multiplier,
        "in_zero_point": x.quant.zero_point,
        "lines": planes.lines,
        "dilation": planes.dilation,
        "interleaved": planes.interleaved,
        "at_once": planes.at_once,
        "columns": planes.columns,
        "plane_bytes": planes.plane_bytes,
        "pieces": planes.pieces,
        "piece_step": LANES if planes.vectors > 1 else planes.interleaved * planes.columns,
        "weight": Values("int8_t", tuple(_vectors(planes)[order].ravel().tolist())),
        "constants": constants(ordered, moved[order]),
        "out": output_fields(out.quant, op.relu),
    }
    return Layer("ts_mve_depthwise_planes", "TsMvePlanes", fields, planes.scratch_bytes, HEADER)


def _dilated(taps: I64, dilation: int) -> I64:
    """Taps (across, along, ...) with zeros between those along."""
    across, along, *rest = taps.shape
    spread = np.zeros((across, (along - 1) * dilation + 1, *rest), np.int64)
    spread[:, ::dilation] = taps
    return spread


def _vectors(planes: _Planes) -> I64:
    """Weights (output, pieces * LANES)."""
    across, along, channels, multiplier = planes.taps.shape
    padded = np.pad(planes.taps, ((0, -across % planes.interleaved), (0, 0), (0, 0), (0, 0)))
    grouped = padded.reshape(planes.groups, planes.interleaved, along, channels * multiplier)
    lines = grouped.transpose(3, 0, 2, 1).reshape(channels * multiplier, planes.groups, -1)
    return np.pad(lines, ((0, 0), (0, 0), (0, -lines.shape[2] % LANES))).reshape(channels * multiplier, -1)


def _order(channels: int, multiplier: int) -> I64:
    """Outputs in the order of use: those of eight input channels together, the first of each before the second."""
    outputs = np.arange(channels * multiplier).reshape(channels, multiplier)
    groups = [outputs[first : first + CHANNELS].T.ravel() for first in range(0, channels, CHANNELS)]
    return np.concatenate(groups)
