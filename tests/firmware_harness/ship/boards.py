"""Programs around an exported folder, linked for a target and run on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyscene.firmware_harness.build.seal import seal
from tinyscene.firmware_harness.build.targets import C_FLAGS, CONSOLE, PORT_FOLDER, Target

PRINT_REPORTS = Path(__file__).with_name("print_reports.c")
PRINT_CODES = Path(__file__).with_name("print_codes.c")


@dataclass(frozen=True)
class Ran:
    """Exit code and printed lines of a run."""

    code: int
    lines: list[str]


def link(target: Target, inputs: Sequence[Path], includes: Sequence[Path], image: Path, *flags: str) -> Path:
    """Link C files, objects and libraries into one image, with the target's start-up code."""
    ports = [source for folder in target.port_folders for source in sorted(folder.glob("*.c"))]
    searched = [f"-I{folder}" for folder in (*includes, *target.port_folders, PORT_FOLDER)]
    subprocess.run(
        [
            *(target.compiler, *C_FLAGS, *flags, *target.compile_flags, *searched, *map(str, [*ports, *inputs])),
            *(*target.link_flags, "-lm", "-o", str(image)),
        ],
        check=True,
    )
    seal(image, target)
    return image


def run(target: Target, image: Path, timeout_seconds: float = 60.0) -> Ran:
    """Run an image in its folder."""
    command, console = [str(image)], image.with_name(CONSOLE)
    console.unlink(missing_ok=True)
    if target.emulator is not None:
        command = [
            *(target.emulator.command, "-M", target.emulator.machine, *target.emulator.options, "-display", "none"),
            *("-monitor", "none", *target.emulator.calls, "-kernel", str(image)),
        ]
    done = subprocess.run(
        command, cwd=image.parent, capture_output=True, text=True, timeout=timeout_seconds, check=False,
        stdin=subprocess.DEVNULL, env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip
    printed = console.read_text() if console.exists() else ""
    return Ran(done.returncode, (done.stdout + done.stderr + printed).splitlines())
