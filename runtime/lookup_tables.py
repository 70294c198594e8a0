"""Tables for functions of one code: 256 output codes, or the exponentials of a softmax.

Functions other than ``relu6``, ``logistic`` and ``requantise`` are in :mod:`tinyscene.runtime.function_tables`. Under
``single`` these equal LiteRT's default kernels: XNNPACK for ``logistic`` and ``requantise``, LiteRT's own float
arithmetic for softmax. XNNPACK leaves ratios below 2^-8 or above 2^7 to LiteRT's kernels, which follow ``double``.
TFLite's reference kernel of ``logistic`` is float too and rounds at another point: at near-ties it differs by one from
TFLite Micro, which ``double`` equals.
Source: byte-wise comparison at near-ties (tests/runtime/test_engines.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import fixed_point as fixed
from . import ops
from .arith import Rounding
from .arrays import F32, I8, I64
from .function_tables import CODES as _CODES
from .function_tables import FUNCTION_TABLES, int8, real_codes, rescaled, saturating
from .graph import Quant

_SOFTMAX_INTEGER_BITS, _LOGISTIC_INTEGER_BITS, _SUM_INTEGER_BITS = 5, 4, 12


def function_table(op: ops.Lookup, x: Quant, out: Quant, rounding: Rounding) -> I8:
    """int8 (256,): the output code for each input code -128..127."""
    if op.function in FUNCTION_TABLES:
        with np.errstate(all="ignore"):  # infinities saturate
            return FUNCTION_TABLES[op.function](op.alpha, x, out, rounding)
    if op.function == "logistic":
        return _logistic_double(x) if rounding == "double" else _logistic_single(x)
    if op.function == "relu6":
        return np.clip(_CODES, max(-128, out.zero_point), code_of_six(out)).astype(np.int8)
    ratio = np.float32(x.scale[0]) / np.float32(out.scale[0])
    if rounding == "single" and 2.0**-8 <= ratio <= 128:
        factor = int(np.rint(np.float32(256) * ratio))
        return int8((((_CODES - x.zero_point) * factor + 128) >> 8) + out.zero_point)
    return int8(rescaled(_CODES - x.zero_point, x.scale[0] / out.scale[0]) + out.zero_point)


def code_of_six(out: Quant) -> int:
    """Where RELU6 clips: 6 / scale in float32, rounded half away from zero."""
    steps = float(np.float32(6) / np.float32(out.scale[0]))  # in float32, 0.5 could be rounded up when it is added
    return min(127, out.zero_point + int(np.floor(steps + 0.5)))


def fused_code_of_six(out: Quant) -> int:
    """Where XNNPACK clips behind another op: it adds the zero point in float32, then rounds half to even."""
    return min(127, int(np.rint(np.float32(6) / np.float32(out.scale[0]) + np.float32(out.zero_point))))


def _logistic_double(x: Quant) -> I8:
    def code(inside: int) -> int:
        return fixed.rounding_shift_right(fixed.logistic(inside), 23) - 128

    return saturating(code, x, _LOGISTIC_INTEGER_BITS)


def _logistic_single(x: Quant) -> I8:
    real = real_codes(x).astype(np.float64)
    with np.errstate(over="ignore"):
        share = (1.0 / (1.0 + np.exp(-real))).astype(np.float32)
    return int8(np.rint(share * np.float32(256) + np.float32(-128)))


def exponentials_double(x: Quant, beta: float) -> I64:
    """int64 (256,): exp(-beta s d) in Q0.31 for a code d below the row's largest; 0 beyond the range of fixed point."""
    wide = min(beta * x.scale[0] * 2.0 ** (31 - _SOFTMAX_INTEGER_BITS), 2.0**31 - 1)
    multiplier, shift = fixed.widened(wide)
    radius = fixed.input_radius(_SOFTMAX_INTEGER_BITS, shift)

    def one(distance: int) -> int:
        if distance > radius:
            return 0
        inside = fixed.high_product(-distance << shift, multiplier)
        return fixed.exp_of_negative(inside, _SOFTMAX_INTEGER_BITS)

    return np.array([one(distance) for distance in range(256)], np.int64)


