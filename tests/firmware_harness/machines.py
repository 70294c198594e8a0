"""Targets as test parameters; a test is skipped by name where the compiler or emulator is missing.

Cortex-M7 and M33 run the kernels of Cortex-M4, Cortex-M3 those of M0+ and RV32: on all targets at once, they are left
to the slow tests.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tinyscene.firmware_harness.build.targets import (
    CORTEX_M3,
    CORTEX_M4,
    CORTEX_M7,
    CORTEX_M33,
    CORTEX_M55,
    HOST,
    TARGETS,
    Target,
)


def on(target: Target, *marks: pytest.MarkDecorator) -> object:
    """One target as a parameter marked with the tools it needs."""
    tools = [target.compiler, *([target.emulator.command] if target.emulator else [])]
    return pytest.param(target, id=target.name, marks=[pytest.mark.needs_tool(*tools), *marks])


def on_each(targets: Iterable[Target]) -> pytest.MarkDecorator:
    """Parametrise the argument ``target``."""
    return pytest.mark.parametrize("target", [on(target) for target in targets])


def _on_all(targets: Iterable[Target]) -> pytest.MarkDecorator:
    same = (CORTEX_M3, CORTEX_M7, CORTEX_M33)
    return pytest.mark.parametrize("target", [on(t, *([pytest.mark.slow] if t in same else [])) for t in targets])


EMULATED = tuple(target for target in TARGETS.values() if target.emulator)
everywhere = _on_all(TARGETS.values())
emulated = _on_all(EMULATED)
each_kernel_set = on_each((HOST, CORTEX_M4, CORTEX_M55))  # one machine per kernel set
