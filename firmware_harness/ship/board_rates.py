"""Boards of the examples: instructions and cycles that a second of audio takes there, against the clock.

Instructions are counted in the emulator. A processor takes one clock or more for each: their share of the clock is a
lower bound. Cycles are modelled where the processor has a cost model; waits for slow memory are left out of both. Skips
a board that cannot run the product's kernel set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..build.targets import TARGETS
from ..cycles.estimate import Interval, machine_of_cpu
from ..run.audio import LogMelFirmware
from ..run.engine import FirmwareEngine
from ..run.executed import Executed
from ..run.modelled import TIMEOUT_SECONDS, front_end_counts
from .parts import AudioPart
from .product import Product
from .self_test import golden_input

NOISE_SEED = 20_230_301
_TITLE = "## Instructions for a second of audio\n\n"
_HEAD = (
    "| board | clock | network | front end | instructions per clock | cycles per clock, modelled |\n"
    "|---|---|---|---|---|---|\n"
)
_NOTE = """
Counted in an emulator. A processor takes one clock or more for an instruction, and waits for flash are not counted.
Expect samples to be lost where the upper end of the modelled cycles is above 1, or, without a model, where instructions
per clock are above about 0.5. Without a float unit, export the model with `--frontend-arithmetic integer`. An ESP32-C3
then keeps up with a network like `cpm23-16`, with 4.4 M multiply-accumulates a second, and an RP2040 with one like
`cpm23-8`, with 1.5 M, if code and constants are in RAM.

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
    """Instructions for one second of audio on a board: of the network and of the front end.

    ``cycles``: modelled, of both; None where the processor has no cost model.
    """

    board: Board
    network: int
    front_end: int
    cycles: Interval | None = None

    @property
    def share(self) -> float:
        """Instructions per clock that would be needed."""
        return (self.network + self.front_end) / self.board.clock_hz

    @property
    def cycle_share(self) -> str:
        """Modelled cycles per clock with their interval; empty without a model."""
        if self.cycles is None:
            return ""
        value, low, high = (
            each / self.board.clock_hz for each in (self.cycles.value, self.cycles.low, self.cycles.high)
        )
        return f"{value:.2f} ({low:.2f} to {high:.2f})"


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
    hops, clips = spec.sample_rate_hz / part.hop_samples, spec.sample_rate_hz / spec.clip_samples
    cycles = _cycles(engine, part, hops, clips) if machine.family else None
    return Rate(board, round(network * hops), round(front_end.instructions * clips), cycles)


def _cycles(engine: FirmwareEngine, part: AudioPart, hops: float, clips: float) -> Interval:
    """Modelled cycles of so many runs of the network, and of the front end over so many clips."""
    machine, image = machine_of_cpu(engine.target.family), engine.product_image()
    assert image is not None  # of every emulated machine
    (counts,) = Executed(image).segments(golden_input(engine.graph).tobytes(), TIMEOUT_SECONDS)
    quant = engine.graph.tensors[engine.graph.input].quant
    of_front_end = front_end_counts(part.model.frontend, quant, engine.target)
    return machine.cycles(counts).times(hops) + machine.cycles(of_front_end).times(clips)


def _row(rate: Rate) -> str:
    board = rate.board
    note = f" ({board.note})" if board.note else ""
    counts = " | ".join(f"{count / 1e6:,.1f} M" for count in (rate.network, rate.front_end))
    shares = f"{rate.share:.2f} | {rate.cycle_share}"
    return f"| {board.name}{note} | {board.clock_hz // 1_000_000} MHz | {counts} | {shares} |\n"
