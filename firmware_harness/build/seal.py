"""Seal a linked image: store the CRC-32 of its code and constants, which it compares at start (ports/bare/sealed.c).

Uses the toolchain's objcopy only. Refuses an image without one of the sections.
"""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

from .targets import Target
from .tools import run_tool

SEALED_SECTIONS = (".vectors", ".text", ".rodata")  # in the order of sealed.c


def seal(image: Path, target: Target) -> None:
    """Store the checksum in an ELF image of an emulated target; images of this machine have none.

    Raises:
        FirmwareError: objcopy is missing or fails.
    """
    if target.emulator is None:
        return
    objcopy, crc = target.toolchain.tool("objcopy"), 0
    with tempfile.TemporaryDirectory(prefix="tinyscene-seal-") as name:
        content = Path(name) / "section"
        for section in SEALED_SECTIONS:
            run_tool([objcopy, "-O", "binary", "-j", section, str(image), str(content)], target)
            crc = zlib.crc32(content.read_bytes(), crc)
        content.write_bytes(crc.to_bytes(4, "little"))
        run_tool([objcopy, "--update-section", f".sealed={content}", str(image)], target)
