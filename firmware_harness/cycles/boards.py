"""Boards: clock, wait states, memory system, sizes and energy, each number with its source.

A number without a source is None, "unknown"; what needs it is refused for that board. Refuses unknown names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import FirmwareError
from .memory import Memory, MemoryKind

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Sourced:
    """A number and where it comes from; None is unknown, and ``source`` then says what was looked for."""

    value: float | None
    source: str


@dataclass(frozen=True)
class Board:
    """One board.

    ``mhz``: clock; ``wait_states`` of flash at that clock; ``picojoules_per_cycle`` of the whole chip while it
    computes; ``ram_bytes`` and ``flash_bytes`` of the chip. ``cpu``: family of :mod:`.families`; ``target``: target
    whose image is counted. ``caution``: why the cycles have a wide interval.
    """

    name: str
    title: str
    cpu: str
    target: str
    memory_kind: MemoryKind
    mhz: Sourced
    wait_states: Sourced
    picojoules_per_cycle: Sourced
    ram_bytes: Sourced
    flash_bytes: Sourced
    other_names: tuple[str, ...] = ()  # beginnings of its names in published results
    caution: str = ""

    @property
    def memory(self) -> Memory:
        """Its memory system.

        Raises:
            FirmwareError: the wait states are unknown.
        """
        if self.wait_states.value is None:
            problem = f"wait states of flash are unknown ({self.wait_states.source})"
            step = "use --cpu instead of --board: cycles without wait states"
            raise FirmwareError(f"cycles on {self.name}", problem, next_step=step)
        return Memory(self.memory_kind, int(self.wait_states.value))


def _kb(n: int) -> int:
    return n << 10


NO_ENERGY = Sourced(None, "no published energy of a network on this chip at hand")
OWN_ENERGY = "int8 rows of this chip in published_rows.csv, energy / cycles: energy.picojoules_per_cycle"

NUCLEO_L4R5ZI = Board(
    name="nucleo-l4r5zi",
    title="NUCLEO-L4R5ZI, STM32L4R5, Cortex-M4F",
    cpu="M4",
    target="cortex-m4",
    memory_kind="art",
    mhz=Sourced(120, "DS12023: up to 120 MHz"),
    wait_states=Sourced(5, "RM0432, flash latency at 120 MHz, range 1 boost; FLASH_ACR of the published rows"),
    picojoules_per_cycle=Sourced(342, OWN_ENERGY),
    ram_bytes=Sourced(_kb(640), "DS12023"),
    flash_bytes=Sourced(_kb(2048), "DS12023"),
    other_names=("NUCLEO_L4R5ZI",),
)
NUCLEO_L4R5ZI_P = Board(
    name="nucleo-l4r5zi-p",
    title="NUCLEO-L4R5ZI-P, STM32L4R5 with an external step-down converter, Cortex-M4F",
    cpu="M4",
    target="cortex-m4",
    memory_kind="art",
    mhz=NUCLEO_L4R5ZI.mhz,
    wait_states=NUCLEO_L4R5ZI.wait_states,
    picojoules_per_cycle=Sourced(278, "mean of MLPerf Tiny rows of STMicroelectronics on this board"),
    ram_bytes=NUCLEO_L4R5ZI.ram_bytes,
    flash_bytes=NUCLEO_L4R5ZI.flash_bytes,
    other_names=("NUCLEO_L4R5ZI_P", "NUCLEO_L4R5ZIP", "NUCLEO_L4R5ZI-P"),
)
NUCLEO_U575ZI = Board(
    name="nucleo-u575zi",
    title="NUCLEO-U575ZI-Q, STM32U575, Cortex-M33F",
    cpu="M33",
    target="cortex-m33",
    memory_kind="icache",
    mhz=Sourced(160, "DS13737: up to 160 MHz"),
    wait_states=Sourced(4, "RM0456, flash latency at 160 MHz, range 1; FLASH_ACR of the published rows"),
    picojoules_per_cycle=Sourced(145, OWN_ENERGY),
    ram_bytes=Sourced(_kb(786), "DS13737"),
    flash_bytes=Sourced(_kb(2048), "DS13737"),
    other_names=("NUCLEO_U575",),
)
B_U585I = Board(
    name="b-u585i-iot02a",
    title="B-U585I-IOT02A, STM32U585, Cortex-M33F",
    cpu="M33",
    target="cortex-m33",
    memory_kind="icache",
    mhz=Sourced(160, "DS13086: up to 160 MHz"),
    wait_states=Sourced(4, "RM0456, flash latency at 160 MHz, range 1"),
    picojoules_per_cycle=Sourced(None, "no published row; the STM32U575, another part of the same family, has 145"),
    ram_bytes=Sourced(_kb(786), "DS13086"),
    flash_bytes=Sourced(_kb(2048), "DS13086"),
    other_names=("B_U585I", "B-U585I"),
)
NUCLEO_U385RG = Board(
    name="nucleo-u385rg",
    title="NUCLEO-U385RG-Q, STM32U385, Cortex-M33F",
    cpu="M33",
    target="cortex-m33",
    memory_kind="icache",
    mhz=Sourced(96, "STM32U385 datasheet: up to 96 MHz"),
    wait_states=Sourced(2, "RM0487, flash latency at 96 MHz, range 1"),
    picojoules_per_cycle=Sourced(56, "mean of MLPerf Tiny rows of STMicroelectronics on this board at 96 MHz"),
    ram_bytes=Sourced(_kb(256), "STM32U385 datasheet"),
    flash_bytes=Sourced(_kb(1024), "STM32U385 datasheet"),
    other_names=("NUCLEO_U385", "NUCLEO-U385"),
)
NUCLEO_H7A3ZI = Board(
    name="nucleo-h7a3zi",
    title="NUCLEO-H7A3ZI-Q, STM32H7A3, Cortex-M7F",
    cpu="M7",
    target="cortex-m7",
    memory_kind="l1-16k",
    mhz=Sourced(280, "DS13195: up to 280 MHz"),
    wait_states=Sourced(6, "RM0455, flash latency at 280 MHz, VOS0; FLASH_ACR of the published rows, some with 7"),
    picojoules_per_cycle=Sourced(457, OWN_ENERGY),
    ram_bytes=Sourced(_kb(1184), "DS13195, without the backup and instruction memories"),
    flash_bytes=Sourced(_kb(2048), "DS13195"),
    other_names=("NUCLEO_H7A3",),
)
DISCO_F746NG = Board(
    name="disco-f746ng",
    title="32F746GDISCOVERY, STM32F746, Cortex-M7F",
    cpu="M7",
    target="cortex-m7",
    memory_kind="l1-4k",
    mhz=Sourced(216, "DS10916: up to 216 MHz"),
    wait_states=Sourced(7, "RM0385, flash latency at 216 MHz; FLASH_ACR of the published rows"),
    picojoules_per_cycle=NO_ENERGY,
    ram_bytes=Sourced(_kb(320), "DS10916"),
    flash_bytes=Sourced(_kb(1024), "DS10916"),
    other_names=("DISCO_F746", "STM32F746"),
)
NUCLEO_G0B1RE = Board(
    name="nucleo-g0b1re",
    title="NUCLEO-G0B1RE, STM32G0B1, Cortex-M0+",
    cpu="M0+",
    target="cortex-m0plus",
    memory_kind="prefetch",
    mhz=Sourced(64, "DS13560: up to 64 MHz"),
    wait_states=Sourced(2, "RM0444, flash latency at 64 MHz, range 1; FLASH_ACR of the published rows"),
    picojoules_per_cycle=NO_ENERGY,
    ram_bytes=Sourced(_kb(144), "DS13560"),
    flash_bytes=Sourced(_kb(512), "DS13560"),
    other_names=("NUCLEO_G0B1",),
)
NRF52840 = Board(
    name="nrf52840-dk",
    title="nRF52840 DK, Cortex-M4F",
    cpu="M4",
    target="cortex-m4",
    memory_kind="unvalidated",
    mhz=Sourced(64, "nRF52840 product specification, CPU"),
    wait_states=Sourced(
        3, "nRF52840 product specification, CPU, electrical specification: 2 with the cache off, 3 with it on"
    ),
    picojoules_per_cycle=NO_ENERGY,
    ram_bytes=Sourced(_kb(256), "nRF52840 product specification"),
    flash_bytes=Sourced(_kb(1024), "nRF52840 product specification"),
    other_names=("NRF52840",),
    caution="its instruction cache is not described, and no published row validates it",
)
NRF5340 = Board(
    name="nrf5340-dk",
    title="nRF5340 DK, application core, Cortex-M33F",
    cpu="M33",
    target="cortex-m33",
    memory_kind="icache",
    mhz=Sourced(128, "nRF5340 product specification, application core"),
    wait_states=Sourced(None, "not in the documents at hand"),
    picojoules_per_cycle=NO_ENERGY,
    ram_bytes=Sourced(_kb(512), "nRF5340 product specification, application core"),
    flash_bytes=Sourced(_kb(1024), "nRF5340 product specification, application core"),
    other_names=("NRF5340",),
    caution="no published row validates its cache",
)
IN_RAM = "code and constants copied to RAM; executed in place from serial flash it is slower, and not modelled"
PICO = Board(
    name="pico",
    title="Raspberry Pi Pico, RP2040, Cortex-M0+",
    cpu="M0+",
    target="cortex-m0plus",
    memory_kind="zero-wait",
    mhz=Sourced(133, "RP2040 datasheet: up to 133 MHz"),
    wait_states=Sourced(0, "RP2040 datasheet: every memory bank is read in one cycle"),
    picojoules_per_cycle=NO_ENERGY,
    ram_bytes=Sourced(_kb(264), "RP2040 datasheet"),
    flash_bytes=Sourced(_kb(2048), "Raspberry Pi Pico datasheet, serial flash"),
    other_names=("RP2040", "RASPBERRY_PI_PICO"),
    caution=IN_RAM,
)
PICO2 = Board(
    name="pico2",
    title="Raspberry Pi Pico 2, RP2350, Cortex-M33F",
    cpu="M33",
    target="cortex-m33",
    memory_kind="zero-wait",
    mhz=Sourced(150, "RP2350 datasheet: up to 150 MHz"),
    wait_states=Sourced(0, "RP2350 datasheet: every memory bank is read in one cycle"),
    picojoules_per_cycle=NO_ENERGY,
    ram_bytes=Sourced(_kb(520), "RP2350 datasheet"),
    flash_bytes=Sourced(_kb(4096), "Raspberry Pi Pico 2 datasheet, serial flash"),
    other_names=("RP2350", "RASPBERRY_PI_PICO_2"),
    caution=IN_RAM,
)
ALIF_E7 = Board(
    name="alif-e7",
    title="Alif Ensemble E7, high-performance core, Cortex-M55",
    cpu="M55",
    target="cortex-m55",
    memory_kind="zero-wait",
    mhz=Sourced(400, "Ensemble E7 datasheet: up to 400 MHz"),
    wait_states=Sourced(0, "tightly coupled memories"),
    picojoules_per_cycle=NO_ENERGY,
    ram_bytes=Sourced(_kb(1280), "Ensemble E7 datasheet, tightly coupled memories of this core"),
    flash_bytes=Sourced(None, "non-volatile memory shared with other cores; not at hand"),
    other_names=("ALIF_E7", "ENSEMBLE_E7"),
    caution="code and data in tightly coupled memories",
)
EK_RA8M1 = Board(
    name="ek-ra8m1",
    title="Renesas EK-RA8M1, Cortex-M85",
    cpu="M55",
    target="cortex-m55",
    memory_kind="zero-wait",
    mhz=Sourced(480, "RA8M1 datasheet: up to 480 MHz"),
    wait_states=Sourced(0, "tightly coupled memories and a first-level cache"),
    picojoules_per_cycle=NO_ENERGY,
    ram_bytes=Sourced(_kb(1024), "RA8M1 datasheet, with tightly coupled memories"),
    flash_bytes=Sourced(_kb(2048), "RA8M1 datasheet"),
    other_names=("EK_RA8M1", "RA8M1"),
    caution="counted and modelled as Cortex-M55: QEMU has no Cortex-M85",
)

BOARDS: dict[str, Board] = {
    board.name: board
    for board in (
        *(NUCLEO_L4R5ZI, NUCLEO_L4R5ZI_P, NUCLEO_U575ZI, B_U585I, NUCLEO_U385RG, NUCLEO_H7A3ZI, DISCO_F746NG),
        *(NUCLEO_G0B1RE, NRF52840, NRF5340, PICO, PICO2, ALIF_E7, EK_RA8M1),
    )
}


def board_named(name: str) -> Board:
    """Return the board of that name; raise FirmwareError with the known names otherwise."""
    if name.lower() not in BOARDS:
        raise FirmwareError("board", UNKNOWN, expected=" or ".join(BOARDS), got=name)
    return BOARDS[name.lower()]


def board_in_results(name: str) -> Board | None:
    """The board that published results call ``name``, such as ``NUCLEO_U575ZI_int8``; None without a record."""
    plain = re.sub(r"[^A-Z0-9]", "", name.upper())
    matches = [
        (len(other), board)
        for board in BOARDS.values()
        for other in (re.sub(r"[^A-Z0-9]", "", each.upper()) for each in (board.name, *board.other_names))
        if plain.startswith(other)
    ]
    return max(matches, key=lambda match: match[0])[1] if matches else None
