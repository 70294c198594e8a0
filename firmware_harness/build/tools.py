"""Compilers, their companions and emulators: found in PATH, and run for a limited time.

Refuses to go on without one, naming the packages that bring it, and with a compiler too old for the processor.
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
COMPLAINT = re.compile(r"\berror: |undefined reference|multiple definition|overflowed by")


def installed(name: str, package: str, where: str) -> str:
    """The path of a tool.

    Raises:
        FirmwareError: it is not there; ``package`` is what to install.
    """
    path = shutil.which(name)
    if path is None:
        step = f"apt-get install {package}"
        raise FirmwareError(where, f"{name} is not installed", next_step=step, missing=True)
    return path


def run_tool(command: Sequence[str], target: Target) -> str:
    """Standard output of one of the target's tools, or FirmwareError with its first complaint."""
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
        lines = [line for line in done.stderr.splitlines() if COMPLAINT.search(line)]
        raise FirmwareError(
            f"building for {target.name}",
            f"{command[0]} failed: {(lines or done.stderr.splitlines() or ['no message'])[0]}",
            next_step=f"run it by hand: {' '.join(command)}",
        )
    return done.stdout


def compiler_version(target: Target) -> str:
    """The target's compiler as it names itself.

    Raises:
        FirmwareError: there is none, or it is older than the processor.
    """
    compiler = installed(target.compiler, target.toolchain.package, f"building for {target.name}")
    number = _answer(compiler, "-dumpversion").strip()
    major = number.partition(".")[0]
    if major.isdigit() and int(major) < target.oldest_gcc:
        raise FirmwareError(
            f"building for {target.name}",
            f"{target.compiler} is too old for this processor",
            expected=f"version {target.oldest_gcc} or newer",
            got=number,
            next_step=f"apt-get install {target.toolchain.package} on a newer system, or put a newer one first in PATH",
            missing=True,
        )
    return _answer(compiler, "--version")


@lru_cache(maxsize=32)
def _answer(tool: str, question: str) -> str:
    return subprocess.run([tool, question], capture_output=True, text=True, check=True).stdout


def emulator_command(emulator: Emulator) -> list[str]:
    """How an emulated machine is started, without screen and console; serial port and image are still to be named.

    Raises:
        FirmwareError: the emulator is not installed.
    """
    path = installed(emulator.command, emulator.package, f"machine {emulator.machine}")
    return [path, "-M", emulator.machine, *emulator.options, "-display", "none", "-monitor", "none"]


def emulator_version(emulator: Emulator) -> str:
    """The emulator as it names itself.

    Raises:
        FirmwareError: it is not installed.
    """
    return _answer(installed(emulator.command, emulator.package, f"machine {emulator.machine}"), "--version")
