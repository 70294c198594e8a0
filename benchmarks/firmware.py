"""Cost of the two largest networks and their log-mel as firmware, compared with limits.

Weights are random, shapes and rounding are those of the trained networks; instructions are counted by QEMU with -icount
on one random input, and every activation between two calls is compared with NumPy's. Writes a Markdown page.

    python benchmarks/firmware.py [--out docs/results-firmware.md] [TARGET...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tests.firmware_harness.random_graphs import CP_MOBILE, cp_mobile
from tests.graphs import random_input
from tinyscene.firmware_harness.build.targets import TARGETS, Target, target_named
from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.firmware_harness.run.audio import LogMelFirmware
from tinyscene.firmware_harness.run.differences import differences
from tinyscene.firmware_harness.run.engine import FirmwareEngine
from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import INT16_FULL_SCALE
from tinyscene.runtime.cost import graph_cost
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.spec import PRESETS, FrontendSpec

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results-firmware.md"
DEFAULT_TARGETS = [target for target in TARGETS.values() if target.emulator is not None]
SEED = 40
CPM23_TO_DCASE25_MACS = 29.2 / 29.6
INSTRUCTION_LIMITS: tuple[tuple[str, Rounding, float, float], ...] = (  # of dcase25, in millions: limit, goal
    ("cortex-m4", "double", 45, 33),
    ("cortex-m4", "single", 42, 31),
    ("cortex-m55", "double", 14, 10),
    ("cortex-m55", "single", 14, 10),
    ("cortex-m3", "double", 115, 105),
    ("cortex-m0plus", "double", 205, 190),
    ("riscv32", "double", 150, 130),
)
LOG_MEL_LIMITS = {"cortex-m4": (16.0, 10.0), "cortex-m55": (4.5, 4.0)}  # in millions: limit, goal
TITLE = """# Cost of the networks as firmware

Written by `python benchmarks/firmware.py`; do not edit. The networks are the largest CP-Mobiles: `dcase25` (32
channels, 1.8, 2.1; {dcase25} MACs) and `cpm23` (32, 2.3, 3.0, with GRN in int8; {cpm23} MACs), with random weights.
Instructions are counted by QEMU with -icount; it counts instructions, not cycles.

## Limits

The limits come from measurements of TFLite Micro with CMSIS-NN, and of CMSIS-DSP for log-mel.

| figure | limit | goal | measured | |
|---|---|---|---|---|
"""
NETWORKS = """
## Every mode on every target

Figures of one inference. RAM is arena, variables and the stack's high-water mark; code excludes constants and includes
start-up and test program (about 1.5 kB). `wrong` counts bytes that differ from NumPy's, of all activations between
calls. `layers` runs node by node, so that every activation can be compared; `speed` and `ram` run several nodes in one
call, and `ram` uses the fastest calls that fit into the smallest arena.

| model | target | rounding | optimise | instructions | per MAC | arena, B | RAM, B | code, B | flash, B | wrong |
|---|---|---|---|---|---|---|---|---|---|---|
"""
CODE = """
## Code with -O2 and -Os

| model | target | rounding | optimise | -O2, B | -Os, B | instructions with -Os |
|---|---|---|---|---|---|---|
"""
KINDS = """
## Where the instructions go

With `double` and `speed`, by kernel. In `cpm23` all calls except convolutions, blocks and the last mean belong to GRN.

| model | target | kernel | calls | instructions | share |
|---|---|---|---|---|---|
"""
LOG_MEL = """
## Log-mel

Figures of one clip of noise; the count depends on the data by less than 0.1 %. State is kept between calls, scratch
memory is used during a call.

| preset | target | instructions per clip | per frame | tables, B | state, B | scratch, B |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Network:
    """Measured figures of one network on one target, in one rounding and mode."""

    model: str
    target: str
    rounding: Rounding
    optimise: Optimise
    macs: int
    instructions: int
    arena_bytes: int
    ram_bytes: int
    code_bytes: int
    flash_bytes: int
    bytes_wrong: int
    bytes_compared: int

    def __str__(self) -> str:
        return (
            f"| {self.model} | {self.target} | {self.rounding} | {self.optimise} | {self.instructions / 1e6:.2f} M "
            f"| {self.instructions / self.macs:.2f} | {self.arena_bytes:,} | {self.ram_bytes:,} "
            f"| {self.code_bytes:,} | {self.flash_bytes:,} | {self.bytes_wrong} of {self.bytes_compared:,} |"
        )


