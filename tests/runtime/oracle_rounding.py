"""Roundings of fractions for :mod:`tests.runtime.oracle`."""

from __future__ import annotations

import math
from fractions import Fraction

HALF = Fraction(1, 2)


def half_up(x: Fraction) -> int:
    return math.floor(x + HALF)


def half_away(x: Fraction) -> int:
    return math.floor(x + HALF) if x >= 0 else -math.floor(-x + HALF)


def half_even(x: Fraction) -> int:
    return round(x)


def saturate(code: int, low: int = -128, high: int = 127) -> int:
    return min(max(code, low), high)


def float32(x: Fraction) -> Fraction:
    """The nearest float32, ties to even; the exponent is searched, not computed with floating point."""
    if x == 0:
        return Fraction(0)
    exponent = abs(x.numerator).bit_length() - x.denominator.bit_length()
    while abs(x) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(x) < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (max(exponent, -126) - 23)
    return half_even(x / step) * step


def fixed_point(real: float) -> tuple[int, int]:
    """real = m * 2^(shift - 31), m of 31 bits, rounded half up; factors below 2^-32 are 0."""
    x, shift = Fraction(real), 0
    while x >= 1:
        x, shift = x / 2, shift + 1
    while x < HALF:
        x, shift = x * 2, shift - 1
    m = half_up(x * 2**31)
    if m == 2**31:
        m, shift = 2**30, shift + 1
    return (0, 0) if shift < -31 else (m, shift)


def rescale_double(acc: int, m: int, shift: int) -> int:
    """A left shift wraps around in int32; the high half of the product is rounded half up, a right shift half away from
    zero."""
    shifted = (acc * 2 ** max(shift, 0) + 2**31) % 2**32 - 2**31
    return half_away(Fraction(half_up(Fraction(shifted * m, 2**31)), 2 ** max(-shift, 0)))
