"""The bound of each function of an exported product is at or above the painted stack, and not far above."""

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
from tinyscene.firmware_harness.ship.product import Options, Product
from tinyscene.firmware_harness.ship.product_stack import product_stack
from tinyscene.runtime.bundle import Bundle

LARGEST_RATIO = 1.1


def _assert_bound(target: Target, bundle: Bundle, folder: Path) -> None:
    product = Product(bundle, Options(target.cpu, prefix="asc"), "tinyscene")
    bounds = product_stack(product, target)
    assert tuple(bounds) == product.part.functions
    (folder / "asc.c").write_text(product.source())
    (folder / "asc.h").write_text(product.header())
    sources = [Path(__file__).with_name("print_stack.c"), folder / "asc.c"]
    ran = run(target, link(target, sources, [folder], folder / "stack.elf"))
    assert ran.code == 0
    for name, painted in (line.split() for line in ran.lines):
        assert int(painted) <= bounds[name].bytes <= LARGEST_RATIO * int(painted), f"{name}: {bounds[name]}, {painted}"


@pytest.mark.parametrize("target", [on(CORTEX_M4), on(RISCV32)])
def test_the_bound_is_at_or_above_the_painted_stack(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    _assert_bound(target, scenes, tmp_path)


OTHERS = (CORTEX_M0PLUS, CORTEX_M7, CORTEX_M33, CORTEX_M55)


@pytest.mark.slow
@pytest.mark.parametrize("target", [on(target) for target in OTHERS])
def test_the_bound_on_the_other_targets(target: Target, scenes: Bundle, tmp_path: Path) -> None:
    _assert_bound(target, scenes, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", [on(target) for target in (CORTEX_M4, RISCV32, *OTHERS)])
def test_the_bound_with_a_log_mel_in_integers(target: Target, integer_scenes: Bundle, tmp_path: Path) -> None:
    """On Cortex-M0+ this was once refused: GCC's call graph has a division that the image has not."""
    _assert_bound(target, integer_scenes, tmp_path)
