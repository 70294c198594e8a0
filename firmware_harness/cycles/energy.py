"""Energy of a board: a constant per cycle while the chip computes, from published energies.

MLPerf Tiny measures the whole chip. A constant per cycle holds for networks of one kind of arithmetic; its error is
that of each published row. Refuses boards without published energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from .published import Row, published_rows


def measured_rows() -> tuple[Row, ...]:
    """Shipped int8 rows with a published energy."""
    return tuple(row for row in published_rows() if row.energy_uj is not None and row.dtype == "int8")


def picojoules_per_cycle(rows: Sequence[Row]) -> float:
    """The middle of the rows' least and largest energy per cycle, so that the worst relative error is smallest."""
    each = [1e6 * (row.energy_uj or 0.0) / row.cycles for row in rows]
    return 2 / (1 / min(each) + 1 / max(each))


@cache
def energy_error() -> float:
    """The largest relative error of a row's energy from its published cycles, with the constant of the other rows."""
    found = []
    for row in measured_rows():
        others = [other for other in measured_rows() if other.board == row.board and other.name != row.name]
        modelled = picojoules_per_cycle(others) * row.cycles * 1e-6
        found.append(abs(modelled / (row.energy_uj or 1.0) - 1))
    return max(found)
