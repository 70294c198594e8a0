"""Write an image to a board's flash with pyOCD and a debug probe.

Refuses a chip unknown to pyOCD, an image outside of the chip's flash, and several probes when none is selected.
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
    """Address ranges of a chip's flash, from pyOCD and the CMSIS packs installed for it.

    Raises:
        ModuleNotFoundError: pyOCD is not installed.
        FirmwareError: the chip is unknown.
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
            "unknown to pyOCD",
            expected=" or ".join(near) if near else "a name of 'pyocd list --targets'",
            got=chip,
            next_step=f"pyocd pack install {chip}, if its vendor publishes a CMSIS pack",
        )
    regions = [region for region in TARGET[name].MEMORY_MAP if region.is_flash]
    return [FlashRange(region.start, region.end + 1) for region in regions]


def refuse_unless_inside(parts: Sequence[Segment], chip: str) -> None:
    """Raise FirmwareError for bytes outside of the chip's flash."""
    ranges = flash_ranges(chip)
    for part in parts:
        if not any(memory.start <= part.address and part.end <= memory.end for memory in ranges):
            expected = " or ".join(f"{memory.start:#010x}-{memory.end - 1:#010x}" for memory in ranges)
            got = f"{part.address:#010x}-{part.end - 1:#010x}"
            step = "link for this chip's memory, or give --address for bare bytes"
            raise FirmwareError("image", f"outside of the flash of {chip}", expected=expected, got=got, next_step=step)


def write_flash(parts: Sequence[Segment], chip: str, probe_id: str | None) -> str:
    """Write, verify and start the image; returns the probe's description.

    Raises:
        ModuleNotFoundError: pyOCD is not installed.
        FirmwareError: no probe, several without ``probe_id``, or a failure that pyOCD reports.
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
            different = [
                part
                for part in parts
                if bytes(session.target.read_memory_block8(part.address, len(part.data))) != part.data
            ]
            session.target.reset()
    except Error as failure:
        raise FirmwareError(f"flashing {chip}", str(failure), next_step="check cable, power and chip") from failure
    if different:
        address = f"from {different[0].address:#010x} on"
        raise FirmwareError(f"flashing {chip}", "flash differs from the image after writing", got=address)
    return str(probe.description)


def _probe(probe_id: str | None) -> Any:
    from pyocd.probe.aggregator import DebugProbeAggregator

    probes = DebugProbeAggregator.get_all_connected_probes(unique_id=probe_id)
    if not probes:
        what = f"none with '{probe_id}' in its serial number is connected" if probe_id else "none is connected"
        raise FirmwareError("debug probe", what, next_step="connect one; --dry-run needs none")
    if len(probes) > 1:
        numbers = ", ".join(probe.unique_id for probe in probes)
        raise FirmwareError("debug probe", "several are connected", got=numbers, next_step="select one with --probe")
    return probes[0]
