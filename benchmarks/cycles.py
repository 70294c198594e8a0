"""Modelled cycles and energy compared with published results, and the errors of rows that a fit did not use.

Without options, writes the page. With --rows, models the rows of another table (the columns of docs/cycles.md) with
the shipped coefficients and prints modelled and published cycles and the error of each row; boards without a record
take their clock and wait states from the options.

    python benchmarks/cycles.py [--out docs/results-cycles.md]
    python benchmarks/cycles.py --rows FILE.csv [--mhz MHZ] [--wait-states N]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.firmware_harness.cycles.boards import BOARDS, Sourced, board_in_results
from tinyscene.firmware_harness.cycles.energy import energy_error, measured_rows, picojoules_per_cycle
from tinyscene.firmware_harness.cycles.estimate import Machine, float_error
from tinyscene.firmware_harness.cycles.families import FAMILIES, Family, family_named
from tinyscene.firmware_harness.cycles.model import (
    GROUPS,
    coefficients,
    cycles,
    errors,
    left_out,
    one_constant,
    worst_error,
)
from tinyscene.firmware_harness.cycles.published import Fallback, Row, int8_rows, published_rows, read_row, read_table
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.markdown import table

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-cycles.md"
TITLE = """# Modelled cycles and energy compared with published results

Written by `python benchmarks/cycles.py`; do not edit. [Cycles](cycles.md) describes the model, and where the rows come
from. An error is modelled over published, less one, in percent.
"""
FITTED = """
## Fitted numbers

Cycles of the terms whose cost no document has, fitted to the int8 rows. All other numbers of the models come from the
processors' manuals and from the boards' wait states.
"""
LEFT_OUT = """
## Errors of rows that the fit did not use

A group of rows is left out, the fitted numbers come from the others, and the group is predicted. "One constant" is the
same test of the model "cycles = constant x instructions". A family without fitted numbers has the same errors in every
test; the terms themselves were chosen with all rows in view. Cortex-M4 has rows of one chip only, from two vendors.
"""
EACH = """
## Each row

With the numbers fitted to all rows, and with the row's vendor and board, or its network, left out.
"""
ENERGY = """
## Energy

A constant per board in picojoules per cycle, from the int8 rows with a published energy; "left out": from the board's
other rows. The second table has the errors of energy from published and from modelled cycles (vendor and board left
out of the fit of the cycles).
"""
BOARD_RECORDS = """
## Boards

