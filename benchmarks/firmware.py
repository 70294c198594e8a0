"""What the two largest networks cost as firmware: instructions, memory and code, for every way of running them.

Weights are random, shapes and rounding are those of the trained networks; instructions are counted by QEMU with -icount
on one random input, and every activation between two calls is compared with NumPy's. Writes a Markdown table.

    python benchmarks/firmware.py [--out docs/results-firmware.md] [TARGET...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from firmware_harness.compare import differences
from firmware_harness.engine import FirmwareEngine
from firmware_harness.schedule import Optimise
from firmware_harness.targets import CORTEX_M4, CORTEX_M7, CORTEX_M33, CORTEX_M55, Target, target_named
from runtime.arith import Rounding
from runtime.cost import graph_cost
from runtime.graph import Graph
from runtime.interpreter import run
from tests.firmware.random_graphs import CP_MOBILE, cp_mobile
from tests.graphs import random_input

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-firmware.md"
DEFAULT_TARGETS = (CORTEX_M4, CORTEX_M7, CORTEX_M33, CORTEX_M55)
SEED = 40
INTRODUCTION = """# What the networks cost as firmware

Written by `python benchmarks/firmware.py`; do not edit. The networks are the largest CP-Mobiles: `dcase25` (32
channels, 1.8, 2.1; {dcase25} MACs) and `cpm23` (32, 2.3, 3.0, with GRN in int8; {cpm23} MACs), with random weights.
Instructions of one inference are counted by QEMU with -icount; it counts instructions, not cycles. RAM is arena,
variables and the stack's high-water mark; code is without constants, start-up and test program (some 1.5 kB) included.
`wrong` counts bytes that differ from NumPy's, of all activations that exist between calls.

`layers` runs node by node, so that every activation can be looked at; `speed` and `ram` run several nodes in one call,
and `ram` takes the fastest way there is in the smallest arena.

| model | target | rounding | optimise | instructions | per MAC | arena, B | RAM, B | code, B | flash, B | wrong |
|---|---|---|---|---|---|---|---|---|---|---|
"""


KINDS = """
Where the instructions go with `double` and `speed`, by kind of call. In `cpm23` all but convolutions, blocks and the
last mean are GRN.

| model | target | kernel | calls | instructions | share |
|---|---|---|---|---|---|
"""


def rows(targets: list[Target]) -> Iterator[str]:
    """One line of the table for each way of each network on each target."""
    for variant in CP_MOBILE:
        rng = np.random.default_rng(SEED)
        graph = cp_mobile(rng, variant)
        codes = random_input(rng, graph)
        for target in targets:
            for rounding in get_args(Rounding):
                expected: dict[str, Any] = {}
                run(graph, codes, rounding=rounding, trace=expected)
                for optimise in get_args(Optimise):
                    engine = FirmwareEngine(graph, target, rounding, optimise=optimise)
                    yield row(variant, engine, codes, expected, optimise)


def row(variant: str, engine: FirmwareEngine, codes: Any, expected: dict[str, Any], optimise: Optimise) -> str:
    got = engine.outputs(codes)
    wrong = sum(d.n_different for d in differences(engine.graph, _first(expected), _first(got)))
    n_bytes = sum(array[0].size for array in got.values())
    figures = engine.measure(codes)
    assert figures.instructions is not None
    assert figures.static_ram_bytes is not None
    assert figures.stack_bytes is not None
    ram_bytes = figures.arena_bytes + figures.static_ram_bytes + figures.stack_bytes
    return (
        f"| {variant} | {engine.target.name} | {engine.rounding} | {optimise} | {figures.instructions / 1e6:.2f} M "
        f"| {figures.instructions / macs(engine.graph):.2f} | {figures.arena_bytes:,} | {ram_bytes:,} "
        f"| {figures.code_bytes:,} | {figures.flash_bytes:,} | {wrong} of {n_bytes:,} |"
    )


def kinds(targets: list[Target]) -> Iterator[str]:
    """One line for each kind of call of each network on each target: how many there are, and what they take."""
    for variant in CP_MOBILE:
        rng = np.random.default_rng(SEED)
        graph = cp_mobile(rng, variant)
        codes = random_input(rng, graph)
        for target in targets:
            engine = FirmwareEngine(graph, target, "double", optimise="speed")
            counts: dict[str, list[int]] = {}
            for call, instructions in zip(engine.emitted.calls, engine.profile(codes), strict=True):
                counts.setdefault(call.layer.kernel, []).append(instructions)
            total = sum(map(sum, counts.values()))
            for kernel, each in sorted(counts.items(), key=lambda item: -sum(item[1])):
                share = 100.0 * sum(each) / total
                yield f"| {variant} | {target.name} | {kernel} | {len(each)} | {sum(each):,} | {share:.1f} % |"


def _first(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: array[0] for name, array in arrays.items()}


def macs(graph: Graph) -> int:
    return graph_cost(graph, "stored").macs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    targets = [target_named(name) for name in arguments.targets] or list(DEFAULT_TARGETS)
    counts = {name: f"{macs(cp_mobile(np.random.default_rng(SEED), name)) / 1e6:.1f} M" for name in CP_MOBILE}
    text = INTRODUCTION.format(**counts)
    for lines, heading in ((rows(targets), ""), (kinds(targets), KINDS)):
        text += heading
        for line in lines:
            print(line, flush=True)
            text += f"{line}\n"
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
