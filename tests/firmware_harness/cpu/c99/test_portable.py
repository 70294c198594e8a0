"""The portable kernels on processors without long products or a float unit, and their inner loops in assembly."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.firmware_harness.equality import assert_equal, both_rules
from tests.firmware_harness.machines import on
from tests.firmware_harness.random_graphs import convolution, tie_net
from tests.graphs import Builder, random_input
from tinyscene.firmware_harness.build.targets import (
    C_FLAGS,
    CORTEX_M0PLUS,
    CORTEX_M3,
    CORTEX_M4,
    CORTEX_M55,
    HOST,
    RISCV32,
    SANITIZERS,
    Target,
)
from tinyscene.firmware_harness.emit.kernel_set import C_FOLDER
from tinyscene.runtime.arith import Rounding

CHECK = Path(__file__).with_name("products_check.c")
SMALL = ("-DTS_NARROW_MULTIPLY", "-DTS_SOFT_FLOAT")
TWIN = replace(HOST, name="host-small", flags=SMALL)
cores = pytest.mark.parametrize(
    "target",
    [
        on(TWIN),
        on(CORTEX_M0PLUS),
        on(CORTEX_M4),
        on(CORTEX_M55),
        on(CORTEX_M3, pytest.mark.slow),
        on(RISCV32, pytest.mark.slow),
    ],
)


@pytest.mark.needs_tool("gcc")
@pytest.mark.parametrize("flags", [(), SMALL[:1], ("-DTS_ROUNDING_SINGLE", *SMALL)], ids=" ".join)
def test_arithmetic_is_the_definition(flags: tuple[str, ...], tmp_path: Path) -> None:
    """High products and shifts equal divisions, the float rule in integers equals float32."""
    program = tmp_path / "check"
    sources = [str(CHECK), str(C_FOLDER / "ts_requantise.c")]
    subprocess.run(["gcc", *C_FLAGS, *SANITIZERS, *flags, f"-I{C_FOLDER}", *sources, "-o", str(program)], check=True)
    assert subprocess.run([str(program)], check=False).returncode == 0


@both_rules
@cores
def test_every_remainder_of_the_loops(target: Target, rounding: Rounding) -> None:
    """Taps that are no multiple of four, outputs and windows that are odd, one window, fewer outputs than a block."""
    rng = np.random.default_rng(4)
    b = Builder(rng, "remainders", (8, 6, 7))
    x = b.input
    for channels, kernel in ((1, (1, 1)), (2, (2, 2)), (3, (1, 1)), (5, (3, 3)), (9, (2, 1)), (4, (1, 1)), (6, (3, 1))):
        x = b.conv(x, kernel, channels=channels, pads=(1, 1, 1, 1) if kernel == (3, 3) else (0, 0, 0, 0))
        x = b.conv(x, (3, 3), pads=(1, 1, 1, 1)) if channels in (2, 9) else x
        x = b.conv(x, (2, 2), pads=(1, 1, 0, 0)) if channels in (3, 4) else x
    for outputs in (3, 4, 7, 1):
        x = b.fully_connected(b.reshape(x, (1, b.tensors[x].n_bytes)), outputs)
    graph = b.graph(b.reshape(x, (1, 1, 1, 1)))
    assert_equal(target, graph, random_input(rng, graph, 3), rounding)


@both_rules
@pytest.mark.parametrize("target", [on(TWIN)])
def test_extremes_and_ties(target: Target, rounding: Rounding) -> None:
    rng = np.random.default_rng(8)
    size = np.minimum(2.0 ** rng.uniform(0, 30.99, 600), 2**31 - 1 - 127 * 133).astype(np.int64)
    bias = np.where(rng.random(600) < 0.5, -size, size)
    weight_scale = 2.0 ** rng.uniform(-30, 30, 600) * 0.1 / 0.03 / 2
    graph = convolution(rng, (2, 3, 1), (1, 1), channels=600, bias=bias, weight_scale=weight_scale)
    assert_equal(target, graph, random_input(rng, graph, 4), rounding)
    channel = np.arange(-128, 128, dtype=np.int8)
    codes = np.stack([channel, rng.permutation(channel)], axis=1).reshape(1, 16, 16, 2)
    assert_equal(target, tie_net(), codes, rounding)
