"""Tables and scales of the integer log-mel, from a front end: what NumPy computes with and what is emitted as C.

Refuses an offset of the logarithm above every possible power, an input scale too fine for the last multiplication, and
mel banks whose neighbouring triangles do not add up to 1.

Every table is a rounded float64 whose distance from the middle between two integers is far above float64's error, so
that all machines make the same table (tested for each FFT length).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .arrays import F64, I64, INT16_FULL_SCALE
from .errors import RuntimeFailure
from .graph import Quant
from .log_mel import hann
from .mel_segments import mel_segments
from .spec import FrontendSpec

TURN_BITS = 30  # cosines are in 2**-30: 1 is exact, and a high product is a quarter of the value
HALF_ROOT = 0x5A82799A  # sqrt(1/2) in 2**-31
WINDOW_BITS = 30
EMPHASIS_BITS = 16
WEIGHT_BITS = 16
LOG_BITS = 22  # logarithms to base 2 are in 2**-22
LOG_INTERVALS = 128  # of one octave, with linear interpolation between their ends
LARGEST_SUM = (1 << 31) - (1 << 12)  # the rest of int32 is for rounding
LARGEST_FACTOR = (1 << 30) - 1
CODE_BITS = 16  # fraction of a code before it is rounded, at most
FEWEST_CODE_BITS = 4


@dataclass(frozen=True, eq=False)
class IntegerTables:
    """Tables of one front end.

    A sample of the FFT's input is ``(y * window) >> input_shift``, with ``y`` the int16 sample, or after pre-emphasis
    2**15 times its value. A bin of the spectrum is ``2 ** bin_bits`` times that of samples in [-1, 1].
    """

    spec: FrontendSpec
    window: I64  # (win_length,) in 2**-30
    emphasis: int  # in 2**-16; 0: none
    input_shift: int
    first_radix: int  # of the first step, 8 or 4; the others have 4
    steps: int  # after the first
    quarter: I64  # (n_fft / 4 + 1,) cosines of the first quarter of a turn, in 2**-30
    cosines: I64  # (3 n_fft / 4,) of three quarters of a turn, in 2**-30
    sines: I64
    order: I64  # (n_fft / 2,) the point of the transform's input at each place: bits reversed
    bin_bits: int
    first_bin: int
    counts: I64  # (n_mels + 1,) bins between neighbouring centres
    weights: I64  # (sum of counts,) of the upper band, in 2**-16
    mantissa_bits: I64  # (n_mels + 1,) of the bins of each segment
    offset: int  # of the logarithm, in units of power
    floor: int  # logarithm of a band without power, in 2**-22 octaves; see `log_octaves`
    logs: I64  # (129,) log2(1 + i / 128) in 2**-22

    def places(self, groups: int) -> I64:
        """The place of each group's first point: the first step's points of a group are next to each other."""
        return self.first_radix * bit_reversed(groups)

    @property
    def log_octaves(self) -> int:
        """Octaves between the power 1 of samples in [-1, 1] and one unit of power."""
        return 2 * self.bin_bits


@dataclass(frozen=True)
class CodeLine:
    """Codes from logarithms: ``(((log * factor) >> 32) + offset) >> shift``, then saturated to int8."""

    factor: int
    offset: int
    shift: int


@lru_cache(maxsize=16)
def integer_tables(spec: FrontendSpec) -> IntegerTables:
    """The tables of ``spec``; raises RuntimeFailure, see the module's refusals."""
    points = spec.n_fft // 2
    bits = points.bit_length() - 1
    first_radix = 8 if bits % 2 else 4
    steps = (bits - first_radix.bit_length() + 1) // 2
    index = np.arange(spec.win_length)
    mirrored = np.minimum(index, spec.window_periods - index)  # so that both halves are equal to the last bit
    window = _rounded(hann(spec, mirrored), WINDOW_BITS)
    scale_bits = _scale_bits(spec, window, first_radix, steps)
    emphasis = round(spec.pre_emphasis * (1 << EMPHASIS_BITS))
    bin_bits = scale_bits + 15 - 2 * steps - 1
    segments = mel_segments(spec)
    quarter = _rounded(np.cos(2.0 * np.pi * np.arange(spec.n_fft // 4 + 1) / spec.n_fft), TURN_BITS)
    power_of_offset = spec.log_offset * 2.0 ** (2 * bin_bits)
    if power_of_offset >= 2.0**61:
        largest = f"at most {2.0 ** (61 - 2 * bin_bits):.3g}, the largest power of a band"
        raise RuntimeFailure(_where(spec), "log_offset", expected=largest, got=spec.log_offset)
    counts = np.array(segments.counts, np.int64)
    return IntegerTables(
        spec,
        window,
        emphasis,
        WINDOW_BITS + (15 if spec.pre_emphasis else 0) - scale_bits,
        first_radix,
        steps,
        quarter,
        np.concatenate([quarter, -quarter[-2::-1], -quarter[1:]])[:-1],
        np.concatenate([quarter[::-1], quarter[1:], -quarter[-2::-1]])[:-1],
        bit_reversed(points),
        bin_bits,
        segments.first_bin,
        counts,
        np.minimum(_rounded(np.array(segments.weights), WEIGHT_BITS), (1 << WEIGHT_BITS) - 1),
        np.array([(30 - int(count).bit_length()) // 2 for count in counts], np.int64),
        round(power_of_offset),
        round((math.log2(spec.log_offset) + 2 * bin_bits) * (1 << LOG_BITS)),
        _rounded(np.log2(1.0 + np.arange(LOG_INTERVALS + 1) / LOG_INTERVALS), LOG_BITS),
    )


def code_line(tables: IntegerTables, quant: Quant) -> CodeLine:
    """The line from logarithms to codes of ``quant``; raises RuntimeFailure for a scale that is too fine."""
    spec, scale = tables.spec, float(np.float32(quant.scale[0]))
    per_octave = math.log(2.0) / (spec.norm_std * scale)  # codes
    at_zero = quant.zero_point - tables.log_octaves * per_octave - spec.norm_mean / (spec.norm_std * scale)
    for shift in range(CODE_BITS, FEWEST_CODE_BITS - 1, -1):
        factor = round(per_octave * 2.0 ** (32 - LOG_BITS + shift))
        offset = round(at_zero * 2.0**shift) + (1 << (shift - 1))
        if factor <= LARGEST_FACTOR and abs(offset) <= LARGEST_FACTOR:
            return CodeLine(factor, offset, shift)
    raise RuntimeFailure(
        _where(spec),
        "the scale of the network's input is too fine for 32 bits",
        expected="at most 2^19 codes for an octave of power, and 2^26 to its mean",
        got=f"scale {quant.scale[0]}",
        next_step="calibrate with recordings like those that the model will classify",
    )


def bit_reversed(count: int) -> I64:
    """The numbers below ``count``, a power of two, with their bits in reversed order."""
    order = np.zeros(1, np.int64)
    while len(order) < count:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def _where(spec: FrontendSpec) -> str:
    return f"front end '{spec.name}' in integer arithmetic"


def _rounded(values: F64, bits: int) -> I64:
    return np.rint(values * 2.0**bits).astype(np.int64)


def _scale_bits(spec: FrontendSpec, window: I64, first_radix: int, steps: int) -> int:
    """Bits by which samples are scaled up before the FFT: as many as every later value has room for.

    A component of a sum of points is at most the sum of their magnitudes, which is at most sqrt(2) times that of their
    larger parts. The first step adds ``first_radix`` points; with eight, also both parts of a sum of the odd ones. Each
    other step adds four quarters, so that its sums are no larger. The split of the real transform adds the transform
    of the even samples to itself, and that of the odd ones.
    """
    peak = INT16_FULL_SCALE * (2.0 if spec.pre_emphasis else 1.0)
    padded = np.zeros(spec.n_fft)
    padded[: len(window)] = window / 2.0**WINDOW_BITS
    pairs = padded.reshape(-1, 2)
    points = pairs.max(axis=1).reshape(first_radix, -1)
    first = math.sqrt(2.0) * points.sum(axis=0).max()
    both_parts = 2.0 * points[1::2].sum(axis=0).max()
    last = 2.0 * pairs.sum(axis=0).max() / 4.0**steps
    return min(13, math.floor(math.log2(LARGEST_SUM / (peak * max(first, both_parts, last)))))
