"""Targets and formats of exports as test parameters; a test is skipped by name where a tool is missing.

Cortex-M7 and M33 run the kernels of Cortex-M4, Cortex-M3 those of M0+ and RV32, Wasmtime and Chromium the image of
Node.js: on all targets at once, they are left to the slow tests.
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
    WASM,
    WASM_CHROMIUM,
    WASM_WASMTIME,
    Target,
)
from tinyscene.firmware_harness.ship.formats import FORMATS


def on(target: Target, *marks: pytest.MarkDecorator) -> object:
    """One target as a parameter marked with the tools it needs."""
    modules = [target.runtime.module] if target.runtime and target.runtime.module else []
    needs = [pytest.mark.needs_tool(*target.executables), pytest.mark.needs_module(*modules)]
    return pytest.param(target, id=target.name, marks=[*needs, *marks])


def on_each(targets: Iterable[Target]) -> pytest.MarkDecorator:
    """Parametrise the argument ``target``."""
    return pytest.mark.parametrize("target", [on(target) for target in targets])


def _on_all(targets: Iterable[Target]) -> pytest.MarkDecorator:
    same = (CORTEX_M3, CORTEX_M7, CORTEX_M33, WASM_WASMTIME, WASM_CHROMIUM)
    return pytest.mark.parametrize("target", [on(t, *([pytest.mark.slow] if t in same else [])) for t in targets])


_needs_clang = pytest.mark.needs_tool(*WASM.executables)
each_format = pytest.mark.parametrize(
    "form", [pytest.param(form.name, marks=[_needs_clang] if form.web else []) for form in FORMATS.values()]
)
EMULATED = tuple(target for target in TARGETS.values() if target.emulator)
everywhere = _on_all(TARGETS.values())
emulated = _on_all(EMULATED)
each_kernel_set = on_each((HOST, CORTEX_M4, CORTEX_M55))  # one machine per kernel set
