"""Constants in the layout of the DSP kernels: rounding folded into offsets, weights in quads of channels and groups.

Returns None for constants that these kernels do not support under the fixed-point rule: factors of one half and above,
and accumulators that do not fit into int32 when doubled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime import ops
from tinyscene.runtime.arith import (
    ADD_HEADROOM_BITS,
    Rescale,
    add_double,
    add_single,
    clamp_range,
    conv_rescale,
    rescale_double,
    weight_rescale,
)
from tinyscene.runtime.arrays import I64
from tinyscene.runtime.graph import Graph, Node, Quant

from ..emit.records import LARGEST_STEP, ByRule, Fields, Macro, Values, codes_of, relu_of

GROUP = 4  # inputs, or channels of a depthwise convolution, per group
QUAD = 4  # output channels that are computed together
GROUP_BYTES = 16  # eight 16-bit numbers: one group of a tile
QUAD_BYTES = 32  # one group of the widened weights of a quad
LARGEST_SHIFT = 22  # the sum of 128 * 2^shift and the product then fits into int32
INT32 = 2**31
LOWEST_CODE = -128


@dataclass(frozen=True, eq=False)
class Folded:
    """Constants of a convolution by output channel, for inputs counted from ``in_zero``.

    ``weight``: int64 (channels, taps). ``positive``: after ReLU with zero point -128, so that outputs may be counted
    from there.
    """

    weight: I64
    bias: I64
    rescale: tuple[tuple[int, int, int, float], ...]  # multiplier, offset, shift, factor
    out: Quant
    relu: bool

    @property
    def positive(self) -> bool:
        return self.relu and self.out.zero_point == -128


def folded(
    graph: Graph, node: Node, weight: I64, *, counted: bool = False, in_zero: int | None = None
) -> Folded | None:
    """Constants of a convolution with ``weight`` (channels, taps).

    Args:
        graph: the graph.
        node: the convolution.
        weight: int64 (channels, taps).
        counted: the kernel's outputs are counted from the zero point, which must be -128 with ReLU.
        in_zero: the code of zero in the kernel's input; by default the input's zero point.
    """
    x, _, bias_t = graph.ins(node)
    out, relu = graph.out(node).quant, relu_of(node)
    bias = codes_of(bias_t)
    largest = max(127 - x.quant.zero_point, 128 + x.quant.zero_point)
    bound = np.abs(weight).sum(axis=1) * largest + np.abs(bias)
    if 2 * int(bound.max()) >= INT32 or (counted and not (relu and out.zero_point == -128)):
        return None
    rescale = offsets(_rescale(graph, node), bound, 0 if counted else out.zero_point)
    if rescale is None:
        return None
    zero = x.quant.zero_point if in_zero is None else in_zero
    return Folded(weight, bias - zero * weight.sum(axis=1), rescale, out, relu)


def _rescale(graph: Graph, node: Node) -> Rescale:
    """Rescaling with one factor per output channel."""
    x, weight, _ = graph.ins(node)
    if not isinstance(node.op, ops.FullyConnected):
        return conv_rescale(x.quant, weight.quant, graph.out(node).quant)
    one = weight_rescale(x.quant, weight.quant, graph.out(node).quant)
    each = np.zeros(weight.shape[0], np.int64) if len(one.shift) == 1 else np.arange(weight.shape[0])
    return Rescale(one.multiplier[each], one.shift[each], one.factor[each])


def offsets(rescale: Rescale, bound: I64, zero_point: int) -> tuple[tuple[int, int, int, float], ...] | None:
    """Multiplier, offset, shift and factor for each entry; ``bound`` is the largest accumulator of each."""
    entries = []
    numbers = (rescale.multiplier.tolist(), rescale.shift.tolist(), rescale.factor.tolist(), bound.tolist())
    for multiplier, left, factor, largest in zip(*numbers, strict=True):
        shift = -left
        if multiplier == 0 or (shift > LARGEST_SHIFT and (largest * multiplier >> 31) + 1 < 1 << (shift - 1)):
            multiplier, shift = 0, 1  # every accumulator rescales to zero
        if not 1 <= shift <= LARGEST_SHIFT:
            return None
        entries.append((multiplier, (1 << (shift - 1)) + zero_point * (1 << shift), shift, factor))
    return tuple(entries)


def low_code(graph: Graph, node: Node) -> int:
    """The lowest output code: that of ReLU, or -128."""
    return clamp_range(graph.out(node).quant, relu_of(node))[0]


def integer(fields: Fields, name: str) -> int:
    """The value of an integer field."""
    value = fields[name]
    assert isinstance(value, int)
    return value


def product_rescale(a: Quant, b: Quant, out: Quant) -> Macro | None:
    """Rescaling of the product of two codes."""
    rescale = offsets(conv_rescale(a, b, out), np.array([LARGEST_STEP**2]), out.zero_point)
    return None if rescale is None else Macro("TS_DSP_RESCALE", rescale[0])


def pointwise(constants: Folded, runs: int) -> Fields:
    """Fields of the record TsDspPointwise; each of ``runs`` runs of taps begins with a new group."""
    channels, taps = constants.weight.shape
    n_groups = groups_of(taps, runs)
    run = taps // runs
    padded = quads_of(channels) * QUAD
    weight = np.zeros((padded, n_groups * GROUP), np.int64)
    for i in range(runs):
        at = i * -(-run // GROUP) * GROUP
        weight[:channels, at : at + run] = constants.weight[:, i * run : (i + 1) * run]
    quads = weight.reshape(-1, QUAD, n_groups, GROUP).swapaxes(1, 2)
    return {
        "groups": n_groups,
        "channels": channels,
        "kept": 1,
        "zero_point": constants.out.zero_point,
        "weight": Values("int8_t", tuple(quads.ravel().tolist())),
        "quads": Values("TsDspQuad", tuple(_quad(constants, first) for first in range(0, padded, QUAD))),
    }


def _quad(constants: Folded, first: int) -> Macro:
    """Multipliers, shifts, factors and biases of four channels; those behind the last one give zero."""
    channels = range(first, first + QUAD)
    n = len(constants.bias)
    rescales = [constants.rescale[c] if c < n else (0, 0, 1, 0.0) for c in channels]
    multipliers, _, shifts, factors = zip(*rescales, strict=True)
    biases = (int(constants.bias[c]) if c < n else 0 for c in channels)
    return Macro("TS_DSP_QUAD", (*multipliers, *shifts, *factors, *biases))


def groups_of(taps: int, runs: int) -> int:
    """Number of groups of four inputs, each run rounded up."""
    return runs * -(-taps // runs // GROUP)


def quads_of(channels: int) -> int:
    """Number of quads of output channels, the last one padded."""
    return -(-channels // QUAD)


def padded_bytes(record: Fields, width: int) -> int:
    """Bytes of a row of whole quads, which only channels that are no multiple of four need."""
    channels = integer(record, "channels")
    return width * quads_of(channels) * QUAD if channels % QUAD else 0


def weight_bytes(record: Fields, kept: bool) -> int:
    """Bytes of weights widened to 16 bits: all of them, or those of one quad of channels."""
    quads = quads_of(integer(record, "channels")) if kept else 1
    return integer(record, "groups") * QUAD_BYTES * quads


def tiles_bytes(width: int, n_groups: int) -> int:
    """Bytes of a row of tiles."""
    return -(-width // 2) * n_groups * GROUP_BYTES


def planes(constants: Folded, columns: int, n_groups: int) -> Fields:
    """Fields of the record TsDspPlanes of a 3x3 depthwise convolution with weight (channels, 9)."""
    channels = len(constants.weight)
    order = [c for place in range(GROUP) for c in range(place, channels, GROUP)]
    return {
        "channels": channels,
        "groups": n_groups,
        "plane_bytes": 12 * pairs_of(columns),
        "constants": _channels(constants, order),
    }


def planes_bytes(record: Fields) -> int:
    """Bytes of the planes of all channels, whose number is rounded up to a multiple of four."""
    return -(-integer(record, "channels") // GROUP) * GROUP * integer(record, "plane_bytes")


def strips(constants: Folded, columns: int, fill: int, rows: int) -> Fields:
    """Fields of the record TsDspStrips of a 3x3 depthwise convolution with weight (channels, 9)."""
    channels = len(constants.weight)
    return {
        "channels": channels,
        "rows": rows,
        "pairs": pairs_of(columns),
        "fill": fill,
        "relu": int(constants.positive),
        "zero_point": constants.out.zero_point,
        "constants": _channels(constants, range(channels)),
    }


def strip_bytes(columns: int, seen_rows: int) -> int:
    """Bytes of the planes of a strip, which sees so many rows of the input: four channels of 16-bit numbers."""
    return GROUP * pairs_of(columns) * seen_rows * 4


def pairs_of(columns: int) -> int:
    """Number of pairs of columns, the last one padded."""
    return -(-columns // 2)


def _channels(constants: Folded, order: Iterable[int]) -> Values:
    """Constants of each channel of a 3x3 depthwise convolution."""
    taps = constants.weight.tolist()
    rescales = ((c, *constants.rescale[c]) for c in order)
    rows = (
        Macro("TS_DSP_CHANNEL", (multiplier, shift, factor, int(constants.bias[c]), *taps[c]))
        for c, multiplier, _, shift, factor in rescales
    )
    return Values("TsDspChannel", tuple(rows))


def summed(a: Quant, b: Quant, out: Quant) -> tuple[int, Fields] | None:
    """Return the operand with the larger scale (0 or 1) and the fields of the record TsDspSum.

    The larger scale is half of the common one, so that the operand is shifted by 19 bits, or by 20 in a sum that is
    twice as large; the other operand is looked up in a table that includes the zero points. None if not supported.
    """
    d, s = add_double(a, b, out), add_single(a, b, out)
    terms = [(a.zero_point, d.multiplier_a, d.shift_a), (b.zero_point, d.multiplier_b, d.shift_b)]
    larger = 0 if a.scale[0] >= b.scale[0] else 1
    zero, multiplier, shift = terms[1 - larger]
    table = _scaled(np.arange(-128, 128, dtype=np.int64) - zero, multiplier, shift) * 2 - (terms[larger][0] << 20)
    bound = np.array([2 * 255 << 19])
    out_rescale = Rescale(np.array([d.multiplier_out]), np.array([d.shift_out]), np.zeros(1, np.float32))
    folded_out = offsets(out_rescale, bound, out.zero_point)
    bias = s.bias + out.zero_point * (1 << s.shift)
    if folded_out is None or abs(bias) + 128 * (abs(s.multiplier_a) + abs(s.multiplier_b)) >= INT32:
        return None
    (m, offset, right, _), *_ = folded_out
    double: Fields = {
        "table": Values("int32_t", tuple(table.tolist())),
        "multiplier": m,
        "offset": offset,
        "shift": right,
    }
    single: Fields = {
        "multiplier_a": s.multiplier_a,
        "multiplier_b": s.multiplier_b,
        "bias": bias,
        "shift": s.shift,
    }
    return larger, {"by_rule": ByRule(double, single)}


def _scaled(codes: I64, multiplier: int, shift: int) -> I64:
    """An operand rescaled to the common scale, with 20 fractional bits."""
    return rescale_double(codes << ADD_HEADROOM_BITS, np.asarray(multiplier, np.int64), np.asarray(shift, np.int64))
