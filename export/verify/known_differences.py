"""Kinds of known differences between a target's codes and the kernel's: an arithmetic, or a bound, each with a reason.

:mod:`tinyscene.export.verify.exceptions` has those of each target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.arrays import F64, I8

from .diagnose import ObservedOp


@dataclass(frozen=True)
class Tolerance:
    """A known difference: at most ``max_lsb`` in at most ``max_share`` of the elements, and its reason."""

    max_lsb: int
    max_share: float
    reason: str

    def covers(self, observed: ObservedOp, expected: I8) -> bool:
        """Whether the output differs from the kernel's by no more than is known."""
        off = np.abs(observed.output.astype(np.int16) - expected.astype(np.int16))
        return bool(off.max() <= self.max_lsb and np.count_nonzero(off) <= max(1.0, self.max_share * off.size))


@dataclass(frozen=True)
class OtherArithmetic:
    """A known difference without a bound: the output must be exactly what ``codes`` computes."""

    codes: Callable[[ObservedOp], I8]
    reason: str

    def covers(self, observed: ObservedOp, expected: I8) -> bool:
        """Whether the output is what the target's arithmetic defines, in every byte."""
        return np.array_equal(observed.output, self.codes(observed))


@dataclass(frozen=True)
class CodeTolerance:
    """A known difference of a table: at most ``max_lsb`` for at most ``max_codes`` of its 256 input codes.

    Each of these codes may be in any number of elements.
    """

    max_lsb: int
    max_codes: int
    reason: str

    def covers(self, observed: ObservedOp, expected: I8) -> bool:
        """Whether no more input codes differ than is known."""
        off = np.abs(observed.output.astype(np.int16) - expected.astype(np.int16))
        return bool(off.max() <= self.max_lsb and len(np.unique(observed.arrays[0][off > 0])) <= self.max_codes)


@dataclass(frozen=True)
class RoundedFloat32:
    """A float32 computation, rounded to codes.

    ``values`` returns the exact results in steps of a code, without zero point, and the largest error of float32.
    A code may be any rounding of a value within that error.
    """

    values: Callable[[ObservedOp], tuple[F64, float]]
    reason: str

    def covers(self, observed: ObservedOp, expected: I8) -> bool:
        """Whether every code is the rounding of a value that float32 arithmetic can reach."""
        exact, error = self.values(observed)
        zero_point = observed.graph.out(observed.node).quant.zero_point
        lowest = observed.saturated(np.ceil(exact - error - 0.5) + zero_point)
        largest = observed.saturated(np.floor(exact + error + 0.5) + zero_point)
        return bool(np.all((lowest <= observed.output) & (observed.output <= largest)))


@dataclass(frozen=True)
class ArithmeticOrTolerance:
    """Another arithmetic, which is exact for most shapes, or a bound."""

    arithmetic: OtherArithmetic
    tolerance: Tolerance

    @property
    def reason(self) -> str:
        return self.arithmetic.reason

    def covers(self, observed: ObservedOp, expected: I8) -> bool:
        """Whether one of both covers the output."""
        return self.arithmetic.covers(observed, expected) or self.tolerance.covers(observed, expected)


KnownDifference = Tolerance | OtherArithmetic | CodeTolerance | RoundedFloat32 | ArithmeticOrTolerance
