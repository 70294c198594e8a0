"""Image formats: an ELF file converted to bare bytes or Intel HEX, and the bytes of any of the three that go to flash.

The target's objcopy converts; pyelftools and intelhex read, and are imported when a file is read. Refuses bare bytes of
an image whose segments lie far apart, because the gaps would be filled; bare bytes without an address; and files that
are none of the three or are damaged.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from ..build.targets import Target
from ..build.tools import run_tool
from ..errors import FirmwareError

LARGEST_GAP_BYTES = 1 << 20
ELF_IDENTIFIER = b"\x7fELF"
_OBJCOPY_FORMATS = {"bin": "binary", "hex": "ihex"}
_END_OF_HEX = b":00000001FF"


class ImageFormat(StrEnum):
    """Formats an ELF file can be converted to; the values are the file suffixes."""

    BIN = "bin"
    HEX = "hex"


@dataclass(frozen=True)
class Segment:
    """Contiguous bytes and the address of the first."""

    address: int
    data: bytes

    @property
    def end(self) -> int:
        """Address after the last byte."""
        return self.address + len(self.data)


def convert(elf: Path, target: Target, image_format: ImageFormat, path: Path) -> None:
    """Write an ELF image in another format with the target's objcopy.

    Raises:
        FirmwareError: the segments lie too far apart for bare bytes, or objcopy is missing.
        ModuleNotFoundError: bare bytes, and pyelftools is not installed (extra ``firmware``).
    """
    if image_format == "bin":
        _refuse_large_gaps(read_image(elf), target)
    objcopy = target.toolchain.tool("objcopy")
    run_tool([objcopy, "-O", _OBJCOPY_FORMATS[image_format], str(elf), str(path)], target)


def _refuse_large_gaps(segments: Sequence[Segment], target: Target) -> None:
    largest = max((after.address - before.end for before, after in pairwise(segments)), default=0)
    if largest > LARGEST_GAP_BYTES:
        raise FirmwareError(
            f"image for {target.name} as bin",
            "its segments lie far apart, and bare bytes would fill the gaps",
            expected=f"gaps of at most {LARGEST_GAP_BYTES:,} B",
            got=f"{largest:,} B",
            next_step="use --image hex, which stores addresses",
        )


def read_image(path: Path, address: int | None = None) -> list[Segment]:
    """Read the bytes for flash, contiguous ones joined, in the order of their addresses.

    Args:
        path: an ELF file or Intel HEX, recognised by its first bytes, or bare bytes with the suffix .bin.
        address: of the first byte, for bare bytes.

    Raises:
        FirmwareError: see the module's refusals.
        ModuleNotFoundError: pyelftools or intelhex is not installed (extras ``firmware`` and ``flash``).
    """
    data = path.read_bytes()
    if data.startswith(ELF_IDENTIFIER):
        segments = list(_elf_segments(data, path))
    elif data.startswith(b":"):
        segments = list(_hex_segments(data, path))
    elif path.suffix == ".bin":
        if address is None:
            raise FirmwareError(str(path), "bare bytes have no address", next_step="give --address")
        segments = [Segment(address, data)] if data else []
    else:
        raise FirmwareError(str(path), "not an image", expected="ELF, Intel HEX, or bare bytes in a .bin file")
    if not segments:
        raise FirmwareError(str(path), "contains nothing to write")
    return _joined(segments)


def _elf_segments(data: bytes, path: Path) -> Iterator[Segment]:
    """Loadable segments of a 32-bit little-endian ELF file, at their physical addresses."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(data))
        headers = [segment.header for segment in elf.iter_segments("PT_LOAD")]
    except (ELFError, ValueError, OverflowError) as failure:
        raise FirmwareError(str(path), "damaged or truncated ELF file", got=str(failure) or None) from None
    if elf.elfclass != 32 or not elf.little_endian:
        raise FirmwareError(str(path), "not for a microcontroller", expected="ELF of 32 bits, little-endian")
    for header in headers:
        begin, size = header.p_offset, header.p_filesz
        if begin + size > len(data):
            raise FirmwareError(str(path), "truncated", expected=f"{begin + size:,} B", got=f"{len(data):,} B")
        if size:
            yield Segment(header.p_paddr, data[begin : begin + size])


def _hex_segments(data: bytes, path: Path) -> Iterator[Segment]:
    from intelhex import HexReaderError, IntelHex

    if _END_OF_HEX not in data.upper():
        raise FirmwareError(str(path), "truncated: no end record")
    try:
        image = IntelHex(io.StringIO(data.decode("ascii")))
    except (HexReaderError, UnicodeDecodeError) as failure:
        raise FirmwareError(str(path), "damaged Intel HEX", got=str(failure)) from None
    for begin, end in image.segments():
        yield Segment(begin, bytes(image.tobinarray(begin, end - 1)))


def _joined(segments: Sequence[Segment]) -> list[Segment]:
    """The segments by address, contiguous ones joined."""
    joined: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: segment.address):
        if joined and joined[-1].end == segment.address:
            joined[-1] = Segment(joined[-1].address, joined[-1].data + segment.data)
        else:
            joined.append(segment)
    return joined
