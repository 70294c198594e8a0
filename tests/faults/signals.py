"""Signals at random moments of a command: what it leaves, and what the next run makes of it.

``python -m tests.faults.signals --count 100 --signals SIGKILL,SIGTERM --commands train,synth --seed 1``: each command
runs once for its duration and its result, and is then ended ``--count`` times by each signal, at moments drawn evenly
from its duration (``--within`` seconds at most). After each: no process of it remains, its result is absent or whole,
and, unless it was SIGKILL, exit code 128 + number, one line on standard error, and no temporary file. After every
``--per-run`` signals, and after the last, it runs to its end, which must succeed and leave nothing else; ``--seconds``
limits the signals to what a slow machine can do in that time. Prints one row per command and signal; exit code 1 if any
column of faults is not 0.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import commands
from tests.firmware_harness.bundles import small_bundle
from tests.processes import left_over
from tinyscene.stop_signals import MESSAGES
from tinyscene.training.models.checkpoint import load_any

REPOSITORY = Path(__file__).resolve().parents[2]
SCENES = ("airport", "bus", "park")
RECIPE = "model: cpm23-8\nepochs: 3\nbatch_size: 16\nlearning_rate: 1.0e-3\n"
ORPHAN_SECONDS = 5.0  # that a process may outlive its parent
SERVER_SECONDS = 1.0  # after the first line of a command that runs until it is interrupted


@dataclass(frozen=True)
class Command:
    """A command line, with INPUTS for the folder of inputs; the working folder is the one to write to.

    Attributes:
        result: the file or folder it writes; empty for a command that runs until it is interrupted.
        again: words of the run after signals, where they differ.
        exact: whether every run writes the same bytes; otherwise the result is a checkpoint, which must load.
    """

    words: str
    result: str = ""
    again: str = ""
    exact: bool = True


COMMANDS = {
    "export --ptq": Command("export INPUTS/student.pt --ptq INPUTS/data/audio --clips 8 --out bundle", "bundle"),
    "train": Command("train INPUTS/recipe.yaml --data INPUTS/data --out run --resume", "run/student.pt", exact=False),
    "data synth": Command("data synth --locations 4 --clips 1 --out synth", "synth"),
    "firmware export": Command("firmware export INPUTS/scenes --as makefile --measure --out product", "product"),
    "firmware --run": Command("firmware INPUTS/scenes --target cortex-m4 --run --out firmware", "firmware"),
    "firmware serial": Command("firmware serial INPUTS/scenes"),
    "page": Command("page INPUTS/scenes --out page.html", "page.html"),
    "page --serve": Command("page INPUTS/scenes --serve --port 0"),
}


def write_inputs(folder: Path) -> None:
    """A data set, a checkpoint with random weights, a bundle, and a recipe."""
    commands.write_inputs(folder, RECIPE)
    small_bundle(folder)


@dataclass
class Tally:
    """Counts for one command and one signal, and one line per fault."""

    sent: int = 0
    early: int = 0  # before the first line of tinyscene
    late: int = 0  # after the end of the command
    faults: list[str] = field(default_factory=list)


class Bench:
    """One command and the folders it uses: `work` to write to, `tmp`, and `home`."""

    def __init__(self, command: Command, inputs: Path, folder: Path) -> None:
        self.command, self.folder, self.work = command, folder, folder / "work"
        self.words = command.words.replace("INPUTS", str(inputs)).split()
        self.mark = f"TEST_RUN={folder}"
        for name in ("work", "tmp", "home"):
            (folder / name).mkdir(parents=True)
        self.seconds, self.whole, self.names = self._reference()

    def _reference(self) -> tuple[float, str, set[str]]:
        """Duration of a run, digest of its result, and all names that it leaves."""
        self.run_to_end()  # which fills caches
        self._forget_result()
        start = time.monotonic()
        self.run_to_end()
        return time.monotonic() - start, self.result(), self.left()

    def start(self) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(self.folder / "tmp"),
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "home" / "cache"),
            "OMP_NUM_THREADS": "1",
            "TEST_RUN": str(self.folder),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tinyscene", *self.words], cwd=self.work, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run_to_end(self) -> None:
        """Run the command to its end; a command without one until it serves."""
        self._forget_result()
        with self.start() as process:
            if not self.command.result:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(SERVER_SECONDS)
                process.terminate()
            _, errors = process.communicate()
        if process.returncode != (0 if self.command.result else 143):
            raise RuntimeError(f"exit code {process.returncode}: {errors.strip()[-500:]}")

    def interrupted(self, number: signal.Signals, moment_s: float, tally: Tally) -> None:
        """Send one signal and judge the outcome."""
        self._forget_result()
        before, start = self.left(), time.monotonic()
        process = self.start()
        time.sleep(max(0.0, moment_s - (time.monotonic() - start)))
        early = not _handles(process.pid, signal.SIGTERM)
        process.send_signal(number)
        _, errors = process.communicate()
        tally.sent += 1
        tally.early += early and process.returncode in (-number, 1)
        tally.late += process.returncode == 0
        where = f"{number.name} after {moment_s:.3f} s"
        tally.faults += [
            f"{where}: {fault}" for fault in self._faults(number, process.returncode, errors, early, before)
        ]

    def _faults(self, number: signal.Signals, code: int, errors: str, early: bool, before: set[str]) -> Iterator[str]:
        if orphans := self._orphans():
            yield f"left processes: {orphans}"
        of_python = (-number, 1) if early else ()  # before our first line, also as KeyboardInterrupt with a traceback
        if code not in (0, 128 + number, *of_python) and not (code == -number and number == signal.SIGKILL):
            yield f"exit code {code}: {errors.strip()[-500:]}"
        elif code == 128 + number and _lines(errors) != [MESSAGES[number]]:
            yield f"on standard error: {errors.strip()[-500:]}"
        elif "Traceback" in errors and not early and number != signal.SIGKILL:
            yield f"a traceback: {errors.strip()[-500:]}"
        if self.result() not in ("", self.whole):
            yield f"{self.command.result} is not whole"
        if number != signal.SIGKILL and (left := self.left() - before - self.names):
            yield f"left {', '.join(sorted(left)[:3])}"

    def next_run(self) -> Iterator[str]:
        """Faults of a run to the end after signals."""
        try:
            self.run_to_end()
        except RuntimeError as problem:
            yield f"the next run: {problem}"
            return
        if self.result() != self.whole:
            yield f"the next run: {self.command.result} is not whole"
        if left := self.left() - self.names:
            yield f"the next run left {', '.join(sorted(left)[:3])}"

    def result(self) -> str:
        """A digest of the result; empty if there is none."""
        path = self.work / self.command.result
        if not self.command.result or not path.exists():
            return ""
        if not self.command.exact:
            load_any(path)
            return "loads"
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.relative_to(self.work)} {file.stat().st_size}\n".encode() + file.read_bytes())
        return digest.hexdigest()

    def left(self) -> set[str]:
        """Names at the top of the working folder, all of the folder for temporaries, and our temporaries anywhere."""
        paths = [*self.work.iterdir(), *(self.folder / "tmp").rglob("*"), *self.folder.rglob("*.tinyscene-*")]
        return {path.relative_to(self.folder).as_posix() for path in paths}

    def _forget_result(self) -> None:
        path = self.work / self.command.result
        if self.command.result and path.is_dir():
            shutil.rmtree(path)
        elif self.command.result:
            path.unlink(missing_ok=True)

    def _orphans(self) -> list[str]:
        return left_over(self.mark, ORPHAN_SECONDS)


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (number - 1) & 1)


def _lines(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.strip() and not line.startswith("note: ")]


def examined(bench: Bench, name: str, number: signal.Signals, options: argparse.Namespace) -> Tally:
    """All signals of one kind for one command, or as many as the time allows; the last one is followed by a run."""
    tally, rng = Tally(), random.Random(f"{options.seed} {name} {number}")
    deadline = time.monotonic() + options.seconds
    for count in range(1, options.count + 1):
        bench.interrupted(number, rng.uniform(0, min(options.within, bench.seconds)), tally)
        last = count == options.count or time.monotonic() > deadline
        if last or count % options.per_run == 0:
            tally.faults += bench.next_run()
        if last:
            break
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.signals", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=100, metavar="N", help="signals of each kind per command")
    parser.add_argument("--signals", default="SIGKILL,SIGTERM", metavar="NAMES")
    parser.add_argument("--commands", default=",".join(COMMANDS), metavar="NAMES")
    parser.add_argument("--within", type=float, default=float("inf"), metavar="S", help="latest moment, in seconds")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="S", help="no further signal after it")
    parser.add_argument("--per-run", type=int, default=10, metavar="N", help="signals before each run to the end")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args(arguments)
    names, numbers = options.commands.split(","), [signal.Signals[name] for name in options.signals.split(",")]
    failed = False
    print("| command | signal | sent | before the first line | after the end | faults |\n|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="tinyscene-faults-") as folder:
        inputs = Path(folder) / "inputs"
        write_inputs(inputs)
        for name in names:
            bench = Bench(COMMANDS[name], inputs, Path(folder) / name.replace(" ", ""))
            for number in numbers:
                tally = examined(bench, name, number, options)
                row = (name, number.name, tally.sent, tally.early, tally.late, len(tally.faults))
                print(f"| {' | '.join(map(str, row))} |", flush=True)
                for fault in tally.faults:
                    print(f"    {fault}", file=sys.stderr, flush=True)
                failed |= bool(tally.faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
