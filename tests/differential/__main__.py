"""``python -m tests.differential``: random nets on every implementation, and a table of what is equal.

``--nets`` nets run on NumPy (both rules, also in the planned arena), the native engines, the host's C under sanitizers
and the C twins of the DSP assembly; the first ``--emulated`` of them also on QEMU. Every output is compared with the
kernels; only differences that export/verify/exceptions.py names pass. Exit code 1 if there is another.
``--only 37,466`` runs these nets of the seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tests.fuzz.process import AnsweringProcess, Death
from tests.graphs import random_input
from tinyscene.export.targets.table import TARGETS, Exposed, TargetRow
from tinyscene.export.verify.op_comparison import compare
from tinyscene.firmware_harness.build.targets import (
    CORTEX_M0PLUS,
    CORTEX_M3,
    CORTEX_M4,
    CORTEX_M55,
    HOST,
    RISCV32,
    XTENSA,
    Target,
)
from tinyscene.firmware_harness.emit.schedule import Optimise
from tinyscene.runtime.arith import ROUNDINGS, Rounding
from tinyscene.runtime.arrays import I8
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.errors import TinysceneError
from tinyscene.runtime.graph import Graph
from tinyscene.runtime.interpreter import run
from tinyscene.runtime.plan import plan
from tinyscene.runtime.vectors import joined

from .batch import VECTORS, Batch
from .nets import random_net

ENGINES = ("litert", "litert-reference", "tflm", "ort", "ort-int8")
DSP_TWIN = replace(HOST, name="host-dsp", title="C twins of the DSP assembly", cpu="dsp")
EMULATED = (CORTEX_M0PLUS, CORTEX_M3, CORTEX_M4, CORTEX_M55, RISCV32, XTENSA)
BATCH_NETS = 50


@dataclass
class Row:
    """Counts of one implementation. ``findings``: net and difference."""

    nets: int = 0
    equal: int = 0
    excepted: int = 0
    refused: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, net: str, difference: str | None, *, excepted: bool = False) -> None:
        """Count one net; ``difference`` is None where all is equal or excepted."""
        self.nets += 1
        if difference is not None:
            self.findings.append(f"{net}: {difference}")
        elif excepted:
            self.excepted += 1
        else:
            self.equal += 1

    def join(self, other: Row) -> None:
        """Add the counts of another row."""
        self.nets, self.equal = self.nets + other.nets, self.equal + other.equal
        self.excepted, self.refused = self.excepted + other.excepted, self.refused + other.refused
        self.findings += other.findings


@dataclass(frozen=True, eq=False)
class Case:
    """A net, its input vectors int8 (VECTORS, ...) and, by rule, what the interpreter computes from them."""

    graph: Graph
    codes: I8
    expected: dict[Rounding, dict[str, I8]]

    @staticmethod
    def of(seed: int, number: int) -> Case:
        graph = random_net(seed, number)
        codes = random_input(np.random.default_rng([seed, number]), graph, VECTORS)
        return Case(graph, codes, {rounding: NumpyEngine(graph, rounding).outputs(codes) for rounding in ROUNDINGS})


def on_numpy(case: Case, rows: dict[str, Row]) -> None:
    """Run both rules once more in the planned arena."""
    for rounding in ROUNDINGS:
        output = run(case.graph, case.codes, rounding=rounding, arena=plan(case.graph))
        equal = np.array_equal(output, joined(case.graph, case.graph.outputs, case.expected[rounding]))
        rows.setdefault(f"numpy-{rounding}", Row()).add(case.graph.name, None if equal else "differs in its arena")


def on_engine(name: str, seed: int, number: int) -> Row:
    """The row of one native engine after one net, compared op by op."""
    case, row, target = Case.of(seed, number), Row(), TARGETS[name]
    assert isinstance(target, TargetRow)
    try:
        engine = target.open(Exposed(case.graph))
        comparison = compare(name, engine.rounding, case.graph, case.codes, engine.outputs(case.codes))
    except TinysceneError as refusal:
        if refusal.unsupported:
            row.nets, row.refused = 1, 1
        else:
            row.add(case.graph.name, str(refusal))
        return row
    different = comparison.first_difference
    row.add(case.graph.name, None if different is None else str(different), excepted=bool(comparison.exceptions))
    return row


def on_engines(process: AnsweringProcess, seed: int, number: int, rows: dict[str, Row]) -> None:
    """Run the native engines in a process of their own, whose death is a finding."""
    for name in ENGINES:
        row, answer = rows.setdefault(name, Row()), process.ask(name, seed, number)
        if isinstance(answer, Death):
            row.add(f"net_{seed}_{number}", str(answer))
        else:
            row.join(answer)


def on_firmware(
    cases: Sequence[Case], target: Target, rows: dict[str, Row], folder: Path, optimise: Optimise = "layers"
) -> None:
    """Run one batch on a target by both rules; every layer between calls must be the interpreter's."""
    for rounding in ROUNDINGS:
        row = rows.setdefault(f"c-{target.name}-{rounding}{'' if optimise == 'layers' else '-fused'}", Row())
        try:
            batch = Batch([case.graph for case in cases], target, rounding, folder, optimise)
            results = batch.outputs([case.codes for case in cases])
        except TinysceneError as failure:
            row.add(f"{cases[0].graph.name} and {len(cases) - 1} more", str(failure))
            continue
        for case, got in zip(cases, results, strict=True):
            row.add(case.graph.name, _difference(case, rounding, got))


