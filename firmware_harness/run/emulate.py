"""Run an image, on this machine or under QEMU, in a folder of its own, for a limited time.

A run that ends in anything but success is a FirmwareError that says what happened: a fault with its address, a
sanitizer's report, a damaged guard beside the arena, a time-out. No process outlives the call.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..build.image import Image
from ..build.tools import emulator_command
from ..errors import FirmwareError

CONSOLE = "console.txt"
VECTORS = "vectors.bin"
RESULT = {
    "verify": "layers.bin",
    "measure": "output.bin",
    "profile": "clocks.bin",
    "logmel": "codes.bin",
    "scenes": "hops.bin",
}
SANITIZER_SETTINGS = {"ASAN_OPTIONS": "detect_leaks=0"}  # nothing is allocated, and in containers the search can fail
STACK_RAN_OVER = 14
EXIT_MEANINGS = {  # ports/ts_port.h
    10: "could not read the vectors or write the results",
    11: "the model refused its arguments",
    12: "a layer wrote outside the arena",
    13: "the processor took a fault",
    STACK_RAN_OVER: "the stack ran over",
    15: "the audio ended before it was whole",
}


@dataclass(frozen=True)
class Finished:
    """What a run left behind: the bytes of its result file, and the "name value" lines it printed."""

    result: bytes
    printed: dict[str, str]


def run_image(image: Image, vectors: bytes, timeout_seconds: float) -> Finished:
    """Run an image on what its program reads: bare int8 vectors one after the other, or audio (ports/*.c).

    Raises:
        FirmwareError: the emulator is missing, the run failed, or took longer than ``timeout_seconds``.
    """
    with tempfile.TemporaryDirectory(prefix="tinyscene-run-") as name:
        folder = Path(name)
        (folder / VECTORS).write_bytes(vectors)
        command = _command(image)
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace",
                stdin=subprocess.DEVNULL, env=os.environ | SANITIZER_SETTINGS, timeout=timeout_seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise FirmwareError(
                f"running on {image.target.name}",
                f"not finished after {timeout_seconds:g} s, stopped",
                next_step="give fewer vectors or more time",
            ) from None
        console = folder / CONSOLE
        text = console.read_text(errors="replace") if console.exists() else done.stdout
        printed = dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split(maxsplit=1)) == 2)
        if done.returncode != 0:
            _refuse(image, done.returncode, printed, done.stderr)
        result = folder / RESULT[image.program]
        if not result.exists():
            raise FirmwareError(f"running on {image.target.name}", f"ended well, but without {result.name}")
        return Finished(result.read_bytes(), printed)


def _command(image: Image) -> list[str]:
    emulator = image.target.emulator
    if emulator is None:
        return [str(image.path)]
    return [
        *(*emulator_command(emulator), "-serial", "none"),
        *(["-icount", "shift=0"] if image.program != "verify" else []),
        *("-semihosting-config", "enable=on,target=native,chardev=console"),
        *("-chardev", f"file,id=console,path={CONSOLE}", "-kernel", str(image.path)),
    ]


def _refuse(image: Image, code: int, printed: dict[str, str], stderr: str) -> None:
    """Raise the error that explains exit code ``code``."""
    what = EXIT_MEANINGS.get(code, f"the run ended with code {code}")
    faults = [
        f"{name.removeprefix('fault_')} 0x{value}" for name, value in printed.items() if name.startswith("fault_")
    ]
    lines = [line for line in stderr.splitlines() if "runtime error" in line or "ERROR" in line] or stderr.splitlines()
    raise FirmwareError(
        f"running on {image.target.name}",
        ": ".join([what, *([", ".join(faults)] if faults else []), *lines[:1]]),
        next_step=f"look at the image {image.path} with a debugger"
        if code != STACK_RAN_OVER
        else f"give the target more than the {image.target.stack_bytes:,} B it sets aside",
    )
