"""Published results: latency and energy of firmware images, and the counts of those images.

``published_rows.csv`` has results of MLPerf Tiny with the address of each in mlcommons/tiny_results_vX.Y, and
docs/cycles.md describes the columns. Refuses tables with missing columns or values that are not numbers, and CPU
families without a model.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinyscene.runtime.bounded_files import read_bounded

from ..errors import FirmwareError
from .boards import board_in_results
from .counts import Counts, column_names, counts_of_row
from .families import family_named
from .memory import Memory, MemoryKind

ROWS = Path(__file__).with_name("published_rows.csv")
PUBLISHED_COLUMNS = (
    *("id", "org", "board", "core", "mhz", "net", "dtype", "latency_ms", "cycles_published", "energy_uj", "flash_acr"),
)
LATENCY_REGISTER = re.compile(r"0x(?:40022000|40023c00|52002000)=0x([0-9a-f]+)")  # FLASH_ACR of STM32
LATENCY_BITS = 15
LARGEST_TABLE_BYTES = 1 << 26
USUAL_MEMORY: dict[str, MemoryKind] = {
    "M0+": "prefetch",
    "M3": "art",
    "M4": "art",
    "M33": "icache",
    "M7": "l1-16k",
    "M55": "l1-16k",
}  # where nothing is known but the wait states


@dataclass(frozen=True)
class Fallback:
    """Memory system of boards that have no record."""

    mhz: float | None = None
    wait_states: int | None = None


NO_FALLBACK = Fallback()


@dataclass(frozen=True)
class Row:
    """One published image. ``cycles`` is latency times clock; ``energy_uj`` None where it was not measured."""

    name: str
    vendor: str
    board: str
    cpu: str
    mhz: float
    network: str
    dtype: str
    cycles: float
    energy_uj: float | None
    memory: Memory
    board_known: bool
    counts: Counts

    @property
    def chip(self) -> str:
        """Name of the board's record, or the board as published."""
        board = board_in_results(self.board)
        return self.board if board is None else board.name


@cache
def published_rows() -> tuple[Row, ...]:
    """The rows that ship with this package."""
    return tuple(read_row(fields, where) for where, fields in read_table(ROWS))


def int8_rows(family: str) -> tuple[Row, ...]:
    """Shipped rows of a CPU family whose networks are int8."""
    return tuple(row for row in published_rows() if row.cpu == family and row.dtype == "int8")


Fields = Mapping[str, str | None]  # of one line of a table, by column


def read_table(path: Path) -> Iterator[tuple[str, Fields]]:
    """Lines of a table that have published cycles or a latency, each with where it is.

    Raises:
        FirmwareError: a column is missing, or the file is not a table.
        RuntimeFailure: the file cannot be read.
    """
    try:
        text = read_bounded(path, LARGEST_TABLE_BYTES, "check the path").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FirmwareError(str(path), "not a text in UTF-8", expected="a table of comma-separated values") from None
    table = csv.DictReader(text.splitlines())
    needed = (*PUBLISHED_COLUMNS, *column_names())
    missing = [name for name in needed if name not in (table.fieldnames or ())]
    if missing:
        names = f"{len(missing)} columns are missing: {', '.join(missing[:5])}"
        raise FirmwareError(str(path), names, expected="the columns of docs/cycles.md")
    for number, fields in enumerate(table, start=2):
        where = f"{path}, line {number}"
        if fields["cycles_published"] or fields["latency_ms"]:
            yield where, fields


def read_row(fields: Fields, where: str, fallback: Fallback = NO_FALLBACK) -> Row:
    """One line of a table; ``fallback`` is used for boards without a record.

    Raises:
        FirmwareError: a value is missing or invalid, the CPU family has no model, or the board has neither a record nor
            a fallback.
    """
    core, board = fields["core"] or "", fields["board"] or ""
    family_named(core)
    mhz = _positive(fields, "mhz", where) if fields["mhz"] else fallback.mhz
    if mhz is None:
        raise FirmwareError(where, f"clock of {board} is unknown", next_step="give --mhz")
    published = fields["cycles_published"]
    cycles = _positive(fields, "cycles_published" if published else "latency_ms", where)
    return Row(
        name=fields["id"] or "",
        vendor=fields["org"] or "",
        board=board,
        cpu=core,
        mhz=mhz,
        network=fields["net"] or "",
        dtype=fields["dtype"] or "",
        cycles=cycles if published else cycles * mhz * 1e3,
        energy_uj=_positive(fields, "energy_uj", where) if fields["energy_uj"] else None,
        memory=_memory(fields, core, board, where, fallback),
        board_known=board_in_results(board) is not None,
        counts=counts_of_row(fields, where),
    )


def _memory(fields: Fields, core: str, board: str, where: str, fallback: Fallback) -> Memory:
    """Memory system of the board's record or family; wait states that the image wrote come before the record's."""
    record = board_in_results(board)
    kind = USUAL_MEMORY[core] if record is None else record.memory_kind
    written = LATENCY_REGISTER.findall(fields["flash_acr"] or "")
    known = None if record is None else record.wait_states.value
    if written:
        wait_states: float | None = int(written[-1], 16) & LATENCY_BITS
    else:
        wait_states = fallback.wait_states if known is None else known
    if wait_states is None:
        raise FirmwareError(where, f"wait states of {board} are unknown", next_step="give --wait-states")
    return Memory(kind, int(wait_states))


def _positive(fields: Fields, column: str, where: str) -> float:
    text = fields[column] or ""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise FirmwareError(where, f"column {column}", expected="a number above 0", got=text)
    return value
