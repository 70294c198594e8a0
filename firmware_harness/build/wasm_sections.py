"""The sections of a WebAssembly module. Refuses bytes that are no such module."""

from __future__ import annotations

from ..errors import FirmwareError

MAGIC = b"\0asm\x01\0\0\0"
IMPORT_SECTION, MEMORY_SECTION, CODE_SECTION, DATA_SECTION = 2, 5, 10, 11
PAGE_BYTES = 65_536


def sections(module: bytes) -> dict[int, bytes]:
    """Contents of each section by its number; custom sections, number 0, one after the other.

    Raises:
        FirmwareError: not a WebAssembly module, or one that ends within a section.
    """
    contents: dict[int, bytes] = {}
    at, end = len(MAGIC), len(module)
    whole = module.startswith(MAGIC)
    while whole and at < end:
        number = module[at]
        size, at = _number(module, at + 1)
        contents[number] = contents.get(number, b"") + module[at : at + size]
        at += size
    if not whole or at != end:
        raise FirmwareError("WebAssembly module", "damaged, or no such module", got=f"{end:,} bytes")
    return contents


def memory_bytes(module: bytes) -> int:
    """Size of the module's own memory when it starts; 0 without one."""
    section = sections(module).get(MEMORY_SECTION, b"")
    return _number(section, 2)[0] * PAGE_BYTES  # behind the number of memories and the kind of limits


def _number(content: bytes, at: int) -> tuple[int, int]:
    """A number in LEB128, and where it ends; beyond the end of the bytes for one that is cut short."""
    value = shift = 0
    while at < len(content):
        byte = content[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    return value, len(content) + 1
