"""The provenance of a report: the command, digests of the model, and versions of every tool involved."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from contextlib import suppress

from tinyscene.firmware_harness.build.targets import CORTEX_M4
from tinyscene.firmware_harness.build.tools import compiler_version, emulator_version
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.host import versions

from ..write_bundle import tool_versions

ENGINES = ("ethos-u-vela", "tflite-micro", "tensorflow")  # in addition to those that every bundle records


def provenance(command: str, bundle: Bundle | None, tflite: bytes) -> dict[str, str]:
    """Name and value, in display order; tools that are not installed are left out."""
    rows = {"command": command}
    if bundle is not None:
        rows |= {"data": bundle.manifest.data, "made by": bundle.manifest.rebuild}
        rows |= {"bundle digest": bundle.manifest.digest}
    rows |= {"SHA-256 of model.tflite": hashlib.sha256(tflite).hexdigest()}
    rows |= {"measured on": f"{platform.system()} {platform.machine()}"}
    return rows | {f"version of {name}": version for name, version in _versions().items()}


def _versions() -> dict[str, str]:
    emulator = CORTEX_M4.emulator
    assert emulator is not None
    programs: dict[str, Callable[[], str]] = {
        CORTEX_M4.compiler: lambda: compiler_version(CORTEX_M4),
        emulator.command: lambda: emulator_version(emulator),
    }
    rows = tool_versions() | versions(*ENGINES)
    for name, version in programs.items():
        with suppress(TinysceneError):  # not installed
            rows[name] = version().partition("\n")[0]
    return rows
