"""Logistic and tanh of 16-bit numbers, as the cells of an LSTM compute them: int64 arrays of int16 values.

Under ``double`` they follow TFLite Micro: a table of the logistic function, and straight lines between. Under
``single`` they follow LiteRT: exponentials and reciprocals in 16-bit fixed point, with the polynomials and constants
of :mod:`.fixed_point`. A gate's input has 12 fractional bits, its output 15.
Source of the table: TFLite Micro's int16 LOGISTIC of all 65,536 numbers.
"""

from __future__ import annotations

import numpy as np

from . import fixed_point as wide
from .arith import Rounding, rounding_shift_right
from .arrays import I64
from .lstm_ranges import GATE_INPUT_BITS

OUTPUT_BITS = 15  # fractional bits of a gate
ONE = 2**15 - 1  # the largest number with 15 fractional bits represents 1

# 65536 / (1 + exp(-i / 24)), rounded, and at these i one more: the table is fitted to the numbers between its places.
_ONE_MORE = (
    *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46),
    *(49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135),
)


def _logistic_table() -> I64:
    table = np.floor(65536 / (1 + np.exp(-np.arange(256) / 24)) + 0.5).astype(np.int64)
    table[list(_ONE_MORE)] += 1
    return table


TABLE = _logistic_table()  # int64 (256,), below 2^16


def logistic(x: I64, rounding: Rounding) -> I64:
    """1 / (1 + exp(-x)), with 15 fractional bits, of x with 12."""
    return _logistic_of_table(x) if rounding == "double" else _logistic_of_exponential(x)


def tanh(x: I64, fraction_bits: int, rounding: Rounding) -> I64:
    """tanh(x), with 15 fractional bits, of x with 9 to 15."""
    integer_bits = 15 - fraction_bits
    return _tanh_of_table(x, integer_bits) if rounding == "double" else _tanh_of_exponential(x, integer_bits)


def _interpolated(magnitude: I64, bits: int, beyond: int) -> I64:
    """The table between its places, with ``bits`` more fractional bits, and ``beyond`` behind the last but one."""
    place = magnitude >> bits
    low = np.minimum(place, 254)
    between = (TABLE[low] << bits) + (magnitude & ((1 << bits) - 1)) * (TABLE[low + 1] - TABLE[low])
    return np.where(place < 255, between, beyond)


def _logistic_of_table(x: I64) -> I64:
    share = _interpolated(np.abs(3 * x), 9, ONE << 10)
    codes: I64 = np.where(x >= 0, share + 512, 2**25 - share + 511) >> 10
    return codes


def _tanh_of_table(x: I64, integer_bits: int) -> I64:
    """tanh(x) is 2 logistic(2 x) - 1."""
    bits = integer_bits - 3
    scaled = 3 * x << bits if bits >= 0 else (3 * x + (1 << (-bits - 1))) >> -bits
    share = _interpolated(np.abs(scaled), 8, 0xFFFF << 8) - 2**23
    codes: I64 = np.where(scaled >= 0, share + 128, 127 - share) >> 8
    return codes


def int16(values: I64) -> I64:
    """Saturated to 16 bits."""
    return np.clip(values, -ONE - 1, ONE)


def _narrow(constant: int) -> int:
    """The upper 16 bits of a constant of 32, rounded."""
    return (constant + 2**15) >> 16


def _high_product(a: I64, b: I64 | int) -> I64:
    """a * b / 2^15, half away from zero but for negative ties, which go up."""
    product = a * b
    nudged: I64 = product + np.where(product >= 0, 2**14, 1 - 2**14)
    towards_zero: I64 = np.sign(nudged) * (np.abs(nudged) >> 15)
    return np.minimum(towards_zero, ONE)


def _shift_left(a: I64, bits: int) -> I64:
    return int16(a << bits)


def _rounding_shift_right(a: I64, bits: int) -> I64:
    return rounding_shift_right(a, np.asarray(bits, np.int64))


def _exp_of_negative(a: I64, integer_bits: int) -> I64:
    """exp(a) with 15 fractional bits for a <= 0 with that many integer bits."""
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    inside = (a & (quarter - 1)) - quarter
    result, remainder = _exp_of_less_than_quarter(_shift_left(inside, integer_bits)), inside - a
    for exponent, power in enumerate(wide.QUARTER_POWERS, start=-2):
        if exponent < integer_bits:
            scaled = _high_product(result, _narrow(power))
            result = np.where(remainder & (1 << (fraction_bits + exponent)), scaled, result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction_bits + 5)), 0, result)
    return np.where(a == 0, ONE, result)


def _exp_of_less_than_quarter(a: I64) -> I64:
    """exp(a) for a in [-1/4, 0), both with 15 fractional bits: four terms of the series around -1/8."""
    x, eighth = a + 2**12, _narrow(wide.EXP_EIGHTH)
    x2 = _high_product(x, x)
    x3, x4 = _high_product(x2, x), _high_product(x2, x2)
    third = _high_product(_rounding_shift_right(x4, 2) + x3, _narrow(wide.THIRD))
    return int16(eighth + _high_product(x + _rounding_shift_right(third + x2, 1), eighth))


def _two_over_one_plus(a: I64) -> I64:
    """2 / (1 + a) with 13 fractional bits for a in [0, 1] with 15: three Newton steps."""
    half_denominator = (a + ONE + 1) // 2
    x = _narrow(wide.NEWTON_START) + _high_product(half_denominator, _narrow(wide.NEWTON_SLOPE))
    for _ in range(3):
        x = x + _shift_left(_high_product(x, 2**13 - _high_product(half_denominator, x)), 2)
    return x


def _logistic_of_exponential(x: I64) -> I64:
    positive = _shift_left(_two_over_one_plus(_exp_of_negative(-np.abs(x), 15 - GATE_INPUT_BITS)), 1)
    return np.where(x > 0, positive, np.where(x < 0, ONE - positive, 2**14))


def _tanh_of_exponential(x: I64, integer_bits: int) -> I64:
    """(1 - e) / (1 + e) for e = exp(-2 |x|), whose exponent is x with one more integer bit."""
    positive = _shift_left(_two_over_one_plus(_exp_of_negative(-np.abs(x), integer_bits + 1)) - 2**13, 2)
    return np.sign(x) * positive