Every number with its source. What needs an unknown number is refused.
"""


def percent(errors_of_rows: Iterable[float]) -> tuple[str, str]:
    """Mean and worst absolute error in percent."""
    each = np.abs(list(errors_of_rows)) * 100
    return (f"{each.mean():.1f}", f"{each.max():.1f}") if len(each) else ("-", "-")


def fitted_lines() -> Iterator[str]:
    rows = [
        (family.name, term.name, f"{coefficients(family.name)[term.name]:.3f}", term.source)
        for family in FAMILIES.values()
        for term in family.fitted
    ]
    yield from table(("family", "term", "cycles each", "what is known"), rows)


def validated_families() -> list[Family]:
    return [family for family in FAMILIES.values() if family.validated]


def left_out_lines() -> Iterator[str]:
    rows = []
    for family in validated_families():
        known = int8_rows(family.name)
        for name, group in GROUPS.items():
            modelled = [error.relative for error in left_out(family, known, group)]
            if modelled:
                constant = [error.relative for error in one_constant(known, group)]
                rows.append((family.name, name, str(len(modelled)), *percent(modelled), *percent(constant)))
    head = ("family", "left out", "rows", "mean", "worst", "one constant, mean", "one constant, worst")
    yield from table(head, rows, 5)


def each_lines() -> Iterator[str]:
    rows = []
    for family in validated_families():
        known = int8_rows(family.name)
        columns = [
            {error.row.name: error.relative for error in found}
            for found in (
                errors(family, known, coefficients(family.name)),
                left_out(family, known, GROUPS["one vendor and board"]),
                left_out(family, known, GROUPS["one network"]),
            )
        ]
        for row in known:
            cells = [f"{100 * column[row.name]:+.1f}" if row.name in column else "-" for column in columns]
            rows.append((row.name, row.cpu, f"{row.cycles / 1e6:,.3f} M", *cells))
    yield from table(("row", "family", "published", "all rows", "board left out", "network left out"), rows, 4)


def energy_lines() -> Iterator[str]:
    rows, published, modelled = [], [], []
    for chip in dict.fromkeys(row.chip for row in measured_rows()):
        known = [row for row in measured_rows() if row.chip == chip]
        family = family_named(known[0].cpu)
        by_name = {e.row.name: e for e in left_out(family, int8_rows(family.name), GROUPS["one vendor and board"])}
        constant = picojoules_per_cycle(known)
        for row in known:
            others = picojoules_per_cycle([other for other in known if other.name != row.name])
            measured = row.energy_uj or 0.0
            of_others = others * row.cycles * 1e-6 / measured - 1
            of_model = (by_name[row.name].relative + 1) * (constant * row.cycles * 1e-6 / measured) - 1
            published.append(of_others)
            modelled.append(of_model)
            cells = [f"{constant:.0f}", f"{measured:,.0f}", f"{100 * of_others:+.1f}", f"{100 * of_model:+.1f}"]
            rows.append((chip, row.network, *cells))
    head = ("board", "network", "pJ per cycle", "published uJ", "left out, published cycles", "modelled cycles")
    yield from table(head, rows, 4)
    yield ""
    summary = (("published cycles, left out", *percent(published)), ("modelled cycles", *percent(modelled)))
    yield from table(("energy from", "mean", "worst"), summary, 2)


def number(sourced: Sourced, unit: str = "") -> str:
    """A number with its source."""
    value = "unknown" if sourced.value is None else f"{sourced.value:,g}{unit}"
    return f"{value} ({sourced.source})"


def board_lines() -> Iterator[str]:
    rows = [
        (
            board.name,
            board.cpu,
            number(board.mhz, " MHz"),
            number(board.wait_states),
            board.memory_kind,
            number(board.picojoules_per_cycle, " pJ per cycle"),
            board.caution,
        )
        for board in BOARDS.values()
    ]
    yield from table(("board", "family", "clock", "wait states", "memory", "energy", "caution"), rows)


def page() -> str:
    """The page of results."""
    intervals = (
        f"\nIntervals of cycles are at least {100 * worst_error():.1f} % wide on each side, the worst error above; of "
        f"energy {100 * energy_error():.1f} % more; each floating-point instruction adds {float_error():.2f} cycles, "
        "the mean error of the float32 rows.\n"
    )
    sections = (
        (FITTED, fitted_lines()),
        (LEFT_OUT, left_out_lines()),
        (EACH, each_lines()),
        (ENERGY, energy_lines()),
        (BOARD_RECORDS, board_lines()),
    )
    text = TITLE
    for heading, lines in sections:
        text += heading + "\n" + "".join(f"{line}\n" for line in lines)
        text += intervals if heading == LEFT_OUT else ""
    return text


def row_cells(row: Row) -> tuple[str, ...]:
    """A row of another table: published, modelled, interval, error, energy and its error, remark."""
    family = family_named(row.cpu)
    modelled = Machine(family, row.memory).cycles(row.counts)
    error = f"{100 * (modelled.value / row.cycles - 1):+.1f} %"
    board = board_in_results(row.board)
    constant = None if board is None else board.picojoules_per_cycle.value
    energy = "-"
    if constant is not None and row.energy_uj is not None:
        predicted = constant * modelled.value * 1e-6
        energy = f"{predicted:,.1f} of {row.energy_uj:,.1f} ({100 * (predicted / row.energy_uj - 1):+.1f} %)"
    interval = f"{modelled.low / 1e6:.3f} to {modelled.high / 1e6:.3f}"
    numbers = f"{row.cycles / 1e6:.3f}", f"{modelled.value / 1e6:.3f}", interval, error, energy
    return row.name, row.cpu, str(row.memory.wait_states), *numbers, "; ".join(remarks(row))


def remarks(row: Row) -> Iterator[str]:
    """Why a row is not like those that the model was fitted to."""
    if not row.board_known:
        yield f"no record of this board, cache as {row.memory.kind}"
    if row.dtype != "int8":
        yield f"{row.dtype} is not validated, and not in the means"
    if not family_named(row.cpu).validated:
        yield f"no published row validates {row.cpu}"


def print_rows(path: Path, fallback: Fallback) -> None:
    """Print the rows of a table and the mean and worst error of each family's int8 rows; say which are refused."""
    rows: list[Row] = []
    refusals: list[str] = []
    for where, fields in read_table(path):
        try:
            rows.append(read_row(fields, where, fallback))
        except TinysceneError as error:
            refusals.append(str(error))
    head = ("row", "family", "wait states", "published M", "modelled M", "interval M", "error", "energy uJ", "remark")
    for line in table(head, map(row_cells, rows)):
        print(line)
    for family in FAMILIES.values():
        found = [cycles(family, r.counts, r.memory) / r.cycles - 1 for r in rows if r.cpu == family.name]
        int8 = [e for e, r in zip(found, (r for r in rows if r.cpu == family.name), strict=True) if r.dtype == "int8"]
        if int8:
            print(f"{family.name}: {len(int8)} int8 rows, mean {percent(int8)[0]} %, worst {percent(int8)[1]} %")
    for refusal in refusals:
        print(f"refused: {refusal}")
    used = {row.name for row in published_rows()} & {row.name for row in rows}
    if used:
        print(f"{len(used)} of these rows are among those that the model was fitted to")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--rows", type=Path, metavar="FILE.csv")
    parser.add_argument("--mhz", type=float, help="clock of boards without a record")
    parser.add_argument("--wait-states", type=int, help="wait states of flash of boards without a record")
    arguments = parser.parse_args()
    if arguments.rows is None:
        arguments.out.write_text(page())
        return
    try:
        print_rows(arguments.rows, Fallback(arguments.mhz, arguments.wait_states))
    except TinysceneError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
