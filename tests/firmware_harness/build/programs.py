"""C programs on a target, around its port."""

from __future__ import annotations

from pathlib import Path

from tinyscene.firmware_harness.build.image import Image
from tinyscene.firmware_harness.build.seal import seal
from tinyscene.firmware_harness.build.targets import C_FLAGS, PORT_FOLDER, Target
from tinyscene.firmware_harness.build.tools import run_tool
from tinyscene.firmware_harness.run.emulate import Finished, run_image


def run_program(target: Target, source: Path, folder: Path, vectors: bytes = b"") -> Finished:
    """Build a C program with a target's port and run it on the file ``vectors.bin``."""
    path = folder / f"{target.name}.elf"
    ports = [*(PORT_FOLDER, *target.port_folders)]
    sources = [source, *(path for port in target.port_folders for path in port.glob("*.c"))]
    includes = [f"-I{port}" for port in ports]
    words = [*C_FLAGS, *target.compile_flags, *includes, *map(str, sources), *target.link_flags, "-o", str(path)]
    run_tool([target.compiler, *words], target)
    seal(path, target)
    return run_image(Image(path, target, "measure", "double"), vectors, timeout_seconds=60.0)
