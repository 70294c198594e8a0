"""Compile an emitted model, the kernels and a test program into an image.

Objects and images are named by a digest of everything that goes into them, so that nothing is compiled twice in one
build folder. Refuses to go on without the compiler, naming the packages that bring it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from runtime.arith import Rounding

from .emit import KERNEL_FOLDER, ROUNDING_MACRO, Emitted, kernel_sources
from .errors import FirmwareError
from .targets import C_FLAGS, PORT_FOLDER, Target

Program = Literal["verify", "measure"]
COMPILE_TIMEOUT_SECONDS = 300.0
COMPLAINT = re.compile(r"\berror: |undefined reference|multiple definition|overflowed by")
CODE_SECTIONS = (".text",)
FLASH_SECTIONS = (".vectors", ".text", ".rodata", ".ARM.exidx", ".data")
STATIC_RAM_SECTIONS = (".data", ".bss")


@dataclass(frozen=True)
class Image:
    """A linked program."""

    path: Path
    target: Target
    program: Program
    rounding: Rounding


@dataclass(frozen=True)
class ImageSizes:
    """Bytes of an image, test program and start-up code (some 1.5 kB) included.

    ``flash_bytes`` is code, constants and initial data; ``code_bytes`` the code alone; ``static_ram_bytes`` variables
    other than arena and stack.
    """

    flash_bytes: int
    code_bytes: int
    static_ram_bytes: int


def build(
    emitted: Emitted, target: Target, rounding: Rounding, *, program: Program = "verify", folder: Path | None = None
) -> Image:
    """Compile and link ``program`` around the model.

    Args:
        emitted: the model's C.
        target: machine to build for.
        rounding: the rule compiled in.
        program: ``verify`` dumps every layer, with sanitizers where the target has them; ``measure`` is the image as a
            product would have it, for targets with a counter.
        folder: where objects and images go and are found again; by default a folder that lives as long as the process.

    Raises:
        FirmwareError: the model does not fit the target, a tool is missing, or the compiler refuses.
    """
    target.refuse_unless_fits(emitted.graph.name, emitted.constant_bytes, emitted.plan.arena_bytes)
    folder = _process_folder() if folder is None else folder
    flags = [*C_FLAGS, *target.flags, *(target.verify_flags if program == "verify" else ())]
    if rounding == "single":
        flags.append(f"-D{ROUNDING_MACRO}")
    if program == "verify":
        flags.append("-DTS_OBSERVE")
    model = folder / "models" / _digest(emitted.model_c, emitted.model_h)
    _write_model(model, emitted)
    sources = [model / "model.c", *kernel_sources(), PORT_FOLDER / f"{program}.c", *target.port_folder.iterdir()]
    objects = [_compile(source, model, flags, target, folder) for source in sorted(sources) if source.suffix == ".c"]
    return Image(_link(objects, flags, target, folder), target, program, rounding)


def sizes(image: Image) -> ImageSizes:
    """Section sizes of a linked image, by the target's ``size``."""
    listing = run_tool([image.target.size_tool, "-A", str(image.path)], image.target)
    rows = [line.split() for line in listing.splitlines()]
    bytes_of = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}

    def total(names: tuple[str, ...]) -> int:
        return sum(bytes_of.get(name, 0) for name in names)

    return ImageSizes(total(FLASH_SECTIONS), total(CODE_SECTIONS), total(STATIC_RAM_SECTIONS))


def run_tool(command: Sequence[str], target: Target) -> str:
    """Standard output of one of the target's tools, or FirmwareError with its first complaint."""
    try:
        done = subprocess.run(
            [_tool(command[0], target), *command[1:]],
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


@lru_cache(maxsize=1)
def _process_folder_handle() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tinyscene-firmware-")


def _process_folder() -> Path:
    return Path(_process_folder_handle().name)


def _tool(name: str, target: Target) -> str:
    path = shutil.which(name)
    if path is None:
        raise FirmwareError(
            f"building for {target.name}", f"{name} is not installed", next_step=f"apt-get install {target.package}"
        )
    return path


@lru_cache(maxsize=8)
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


def _digest(*parts: str) -> str:
    record = hashlib.sha256()
    for part in parts:
        record.update(f"{len(part)}:{part}".encode())
    return record.hexdigest()[:32]


def _write_model(folder: Path, emitted: Emitted) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.c").write_text(emitted.model_c)
    (folder / "model.h").write_text(emitted.model_h)


def _compile(source: Path, model: Path, flags: list[str], target: Target, folder: Path) -> Path:
    """The object of one source, compiled unless it is there already."""
    version = _version(_tool(target.compiler, target))
    includes = [KERNEL_FOLDER, PORT_FOLDER, target.port_folder]
    headers = [header.read_text() for where in includes for header in sorted(where.glob("*.h"))]
    text = source.read_text()
    if '"model.h"' in text:
        headers.append((model / "model.h").read_text())
    path = folder / "objects" / f"{_digest(version, *flags, text, *headers)}.o"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        include_flags = [f"-I{where}" for where in (model, *includes)]
        run_tool([target.compiler, *flags, *include_flags, "-c", str(source), "-o", str(unfinished)], target)
        unfinished.replace(path)
    return path


def _link(objects: list[Path], flags: list[str], target: Target, folder: Path) -> Path:
    version = _version(_tool(target.compiler, target))
    scripts = [script.read_text() for script in sorted(target.port_folder.glob("*.ld"))]
    names = [path.name for path in objects]
    path = folder / "images" / f"{_digest(version, *flags, *target.link_flags, *scripts, *names)}.elf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        linked = [*flags, f"-L{target.port_folder}", *target.link_flags, *map(str, objects), "-o", str(unfinished)]
        run_tool([target.compiler, *linked], target)
        unfinished.replace(path)
    return path
