"""Exponentials and reciprocals in 32-bit fixed point, as TFLite's reference kernels compute them.

Plain Python integers, one number at a time: the results are tables of 256 entries, or one number per row of a softmax.
Qm.n has m integer and n fractional bits. Source of the polynomials and of the reciprocal's Newton steps, roundings
included: the fixed-point header of gemmlowp.
"""

from __future__ import annotations

import math

ONE = 2**31 - 1  # the largest Q0.31 represents 1

QUARTER_POWERS = (
    1672461947,
    1302514674,
    790015084,
    290630308,
    39332535,
    720401,
    242,
)  # exp(-2^i), i from -2, in Q0.31
EXP_EIGHTH = 1895147668  # exp(-1/8) in Q0.31
THIRD = 715827883  # 1/3 in Q0.31
_LOG_FRACTION_BITS = 25  # of Q6.25, with one bit of headroom
_LOG_2, _ROOT_HALF, _FOURTH_ROOT_HALF = 1488522236, 1518500250, 1805811301  # log(2), 2^(-1/2), 2^(-1/4) in Q0.31
_LOG_N, _LOG_D, _LOG_I, _LOG_F = 117049297, 127690142, 1057819769, 638450708  # of the polynomials, in Q0.31
NEWTON_START, NEWTON_SLOPE = 1515870810, -1010580540  # 48/17 and -32/17 in Q2.29


def high_product(a: int, b: int) -> int:
    """a * b / 2^31 rounded half up: the saturating doubling high multiply."""
    return min((a * b + 2**30) >> 31, ONE)


def rounding_shift_right(a: int, bits: int) -> int:
    """a / 2^bits rounded half away from zero."""
    magnitude = (abs(a) + (1 << bits >> 1)) >> bits
    return magnitude if a >= 0 else -magnitude


def shift_left(a: int, bits: int) -> int:
    """a * 2^bits, saturated to int32."""
    return max(-(2**31), min(a << bits, ONE))


def exp_of_negative(a: int, integer_bits: int) -> int:
    """exp(a) in Q0.31 for a <= 0 in Q(integer_bits)."""
    if a == 0:
        return ONE
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    inside = (a & (quarter - 1)) - quarter
    result = _exp_of_less_than_quarter(shift_left(inside, integer_bits))
    remainder = inside - a
    for exponent, power in enumerate(QUARTER_POWERS, start=-2):
        if integer_bits > exponent and remainder & (1 << (fraction_bits + exponent)):
            result = high_product(result, power)
    return result


def _exp_of_less_than_quarter(a: int) -> int:
    """exp(a) for a in [-1/4, 0), both in Q0.31: four terms of the series around -1/8."""
    x = a + 2**28
    x2 = high_product(x, x)
    x3, x4 = high_product(x2, x), high_product(x2, x2)
    third = high_product(rounding_shift_right(x4, 2) + x3, THIRD)
    tail = rounding_shift_right(third + x2, 1)
    return min(EXP_EIGHTH + high_product(EXP_EIGHTH, x + tail), ONE)


def _two_over_one_plus(a: int) -> int:
    """2 / (1 + a) in Q2.29 for a in [0, 1] in Q0.31: three Newton steps."""
    half_denominator = (a + ONE + 1) // 2
    x = NEWTON_START + high_product(half_denominator, NEWTON_SLOPE)
    for _ in range(3):
        error = 2**29 - high_product(half_denominator, x)
        x += shift_left(high_product(x, error), 2)
    return x


def inverse_of_one_plus(a: int) -> int:
    """1 / (1 + a) in Q0.31 for a in [0, 1] in Q0.31."""
    return shift_left(_two_over_one_plus(a), 1)


def logarithm(a: int) -> int:
    """log(a) in Q5.26 for a >= 1 in Q12.19: a quotient of polynomials around a power of 2, or of 2 and its root."""
    bits = 32 - a.bit_length()
    down = shift_left(high_product(shift_left(a, bits - 1), _ROOT_HALF), 1)
    root_bits = 31 - high_product(a, _ROOT_HALF).bit_length()
    r = min(down, shift_left(a, root_bits))
    quarter = 1 << (_LOG_FRACTION_BITS - 2)
    whole = max(((12 - bits) << _LOG_FRACTION_BITS) + quarter, ((12 - root_bits) << _LOG_FRACTION_BITS) - quarter)
    half_sum, q = (r + _FOURTH_ROOT_HALF + 1) >> 1, 2 * (r - _FOURTH_ROOT_HALF)
    square = high_product(q, q)
    numerator = high_product(q, r) + high_product(high_product(q, square), _LOG_N)
    denominator = high_product(half_sum, _LOG_I + q + high_product(_LOG_D, square)) + high_product(_LOG_F, q)
    inverse = inverse_of_one_plus(denominator)
    return shift_left(high_product(whole, _LOG_2) + high_product(rounding_shift_right(numerator, 6), inverse), 1)


def logistic(a: int) -> int:
    """1 / (1 + exp(-a)) in Q0.31 for a in Q4.27."""
    if a == 0:
        return 2**30
    positive = inverse_of_one_plus(exp_of_negative(-abs(a), 4))
    return positive if a > 0 else ONE - positive


def tanh(a: int) -> int:
    """tanh(a) in Q0.31 for a in Q4.27: (1 - e) / (1 + e) for e = exp(-2 |a|), whose exponent is a in Q5.26."""
    if a == 0:
        return 0
    positive = shift_left(_two_over_one_plus(exp_of_negative(-abs(a), 5)) - 2**29, 2)
    return positive if a > 0 else -positive


def input_radius(integer_bits: int, left_shift: int) -> int:
    """The smallest integer distance from the zero point that exceeds Q(integer_bits) after a left shift."""
    return math.floor(((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / 2.0**left_shift)


def widened(real: float) -> tuple[int, int]:
    """real = multiplier * 2^(shift - 31), the multiplier rounded half away from zero."""
    mantissa, shift = math.frexp(real)
    multiplier = math.floor(mantissa * 2.0**31 + 0.5)
    return (2**30, shift + 1) if multiplier == 2**31 else (multiplier, shift)
