"""The cost of a network as firmware in each way of running it, and the instructions of each call.

Measured on the product image under emulation, after its output was compared with that of the image with observers. A
machine whose compiler or emulator is missing, or that the model does not fit, is listed as left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import get_args

from tinyscene.firmware_harness.build.targets import CORTEX_M4, CORTEX_M55, Target
from tinyscene.firmware_harness.cycles.boards import board_named
from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.firmware_harness.run.engine import Figures, FirmwareEngine
from tinyscene.firmware_harness.run.modelled import BoardCost, call_cycles, on_reference_board
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph

MACHINES = (CORTEX_M4, CORTEX_M55)  # without and with vector instructions
PROFILED: Optimise = "speed"  # the way whose calls are counted one by one


@dataclass(frozen=True)
class Way:
    """One image; ``figures`` count one inference, ``modelled`` is its time and energy on the machine's board."""

    machine: str
    rounding: Rounding
    optimise: Optimise
    figures: Figures
    modelled: BoardCost | None = None


@dataclass(frozen=True)
class CallCost:
    """One call of a kernel, which runs the network's steps ``first`` to ``last``, counted from 1.

    ``cycles``: modelled, on the board of the profile; None without one.
    """

    kernel: str
    first: int
    last: int
    instructions: int
    cycles: float | None = None


@dataclass(frozen=True)
class Profile:
    """All calls of one inference, in execution order; ``board`` is the one whose cycles are modelled."""

    machine: str
    rounding: Rounding
    optimise: Optimise
    calls: tuple[CallCost, ...]
    board: str | None = None

    @property
    def instructions(self) -> int:
        return sum(call.instructions for call in self.calls)


@dataclass(frozen=True)
class FirmwareCost:
    """Every measured way; ``left_out`` has the reason for each machine that was not measured, by name."""

    ways: tuple[Way, ...] = ()
    profiles: tuple[Profile, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


def firmware_cost(
    graph: Graph,
    inputs: I8,
    machines: Sequence[Target] = MACHINES,
    rounding: Rounding = "double",
    on_machine: Callable[[str], None] | None = None,
) -> FirmwareCost:
    """Measure every way of running ``graph`` on the first of ``inputs``, int8 (n, H, W, C).

    Args:
        machines: emulated ones; the host counts no instructions.
        on_machine: called with the name of each machine before it is measured.
    """
    ways: list[Way] = []
    profiles: list[Profile] = []
    left_out: dict[str, str] = {}
    for machine in machines:
        if on_machine:
            on_machine(machine.name)
        try:
            machine_ways, profile = _measured(graph, inputs, machine, rounding)
        except TinysceneError as problem:
            left_out[machine.name] = str(problem)
            continue
        ways += machine_ways
        profiles.append(profile)
    return FirmwareCost(tuple(ways), tuple(profiles), left_out)


def _measured(graph: Graph, inputs: I8, machine: Target, rounding: Rounding) -> tuple[list[Way], Profile]:
    ways = []
    calls: tuple[CallCost, ...] = ()
    board: str | None = None
    for optimise in get_args(Optimise):
        engine = FirmwareEngine(graph, machine, rounding, optimise=optimise)
        modelled = on_reference_board(engine, inputs)
        ways.append(Way(machine.name, rounding, optimise, engine.measure(inputs), modelled))
        if optimise == PROFILED:
            board = None if modelled is None else modelled.board
            calls = _call_costs(engine, inputs, board)
    return ways, Profile(machine.name, rounding, PROFILED, calls, board)


def _call_costs(engine: FirmwareEngine, inputs: I8, board: str | None) -> tuple[CallCost, ...]:
    counted = engine.profile(inputs)
    cycles = (None,) * len(counted) if board is None else call_cycles(engine, inputs, board_named(board))
    return tuple(
        CallCost(call.layer.kernel, call.nodes.start + 1, call.nodes.stop, count, each)
        for call, count, each in zip(engine.emitted.calls, counted, cycles, strict=True)
    )
