"""Tables of published results: what is read, and what is refused with its line and column."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

import tinyscene
from tinyscene.firmware_harness.cycles.published import NO_FALLBACK, ROWS, Fallback, read_row, read_table
from tinyscene.firmware_harness.errors import FirmwareError

ROOT = Path(tinyscene.__file__).parent.parent


@pytest.fixture
def table(tmp_path):
    """Write the first shipped row with changes; a column of None is left out."""

    def write(**changes: str | None) -> Path:
        with ROWS.open() as file:
            row = {**next(csv.DictReader(file)), **changes}
        row = {name: value for name, value in row.items() if value is not None}
        path = tmp_path / "rows.csv"
        with path.open("w") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerow(row)
        return path

    return write


def _read(path, fallback=NO_FALLBACK):
    return [read_row(fields, where, fallback) for where, fields in read_table(path)]


def test_wait_states_that_the_image_wrote_come_before_the_boards(table):
    (row,) = _read(table(board="NUCLEO_H7A3ZI", flash_acr="0x52002000=0x7 0xe000ed14=0x30000"))
    assert (row.memory.kind, row.memory.wait_states) == ("l1-16k", 7)
    (row,) = _read(table(board="NUCLEO_H7A3ZI", flash_acr=""))
    assert row.memory.wait_states == 6


def test_a_board_without_a_record_takes_clock_and_wait_states_from_the_caller(table):
    path = table(board="EVK_1", core="M4", mhz="", flash_acr="")
    (row,) = _read(path, Fallback(mhz=150, wait_states=3))
    assert (row.mhz, row.memory.kind, row.memory.wait_states, row.board_known) == (150, "art", 3, False)
    with pytest.raises(FirmwareError, match=r"rows.csv, line 2: clock of EVK_1 is unknown; next: give --mhz"):
        _read(path)
    with pytest.raises(FirmwareError, match="wait states of EVK_1 are unknown; next: give --wait-states"):
        _read(path, Fallback(mhz=150))


def test_cycles_come_from_latency_where_they_are_not_given(table):
    (row,) = _read(table(cycles_published="", latency_ms="2", mhz="100"))
    assert row.cycles == 200_000


def test_rows_without_published_time_are_skipped(table):
    assert _read(table(cycles_published="", latency_ms="")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"c_n": None, "flash_acr": None},
            "2 columns are missing: flash_acr, c_n; expected the columns of docs/cycles.md",
        ),
        ({"c_n": "many"}, "line 2: column c_n; expected a count; got many"),
        ({"c_n": "-1"}, "line 2: column c_n; expected a count; got -1"),
        ({"c_n": "nan"}, "line 2: column c_n; expected a count; got nan"),
        ({"cycles_published": "0"}, "line 2: column cycles_published; expected a number above 0; got 0"),
        ({"core": "M85"}, "cycles of M85: no cost model; expected M0+ or M3 or M4 or M7 or M33 or M55"),
    ],
)
def test_invalid_tables_are_refused(table, changes, message):
    with pytest.raises(FirmwareError) as refused:
        _read(table(**changes))
    assert message in str(refused.value)


def test_the_benchmark_prints_a_row_and_names_what_it_refuses(table):
    def run(path, *options):
        command = [sys.executable, "benchmarks/cycles.py", "--rows", str(path), *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    printed = run(table(board="EVK_1", flash_acr=""), "--wait-states", "3")
    assert printed.returncode == 0, printed.stderr
    assert "no record of this board" in printed.stdout
    assert "M7: 1 int8 rows" in printed.stdout
    assert "refused: cycles of M85: no cost model" in run(table(core="M85")).stdout
    refused = run(table(c_n=None))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
