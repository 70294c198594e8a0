"""``python -m tests.fuzz``: fuzz the Python readers, each in processes of its own, and print what was done and found.

A run resumes from the corpus of the run before it, in build/fuzz/READER, and from the one in tests/vectors/fuzz. A
reader's process that dies, or that is stuck in one execution for ``STUCK_S``, is a finding, and is started again
for the remaining executions.
Exit code 1 if anything was found that tests/vectors/fuzz/open.txt does not list.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from .findings import Finding, FindingFolder
from .readers import READERS
from .replay import VECTORS, add_vector, keep_corpus, open_signatures
from .worker import IDLE, STATE, STATE_BYTES, Report

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "build" / "fuzz"
STUCK_S = 20.0  # of processor time in one execution
LONGEST_WAIT_S = 600.0  # of wall clock in one execution, also on a busy machine
_COVERAGE = re.compile(rb"cov: (\d+) ft: (\d+) corp: (\d+)")
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"), "1"),
    "PYTHONWARNINGS": "ignore",
}


@dataclass
class Total(Report):
    """All processes of one reader; coverage in branches when the first started and when the last ended."""

    coverage: list[int] = field(default_factory=list)
    corpus: int = 0


def fuzz(name: str, executions: int, seconds: float, seed: int) -> Total:
    """Run one reader until it has these executions or seconds."""
    folder, total, end = FOLDER / name, Total(), time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    while total.executions < executions and time.monotonic() < end:
        left = executions - total.executions, end - time.monotonic()
        (folder / "report.json").unlink(missing_ok=True)
        process, log = _started(name, *left, seed + total.executions, folder)
        stuck = _watched(process, folder / "state")
        coverage = _COVERAGE.findall(log.read_bytes())
        total.coverage += [int(each[0]) for each in (*coverage[:1], *coverage[-1:])]
        total.corpus = int(coverage[-1][2]) if coverage else total.corpus
        if (folder / "report.json").exists():
            _add(total, Report(**json.loads((folder / "report.json").read_text())))
        elif not _died(total, process.returncode, stuck, folder):
            raise SystemExit(f"the process of reader '{name}' did not start; see {log}")
    return total


def _started(
    name: str, executions: int, seconds: float, seed: int, folder: Path
) -> tuple[subprocess.Popen[bytes], Path]:
    log = folder / "log.txt"
    (folder / "state").write_bytes(bytes(STATE_BYTES))
    words = [name, str(executions), f"{seconds:.1f}", str(seed % 2**31 or 1), str(folder)]
    with log.open("wb") as file:
        command = [sys.executable, "-m", "tests.fuzz.worker", *words]
        environment = {**os.environ, **_ENVIRONMENT}
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=file, stderr=file, env=environment), log


def _watched(process: subprocess.Popen[bytes], state: Path) -> bool:
    """Wait for the end; returns whether the process was stopped because of one execution."""
    current, processor_s = 0, 0.0
    try:
        while process.poll() is None:
            time.sleep(0.2)
            number, start, _ = _state(state)
            if number != current:
                current, processor_s = number, _processor_s(process.pid)
            elif number and _processor_s(process.pid) - processor_s > STUCK_S:
                return _killed(process)
            if start != IDLE and time.monotonic() - start > LONGEST_WAIT_S:
                return _killed(process)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return False


def _killed(process: subprocess.Popen[bytes]) -> bool:
    process.kill()
    process.wait()
    return True


def _processor_s(pid: int) -> float:
    """Processor time of a process; 0 once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _state(path: Path) -> tuple[int, float, bytes]:
    data = path.read_bytes()
    number, start, size = STATE.unpack_from(data)
    return number, start, data[STATE.size : STATE.size + size]


def _died(total: Total, code: int, stuck: bool, folder: Path) -> bool:
    """Count a process without a report and record its end as a finding; False if it had not begun."""
    number, start, content = _state(folder / "state")
    if number == 0:
        return False
    total.executions += number
    if stuck and start == IDLE:  # in a mutation, which is not the reader's fault
        return True
    ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    finding = Finding("hang" if stuck else ended, folder.name, f"execution {number} of its process")
    if FindingFolder(folder / "findings").add(finding, content):
        total.new_findings.append(finding.signature)
    return True


def _add(total: Total, report: Report) -> None:
    total.executions += report.executions
    total.accepted += report.accepted
    total.seconds += report.seconds
    total.slowest_s = max(total.slowest_s, report.slowest_s)
    total.growth_bytes = max(total.growth_bytes, report.growth_bytes)
    total.new_findings += report.new_findings


def _print(totals: dict[str, Total]) -> None:
    head = ("executions", "per CPU s", "accepted", "branches", "new", "corpus", "slowest", "memory", "findings")
    print(f"{'reader':<11}" + "".join(f"{word:>11}" for word in head))
    for name, t in totals.items():
        first, last = (t.coverage[0], max(t.coverage)) if t.coverage else (0, 0)
        found = len(FindingFolder(FOLDER / name / "findings").all())
        row = (f"{t.executions:,}", f"{t.executions / max(t.seconds, 1e-9):,.0f}", f"{t.accepted:,}", f"{last:,}")
        sizes = (f"{t.corpus:,}", f"{t.slowest_s:.2f} s", f"{t.growth_bytes / 2**20:,.0f} MiB", f"{found}")
        print(f"{name:<11}" + "".join(f"{word:>11}" for word in (*row, f"{last - first:,}", *sizes)))
    print(f"{'all':<11}{sum(t.executions for t in totals.values()):>11,}")


def _list_findings(names: list[str], known: set[str]) -> int:
    """Print every finding with its content; returns the number of those that are not known."""
    unknown = 0
    for name in names:
        for finding, path in FindingFolder(FOLDER / name / "findings").all():
            unknown += finding.signature not in known
            mark = "open" if finding.signature in known else "new"
            print(f"{mark} {name} {finding.kind} at {finding.place}: {finding.message}")
            content = path.read_bytes()
            print(f"    {len(content)} bytes, {path}: {content[:160]!r}")
    return unknown


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers of untrusted content.")
    parser.add_argument("--reader", action="append", choices=READERS, help="one reader; may be repeated (all)")
    parser.add_argument("--executions", type=int, default=50_000, metavar="N", help="for each reader (50000)")
    parser.add_argument("--seconds", type=float, default=3600.0, metavar="S", help="at most, for each reader (3600)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the mutations (1)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="readers at a time (1)")
    parser.add_argument("--keep", action="store_true", help="copy corpus and findings to tests/vectors/fuzz")
    return parser.parse_args()


def main() -> int:
    """Fuzz, print, and return the exit code."""
    options = _options()
    if find_spec("atheris") is None:
        print("atheris is not installed: run 'make fuzz', or pip install atheris", file=sys.stderr)
        return 2
    names = options.reader or list(READERS)
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = {name: pool.submit(fuzz, name, options.executions, options.seconds, options.seed) for name in names}
        totals = {name: run.result() for name, run in runs.items()}
    _print(totals)
    if options.keep:
        for name in names:
            keep_corpus(name, FOLDER / name / "corpus")
            for finding, path in FindingFolder(FOLDER / name / "findings").all():
                add_vector(name, finding, path.read_bytes())
        print(f"copied to {VECTORS}")
    return 1 if _list_findings(names, open_signatures()) else 0


if __name__ == "__main__":
    sys.exit(main())
