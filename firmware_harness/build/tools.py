"""Compilers, binutils and emulators: looked up in PATH and run with a timeout.

Refuses a missing tool, naming the Debian packages that contain it, and a compiler too old for the processor.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache

from ..errors import FirmwareError
from .targets import Emulator, Target

COMPILE_TIMEOUT_SECONDS = 300.0
ERROR_LINE = re.compile(r"\berror: |undefined reference|multiple definition|overflowed by")


def installed(name: str, package: str, where: str) -> str:
    """Return the path of a tool.

    Raises:
        FirmwareError: it is not installed; the message names ``package``.
    """
    path = shutil.which(name)
    if path is None:
        step = f"apt-get install {package}"
        raise FirmwareError(where, f"{name} is not installed", next_step=step, missing=True)
    return path


def run_tool(command: Sequence[str], target: Target) -> str:
    """Run one of the target's tools and return its standard output; raise FirmwareError with its first error."""
    try:
        done = subprocess.run(
            [installed(command[0], target.toolchain.package, f"building for {target.name}"), *command[1:]],
            capture_output=True,
            text=True,
            timeout=COMPILE_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FirmwareError(
            f"building for {target.name}", f"{command[0]} ran longer than {COMPILE_TIMEOUT_SECONDS} s"
        ) from None
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if ERROR_LINE.search(line)]
        raise FirmwareError(
            f"building for {target.name}",
            f"{command[0]} failed: {(lines or done.stderr.splitlines() or ['no message'])[0]}",
            next_step=f"run it by hand: {' '.join(command)}",
        )
    return done.stdout


def compiler_version(target: Target) -> str:
    """Version text of the target's compiler.

    Raises:
        FirmwareError: it is not installed, or too old for the processor.
    """
    compiler = installed(target.compiler, target.toolchain.package, f"building for {target.name}")
    if compiler_major(target) < target.oldest_gcc:
        raise FirmwareError(
            f"building for {target.name}",
            f"{target.compiler} is too old for this processor",
            expected=f"version {target.oldest_gcc} or newer",
            got=_output(compiler, "-dumpversion").strip(),
            next_step=f"apt-get install {target.toolchain.package} on a newer system, or put a newer one first in PATH",
            missing=True,
        )
    return _output(compiler, "--version")


def compiler_major(target: Target) -> int:
    """Major version of the target's compiler.

    Raises:
        FirmwareError: it is not installed.
    """
    compiler = installed(target.compiler, target.toolchain.package, f"building for {target.name}")
    return int(_output(compiler, "-dumpversion").partition(".")[0])


@lru_cache(maxsize=32)
def _output(tool: str, option: str) -> str:
    return subprocess.run([tool, option], capture_output=True, text=True, check=True).stdout


def emulator_command(emulator: Emulator) -> list[str]:
    """Command line of an emulated machine without display and monitor; the caller adds serial port and image.

    Raises:
        FirmwareError: the emulator is not installed.
    """
    path = installed(emulator.command, emulator.package, f"machine {emulator.machine}")
    return [path, "-M", emulator.machine, *emulator.options, "-display", "none", "-monitor", "none"]


def emulator_version(emulator: Emulator) -> str:
    """Version text of the emulator.

    Raises:
        FirmwareError: it is not installed.
    """
    return _output(installed(emulator.command, emulator.package, f"machine {emulator.machine}"), "--version")
