"""Cycles, milliseconds and microjoules of a run, each as an interval that comes from the model's measured errors.

The interval of cycles is the model's, widened by what the rows do not measure: code that misses its cache often,
memory systems without published rows, floating-point arithmetic. Refuses what needs a number that a board's record
does not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from .boards import Board
from .counts import Counts
from .energy import energy_error
from .families import Family, family_named
from .memory import ZERO_WAIT, Memory
from .model import coefficients, cycles, cycles_by_term, worst_error
from .published import published_rows


@dataclass(frozen=True)
class Interval:
    """A figure between ``low`` and ``high``; ``value`` is the model's."""

    value: float
    low: float
    high: float

    def times(self, factor: float, error: float = 0.0) -> Interval:
        """Multiplied by a factor with a relative error of its own."""
        return Interval(self.value * factor, self.low * factor * (1 - error), self.high * factor * (1 + error))

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.value + other.value, self.low + other.low, self.high + other.high)

    def __str__(self) -> str:
        return f"{short(self.value)} ({short(self.low)} to {short(self.high)})"


def short(value: float) -> str:
    """Three digits or more: 0.123, 45.6, 1,234."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


@dataclass(frozen=True)
class Machine:
    """What cycles are modelled for: a board, or a processor whose memory has no wait states."""

    family: Family
    memory: Memory
    board: Board | None = None

    @property
    def title(self) -> str:
        """Board and clock, or the processor and what is left out."""
        if self.board is None:
            return f"Cortex-{self.family.name}, memory without wait states"
        return f"{self.board.title}, {self.board.mhz.value:g} MHz"

    def cycles(self, counts: Counts) -> Interval:
        """Modelled cycles of a run."""
        terms = cycles_by_term(self.family, counts, self.memory, coefficients(self.family.name))
        value = sum(terms.values())
        code = sum(terms[term.name] for term in self.family.terms if term.kind == "code")
        least = cycles(self.family, counts, ZERO_WAIT) if self.memory.kind == "unvalidated" else value - code
        error = worst_error() if self.family.assumed_error is None else self.family.assumed_error
        doubt = float_error() * counts.float_instructions
        return Interval(value, max(least * (1 - error) - doubt, 0.0), value * (1 + error) + doubt)

    def milliseconds(self, interval: Interval) -> Interval | None:
        """Time at the board's clock; None without a board."""
        if self.board is None or self.board.mhz.value is None:
            return None
        return interval.times(1 / (self.board.mhz.value * 1e3))

    def microjoules(self, interval: Interval) -> Interval | None:
        """Energy of the whole chip while it computes; None without a board, or where its energy is unknown."""
        if self.board is None or self.board.picojoules_per_cycle.value is None:
            return None
        return interval.times(self.board.picojoules_per_cycle.value * 1e-6, energy_error())

    def cautions(self, counts: Counts) -> Iterator[str]:
        """Why the interval is wide, and what is unknown."""
        if self.board is None:
            yield "no board is given: cycles are those of memory without wait states"
        elif self.board.caution:
            yield self.board.caution
        if not self.family.validated:
            yield f"no published row validates the model of Cortex-{self.family.name}"
        if self.board is not None and self.board.picojoules_per_cycle.value is None:
            yield f"energy is unknown: {self.board.picojoules_per_cycle.source}"
        if counts.float_instructions > 0.02 * counts.instructions:
            yield "floating-point arithmetic is not validated"


def machine_of_board(board: Board) -> Machine:
    """The machine of a board.

    Raises:
        FirmwareError: its CPU family has no model, or its wait states are unknown.
    """
    return Machine(family_named(board.cpu), board.memory, board)


def machine_of_cpu(family: str) -> Machine:
    """A processor whose memory has no wait states.

    Raises:
        FirmwareError: the family has no model.
    """
    return Machine(family_named(family), ZERO_WAIT)


@cache
def float_error() -> float:
    """Mean error of the float32 rows, in cycles per floating-point instruction."""
    rows = [row for row in published_rows() if row.dtype == "float32"]
    found = [
        abs(cycles(family_named(row.cpu), row.counts, row.memory) - row.cycles) / row.counts.float_instructions
        for row in rows
    ]
    return float(np.mean(found))
