"""Image formats: an ELF file as bare bytes or Intel HEX, and what of any of the three goes into flash.

Refuses bare bytes of an image whose parts lie far apart, for the gaps would be filled, bare bytes without an address,
and files that are none of the three or are damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from ..build.targets import Target
from ..build.tools import run_tool
from ..errors import FirmwareError

LARGEST_GAP_BYTES = 1 << 20
_OBJCOPY = {"bin": "binary", "hex": "ihex"}
_LOADABLE = 1
# Intel HEX record types
_DATA, _END, _SEGMENT, _START_SEGMENT, _LINEAR, _START_LINEAR = range(6)


class ImageFormat(StrEnum):
    """What an ELF file is converted to; the values are the files' suffixes."""

    BIN = "bin"
    HEX = "hex"


@dataclass(frozen=True)
class Segment:
    """Neighbouring bytes and where they go."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        return self.address + len(self.data)


def convert(elf: Path, target: Target, form: ImageFormat, path: Path) -> None:
    """Write an ELF image in another format, by the target's objcopy.

    Raises:
        FirmwareError: see the module's refusals; objcopy is missing.
    """
    parts = read_image(elf)
    gaps = [after.address - before.end for before, after in pairwise(parts)]
    if form == "bin" and max(gaps, default=0) > LARGEST_GAP_BYTES:
        raise FirmwareError(
            f"image for {target.name} as bin",
            "its parts lie far apart, and bare bytes would fill the gaps",
            expected=f"gaps of at most {LARGEST_GAP_BYTES:,} B",
            got=f"{max(gaps):,} B",
            next_step="take hex, which has addresses",
        )
    run_tool([target.toolchain.tool("objcopy"), "-O", _OBJCOPY[form], str(elf), str(path)], target)


def read_image(path: Path, address: int | None = None) -> list[Segment]:
    """The bytes for flash, in the order of their addresses.

    Args:
        path: an image, its format told by its first bytes, or by the suffix .bin.
        address: of the first byte, for bare bytes.

    Raises:
        FirmwareError: see the module's refusals.
    """
    data = path.read_bytes()
    if data.startswith(b"\x7fELF"):
        parts = _elf_segments(data, path)
    elif data.startswith(b":"):
        parts = _hex_segments(data, path)
    elif path.suffix == ".bin":
        if address is None:
            raise FirmwareError(str(path), "bare bytes do not say where they go", next_step="give --address")
        parts = [Segment(address, data)]
    else:
        raise FirmwareError(str(path), "not an image", expected="ELF, Intel HEX, or bare bytes in a .bin file")
    parts = _joined(parts)
    if not parts:
        raise FirmwareError(str(path), "holds nothing to write")
    return parts


def _elf_segments(data: bytes, path: Path) -> list[Segment]:
    """What a 32-bit little-endian ELF file loads, at physical addresses."""
    if data[4:6] != b"\x01\x01":
        raise FirmwareError(str(path), "not for a microcontroller", expected="ELF of 32 bits, little-endian")
    try:
        offset, entry_bytes, count = struct.unpack_from("<28xI10xHH", data)[:3]
        headers = [struct.unpack_from("<5I", data, offset + i * entry_bytes) for i in range(count)]
    except struct.error:
        raise FirmwareError(str(path), "is cut short") from None
    loaded = [(at, physical, size) for kind, at, _, physical, size in headers if kind == _LOADABLE and size]
    if any(at + size > len(data) for at, _, size in loaded):
        raise FirmwareError(str(path), "is cut short")
    return [Segment(physical, data[at : at + size]) for at, physical, size in loaded]


def _hex_segments(data: bytes, path: Path) -> list[Segment]:
    found, base = [], 0
    for number, line in enumerate(data.split(), start=1):
        record = _hex_record(line, path, number)
        kind, content = record[3], record[4:-1]
        if kind == _DATA:
            found.append(Segment(base + int.from_bytes(record[1:3], "big"), content))
        elif kind == _END:
            return found
        elif kind in (_SEGMENT, _LINEAR):
            base = int.from_bytes(content, "big") << (4 if kind == _SEGMENT else 16)
        elif kind not in (_START_SEGMENT, _START_LINEAR):
            raise FirmwareError(f"{path}, line {number}", "unknown record", expected="types 0 to 5", got=kind)
    raise FirmwareError(str(path), "is cut short: no end record")


def _hex_record(line: bytes, path: Path, number: int) -> bytes:
    try:
        record = bytes.fromhex(line[1:].decode("ascii")) if line.startswith(b":") else b""
    except ValueError:
        record = b""
    if len(record) < 5 or len(record) != record[0] + 5 or sum(record) % 256:
        raise FirmwareError(f"{path}, line {number}", "not a record of Intel HEX, or damaged")
    return record


def _joined(parts: Sequence[Segment]) -> list[Segment]:
    """Neighbours as one."""
    joined: list[Segment] = []
    for part in sorted(parts, key=lambda part: part.address):
        if joined and joined[-1].end == part.address:
            joined[-1] = Segment(joined[-1].address, joined[-1].data + part.data)
        else:
            joined.append(part)
    return joined