def _difference(case: Case, rounding: Rounding, got: dict[str, I8]) -> str | None:
    for name, array in got.items():
        expected = case.expected[rounding][name]
        if not np.array_equal(array, expected):
            at = tuple(int(i) for i in np.argwhere(array != expected)[0])
            return f"{name} {at}: expected {expected[at]}, got {array[at]}"
    return None


def table(rows: dict[str, Row]) -> str:
    """One line for each implementation, then every difference."""
    lines = [f"{'':<28}{'nets':>7}{'equal':>7}{'named exception':>17}{'refused':>9}{'different':>11}"]
    for name, row in rows.items():
        counts = f"{row.nets:>7,}{row.equal:>7,}{row.excepted:>17,}{row.refused:>9,}{len(row.findings):>11,}"
        lines.append(f"{name:<28}{counts}")
    return "\n".join([*lines, *(f"{name}, {what}" for name, row in rows.items() for what in row.findings)])


def main() -> int:
    """Run, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", type=int, default=2000, metavar="N")
    parser.add_argument("--only", metavar="N,N", help="numbers of single nets, in place of --nets")
    parser.add_argument("--emulated", type=int, default=300, metavar="N", help="of them, also on QEMU (300)")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    options = parser.parse_args()
    wanted = [int(number) for number in options.only.split(",")] if options.only else range(options.nets)
    rows: dict[str, Row] = {}
    start, engines = time.monotonic(), AnsweringProcess(on_engine)
    with tempfile.TemporaryDirectory(prefix="tinyscene-differential-") as name:
        for first in range(0, len(wanted), BATCH_NETS):
            numbers = wanted[first : first + BATCH_NETS]
            cases = [Case.of(options.seed, number) for number in numbers]
            for number, case in zip(numbers, cases, strict=True):
                on_numpy(case, rows)
                on_engines(engines, options.seed, number, rows)
            on_firmware(cases, HOST, rows, Path(name))
            on_firmware(cases, DSP_TWIN, rows, Path(name))
            on_firmware(cases, DSP_TWIN, rows, Path(name), "speed")
            emulated = cases[: max(0, options.emulated - first)]
            for target in EMULATED if emulated else ():
                on_firmware(emulated, target, rows, Path(name))
                if target.cpu != "c99":
                    on_firmware(emulated, target, rows, Path(name), "speed")
    engines.close()
    print(f"seed {options.seed}, {len(wanted):,} nets, {VECTORS} inputs each, {time.monotonic() - start:.0f} s")
    print(table(rows))
    return 1 if any(row.findings for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
