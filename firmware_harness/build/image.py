"""Compile an emitted model, the kernels and a test program into an image.

Objects and images are named by a digest of all their inputs, so that nothing is compiled twice in one build folder.
Section sizes are read from the toolchain's own ``size``, so that a build needs no further Python package. Refuses a
model that does not fit into memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.temporaries import process_folder

from ..emit.constant_block import ROUNDING_MACRO
from ..emit.log_mel import SCENE_FOLDER, EmittedFrontend, frontend_folders, frontend_sources, scene_sources
from ..emit.model import Emitted
from ..errors import FirmwareError
from .seal import seal
from .stack import StackBound, call_graph_flags, call_graphs_of, stack_bound
from .targets import C_FLAGS, PORT_FOLDER, Target
from .tools import compiler_version, run_tool
from .wasm_sections import CODE_SECTION, DATA_SECTION, sections

Program = Literal["verify", "measure", "profile", "logmel", "scenes"]
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
OVERFLOW = re.compile(r"region `(FLASH|RAM)' overflowed by (\d+) bytes")
CODE_SECTIONS = (".text",)
FLASH_SECTIONS = (".vectors", ".text", ".rodata", ".sealed", ".ARM.exidx", ".data")
STATIC_RAM_SECTIONS = (".data", ".bss")


@dataclass(frozen=True)
class Image:
    """A linked test program."""

    path: Path
    target: Target
    program: Program
    rounding: Rounding
    call_graphs: tuple[Path, ...] = ()  # of the objects, where the compiler writes them

    def stack_bound(self, function: str) -> StackBound | None:
        """Largest stack of one function of the image in C; None where the compiler writes no call graph.

        Raises:
            FirmwareError: the stack has no bound.
        """
        return stack_bound(self.path, self.call_graphs, self.target, function) if self.call_graphs else None


@dataclass(frozen=True)
class ImageSizes:
    """Sizes of an image in bytes, with the test program and start-up code (about 1.5 kB).

    ``flash_bytes``: code, constants and initial data; ``code_bytes``: code only; ``static_ram_bytes``: variables
    without arena and stack.
    """

    flash_bytes: int
    code_bytes: int
    static_ram_bytes: int


def build(
    emitted: Emitted,
    target: Target,
    rounding: Rounding,
    *,
    program: Program = "verify",
    frontend: EmittedFrontend | None = None,
    folder: Path | None = None,
) -> Image:
    """Compile and link ``program`` around the model.

    Args:
        emitted: the model's C.
        target: machine to build for.
        rounding: rounding rule to compile in.
        program: ``verify`` writes every layer's output, with sanitizers where the target has them; ``measure`` is the
            image without observers, as in a product, and ``profile`` counts each call, both for targets with a counter;
            ``scenes`` is the application from audio to label.
        frontend: the log-mel of ``scenes``.
        folder: build folder with objects and images to reuse; by default one that is deleted when the process ends.

    Raises:
        FirmwareError: the model does not fit the target, a tool is missing, or the compiler fails.
    """
    target.refuse_unless_fits(emitted.graph.name, emitted.constant_bytes, emitted.plan.arena_bytes)
    folder = process_folder("firmware") if folder is None else folder
    flags = _flags(target, program)
    if rounding == "single":
        flags.append(f"-D{ROUNDING_MACRO}")
    if program in ("verify", "profile"):
        flags.append("-DTS_OBSERVE")
    model = folder / "models" / _digest(emitted.model_c, emitted.model_h)
    _write_model(model, emitted)
    sources = [
        model / "model.c",
        *emitted.kernels.sources(),
        PORT_FOLDER / f"{program}.c",
        *(path for port in target.port_folders for path in port.iterdir()),
    ]
    headers = emitted.kernels.folders()
    if frontend is not None:
        arithmetic = frontend.spec.arithmetic
        sources += [*frontend_sources(arithmetic), *scene_sources()]
        headers = [*headers, *frontend_folders(arithmetic), SCENE_FOLDER, _write_frontend(folder, frontend)]
    objects = [
        _compile(source, model, headers, flags, target, folder) for source in sorted(sources) if source.suffix == ".c"
    ]
    path = _link(objects, flags, target, folder, emitted.graph.name)
    return Image(path, target, program, rounding, call_graphs_of(objects))


def build_frontend(frontend: EmittedFrontend, target: Target, *, folder: Path | None = None) -> Image:
    """Compile and link a log-mel front end without a network, as program ``logmel``.

    Raises:
        FirmwareError: a tool is missing, or the compiler fails.
    """
    folder = process_folder("firmware") if folder is None else folder
    flags, tables = _flags(target, "logmel"), _write_frontend(folder, frontend)
    ports = [path for port in target.port_folders for path in port.iterdir()]
    arithmetic = frontend.spec.arithmetic
    sources = sorted([*frontend_sources(arithmetic), PORT_FOLDER / "logmel.c", *ports])
    headers = [*frontend_folders(arithmetic), tables]
    objects = [_compile(source, tables, headers, flags, target, folder) for source in sources if source.suffix == ".c"]
    return Image(_link(objects, flags, target, folder, frontend.spec.name), target, "logmel", "double")


def sizes(image: Image) -> ImageSizes:
    """Section sizes of a linked image; for WebAssembly those of code and initial data."""
    if image.target.runtime is not None:
        contents = sections(image.path.read_bytes())
        code, data = (len(contents.get(number, b"")) for number in (CODE_SECTION, DATA_SECTION))
        return ImageSizes(code + data, code, data)
    listing = run_tool([image.target.toolchain.tool("size"), "-A", str(image.path)], image.target)
    rows = [line.split() for line in listing.splitlines()]
    bytes_of = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdigit()}

    def total(names: tuple[str, ...]) -> int:
        return sum(bytes_of.get(name, 0) for name in names)

    return ImageSizes(total(FLASH_SECTIONS), total(CODE_SECTIONS), total(STATIC_RAM_SECTIONS))


def _digest(*parts: str) -> str:
    record = hashlib.sha256()
    for part in parts:
        record.update(f"{len(part)}:{part}".encode())
    return record.hexdigest()[:32]


def _flags(target: Target, program: Program) -> list[str]:
    """Compiler flags: sanitizers where bytes are compared, counter and call graphs on emulated machines."""
    sanitizers = target.verify_flags if program != "measure" else ()
    emulated = target.emulator is not None
    counter = ["-DTS_COUNT"] if program in ("logmel", "scenes") and emulated else []
    graphs = call_graph_flags(target) if program in ("measure", "scenes") and emulated else ()
    return [*C_FLAGS, *target.compile_flags, *sanitizers, *counter, *graphs]


def _write_frontend(folder: Path, frontend: EmittedFrontend) -> Path:
    """Write the headers of a front end; return their folder."""
    tables = folder / "frontends" / _digest(*frontend.headers.values())
    _write_once(tables, frontend.headers)
    return tables


def _write_model(folder: Path, emitted: Emitted) -> None:
    _write_once(folder, {"model.c": emitted.model_c, "model.h": emitted.model_h})


def _write_once(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files into a folder that is named by a digest of them, where they are missing; others read them."""
    with _one_thread(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / name
            if not path.exists() or path.read_text() != text:
                path.write_text(text)


@contextmanager
def _one_thread(path: Path) -> Iterator[None]:
    """Threads that make the same file or folder do so one after another."""
    with _guard:
        lock = _locks.setdefault(path, threading.Lock())
    with lock:
        yield


def _made(path: Path, make: Callable[[Path], None]) -> Path:
    """A file that is named by a digest of what it is made from, written by ``make`` where it is missing."""
    with _one_thread(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(f".{os.getpid()}")
            make(unfinished)
            unfinished.replace(path)
    return path


_guard = threading.Lock()
_locks: dict[Path, threading.Lock] = {}


def _compile(
    source: Path, model: Path, kernel_folders: list[Path], flags: list[str], target: Target, folder: Path
) -> Path:
    """Compile one source unless its object exists; return the object."""
    version = compiler_version(target)
    includes = [model, *kernel_folders, PORT_FOLDER, *target.port_folders]
    text = source.read_text()
    headers = _headers(text, [source.parent, *includes])
    path = folder / "objects" / f"{_digest(version, *flags, text, *headers)}.o"
    include_flags = [f"-I{include}" for include in includes]

    def compiled(to: Path) -> None:
        run_tool([target.compiler, *flags, *include_flags, "-c", str(source), "-o", str(to)], target)

    return _made(path, compiled)


def _headers(text: str, folders: list[Path]) -> list[str]:
    """Texts of the headers in ``folders`` that a source includes, directly or through another header."""
    texts: dict[str, str] = {}
    pending = INCLUDE.findall(text)
    while pending:
        name = pending.pop()
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is not None and name not in texts:
            texts[name] = path.read_text()
            pending += INCLUDE.findall(texts[name])
    return [texts[name] for name in sorted(texts)]


def _link(objects: list[Path], flags: list[str], target: Target, folder: Path, model: str) -> Path:
    shared = [script for port in target.port_folders for script in sorted(port.glob("*.ld"))]
    scripts = [script.read_text() for script in (*shared, *([target.linker_script] if target.linker_script else []))]
    names = [path.name for path in objects]
    version = compiler_version(target)
    path = folder / "images" / f"{_digest(version, *flags, *target.link_flags, *scripts, *names)}.elf"

    def linked(to: Path) -> None:
        try:
            run_tool([target.compiler, *flags, *target.link_flags, *map(str, objects), "-o", str(to)], target)
            seal(to, target)
        except FirmwareError as error:
            overflow = OVERFLOW.search(str(error))
            if overflow is None:
                raise
            available = {"FLASH": target.flash_bytes, "RAM": target.ram_bytes}[overflow[1]]
            raise target.too_large(model, f"{overflow[1]} contents", available + int(overflow[2]), available) from None

    return _made(path, linked)
