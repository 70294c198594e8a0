"""asc_guard_stack on emulated processors: an overflow of the stack becomes a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.firmware_harness.machines import on
from tests.firmware_harness.ship.boards import link, run
from tinyscene.firmware_harness.build.targets import (
    CORTEX_M0PLUS,
    CORTEX_M4,
    CORTEX_M7,
    CORTEX_M33,
    CORTEX_M55,
    RISCV32,
    Target,
)
from tinyscene.firmware_harness.ship.formats import FORMATS, export
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.runtime.bundle import Bundle

CHECK = Path(__file__).with_name("guard_check.c")
FAULTS = {13, 14}  # ports/ts_port.h: a fault, a fault of the stack


def _exit_code(target: Target, guarded: bool, folder: Path) -> int:
    image = folder / f"guard-{target.name}-{guarded}"
    inputs = [CHECK, folder / "asc" / "src" / "asc.c"]
    link(target, inputs, [folder / "asc" / "include"], image, f"-DGUARDED={int(guarded)}", "-Og")
    return run(target, image).code


@pytest.mark.parametrize(
    "target",
    [
        on(CORTEX_M4),  # memory protection unit
        on(CORTEX_M33),  # stack limit
        pytest.param(CORTEX_M0PLUS, id="cortex-m0plus", marks=pytest.mark.slow),
        pytest.param(CORTEX_M7, id="cortex-m7", marks=pytest.mark.slow),
        pytest.param(CORTEX_M55, id="cortex-m55", marks=pytest.mark.slow),
    ],
)
def test_an_overflow_is_a_fault(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    export(Product(scenes, Options(prefix="asc"), "tinyscene"), FORMATS["makefile"], tmp_path / "asc")
    assert _exit_code(target, False, tmp_path) == 0
    assert _exit_code(target, True, tmp_path) in FAULTS


@pytest.mark.slow
@pytest.mark.parametrize("target", [on(RISCV32)])
def test_a_processor_without_a_guard_refuses(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    export(Product(scenes, Options(prefix="asc"), "tinyscene"), FORMATS["makefile"], tmp_path / "asc")
    assert _exit_code(target, True, tmp_path) == 3
