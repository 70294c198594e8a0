"""Compilers, binutils, emulators and WebAssembly runtimes: looked up in PATH and run with a timeout.

Refuses a missing tool, naming the Debian packages that contain it, and a compiler too old for the processor.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from tinyscene.runtime.install_hint import install_hint
from tinyscene.runtime.processes import TimeoutExpired, run
from tinyscene.runtime.system_errors import mentioned_in, system_error

from ..errors import FirmwareError
from .targets import Emulator, Runtime, Target, Toolchain

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
    """Run one of the target's tools and return its standard output.

    Raises:
        FirmwareError: it failed; the message has its first error.
        RuntimeFailure: it failed because the disk is full, or for another reason of the machine.
    """
    try:
        tool = installed(command[0], target.toolchain.package, f"building for {target.name}")
        done = run([tool, *command[1:]], timeout_seconds=COMPILE_TIMEOUT_SECONDS)
    except TimeoutExpired:
        raise FirmwareError(
            f"building for {target.name}", f"{command[0]} ran longer than {COMPILE_TIMEOUT_SECONDS} s"
        ) from None
    if done.code != 0:
        shortage = mentioned_in(done.stderr, done.code)
        if shortage is not None:
            raise system_error(f"building for {target.name}, {command[0]}", shortage)
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
    where, package = f"building for {target.name}", target.toolchain.package
    compiler = installed(target.compiler, package, where)
    if target.toolchain.linker:
        installed(target.toolchain.linker, package, where)
    if compiler_major(target) < target.oldest_gcc:
        raise FirmwareError(
            where,
            f"{target.compiler} is too old for this processor",
            expected=f"version {target.oldest_gcc} or newer",
            got=_output(compiler, "-dumpversion").strip(),
            next_step=f"apt-get install {package} on a newer system, or put a newer one first in PATH",
            missing=True,
        )
    if not has_library(compiler, target.toolchain):
        raise FirmwareError(
            where, f"{target.compiler} has no C library", next_step=f"apt-get install {package}", missing=True
        )
    return _output(compiler, "--version")


def compiler_major(target: Target) -> int:
    """Major version of the target's compiler.

    Raises:
        FirmwareError: it is not installed.
    """
    compiler = installed(target.compiler, target.toolchain.package, f"building for {target.name}")
    return int(_output(compiler, "-dumpversion").partition(".")[0])


def has_library(compiler: str, toolchain: Toolchain) -> bool:
    """Whether a compiler finds its C library and its own; for a file that it lacks, it prints the bare name."""
    specs = [flag.removeprefix("--specs=") for flag in toolchain.flags if flag.startswith("--specs=")]
    options = (f"-print-file-name={specs[0] if specs else 'libc.a'}", "-print-libgcc-file-name")
    return all(Path(_output(compiler, option, *toolchain.flags).strip()).is_file() for option in options)


@lru_cache(maxsize=64)
def _output(tool: str, *options: str) -> str:
    return run([tool, *options]).stdout


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


def runtime_command(runtime: Runtime) -> list[str]:
    """Command line that runs an image, whose path the caller adds, in a WebAssembly runtime.

    Raises:
        FirmwareError: the runtime is not installed.
    """
    where = "WebAssembly runtime"
    if runtime.module and importlib.util.find_spec(runtime.module) is None:
        step = install_hint(runtime.extra)
        raise FirmwareError(where, f"{runtime.module} is not installed", next_step=step, missing=True)
    tool = installed(runtime.tool, runtime.package, where) if runtime.tool else ""
    script = runtime.program.suffix == ".mjs"
    return [tool, "--no-warnings", str(runtime.program)] if script else [sys.executable, "-P", str(runtime.program)]
