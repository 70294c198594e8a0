"""Run `tinyscene run --watch` while recorders write: each recording must be answered once, when it is whole.

Recorders write WAV files in the ways of real ones: a temporary name that is moved at the end, in place with a header
that has no size before the end, in pieces with pauses, over a name that was answered before, and in place by many short
writes. Beside them are entries that are no recordings. The exit code is 1 when a recording is answered twice, never, or
before its last sample, when another entry is answered, or when memory grows by `GROWTH_MB`.

    python benchmarks/runtime_watch.py BUNDLE [--recordings 20000] [--per-second 20]
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # an installed tinyscene comes first

from tinyscene.runtime.bundle import read_bundle

GROWTH_MB = 5.0  # of resident memory, at most
SETTLED_SHARE = 0.1  # memory is compared with what it was after this share of the recordings
PAUSE_S = 1.2  # within one recording, longer than a watcher waits for a closed file
FLUSH_S = 15.0  # for the last answers


@dataclass
class Answers:
    """Answers of the watcher: seconds of audio of each, by name."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: str) -> None:
        record = json.loads(line)
        self.count += 1
        if "error" in record:
            self.errors.append(record["error"])
        else:
            self.seconds.setdefault(Path(record["path"]).name, []).append(record["seconds"])


class Recorder:
    """Writes recordings of one or two clips into a folder, each in the manner that its number selects."""

    MANNERS = ("moved", "in place", "paused", "again", "many writes")

    def __init__(self, folder: Path, rate_hz: int, clip_samples: int) -> None:
        self.folder, self.rate_hz, self.clip_samples = folder, rate_hz, clip_samples
        self.expected: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = {}
        rng = np.random.default_rng(0)
        self._noise = (rng.standard_normal(2 * clip_samples) * 3000).astype("<i2").tobytes()
        self._lock = threading.Lock()

    def record(self, number: int, manner: str) -> None:
        name = "latest.wav" if manner == "again" else f"rec{number:06d}.wav"
        clips = 1 + number % 2
        samples = self._noise[: 2 * clips * self.clip_samples]
        with self._lock:
            self.expected[name] += 1
            self.seconds.setdefault(name, []).append(clips * self.clip_samples / self.rate_hz)
        getattr(self, f"_{manner.replace(' ', '_')}")(self.folder / name, samples)

    def _moved(self, path: Path, samples: bytes) -> None:
        part = path.with_suffix(".part")
        part.write_bytes(wav_header(len(samples), self.rate_hz) + samples)
        os.rename(part, path)

    def _in_place(self, path: Path, samples: bytes) -> None:
        with open(path, "wb", buffering=0) as file:
            file.write(wav_header(0xFFFFFFFF, self.rate_hz))
            file.write(samples)
            file.seek(0)
            file.write(wav_header(len(samples), self.rate_hz))

    def _paused(self, path: Path, samples: bytes) -> None:
        with open(path, "wb", buffering=0) as file:
            file.write(wav_header(0, self.rate_hz))
            file.write(samples[: len(samples) // 2])
            time.sleep(PAUSE_S)
            file.write(samples[len(samples) // 2 :])
            file.seek(0)
            file.write(wav_header(len(samples), self.rate_hz))

    def _again(self, path: Path, samples: bytes) -> None:
        path.write_bytes(wav_header(len(samples), self.rate_hz) + samples)

    def _many_writes(self, path: Path, samples: bytes) -> None:
        with open(path, "wb", buffering=0) as file:
            file.write(wav_header(len(samples), self.rate_hz))
            for at in range(0, len(samples), 4000):
                file.write(samples[at : at + 4000])


def wav_header(size: int, rate_hz: int) -> bytes:
    """A header of mono 16-bit samples with that many bytes of them."""
    riff = struct.pack("<4sI", b"RIFF", min(size + 36, 0xFFFFFFFF))
    form = struct.pack("<8sIHHIIHH", b"WAVEfmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    return riff + form + struct.pack("<4sI", b"data", size)


def plant_other_entries(folder: Path) -> None:
    """Entries that are no recordings: a folder, a FIFO, a loop of links, a hidden file, text."""
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "fifo.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "gone.wav").symlink_to("nowhere")
    (folder / "._hidden.wav").write_bytes(b"\0" * 4096)
    (folder / "notes.txt").write_text("no audio")


def paced(count: int, per_second: float) -> Iterator[int]:
    begin = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begin + number / per_second - time.monotonic()))
        yield number


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="a bundle folder")
    parser.add_argument("--recordings", type=int, default=20_000)
    parser.add_argument("--per-second", type=float, default=20.0, help="recordings begun per second")
    options = parser.parse_args()
    spec = read_bundle(options.bundle).frontend
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(Path(folder), spec.sample_rate_hz, spec.clip_samples)
        plant_other_entries(Path(folder))
        answers, settled, grown = watch(options, Path(folder), recorder)
    sys.exit(report(recorder, answers, settled, grown))


def watch(options: argparse.Namespace, folder: Path, recorder: Recorder) -> tuple[Answers, float, float]:
    """Run watcher and recorders; returns the answers, the settled memory, and how much it grew, in MB."""
    words = ["run", str(options.bundle), "--watch", str(folder), "--json"]
    code = "import sys; from tinyscene.command_line import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True, env=environment, bufsize=1
    )
    answers, settled, latest_again = Answers(), 0.0, 0.0
    reader = threading.Thread(target=lambda: [answers.add(line) for line in process.stdout or ()])
    reader.start()
    with ThreadPoolExecutor(max(4, round(4 * PAUSE_S * options.per_second))) as pool:
        for number in paced(options.recordings, options.per_second):
            manner = recorder.MANNERS[number % len(recorder.MANNERS)]
            if manner == "again" and time.monotonic() - latest_again < 2 * FLUSH_S:
                manner = "moved"  # one name that is written again must be answered in between
            if manner == "again":
                latest_again = time.monotonic()
            pool.submit(recorder.record, number, manner)
            if not settled and number > SETTLED_SHARE * options.recordings and answers.count:
                settled = rss_mb(process.pid)
    expected, deadline = sum(recorder.expected.values()), time.monotonic() + FLUSH_S
    while answers.count < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2.0)  # for answers that should not come
    grown = rss_mb(process.pid) - settled
    process.terminate()
    process.wait()
    reader.join()
    return answers, settled, grown


def report(recorder: Recorder, answers: Answers, settled: float, grown: float) -> bool:
    """Print the figures; returns whether anything failed."""
    answered = Counter({name: len(seconds) for name, seconds in answers.seconds.items()})
    twice, never = answered - recorder.expected, recorder.expected - answered
    early = [name for name, seconds in answers.seconds.items() if sorted(seconds) != sorted(recorder.seconds[name])]
    print(f"{sum(recorder.expected.values()):,} recordings, {answers.count:,} answers")
    print(f"{twice.total()} answered more often, {never.total()} never, {len(early)} not whole")
    print(f"errors: {len(answers.errors)} {answers.errors[:3]}")
    print(f"memory: {settled:.1f} MB after {100 * SETTLED_SHARE:g} %, grown by {grown:.2f} MB")
    return bool(twice or never or early or answers.errors or grown >= GROWTH_MB)


if __name__ == "__main__":
    main()
