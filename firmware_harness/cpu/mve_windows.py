"""Depthwise convolutions for Helium: constants in the layout that the kernels in c/mve read, the input's zero point in
the bias.

Returns None, so that the portable kernel runs, for rescaling factors of one half and above, which need a left shift
under the rule `double`, and for kernels or strides too large for a patch of 4x4.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import Rescale, conv_rescale
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node

from ..emit.records import ByRule, Fields, Layer, Values, codes_of, is_plain, output_fields

HEADER = "ts_mve.h"
LANES = 16
LARGEST_KERNEL = 3


def depthwise(graph: Graph, node: Node, by_rows: bool = False) -> Layer | None:
    """A depthwise convolution with a kernel up to 3x3; strips run along rows with ``by_rows``, else the faster way."""
    op, (x, weight, bias) = node.op, graph.ins(node)
    assert isinstance(op, ops.DepthwiseConv2D)
    rescale = conv_rescale(x.quant, weight.quant, graph.out(node).quant)
    _, height, width, channels = weight.shape
    rows, columns = axes_of(graph, node, op)
    directions = [_Strip(rows, columns), *([] if by_rows else [_Strip(columns, rows)])]
    strips = min((strip for strip in directions if strip.possible), default=None)
    fits = strips is not None and max(height, width) <= LARGEST_KERNEL
    if strips is None or not (fits and is_plain(graph, node) and shifts_right(rescale)):
        return None
    taps = codes_of(weight).reshape(height, width, channels)
    along_first = taps.transpose(1, 0, 2) if strips.across is rows else taps
    patches = np.zeros((4, 4, channels), np.int64)
    patches[: along_first.shape[0], : along_first.shape[1]] = along_first
    weights = np.pad(patches.reshape(LANES, channels).T.ravel(), (8, 0))
    fields: Fields = {
        "across": strips.across.fields(),
        "along": strips.along.fields(),
        "channels": channels,
        "in_zero_point": x.quant.zero_point,
        "step": strips.step,
        "columns": strips.columns,
        "weight": Values("int8_t", tuple(weights.tolist())),
        "lanes": Values("int16_t", strips.lanes),
        "constants": constants(rescale, moved_bias(codes_of(bias), taps.reshape(-1, channels).T, x.quant.zero_point)),
        "out": output_fields(graph.out(node).quant, op.relu),
    }
    return Layer("ts_mve_depthwise", "TsMveDepthwise", fields, strips.columns * 4 * LANES, HEADER)


@dataclass(frozen=True)
class Axis:
    """One axis of a depthwise convolution's input and output; pitches in bytes."""

    in_size: int
    out_size: int
    in_pitch: int
    out_pitch: int
    stride: int
    pad: int

    def fields(self) -> Fields:
        """Fields of the record TsMveAxis."""
        return asdict(self)

    @property
    def per_patch(self) -> int:
        """Windows of three taps within a patch of four."""
        return 2 if self.stride == 1 else 1


@dataclass(frozen=True)
class _Strip:
    """A way to cover the map with patches, ordered by the number of steps."""

    across: Axis
    along: Axis

    @property
    def possible(self) -> bool:
        """Whether the kernel supports strides and sizes."""
        fits = self.across.out_size >= self.across.per_patch and self.along.out_size >= self.step
        return fits and max(self.across.stride, self.along.stride) <= 2 and max(self.lanes) < 2**15

    @property
    def step(self) -> int:
        """Outputs along the strip per eight lanes."""
        return 8 // self.across.per_patch

    @property
    def columns(self) -> int:
        """Pixels along the strip that are read or written, including padding."""
        last_patch = (self.along.out_size - self.step) * self.along.stride + self.step * self.along.stride - 2
        return max(last_patch + 4, self.along.pad + self.along.in_size)

    @property
    def lanes(self) -> tuple[int, ...]:
        """Byte offsets of the eight outputs from the first; sums of four are in the order 0, 2, 1, 3."""
        ahead, aside = self.along.out_pitch, self.across.out_pitch
        if self.across.per_patch == 2:
            return tuple(k * ahead + i * aside for k in (0, 2, 1, 3) for i in (0, 1))
        if self.along.per_patch == 2:
            return tuple((2 * k + i) * ahead for k in (0, 2, 1, 3) for i in (0, 1))
        return tuple(k * ahead for k in (0, 2, 4, 6, 1, 3, 5, 7))

    def __lt__(self, other: _Strip) -> bool:
        return self._steps < other._steps

    @property
    def _steps(self) -> int:
        return -(-self.across.out_size // self.across.per_patch) * -(-self.along.out_size // self.step)


def axes_of(graph: Graph, node: Node, op: ops.DepthwiseConv2D | ops.Conv2D) -> tuple[Axis, Axis]:
    """The row axis and the column axis."""
    _, in_rows, in_columns, in_channels = graph.ins(node)[0].shape
    _, out_rows, out_columns, channels = graph.out(node).shape
    rows = Axis(in_rows, out_rows, in_columns * in_channels, out_columns * channels, op.stride[0], op.pads[0])
    return rows, Axis(in_columns, out_columns, in_channels, channels, op.stride[1], op.pads[1])


def shifts_right(rescale: Rescale) -> bool:
    """Whether all factors are below one half, so that the fixed-point rule shifts to the right."""
    return bool((rescale.shift < 0).all())


def moved_bias(bias: I64, rows: I64, zero_point: int) -> I64:
    """Biases minus the zero point's contribution to the sums over ``rows`` (channel, k)."""
    moved: I64 = bias - zero_point * rows.sum(axis=1)
    return moved


def constants(rescale: Rescale, *leading: I64, side_by_side: int = 1, of_each: int | None = None) -> ByRule:
    """int32 words per ``side_by_side`` channels, padded with zeros: ``leading``, then the rescaling.

    ``of_each``: channels that are padded together; None: all.

    The rescaling is multipliers and shifts, or under the other rounding rule the bits of float32 factors.
    """

    def words(*columns: I64) -> Fields:
        rows = np.stack(columns, axis=1)
        parts = rows.reshape(-1, len(rows) if of_each is None else of_each, len(columns))
        padded = np.pad(parts, ((0, 0), (0, -parts.shape[1] % side_by_side), (0, 0)))
        in_order = padded.reshape(-1, side_by_side, len(columns)).swapaxes(1, 2)
        return {"constants": Values("int32_t", tuple(in_order.ravel().tolist()))}

    bits = rescale.factor.view(np.int32).astype(np.int64)
    return ByRule(words(*leading, rescale.multiplier, rescale.shift), words(*leading, bits))