def networks(targets: list[Target]) -> Iterator[Network]:
    """Each network on each target, in every rounding and mode."""
    for model, graph, codes in models():
        for target in targets:
            for rounding in get_args(Rounding):
                expected: dict[str, Any] = {}
                run(graph, codes, rounding=rounding, trace=expected)
                for optimise in get_args(Optimise):
                    engine = FirmwareEngine(graph, target, rounding, optimise=optimise)
                    yield network(model, engine, codes, expected, optimise)


def models() -> Iterator[tuple[str, Graph, Any]]:
    """Name, graph and input codes of each network."""
    for name in CP_MOBILE:
        rng = np.random.default_rng(SEED)
        graph = cp_mobile(rng, name)
        yield name, graph, random_input(rng, graph)


def network(model: str, engine: FirmwareEngine, codes: Any, expected: dict[str, Any], optimise: Optimise) -> Network:
    got = engine.outputs(codes)
    figures = engine.measure(codes)
    assert figures.instructions is not None
    assert figures.static_ram_bytes is not None
    assert figures.stack_bytes is not None
    return Network(
        model,
        engine.target.name,
        engine.rounding,
        optimise,
        macs(engine.graph),
        figures.instructions,
        figures.arena_bytes,
        figures.arena_bytes + figures.static_ram_bytes + figures.stack_bytes,
        figures.code_bytes,
        figures.flash_bytes,
        sum(d.n_different for d in differences(engine.graph, _first(expected), _first(got))),
        sum(array[0].size for array in got.values()),
    )


def _first(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: array[0] for name, array in arrays.items()}


def macs(graph: Graph) -> int:
    return graph_cost(graph, "stored").macs


@dataclass(frozen=True)
class Code:
    """Bytes of code with the default flags and with -Os, and instructions with -Os."""

    network: Network
    os_bytes: int
    os_instructions: int

    def __str__(self) -> str:
        n = self.network
        return (
            f"| {n.model} | {n.target} | {n.rounding} | {n.optimise} | {n.code_bytes:,} | {self.os_bytes:,} "
            f"| {self.os_instructions / 1e6:.2f} M |"
        )


def codes_of(measured: list[Network], targets: list[Target]) -> Iterator[Code]:
    """The `ram` mode measured with -Os."""
    small = {target.name: replace(target, flags=(*target.flags, "-Os")) for target in targets}
    for model, graph, codes in models():
        for n in measured:
            if n.model == model and n.optimise == "ram":
                figures = FirmwareEngine(graph, small[n.target], n.rounding, optimise=n.optimise).measure(codes)
                assert figures.instructions is not None
                yield Code(n, figures.code_bytes, figures.instructions)


@dataclass(frozen=True)
class Kind:
    """All calls of one kernel in one inference."""

    model: str
    target: str
    kernel: str
    n_calls: int
    instructions: int
    share: float

    def __str__(self) -> str:
        return (
            f"| {self.model} | {self.target} | {self.kernel} | {self.n_calls} | {self.instructions:,} "
            f"| {self.share:.1%} |"
        )

    @property
    def is_grn(self) -> bool:
        """Whether the call belongs to a GRN; in `cpm23` convolutions, blocks, sums and the last mean do not."""
        others = ("conv2d", "block", "_add", "mve_depthwise")
        gain = self.kernel == "ts_depthwise_conv2d"
        return self.model == "cpm23" and (gain or not any(name in self.kernel for name in others))


def kinds(targets: list[Target]) -> Iterator[Kind]:
    """Instructions by kernel, for each network on each target."""
    for model, graph, codes in models():
        for target in targets:
            engine = FirmwareEngine(graph, target, "double", optimise="speed")
            counts: dict[str, list[int]] = {}
            for call, instructions in zip(engine.emitted.calls, engine.profile(codes), strict=True):
                counts.setdefault(call.layer.kernel, []).append(instructions)
            total = sum(map(sum, counts.values()))
            for kernel, each in sorted(counts.items(), key=lambda item: -sum(item[1])):
                yield Kind(model, target.name, kernel, len(each), sum(each), sum(each) / total)


@dataclass(frozen=True)
class LogMelCost:
    """The front end on one clip."""

    spec: FrontendSpec
    target: str
    instructions: int
    table_bytes: int

    def __str__(self) -> str:
        spec, state_bytes = self.spec, 4 * (self.spec.win_length + 2) + 12
        return (
            f"| {spec.name} | {self.target} | {self.instructions:,} | {self.instructions // spec.n_frames:,} "
            f"| {self.table_bytes:,} | {state_bytes:,} | {4 * spec.n_fft:,} |"
        )


