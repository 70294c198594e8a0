"""Run an image, on this machine, under QEMU or in a WebAssembly runtime, in a temporary folder and with a timeout.

A failed run is a FirmwareError with its cause: a fault and its address, a sanitizer's report, a byte written outside
the arena, a timeout. No process outlives the call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinyscene.runtime.processes import TimeoutExpired, run
from tinyscene.runtime.system_errors import mentioned_in, reason
from tinyscene.runtime.temporaries import temporary_folder

from ..build.image import Image
from ..build.targets import CONSOLE
from ..build.tools import emulator_command, runtime_command
from ..errors import FirmwareError

VECTORS = "vectors.bin"
PLUGIN_FILE = "executed.bin"
RESULT = {
    "verify": "layers.bin",
    "measure": "output.bin",
    "profile": "clocks.bin",
    "logmel": "codes.bin",
    "scenes": "hops.bin",
}
SANITIZER_SETTINGS = {"ASAN_OPTIONS": "detect_leaks=0"}  # nothing is allocated, and the search can fail in containers
FILES, STACK_OVERFLOW = 10, 14
EXIT_CAUSES = {  # ports/ts_port.h
    FILES: "could not read the vectors or write the results",
    11: "the model refused its arguments",
    12: "a layer wrote outside the arena",
    13: "the processor raised a fault",
    STACK_OVERFLOW: "the stack overflowed",
    15: "the audio is truncated or shorter than one clip",
    16: "code or constants of the image are damaged",
    17: "the constants are not those that were emitted",
}


@dataclass(frozen=True)
class Finished:
    """Output of a run: the bytes of its result file, the "name value" lines it printed, and a plugin's file."""

    result: bytes
    printed: dict[str, str]
    plugin: bytes = b""


@dataclass(frozen=True)
class Plugin:
    """A shared library that the emulator loads, with the values of its arguments; see plugin/executed.c."""

    library: Path
    values: Mapping[str, int]

    @property
    def argument(self) -> str:
        """The emulator's argument."""
        values = (f"{name}={value}" for name, value in self.values.items())
        return ",".join((str(self.library), *values, f"out={PLUGIN_FILE}"))


def run_image(image: Image, vectors: bytes, timeout_seconds: float, plugin: Plugin | None = None) -> Finished:
    """Run an image on its program's input: bare int8 vectors one after the other, or audio (see ports/*.c).

    ``plugin``: loaded into the emulator; :attr:`Finished.plugin` is what it wrote.

    Raises:
        FirmwareError: the emulator is missing, the run failed, or took longer than ``timeout_seconds``.
    """
    with temporary_folder("run") as folder:
        (folder / VECTORS).write_bytes(vectors)
        command = [*_command(image), *(["-plugin", plugin.argument] if plugin else [])]
        try:
            environment = os.environ | SANITIZER_SETTINGS
            done = run(command, folder=folder, environment=environment, timeout_seconds=timeout_seconds)
        except TimeoutExpired:
            raise FirmwareError(
                f"running on {image.target.name}",
                f"stopped after {timeout_seconds:g} s",
                next_step="run fewer vectors or allow more time",
            ) from None
        console = folder / CONSOLE
        text = console.read_text(errors="replace") if console.exists() else done.stdout
        printed = dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split(maxsplit=1)) == 2)
        if done.code != 0:
            raise _failure(image, done.code, printed, done.stderr)
        result = folder / RESULT[image.program]
        if not result.exists():
            raise FirmwareError(f"running on {image.target.name}", f"exit code 0, but no {result.name} was written")
        written = (folder / PLUGIN_FILE).read_bytes() if plugin else b""
        return Finished(result.read_bytes(), printed, written)


def _command(image: Image) -> list[str]:
    emulator, runtime = image.target.emulator, image.target.runtime
    if emulator is None:
        return [*([] if runtime is None else runtime_command(runtime)), str(image.path)]
    return [
        *(*emulator_command(emulator), *emulator.calls),
        *(["-icount", "shift=0"] if image.program != "verify" else []),
        *("-kernel", str(image.path)),
    ]


def _failure(image: Image, code: int, printed: dict[str, str], stderr: str) -> FirmwareError:
    """The error that explains exit code ``code``."""
    cause = EXIT_CAUSES.get(code, f"the run ended with code {code}")
    faults = [
        f"{name.removeprefix('fault_')} 0x{value}" for name, value in printed.items() if name.startswith("fault_")
    ]
    lines = [line for line in stderr.splitlines() if "runtime error" in line or "ERROR" in line] or stderr.splitlines()
    problem = mentioned_in(stderr) if code == FILES else None
    if problem is not None:
        what, next_step = reason(problem)
        return FirmwareError(f"running on {image.target.name}", f"{cause}: {what}", next_step=next_step)
    next_steps = {
        FILES: "free space in the folder of temporary files, or set TMPDIR to another",
        STACK_OVERFLOW: f"reserve more stack for the target than {image.target.stack_bytes:,} B",
    }
    return FirmwareError(
        f"running on {image.target.name}",
        ": ".join([cause, *([", ".join(faults)] if faults else []), *lines[:1]]),
        next_step=next_steps.get(code, f"run the image {image.path} in a debugger"),
    )