def exponentials_single(x: Quant, beta: float) -> F32:
    """float32 (256,): exp(-beta s d) for a code d below the row's largest."""
    exponents = np.float32(-x.scale[0]) * np.float32(beta) * np.arange(256, dtype=np.float32)
    return np.exp(exponents.astype(np.float64)).astype(np.float32)


def softmax_double(distances: I64, exponentials: I64) -> I8:
    """Codes of rows given as distances from their largest code, int64 (rows, n).

    Rows of more than 511 elements, which the engines of this rule do not have, follow the same arithmetic: where a
    share is shifted right by 32 bits or more, it is 0.
    """
    terms = exponentials[distances]
    rounded = (exponentials + (1 << (_SUM_INTEGER_BITS - 1))) >> _SUM_INTEGER_BITS
    totals = rounded[distances].sum(axis=1)
    codes = np.empty(distances.shape, np.int64)
    for row, total in enumerate(totals.tolist()):
        headroom = 32 - total.bit_length()
        normalised = total << headroom if headroom >= 0 else total >> -headroom
        inverse = fixed.inverse_of_one_plus(normalised - 2**31)
        product = (terms[row] * inverse + 2**30) >> 31
        bits = _SUM_INTEGER_BITS - headroom + 23
        codes[row] = (product + (1 << (bits - 1))) >> bits
    return int8(codes - 128)


def softmax_single(distances: I64, exponentials: F32) -> I8:
    """As softmax_double. The sum runs from the first element to the last in float32."""
    terms = exponentials[distances]
    totals = np.cumsum(terms, axis=1, dtype=np.float32)[:, -1:]
    inverse = np.float32(1) / (totals * np.float32(1 / 256))
    scaled: F32 = terms * inverse
    return int8(np.floor(scaled.astype(np.float64) + 0.5) - 128)


@dataclass(frozen=True, eq=False)
class LogSoftmax:
    """TFLite's int8 LOG_SOFTMAX, the same under both rules.

    By distance from the largest code of the row, int64 (256,): exponentials in Q0.31 and differences in Q5.26, 0 where
    they are beyond the range of fixed point. ``reverse``: multiplier and shift from Q5.26 to distances. ``farthest``:
    the largest distance that has a difference.
    """

    exponentials: I64
    differences: I64
    reverse: tuple[int, int]
    farthest: int

    @staticmethod
    def of(x: Quant) -> LogSoftmax:
        multiplier, shift = fixed.widened(min(x.scale[0] * 2.0 ** (31 - _SOFTMAX_INTEGER_BITS), 2.0**31 - 1))
        farthest = min(fixed.input_radius(_SOFTMAX_INTEGER_BITS, shift), 256)
        distances = range(min(farthest, 255) + 1)
        differences = np.zeros(256, np.int64)
        differences[: len(distances)] = [fixed.high_product(-distance << shift, multiplier) for distance in distances]
        reverse = fixed.widened(2.0 ** (31 - shift) / multiplier)
        return LogSoftmax(exponentials_double(x, 1.0), differences, reverse, farthest)

    def codes(self, distances: I64) -> I8:
        """Codes of rows given as distances from their largest code, int64 (rows, n)."""
        rounded = (self.exponentials + (1 << (_SUM_INTEGER_BITS - 1))) >> _SUM_INTEGER_BITS
        tables = np.array([self._row(total) for total in rounded[distances].sum(axis=1).tolist()])
        return int8(np.take_along_axis(tables, distances, axis=1))

    def _row(self, total: int) -> I64:
        """The code for each distance, for a sum of exponentials in Q12.19."""
        logarithm = fixed.logarithm(total)
        multiplier, shift = self.reverse
        beyond = fixed.rounding_shift_right(fixed.high_product(logarithm - 2**31, multiplier), -shift)
        reached = np.arange(256) < min(self.farthest + 1, -beyond)
        shares = [fixed.rounding_shift_right(each - logarithm, 22) + 127 for each in self.differences.tolist()]
        return np.where(reached, shares, -128)
