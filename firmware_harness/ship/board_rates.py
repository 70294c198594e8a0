"""Boards of the examples: instructions that a second of audio takes there, counted in the emulator, against the clock.

A processor takes one clock or more for an instruction, and waits for slow memory are not counted: the share of the
clock is a lower bound. Skips a board that cannot run the product's kernel set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..build.targets import TARGETS
from ..run.audio import LogMelFirmware
from ..run.engine import FirmwareEngine
from .parts import AudioPart
from .product import Product
from .self_test import golden_input

NOISE_SEED = 20_230_301
_TITLE = "## Instructions for a second of audio\n\n"
_HEAD = "| board | clock | network | front end | instructions per clock |\n|---|---|---|---|---|\n"
_NOTE = """
Counted in an emulator. A processor takes one clock or more for an instruction, and waits for flash are not counted:
above about 0.5 instructions per clock expect samples to be lost. Without a float unit, export the model with
`--frontend-arithmetic integer`, and a network like `cpm23-16`, with 4.4 M multiply-accumulates a second.

"""


@dataclass(frozen=True)
class Board:
    """A board with a microphone. ``machine``: the emulated target that counts for it; ``note``: how it differs."""

    name: str
    machine: str
    clock_hz: int
    note: str = ""


STM32L475 = Board("STM32L475 (B-L475E-IOT01A)", "cortex-m4", 80_000_000)
NANO_33_BLE = Board("Arduino Nano 33 BLE Sense", "cortex-m4", 64_000_000)
ESP32_S3 = Board(
    "ESP32-S3", "xtensa", 240_000_000, "counted on an LX106, which has no float unit and no high half of a product"
)
ESP32_C3 = Board("ESP32-C3", "riscv32", 160_000_000)
PICO_2 = Board("Raspberry Pi Pico 2 (RP2350)", "cortex-m33", 150_000_000)
PICO = Board("Raspberry Pi Pico (RP2040)", "cortex-m0plus", 133_000_000)


@dataclass(frozen=True)
class Rate:
    """Instructions for one second of audio on a board: of the network and of the front end."""

    board: Board
    network: int
    front_end: int

    @property
    def share(self) -> float:
        """Instructions per clock that would be needed."""
        return (self.network + self.front_end) / self.board.clock_hz


def board_rates(product: Product, boards: Iterable[Board]) -> tuple[Rate, ...]:
    """Count a product on every board that can run its kernel set; none for a network alone.

    Raises:
        FirmwareError: a tool is missing, or the model does not fit.
    """
    if not isinstance(product.part, AudioPart):
        return ()
    cpu = product.options.cpu
    return tuple(_rate(product, product.part, each) for each in boards if cpu in ("c99", TARGETS[each.machine].cpu))


def boards_text(product: Product, boards: Iterable[Board], rates: Iterable[Rate]) -> str:
    """The section of README.md; empty without boards or for a network alone."""
    names = [board.name for board in boards]
    if not names or not isinstance(product.part, AudioPart):
        return ""
    rows = [*map(_row, rates)]
    if not rows:
        return f"{_TITLE}Export with `--measure` to have them counted for {' and '.join(names)}.\n\n"
    return f"{_TITLE}{_HEAD}{''.join(rows)}{_NOTE}"


def _rate(product: Product, part: AudioPart, board: Board) -> Rate:
    machine = replace(TARGETS[board.machine], cpu=product.options.cpu)
    engine = FirmwareEngine(product.graph, machine, product.options.rounding, optimise=product.options.optimise)
    spec = part.model.frontend
    source = product.graph.tensors[product.graph.input]
    front_end = LogMelFirmware(spec, source.quant, machine)
    noise = np.random.default_rng(NOISE_SEED).normal(0.0, 1000.0, spec.clip_samples).astype(np.int16)
    front_end.codes([[noise]])
    network = engine.measure(golden_input(product.graph)).instructions
    assert network is not None  # both are counted on emulated machines
    assert front_end.instructions is not None
    seconds = spec.sample_rate_hz
    return Rate(
        board, round(network * seconds / part.hop_samples), round(front_end.instructions * seconds / spec.clip_samples)
    )


def _row(rate: Rate) -> str:
    board = rate.board
    note = f" ({board.note})" if board.note else ""
    counts = " | ".join(f"{count / 1e6:,.1f} M" for count in (rate.network, rate.front_end))
    return f"| {board.name}{note} | {board.clock_hz // 1_000_000} MHz | {counts} | {rate.share:.2f} |\n"
