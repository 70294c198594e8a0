"""An image into a board's flash, through pyOCD and a debug probe.

Refuses a chip that pyOCD does not know, an image that does not lie in the chip's flash, and to guess between probes.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import FirmwareError
from .images import Segment


@dataclass(frozen=True)
class FlashRange:
    """Addresses [start, end) of one flash memory."""

    start: int
    end: int


def flash_ranges(chip: str) -> list[FlashRange]:
    """Where a chip's flash lies, as pyOCD and the CMSIS packs installed for it know.

    Raises:
        ModuleNotFoundError: pyOCD is not installed.
        FirmwareError: the chip is not known.
    """
    from pyocd.target import TARGET, normalise_target_type_name
    from pyocd.target.pack.pack_target import ManagedPacks

    name = normalise_target_type_name(chip)
    if name not in TARGET:
        packed = [device.part_number for device in ManagedPacks.get_installed_targets()]
        for part_number in (number for number in packed if normalise_target_type_name(number) == name):
            ManagedPacks.populate_target(part_number)
    if name not in TARGET:
        near = difflib.get_close_matches(name, TARGET, n=3, cutoff=0.5)
        raise FirmwareError(
            "chip",
            "not known to pyOCD",
            expected=" or ".join(near) if near else "a name of 'pyocd list --targets'",
            got=chip,
            next_step=f"pyocd pack install {chip}, if its maker publishes a CMSIS pack",
        )
    regions = [region for region in TARGET[name].MEMORY_MAP if region.is_flash]
    return [FlashRange(region.start, region.end + 1) for region in regions]


def refuse_unless_inside(parts: Sequence[Segment], chip: str) -> None:
    """Raise FirmwareError for bytes that would not go to flash."""
    ranges = flash_ranges(chip)
    for part in parts:
        if not any(memory.start <= part.address and part.end <= memory.end for memory in ranges):
            there = " or ".join(f"{memory.start:#010x}-{memory.end - 1:#010x}" for memory in ranges)
            got = f"{part.address:#010x}-{part.end - 1:#010x}"
            step = "link for this chip's memory, or give --address for bare bytes"
            raise FirmwareError(
                "image", f"does not lie in the flash of {chip}", expected=there, got=got, next_step=step
            )


def write_flash(parts: Sequence[Segment], chip: str, probe_id: str | None) -> str:
    """Write, verify and start the image; returns the probe's description.

    Raises:
        ModuleNotFoundError: pyOCD is not installed.
        FirmwareError: no probe, several without ``probe_id``, or what pyOCD says of a failure.
    """
    from pyocd.core.exceptions import Error
    from pyocd.core.session import Session
    from pyocd.flash.loader import FlashLoader

    refuse_unless_inside(parts, chip)
    probe = _probe(probe_id)
    try:
        with Session(probe, options={"target_override": chip.lower()}) as session:
            loader = FlashLoader(session)
            for part in parts:
                loader.add_data(part.address, part.data)
            loader.commit()
            wrong = [
                part
                for part in parts
                if bytes(session.target.read_memory_block8(part.address, len(part.data))) != part.data
            ]
            session.target.reset()
    except Error as failure:
        raise FirmwareError(f"flashing {chip}", str(failure), next_step="check cable, power and chip") from failure
    if wrong:
        raise FirmwareError(f"flashing {chip}", "reads back differently", got=f"from {wrong[0].address:#010x} on")
    return str(probe.description)


def _probe(probe_id: str | None) -> Any:
    from pyocd.probe.aggregator import DebugProbeAggregator

    probes = DebugProbeAggregator.get_all_connected_probes(unique_id=probe_id)
    if not probes:
        what = f"none with '{probe_id}' in its number is connected" if probe_id else "none is connected"
        raise FirmwareError("debug probe", what, next_step="connect one; --dry-run needs none")
    if len(probes) > 1:
        numbers = ", ".join(probe.unique_id for probe in probes)
        raise FirmwareError("debug probe", "several are connected", got=numbers, next_step="name one with --probe")
    return probes[0]
