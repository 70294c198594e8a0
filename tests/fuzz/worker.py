"""One process that fuzzes one reader: libFuzzer's loop through atheris, with branches of ``tinyscene`` as coverage.

It never stops at a finding; it writes it down and continues. The content and number of the current execution are in a
shared file, so that the process that started this one can detect a hang or a death (see ``__main__``).
Started as ``python -m tests.fuzz.worker``; refuses to run without atheris.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .findings import LARGEST_GROWTH_BYTES, LONGEST_S, Finding, FindingFolder, escape_of, reduced
from .memory import AddressSpace, growth_bytes
from .mutate import mutate_bytes
from .readers import Reader, reader_named
from .replay import add_corpus

ADDRESS_SPACE_BYTES = 4 * 2**30  # beyond what the process has when it starts: a limit that protects the machine
LARGEST_CONTENT = 2**20
STATE_BYTES = LARGEST_CONTENT + 64
STATE = struct.Struct("<QdQ")  # number of the execution, its start by the monotonic clock in s, bytes of its content
IDLE = 0.0  # instead of a start: between two executions, where content is mutated
REDUCE_S = 4.0  # for each new finding
SETTLED_S = 3.0  # until libFuzzer has started its thread and that has allocated, each with address space of its own
_OWN_MUTATIONS = 0.75  # the rest are libFuzzer's, which compare with values in the code


@dataclass
class Report:
    """Counts of one process. Seconds are processor time; ``growth_bytes`` is the largest one of the address space."""

    executions: int = 0
    accepted: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    growth_bytes: int = 0
    new_findings: list[str] = field(default_factory=list)


class Session:
    """Runs a reader on one content after the other and records what it finds."""

    def __init__(self, reader: Reader, folder: Path, executions: int, seconds: float) -> None:
        self.reader, self.folder, self.executions = reader, folder, executions
        self.report, self.found = Report(), FindingFolder(folder / "findings")
        self._start, self._began = time.process_time(), time.monotonic()
        self._end = self._began + seconds
        file = os.open(folder / "state", os.O_RDWR | os.O_CREAT)
        os.ftruncate(file, STATE_BYTES)
        self._state = mmap.mmap(file, STATE_BYTES)
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        self._fresh: dict[str, tuple[Finding, bytes]] = {}

    def execute(self, data: bytes) -> None:
        """One execution; ends the process after the last."""
        finding, seconds, growth = self.attempt(data)
        report = self.report
        report.executions += 1
        report.accepted += finding is None and self._accepted
        report.slowest_s, report.growth_bytes = max(report.slowest_s, seconds), max(report.growth_bytes, growth)
        if finding is not None and self.found.add(finding, data):
            self._fresh[finding.signature] = finding, data
        if report.executions >= self.executions or time.monotonic() > self._end:
            self.finish()

    def attempt(self, data: bytes) -> tuple[Finding | None, float, int]:
        """Run the reader; returns the finding, seconds of processor time and bytes of growth."""
        STATE.pack_into(self._state, 0, self.report.executions + 1, time.monotonic(), len(data))
        self._state[STATE.size : STATE.size + len(data)] = data
        start = AddressSpace.now(self._status)
        before, finding, self._accepted = time.process_time(), None, False
        try:
            self.reader.read(data)
            self._accepted = True
        except BaseException as problem:
            finding = escape_of(problem)
        seconds = time.process_time() - before
        STATE.pack_into(self._state, 0, self.report.executions + 1, IDLE, len(data))
        end = AddressSpace.now(self._status)
        settled = end.threads == start.threads and time.monotonic() - self._began > SETTLED_S
        growth = end.peak - start.size if end.peak > start.peak and settled else 0
        if growth > LARGEST_GROWTH_BYTES:  # of what is allocated once, or of this content
            again = growth_bytes(lambda: self.reader.read(data))
            growth = growth if again is None else again
        if finding is None and seconds > LONGEST_S:
            finding = Finding("slow", self.reader.read.__name__, f"{seconds:.1f} s")
        if finding is None and growth > LARGEST_GROWTH_BYTES:
            finding = Finding("memory", self.reader.read.__name__, f"{growth / 2**20:.0f} MiB")
        return finding, seconds, growth

    def finish(self) -> None:
        """Reduce the new findings, write the report, and end the process as libFuzzer does not."""
        self.report.seconds = time.process_time() - self._start
        for signature, (finding, data) in self._fresh.items():
            if finding.kind not in ("slow", "memory"):
                self.found.add(finding, reduced(data, lambda part, of=signature: self._same(part, of), REDUCE_S))
            self.report.new_findings.append(signature)
        (self.folder / "report.json").write_text(json.dumps(asdict(self.report)))
        sys.stderr.flush()
        os._exit(0)

    def _same(self, data: bytes, signature: str) -> bool:
        finding, _, _ = self.attempt(data)
        return finding is not None and finding.signature == signature


def main() -> None:
    """Arguments: reader, executions, seconds, seed, folder."""
    import atheris

    name, executions, seconds, seed, folder = sys.argv[1:]
    with atheris.instrument_imports(include=["tinyscene"], enable_loader_override=False):
        reader = reader_named(name)
        seeds = [bytes(data) for data in reader.seeds()]
        for data in seeds:  # imports inside functions are instrumented too
            try:
                reader.read(data)
            except BaseException as problem:
                escape_of(problem)
    corpus = Path(folder) / "corpus"
    add_corpus(name, seeds, corpus)
    session = Session(reader, Path(folder), int(executions), float(seconds))
    signal.signal(signal.SIGTERM, lambda *_: session.finish())
    size = AddressSpace.now(session._status).size
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE_BYTES, resource.RLIM_INFINITY))

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < _OWN_MUTATIONS:
            try:
                mutated = reader.mutate(bytes(data), rng)
            except (ValueError, RecursionError):  # such as a document that is nested too deeply to be written
                mutated = mutate_bytes(bytes(data), rng)
            if len(mutated) <= max_size:
                return mutated
        return bytes(atheris.Mutate(data, max_size))

    largest = max(reader.max_bytes, *map(len, seeds))
    options = [
        f"-seed={seed}",
        f"-max_len={largest}",
        "-timeout=100000",
        "-rss_limit_mb=0",
        "-len_control=0",
        "-reload=0",
    ]
    options += [f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], session.execute, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
