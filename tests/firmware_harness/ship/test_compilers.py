"""A few cells of the compiler matrix that once failed; `python benchmarks/compilers.py` builds and runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.firmware_harness.ship.compilers import COMPILERS, Cell, cells, reports
from tinyscene.firmware_harness.build.targets import CORTEX_M0PLUS, CORTEX_M4, CORTEX_M55, HOST, XTENSA
from tinyscene.runtime.bundle import Bundle

CLANG = ("clang", "ld.lld")


@pytest.fixture(scope="module")
def expected(scenes: Bundle, build_folder: Path) -> list[str]:
    lines = reports(Cell("gcc", HOST, "c99", "-O2"), scenes, build_folder / "expected")
    assert isinstance(lines, list)
    return lines


def _cell(cell: Cell) -> object:
    tools = [cell.target.compiler, "gcc", *(CLANG if cell.compiler == "clang" else ())]
    tools += [cell.target.emulator.command] if cell.target.emulator else []
    return pytest.param(cell, id=str(cell), marks=pytest.mark.needs_tool(*tools))


@pytest.mark.parametrize(
    "cell",
    [
        _cell(Cell("gcc", CORTEX_M55, "mve", "-O0")),
        _cell(Cell("gcc", CORTEX_M4, "dsp", "-flto, two models")),
        _cell(Cell("clang", CORTEX_M55, "mve", "-Og, frame pointers")),
        _cell(Cell("clang", CORTEX_M4, "dsp", "-ffixed-r9")),
    ],
)
def test_what_every_compiler_prints_is_equal(cell: Cell, scenes: Bundle, tmp_path: Path, expected: list[str]) -> None:
    assert reports(cell, scenes, tmp_path) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [
        _cell(Cell("gcc", CORTEX_M55, "mve", "-O0")),
        _cell(Cell("clang", CORTEX_M4, "dsp", "-flto, two models")),
        _cell(Cell("gcc", CORTEX_M0PLUS, "c99", "header in C++")),
    ],
)
def test_a_log_mel_in_integers_is_equal(cell: Cell, integer_scenes: Bundle, tmp_path: Path) -> None:
    on_host = reports(Cell("gcc", HOST, "c99", "-O2"), integer_scenes, tmp_path / "host")
    soft = cell.target.soft_float
    assert reports(cell, integer_scenes, tmp_path) == [e for e in on_host if not soft or not e.startswith("permille")]


@pytest.mark.parametrize(
    "cell",
    [
        _cell(Cell("gcc", CORTEX_M0PLUS, "c99", "-O2", "single")),
        _cell(Cell("clang", CORTEX_M0PLUS, "c99", "-O2", "single")),
        _cell(Cell("gcc", XTENSA, "c99", "-Os", "single")),
    ],
)
def test_what_a_processor_without_float_unit_prints_is_equal(cell: Cell, scenes: Bundle, tmp_path: Path) -> None:
    """Under this rule it rescales in a function of its own, which depends on two conditions."""
    on_host = reports(Cell("gcc", HOST, "c99", "-O2", "single"), scenes, tmp_path / "host")
    want = [line for line in on_host if not line.startswith("permille")]  # in float, which is not printed there
    assert reports(cell, scenes, tmp_path / "board") == want


@pytest.mark.needs_tool("arm-none-eabi-gcc")
def test_a_processor_without_the_instructions_is_one_error(scenes: Bundle, tmp_path: Path) -> None:
    got = reports(Cell("gcc", CORTEX_M0PLUS, "dsp", "-O2"), scenes, tmp_path)
    assert got == "exported with --cpu dsp: compile for a processor with DSP instructions, such as -mcpu=cortex-m4"


def test_the_table_has_every_combination() -> None:
    names = [str(cell) for cell in cells()]
    assert len(names) == len(set(names)) == len(COMPILERS) * (11 * 13 + 2 * 12) + 12
