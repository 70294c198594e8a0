"""A failure at every system call that changes a file, in turn: the message, what is left, what a second run
makes of it.

``python -m tests.faults calls --commands "check --out,train" --most 50 --seed 1``: each command runs once to count its
calls, and then once per call with that call failing; ``--most`` limits the calls, ``--per-kind`` those of one kind: a
system call, the folder and the ending of its file. Afterwards nothing that is not whole has its final name, the exit
code is 2 with one line that names the reason (or 0, where nothing was lost), and the same command again finishes with
equal bytes and leaves nothing else. Prints one row per command; exit code 1 if any column of faults is not 0.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; the processes below are forked from this one

import ai_edge_litert.interpreter
import lightning
import lightning.pytorch.loggers
import onnxruntime
import onnxscript.function_libs.torch_lib.ops  # what PyTorch imports to write ONNX

from tinyscene.runtime.system_errors import KINDS

from . import commands
from .commands import COMMANDS, Command
from .injection import Call, Outcome, Place, Plan, run

PRELOADED = (ai_edge_litert.interpreter, lightning, lightning.pytorch.loggers, onnxruntime, onnxscript)
BUILD = "error: building for "  # binutils report every error of a write after the first of a file as a full disk
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.ENOSPC)  # in turn; the last one persists
DRAWN = re.compile(r"\.tinyscene-\d+-[0-9a-f]+|[0-9a-f]{8,}|\d+")  # parts of folders' names that differ from run to run
COLUMNS = (
    "command",
    "calls",
    "kinds",
    "failures",
    "harmless",
    "crashed",
    "wrong message",
    "corrupt",
    "leftovers",
    "not finished",
)


@dataclass
class Tally:
    """Counts for one command, and one line per fault found."""

    calls: int = 0
    kinds: int = 0
    failures: int = 0
    harmless: int = 0
    crashed: int = 0
    wrong_message: int = 0
    corrupt: int = 0
    leftovers: int = 0
    not_finished: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        return self.crashed + self.wrong_message + self.corrupt + self.leftovers + self.not_finished


class Bench:
    """One command, its inputs and its folder: `work` to write to, `tmp` and `home` of the process."""

    def __init__(self, command: Command, inputs: Path, folder: Path) -> None:
        self.command, self.inputs, self.folder = command, inputs, folder
        self.expected: dict[str, bytes] = {}

    def fresh(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("work", "tmp", "home"):
            (self.folder / name).mkdir(parents=True)

    def run(self, plan: Plan | None = None, *, again: bool = False) -> Outcome:
        words = self.command.again if again and self.command.again else self.command.words
        home = {"HOME": str(self.folder / "home"), "XDG_CACHE_HOME": str(self.folder / "home" / "cache")}
        place = Place(self.folder / "work", {"TMPDIR": str(self.folder / "tmp"), **home})
        return run(commands.action(words, self.inputs), plan or Plan(str(self.folder)), place)

    def remove_results(self) -> None:
        """Before the same command runs again after a success: some commands refuse to replace their results."""
        for name in self.command.results:
            path = self.folder / "work" / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def state(self) -> dict[str, bytes]:
        found = commands.contents(self.folder)
        return {name.removeprefix("work/"): content for name, content in found.items() if name != "work/"}

    def reference(self) -> Outcome:
        """A run without failures; its calls are the ones that fail later."""
        self.fresh()
        outcome = self.run()
        if outcome.code != 0:
            raise SystemExit(f"{self.command.words}: exit code {outcome.code}: {outcome.err}")
        self.expected = self.state()
        return outcome


def examine(bench: Bench, number: int, tally: Tally) -> None:
    """Let call ``number`` fail, judge the outcome, and run the command again."""
    error = ERRORS[number % len(ERRORS)]
    bench.fresh()
    outcome = bench.run(Plan(str(bench.folder), first=number, error=error, persistent=number % len(ERRORS) == 3))
    failed = next((call for call in outcome.calls if call.failed), None)
    if failed is None:
        return  # a run with fewer calls, such as one that found a cache
    tally.failures += 1
    where = f"call {number}, {failed.name} {failed.path.removeprefix(str(bench.folder))}, {errno.errorcode[error]}"
    state = bench.state()
    if outcome.code == 0:
        tally.harmless += 1
        if missing := commands.different(bench.command, state, bench.expected):
            tally.corrupt += 1
            tally.lines.append(f"{where}: exit code 0, but not whole: {', '.join(missing[:3])}")
    elif outcome.code != 2:
        tally.crashed += 1
        tally.lines.append(f"{where}: exit code {outcome.code}: {outcome.err.strip()[-300:]}")
    elif problem := wrong(outcome.err, error):
        tally.wrong_message += 1
        tally.lines.append(f"{where}: {problem}")
    if part := commands.partial(bench.command, state, bench.expected):
        tally.corrupt += 1
        tally.lines.append(f"{where}: not whole under its final name: {', '.join(part[:3])}")
    if outcome.code == 0 and commands.leftovers(bench.command, state, bench.expected):
        bench.remove_results()
        outcome = replace(outcome, code=2)
    if outcome.code != 0:
        again = bench.run(again=True)
        state = bench.state()
        if again.code != 0 or commands.different(bench.command, state, bench.expected):
            tally.not_finished += 1
            names = commands.different(bench.command, state, bench.expected)
            tally.lines.append(f"{where}: second run: exit code {again.code}, {names[:3]}: {again.err.strip()[-300:]}")
    if left := commands.leftovers(bench.command, state, bench.expected):
        tally.leftovers += 1
        tally.lines.append(f"{where}: left {', '.join(left[:3])}")


def wrong(printed: str, error: int) -> str:
    """What is wrong with the lines on standard error, or nothing."""
    lines = [line for line in printed.splitlines() if line.strip() and not line.startswith("note: ")]
    if len(lines) != 1 or not lines[0].startswith("error: "):
        return f"{len(lines)} lines: {' / '.join(lines)[-400:]}"
    causes = {error, errno.ENOSPC} if lines[0].startswith(BUILD) else {error}
    if "defect" in lines[0] or not any(KINDS[cause].what in lines[0] for cause in causes):
        return lines[0]
    return ""


@dataclass(frozen=True)
class Choice:
    """Which calls fail: all, or ``per_kind`` of each kind, and of these at most ``most``, by ``seed``."""

    per_kind: int = 0
    most: int = 0
    seed: int = 0

    def of(self, kinds: Sequence[str]) -> list[int]:
        """Numbers, from 1, of the chosen calls, of which ``kinds`` are those."""
        draw, numbers = random.Random(self.seed), list(range(1, len(kinds) + 1))
        if self.per_kind:
            by_kind: dict[str, list[int]] = {}
            for number, kind in enumerate(kinds, start=1):
                by_kind.setdefault(kind, []).append(number)
            numbers = sorted(n for each in by_kind.values() for n in draw.sample(each, min(self.per_kind, len(each))))
        return sorted(draw.sample(numbers, self.most)) if 0 < self.most < len(numbers) else numbers


def kind_of(call: Call, folder: Path) -> str:
    """What a call does, in which folder, to a file with which ending."""
    path = Path(call.path.removeprefix(str(folder)))
    return f"{call.name} {DRAWN.sub('', str(path.parent))}/*{DRAWN.sub('', path.suffix)}"


def examined(name: str, inputs: Path, folder: Path, choice: Choice) -> Tally:
    """The chosen calls of one command."""
    bench, tally = Bench(COMMANDS[name], inputs, folder), Tally()
    kinds = [kind_of(call, folder) for call in bench.reference().calls]
    tally.calls, tally.kinds = len(kinds), len(set(kinds))
    for number in choice.of(kinds):
        examine(bench, number, tally)
    return tally


def row(name: str, tally: Tally) -> str:
    """One row of the table in Markdown."""
    figures = (tally.calls, tally.kinds, tally.failures, tally.harmless, tally.crashed, tally.wrong_message)
    return (
        f"| {name} | "
        + " | ".join(f"{figure:,}" for figure in (*figures, tally.corrupt, tally.leftovers, tally.not_finished))
        + " |"
    )


def main(arguments: Sequence[str]) -> int:
    """Run all commands, print the table and every fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults calls", description=__doc__)
    parser.add_argument("--commands", default=",".join(COMMANDS), help="comma-separated names: %(default)s")
    parser.add_argument("--most", type=int, default=0, help="failures per command, 0 for one at every call")
    parser.add_argument("--per-kind", type=int, default=0, help="failures per kind of call, 0 for one at every call")
    parser.add_argument("--seed", type=int, default=0, help="selects the calls where there are more")
    options = parser.parse_args(arguments)
    choice = Choice(options.per_kind, options.most, options.seed)
    with tempfile.TemporaryDirectory(prefix="tinyscene-faults-") as name:
        root = Path(name)
        inputs = root / "inputs"
        commands.write_inputs(inputs)
        make = run(
            commands.action("export INPUTS/student.pt --ptq INPUTS/data/audio --clips 8 --out INPUTS/bundle", inputs),
            Plan(str(root)),
            Place(root),
        )
        if make.code:
            raise SystemExit(f"the bundle cannot be made: {make.err}")
        print(f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}", flush=True)
        faults, start = [], time.monotonic()
        for command in options.commands.split(","):
            tally = examined(command, inputs, root / "case", choice)
            print(row(command, tally), flush=True)
            faults += [f"{command}: {line}" for line in tally.lines]
            print("".join(f"{command}: {line}\n" for line in tally.lines), end="", file=sys.stderr, flush=True)
    print(f"{time.monotonic() - start:.0f} s, seed {options.seed}")
    return 1 if faults else 0
