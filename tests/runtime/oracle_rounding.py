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
