"""Executed instructions and memory events of an image under QEMU, address by address, in segments.

A segment is what runs between a start and a stop of the counter (ports/bare/counter.h): one inference, one call, one
piece of audio. The emulator loads plugin/executed.c, which is compiled for this machine when it is first needed.
Refuses targets without an emulator of Arm processors, machines without a compiler, and emulators without plugins.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import I64
from tinyscene.runtime.temporaries import process_folder

from ..build.image import FLASH_SECTIONS, Image
from ..build.targets import HOST
from ..build.tools import run_tool
from ..cycles.counts import Counts
from ..cycles.disassembly import instructions
from ..cycles.profile import EVENTS, Listing
from ..errors import FirmwareError
from .emulate import Plugin, run_image

SOURCE = Path(__file__).parent / "plugin" / "executed.c"
FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared", "-fvisibility=hidden")
SECTIONS = tuple(name for name in FLASH_SECTIONS if name not in (".vectors", ".data"))  # what a network reads
START, STOP = "ts_counter_start", "ts_counter_stop"


@dataclass(frozen=True, eq=False)
class Executed:
    """An image, what it is made of, and how to count it.

    Raises:
        FirmwareError: the image is not for an emulated Arm processor, or a tool is missing.
    """

    image: Image

    def __post_init__(self) -> None:
        target = self.image.target
        if target.emulator is None or target.emulator.command != "qemu-system-arm":
            what = "no model of cycles"
            raise FirmwareError(f"cycles on {target.name}", what, next_step="choose an Arm --target")

    @cached_property
    def listing(self) -> Listing:
        """The image's instructions."""
        helium = ("-m", "armv8.1-m.main") if self.image.target.cpu == "mve" else ()  # objdump does not read it itself
        return Listing(tuple(instructions(self._tool("objdump", "-d", *helium))))

    @cached_property
    def symbols(self) -> Mapping[str, int]:
        """Addresses of functions and variables."""
        rows = (line.split() for line in self._tool("nm").splitlines())
        return {row[2]: int(row[0], 16) & ~1 for row in rows if len(row) == 3}

    def segments(self, vectors: bytes, timeout_seconds: float) -> tuple[Counts, ...]:
        """Run the image, and return the counts of each segment.

        Raises:
            FirmwareError: a tool is missing, the emulator has no plugins, or the run failed.
        """
        return tuple(self.listing.counts(events) for events in self.events(vectors, timeout_seconds))

    def events(self, vectors: bytes, timeout_seconds: float) -> tuple[I64, ...]:
        """Run the image, and return the events of each segment: int64 (instructions of the listing, EVENTS).

        Raises:
            FirmwareError: see :meth:`segments`.
        """
        plugin = Plugin(_library(), self._arguments())
        finished = run_image(self.image, vectors, timeout_seconds, plugin)
        records = np.frombuffer(finished.plugin, "<u8").reshape(-1, 2 + len(EVENTS)).astype(np.int64)
        indices = np.array([self.listing.index(address) for address in records[:, 1].tolist()], np.int64)
        kept = [not self._is_counter(self.listing.listed[index].address) for index in indices]
        found = []
        for segment in np.unique(records[:, 0]):
            events = np.zeros((len(self.listing.listed), len(EVENTS)), np.int64)
            chosen = kept & (records[:, 0] == segment)
            np.add.at(events, indices[chosen], records[chosen, 2:])  # a line of code may begin inside an instruction
            found.append(events)
        return tuple(found)

    def _is_counter(self, address: int) -> bool:
        """Whether an address belongs to the functions that begin and end a segment."""
        return any(self.symbols[name] <= address < self._end(name) for name in (START, STOP))

    def _end(self, name: str) -> int:
        """Address of the first symbol behind a function."""
        return min(address for address in self.symbols.values() if address > self.symbols[name])

    def _arguments(self) -> dict[str, int]:
        code, end = self.listing.listed[0], self.listing.listed[-1]
        sections = tuple(self._flash_sections())
        flash = min(address for address, _ in sections)
        return {
            "start": self.symbols[START],
            "stop": self.symbols[STOP],
            "code": code.address,
            "code_bytes": end.address + end.n_bytes - code.address,
            "flash": flash,
            "flash_bytes": max(address + n_bytes for address, n_bytes in sections) - flash,
        }

    def _flash_sections(self) -> Iterator[tuple[int, int]]:
        """Address and size of each section of code and constants."""
        for row in (line.split() for line in self._tool("size", "-A").splitlines()):
            if len(row) == 3 and row[0] in SECTIONS and int(row[1]):
                yield int(row[2]), int(row[1])

    def _tool(self, name: str, *options: str) -> str:
        target = self.image.target
        return run_tool([target.toolchain.tool(name), *options, str(self.image.path)], target)


def _library() -> Path:
    """The compiled plugin, which several threads may use.

    Raises:
        FirmwareError: this machine has no C compiler, or it fails.
    """
    with _compiling:
        return _compiled()


_compiling = threading.Lock()


@lru_cache(maxsize=1)
def _compiled() -> Path:
    library = process_folder("plugin") / "executed.so"
    run_tool([HOST.compiler, *FLAGS, str(SOURCE), "-o", str(library)], HOST)
    return library
