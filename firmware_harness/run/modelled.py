"""Cycles, time and energy of a network and of its front end on one machine, from counts of their images.

The inference is counted on the product image; its calls on the image that stops the counter after each, whose code
lies at other addresses. Refuses targets without a cost model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.arrays import I8, INT16_FULL_SCALE
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.spec import FrontendSpec

from ..build.image import build
from ..build.targets import Target
from ..cycles.boards import NUCLEO_G0B1RE, NUCLEO_H7A3ZI, NUCLEO_L4R5ZI, NUCLEO_U575ZI, Board
from ..cycles.counts import Counts
from ..cycles.estimate import Interval, Machine, machine_of_board, machine_of_cpu
from ..errors import FirmwareError
from .audio import LogMelFirmware
from .engine import FirmwareEngine
from .executed import Executed

TIMEOUT_SECONDS = 600.0
REFERENCE_BOARDS = {board.target: board for board in (NUCLEO_L4R5ZI, NUCLEO_U575ZI, NUCLEO_H7A3ZI, NUCLEO_G0B1RE)}


@dataclass(frozen=True)
class Cost:
    """Cycles of something that runs, and its time and energy where the machine's board has them."""

    cycles: Interval
    milliseconds: Interval | None
    microjoules: Interval | None


@dataclass(frozen=True)
class Modelled:
    """Modelled cost of a network.

    ``calls``: of each call, in order. ``audio_second``: of one second of audio, with the front end and one inference
    per clip; None without a front end. ``cautions``: why intervals are wide, and what is unknown.
    """

    machine: Machine
    inference: Cost
    calls: tuple[Cost, ...]
    audio_second: Cost | None
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class Modelling:
    """What is modelled: the network on a machine, with a front end where ``spec`` is given."""

    machine: Machine
    spec: FrontendSpec | None = None


def machine_for(target: Target, board: Board | None) -> Machine:
    """The machine whose cycles are modelled: the board, or the target with memory that has no wait states.

    Raises:
        FirmwareError: the board has another target, or there is no model.
    """
    if board is None:
        if not target.family:
            raise FirmwareError(f"cycles on {target.name}", "no cost model", next_step="choose an Arm --target")
        return machine_of_cpu(target.family)
    if board.target != target.name:
        raise FirmwareError(f"board {board.name}", "has another processor", expected=board.target, got=target.name)
    return machine_of_board(board)


def modelled(engine: FirmwareEngine, modelling: Modelling, codes: I8) -> Modelled:
    """Model one inference on the first of ``codes``, int8 (n, ...), and with a front end a second of audio.

    Raises:
        FirmwareError: a tool is missing, or a run failed.
    """
    machine, spec = modelling.machine, modelling.spec
    product = engine.product_image()
    if product is None:
        raise FirmwareError(f"cycles on {engine.target.name}", "nothing is counted", next_step="choose an Arm --target")
    (counts,) = Executed(product).segments(codes[:1].tobytes(), TIMEOUT_SECONDS)
    inference = machine.cycles(counts)
    second, of_front_end = None, Counts()
    if spec is not None:
        quant = engine.graph.tensors[engine.graph.input].quant
        of_front_end = front_end_counts(spec, quant, engine.target)
        clip_s = spec.clip_samples / spec.sample_rate_hz
        second = _cost(machine, (inference + machine.cycles(of_front_end)).times(1 / clip_s))
    return Modelled(
        machine,
        _cost(machine, inference),
        tuple(_cost(machine, machine.cycles(call)) for call in call_counts(engine, codes)),
        second,
        tuple(_cautions(machine, counts, of_front_end)),
    )


@dataclass(frozen=True)
class BoardCost:
    """Modelled cost of one inference on a board; ``microjoules`` None where the board's energy is unknown."""

    board: str
    cycles: Interval
    milliseconds: Interval
    microjoules: Interval | None


def on_reference_board(engine: FirmwareEngine, codes: I8) -> BoardCost | None:
    """Cost of one inference on the board that stands for a target, on the first of ``codes``.

    None where no board does, and where this machine has no compiler for the plugin that counts.

    Raises:
        FirmwareError: a run failed.
    """
    board, product = REFERENCE_BOARDS.get(engine.target.name), engine.product_image()
    if board is None or product is None:
        return None
    try:
        (counts,) = Executed(product).segments(codes[:1].tobytes(), TIMEOUT_SECONDS)
    except FirmwareError as problem:
        if problem.missing:
            return None
        raise
    machine = machine_of_board(board)
    cycles = machine.cycles(counts)
    milliseconds = machine.milliseconds(cycles)
    assert milliseconds is not None  # every reference board has a clock
    return BoardCost(board.name, cycles, milliseconds, machine.microjoules(cycles))


def call_cycles(engine: FirmwareEngine, codes: I8, board: Board) -> tuple[float, ...]:
    """Modelled cycles of each call of one inference on a board.

    Raises:
        FirmwareError: a tool is missing, or a run failed.
    """
    machine = machine_of_board(board)
    return tuple(machine.cycles(counts).value for counts in call_counts(engine, codes))


def call_counts(engine: FirmwareEngine, codes: I8) -> tuple[Counts, ...]:
    """Counts of each call of one inference, from the image that stops the counter after each.

    Raises:
        FirmwareError: a tool is missing, or a run failed.
    """
    profile = build(engine.emitted, engine.target, engine.rounding, program="profile", folder=engine.folder)
    return Executed(profile).segments(codes[:1].tobytes(), TIMEOUT_SECONDS)


def front_end_counts(spec: FrontendSpec, quant: Quant, target: Target) -> Counts:
    """Counts of the log-mel of one clip of noise; the data changes them by less than 0.1 %.

    Raises:
        FirmwareError: the C front end does not support ``spec``, a tool is missing, or the run failed.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.05 * INT16_FULL_SCALE, spec.clip_samples).astype("<i2")
    firmware = LogMelFirmware(spec, quant, target)
    return sum(Executed(firmware.image).segments(firmware.input_bytes([[noise]]), TIMEOUT_SECONDS), Counts())


def _cost(machine: Machine, cycles: Interval) -> Cost:
    return Cost(cycles, machine.milliseconds(cycles), machine.microjoules(cycles))


def _cautions(machine: Machine, counts: Counts, front_end: Counts) -> Iterator[str]:
    """Those of the network, and of the front end where they differ."""
    yield from machine.cautions(counts)
    for caution in machine.cautions(front_end):
        if caution not in set(machine.cautions(counts)):
            yield f"front end: {caution}"