def log_mels(targets: list[Target]) -> Iterator[LogMelCost]:
    """Every preset on every target."""
    for spec in PRESETS.values():
        quant = Quant.per_tensor((10.0 - spec.norm_mean) / spec.norm_std / 200, 0)
        noise = np.random.default_rng(0).normal(0.0, 0.05 * INT16_FULL_SCALE, spec.clip_samples).astype("<i2")
        for target in targets:
            firmware = LogMelFirmware(spec, quant, target)
            firmware.codes([[noise]])
            assert firmware.instructions is not None
            yield LogMelCost(spec, target.name, firmware.instructions, firmware.emitted.constant_bytes)


@dataclass(frozen=True)
class Results:
    """All measurements."""

    networks: list[Network]
    codes: list[Code]
    kinds: list[Kind]
    log_mels: list[LogMelCost]

    def of(self, model: str, target: str, rounding: Rounding, optimise: Optimise) -> list[Network]:
        key = (model, target, rounding, optimise)
        return [n for n in self.networks if (n.model, n.target, n.rounding, n.optimise) == key]


def limit_rows(results: Results) -> Iterator[str]:
    """A row for each limit of a measured target: met, missed, or better than the goal."""

    def line(figure: str, limit: float, goal: float | None, measured: float, unit: str) -> str:
        verdict = "missed" if measured > limit else "met" if goal is None or measured > goal else "goal met"
        goal_text = "" if goal is None else f"{goal:,g} {unit}"
        return f"| {figure} | {limit:,g} {unit} | {goal_text} | {measured:,.4g} {unit} | {verdict} |"

    million = 1e6
    for target, rounding, limit, goal in INSTRUCTION_LIMITS:
        for n in results.of("dcase25", target, rounding, "speed"):
            yield line(f"dcase25, {target}, {rounding}", limit, goal, n.instructions / million, "M instructions")
        for n in results.of("cpm23", target, rounding, "speed"):
            what = f"cpm23 with GRN, {target}, {rounding} (in proportion to MACs)"
            scaled = round(limit * CPM23_TO_DCASE25_MACS, 1), round(goal * CPM23_TO_DCASE25_MACS, 1)
            yield line(what, *scaled, n.instructions / million, "M instructions")
    for target in ("cortex-m4", "cortex-m55"):
        grn = [k.share for k in results.kinds if k.target == target and k.is_grn]
        if grn:
            yield line(f"GRN's share of cpm23, {target}", 4, None, 100 * sum(grn), "%")
        for model in CP_MOBILE:
            for n in results.of(model, target, "double", "ram"):
                yield line(f"RAM of {model}, `ram`, {target}", 48, 40, n.arena_bytes / 1024, "KiB")
                (fastest,) = results.of(model, target, "double", "speed")
                more = 100 * (n.instructions / fastest.instructions - 1)
                yield line(f"instructions of `ram` above `speed`, {model}, {target}", 15, None, more, "%")
    if results.codes:
        largest = max(n.code_bytes for n in results.networks)
        yield line("code without constants, -O2, the largest", 30, 16, largest / 1e3, "kB")
        yield line(
            "code without constants, -Os, the largest", 30, 16, max(c.os_bytes for c in results.codes) / 1e3, "kB"
        )
    for cost in results.log_mels:
        if cost.spec.name in ("cpm23", "dcase25") and cost.target in LOG_MEL_LIMITS:
            what = f"log-mel of a 1 s clip, {cost.spec.name}, {cost.target}"
            yield line(what, *LOG_MEL_LIMITS[cost.target], cost.instructions / million, "M instructions")
    wrong, compared = (sum(x) for x in zip(*((n.bytes_wrong, n.bytes_compared) for n in results.networks), strict=True))
    yield line(f"wrong, of {compared:,} compared, all targets, rules and modes", 0, None, wrong, "B")


def gathered(kind: Iterator[Any]) -> list[Any]:
    """All items, each printed when it is measured."""
    items = []
    for item in kind:
        print(item, flush=True)
        items.append(item)
    return items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    targets = [target_named(name) for name in arguments.targets] or DEFAULT_TARGETS
    measured = gathered(networks(targets))
    codes = gathered(codes_of(measured, targets))
    results = Results(measured, codes, gathered(kinds(targets)), gathered(log_mels(targets)))
    counts = {name: f"{macs(graph) / 1e6:.1f} M" for name, graph, _ in models()}
    sections = (
        (TITLE.format(**counts), limit_rows(results)),
        (NETWORKS, results.networks),
        (CODE, results.codes),
        (KINDS, results.kinds),
        (LOG_MEL, results.log_mels),
    )
    text = "".join(heading + "".join(f"{line}\n" for line in lines) for heading, lines in sections)
    arguments.out.write_text(text)


if __name__ == "__main__":
    main()
