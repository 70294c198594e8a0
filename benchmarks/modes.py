"""Whether the modes keep their promises: `speed` takes no more cycles than another mode, `ram` no larger an arena.

On random networks of all ops and on the named ones of `firmware_cycles.py`, rounding `double`. Cycles are modelled on
the board that stands for the target; where none does, instructions count. Networks with the same calls in all modes
are not run. Prints every exception with its excess, and ends with exit code 1 if there is one.

    python benchmarks/modes.py [--nets 200] [--seed 1] [--target cortex-m4]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from benchmarks.firmware_cycles import networks
from tests.differential.nets import random_net
from tests.graphs import random_input
from tinyscene.firmware_harness.build.targets import Target, target_named
from tinyscene.firmware_harness.cpu.kernel_sets import kernel_set_named
from tinyscene.firmware_harness.emit.schedule import Call, Optimise, plan_calls, schedule
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.firmware_harness.run.modelled import on_reference_board
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.terminal import bar

MODES: tuple[Optimise, ...] = get_args(Optimise)
SAME = 1.001  # the code of two images lies at other addresses


def exceptions(name: str, graph: Graph, target: Target) -> Iterator[str]:
    """A sentence for each promise that is not kept on this network."""
    calls = {mode: schedule(graph, kernel_set_named(target.cpu), mode) for mode in MODES}
    arenas = {mode: plan_calls(graph, calls[mode]).arena_bytes for mode in MODES}
    for mode in MODES:
        if arenas["ram"] > arenas[mode]:
            yield f"{name}: arena of ram {arenas['ram']:,} B, of {mode} {arenas[mode]:,} B"
    if len({_kernels(each) for each in calls.values()}) == 1:
        return
    work = {mode: _work(graph, target, calls[mode]) for mode in MODES}
    for mode in MODES:
        if work["speed"] > work[mode] * SAME:
            kernels = [call.layer.kernel for call in calls["speed"]]
            excess = work["speed"] / work[mode] - 1
            yield f"{name}: speed takes {work['speed']:,.0f}, {excess:.1%} more than {mode}; {kernels}"


def _kernels(calls: tuple[Call, ...]) -> tuple[tuple[str, int], ...]:
    return tuple((call.layer.kernel, call.layer.scratch_bytes) for call in calls)


def _work(graph: Graph, target: Target, calls: tuple[Call, ...]) -> float:
    """Modelled cycles, or instructions where no board stands for the target."""
    codes = random_input(np.random.default_rng(0), graph, 1)
    engine = FirmwareEngine(graph, target, calls=calls)
    cost = on_reference_board(engine, codes)
    instructions = engine.measure(codes).instructions if cost is None else 0
    assert instructions is not None  # the target has an emulator
    return cost.cycles.value if cost is not None else instructions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--target", default="cortex-m4", metavar="NAME")
    options = parser.parse_args()
    target, count = target_named(options.target), 0
    nets = [(f"net {number}", random_net(options.seed, number)) for number in range(options.nets)]
    for name, graph in bar([*nets, *networks()], "modes"):
        for sentence in exceptions(name, graph, target):
            print(sentence, flush=True)
            count += 1
    print(f"{options.nets} random networks and the named ones on {target.name}: {count} exceptions")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
