"""The largest networks on the emulated Cortex-M4: every byte, and limits of their cost, to detect regressions.

Instructions are counted by -icount, so that the figures are the same on every machine.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.firmware_harness.equality import both_rules
from tests.firmware_harness.machines import on
from tests.firmware_harness.random_graphs import cp_mobile
from tests.graphs import random_input
from tinyscene.firmware_harness.build.targets import CORTEX_M4, Target
from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.firmware_harness.run.engine import Figures, FirmwareEngine
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.interpreter import run

MILLIONS = {
    ("dcase25", "double"): 31.72,
    ("dcase25", "single"): 32.5,
    ("cpm23", "double"): 30.4,
    ("cpm23", "single"): 31.6,
}
ARENA_BYTES = 45_500
CODE_BYTES = 17_000  # about 500 of them compare the constants and the sealed image with their checksums
SLOWER_IN_LESS_MEMORY = 1.15


@pytest.mark.parametrize("target", [on(CORTEX_M4)])
@both_rules
@pytest.mark.parametrize("variant", ["dcase25", "cpm23"])
def test_instructions_memory_and_code(target: Target, variant: str, rounding: Rounding) -> None:
    speed, ram = (_figures(target, variant, rounding, optimise) for optimise in ("speed", "ram"))
    assert speed.instructions is not None
    assert ram.instructions is not None
    assert ram.code_bytes is not None
    assert speed.instructions <= MILLIONS[variant, rounding] * 1e6
    assert ram.instructions <= SLOWER_IN_LESS_MEMORY * speed.instructions
    assert ram.arena_bytes <= ARENA_BYTES
    assert ram.code_bytes <= CODE_BYTES


def _figures(target: Target, variant: str, rounding: Rounding, optimise: Optimise) -> Figures:
    """Cost of a network whose output equals NumPy's."""
    rng = np.random.default_rng(40)
    graph = cp_mobile(rng, variant)
    codes = random_input(rng, graph)
    engine, expected = FirmwareEngine(graph, target, rounding, optimise=optimise), {}
    run(graph, codes, rounding=rounding, trace=expected)
    for name, array in engine.outputs(codes).items():
        assert np.array_equal(array, expected[name]), name
    return engine.measure(codes)
