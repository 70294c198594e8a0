"""Targets as test parameters; a test is skipped by name where the compiler or emulator is missing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, HOST, TARGETS, Target


def on(target: Target) -> object:
    """One target as a parameter marked with the tools it needs."""
    tools = [target.compiler, *([target.emulator.command] if target.emulator else [])]
    return pytest.param(target, id=target.name, marks=pytest.mark.needs_tool(*tools))


def on_each(targets: Iterable[Target]) -> pytest.MarkDecorator:
    """Parametrise the argument ``target``."""
    return pytest.mark.parametrize("target", [on(target) for target in targets])


EMULATED = tuple(target for target in TARGETS.values() if target.emulator)
everywhere = on_each(TARGETS.values())
emulated = on_each(EMULATED)
each_kernel_set = on_each((HOST, CORTEX_M4, CORTEX_M55))  # one machine per kernel set
