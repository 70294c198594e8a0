"""Cycles of a run: the terms of a family with coefficients fitted to published rows, and the errors of the model.

A fit minimises the sum of squared relative errors; coefficients are not negative. An error that counts is one of rows
that the fit did not use: :func:`left_out` fits without a group of rows and predicts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tinyscene.runtime.arrays import F64

from .counts import Counts
from .families import FAMILIES, Family
from .memory import Memory
from .published import Row, int8_rows

Coefficients = Mapping[str, float]  # of the fitted terms, by name
GROUPS: Mapping[str, Callable[[Row], object]] = {
    "one board": lambda row: row.chip,
    "one vendor and board": lambda row: (row.vendor, row.chip),
    "one network": lambda row: row.network,
    "one row": lambda row: row.name,
}


def cycles_by_term(family: Family, counts: Counts, memory: Memory, fitted: Coefficients) -> dict[str, float]:
    """Cycles of each term of a run."""
    return {
        term.name: term.amount(counts, memory) * (fitted[term.name] if term.each is None else term.each)
        for term in family.terms
    }


def cycles(family: Family, counts: Counts, memory: Memory, fitted: Coefficients | None = None) -> float:
    """Cycles of a run, with the coefficients of all shipped rows unless others are given."""
    return sum(cycles_by_term(family, counts, memory, coefficients(family.name) if fitted is None else fitted).values())


@cache
def coefficients(family: str) -> Coefficients:
    """Coefficients fitted to all shipped int8 rows of a family."""
    return fit(FAMILIES[family], int8_rows(family))


def fit(family: Family, rows: Sequence[Row]) -> Coefficients:
    """Fit the coefficients of a family's fitted terms to rows; zero without rows."""
    names = [term.name for term in family.fitted]
    published = np.array([row.cycles for row in rows])
    ones = dict.fromkeys(names, 1.0)
    parts = [cycles_by_term(family, row.counts, row.memory, ones) for row in rows]
    known = np.array([sum(cycles for name, cycles in part.items() if name not in names) for part in parts])
    amounts = np.array([[part[name] for name in names] for part in parts]).reshape(len(rows), len(names))
    solution = _non_negative(amounts / published[:, None], (published - known) / published)
    return dict(zip(names, solution.tolist(), strict=True))


def _non_negative(matrix: F64, target: F64) -> F64:
    """Least squares without negative coefficients: the most negative one is set to zero until none is left."""
    used = list(range(matrix.shape[1]))
    solution = np.zeros(matrix.shape[1])
    while used and len(target):
        values = np.linalg.lstsq(matrix[:, used], target, rcond=None)[0]
        if values.min() >= 0:
            solution[used] = values
            break
        used.pop(int(values.argmin()))
    return solution


@dataclass(frozen=True)
class RowError:
    """A row's modelled cycles, and their relative error."""

    row: Row
    cycles: float

    @property
    def relative(self) -> float:
        """Modelled over published cycles, less one."""
        return self.cycles / self.row.cycles - 1


def errors(family: Family, rows: Sequence[Row], fitted: Coefficients) -> Iterator[RowError]:
    """The error of each row."""
    for row in rows:
        yield RowError(row, cycles(family, row.counts, row.memory, fitted))


def left_out(family: Family, rows: Sequence[Row], group: Callable[[Row], object]) -> Iterator[RowError]:
    """Errors of every group of rows by a fit to the others; none where a family needs others and there are none."""
    for left in dict.fromkeys(map(group, rows)):
        others = [row for row in rows if group(row) != left]
        if others or not family.fitted:
            yield from errors(family, [row for row in rows if group(row) == left], fit(family, others))


def one_constant(rows: Sequence[Row], group: Callable[[Row], object]) -> Iterator[RowError]:
    """As :func:`left_out`, for the model "cycles = constant x instructions"; the constant is the mean of the others."""
    for left in dict.fromkeys(map(group, rows)):
        others = [row.cycles / row.counts.instructions for row in rows if group(row) != left]
        for row in rows:
            if others and group(row) == left:
                yield RowError(row, row.counts.instructions * float(np.mean(others)))


@cache
def worst_error() -> float:
    """The largest relative error of a row left out, over all families and groups: half the width of intervals."""
    found = [
        abs(error.relative)
        for family in FAMILIES.values()
        for group in GROUPS.values()
        for error in left_out(family, int8_rows(family.name), group)
    ]
    return max(found)
