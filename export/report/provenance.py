"""Where a report comes from: the command, the digests of what was examined, and the versions of what took part."""

from __future__ import annotations

import hashlib
import platform

from tinyscene.firmware_harness.build.targets import CORTEX_M4
from tinyscene.firmware_harness.build.tools import compiler_version, emulator_version
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.host import versions

from ..write_bundle import tool_versions

ENGINES = ("ethos-u-vela", "tflite-micro", "tensorflow")  # beside those that every bundle records


def provenance(command: str, bundle: Bundle | None, tflite: bytes) -> dict[str, str]:
    """By name, in the order to be shown; what is not installed has no line."""
    found = {"command": command}
    if bundle is not None:
        found |= {"data": bundle.manifest.data, "made by": bundle.manifest.rebuild}
        found |= {"bundle digest": bundle.manifest.digest}
    found |= {"SHA-256 of model.tflite": hashlib.sha256(tflite).hexdigest()}
    found |= {"measured on": f"{platform.system()} {platform.machine()}"}
    return found | {f"version of {name}": version for name, version in _versions().items()}


def _versions() -> dict[str, str]:
    found = tool_versions() | versions(*ENGINES)
    emulator = CORTEX_M4.emulator
    assert emulator is not None
    for name, said in (
        (CORTEX_M4.compiler, lambda: compiler_version(CORTEX_M4)),
        (emulator.command, lambda: emulator_version(emulator)),
    ):
        try:
            found[name] = said().partition("\n")[0]
        except TinysceneError:
            continue
    return found
