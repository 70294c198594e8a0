"""Decoding of clips: WAV files to int16 at the front end's rate, in parallel, once, kept on disk.

The cache is one memory-mapped .npy beside the checksums of its blocks, named by a digest of the file names, sizes and
the rate. An interrupted decoding goes on where it stopped, two processes take turns, and every block is checked when
the cache is opened. Refuses a disk with too little space before the first clip, and, in one message, files that do not
decode, are not one second long, or hold NaN.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from runtime.terminal import bar

from .errors import TrainingError

if TYPE_CHECKING:
    from .data import I16, Record

CLIP_SECONDS = 1.0
TOLERANCE_SECONDS = 0.05
SHOWN_PROBLEMS = 5
BLOCK_CLIPS = 256  # decoded, checked and, after an interruption, lost together: 16 MB at 32 kHz
SPARE_BYTES = 100_000_000  # left free for checkpoints and logs


def load_waveforms(
    folder: Path, records: Sequence[Record], sample_rate_hz: int, cache_dir: Path, *, progress: bool = True
) -> I16:
    """int16 (n, sample_rate_hz) of one-second clips, mixed down and resampled, memory-mapped. Raises TrainingError."""
    samples = int(sample_rate_hz * CLIP_SECONDS)
    if not records:
        return np.zeros((0, samples), np.int16)
    path = cache_dir / f"waveforms-{_digest(folder, records, sample_rate_hz)}.npy"
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _alone(cache_dir):
        if not path.is_file():
            _decode(folder, records, sample_rate_hz, path, progress)
        waveforms = _checked(path, (len(records), samples), progress)
    return waveforms


def read_clip(path: Path, sample_rate_hz: int) -> I16:
    """One clip, int16 (samples,); raises ValueError saying what is wrong with the file."""
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    seconds = len(audio) / rate
    if abs(seconds - CLIP_SECONDS) > TOLERANCE_SECONDS:
        raise ValueError(f"{seconds:.2f} s long, not {CLIP_SECONDS:g} s")
    mono = audio.mean(axis=1)
    if not np.isfinite(mono).all():
        raise ValueError("holds NaN or infinity")
    if rate != sample_rate_hz:
        mono = soxr.resample(mono, rate, sample_rate_hz)
    samples = int(sample_rate_hz * CLIP_SECONDS)
    mono = np.pad(mono, (0, max(0, samples - len(mono))))[:samples]
    clip: I16 = np.clip(np.round(mono * 32768.0), -32768, 32767).astype(np.int16)
    return clip


def _decode(folder: Path, records: Sequence[Record], rate: int, path: Path, progress: bool) -> None:
    """Write the cache block by block, those that an earlier call finished left out; nothing stays if a clip is bad."""
    part, journal = path.with_suffix(".part"), _checksums(path)
    shape = (len(records), int(rate * CLIP_SECONDS))
    clips, done = _go_on(part, journal, shape)
    problems: list[str] = []

    def decode(index: int) -> None:
        try:
            clips[index] = read_clip(folder / records[index].filename, rate)
        except ValueError as error:
            problems.append(f"{records[index].filename} {error}")

    blocks = _blocks(len(records))
    with ThreadPoolExecutor(os.cpu_count()) as pool, open(journal, "a") as log:
        for block in bar(blocks[done:], "decoding clips", shown=progress):
            list(pool.map(decode, block))
            if not problems:
                clips.flush()
                print(_checksum(clips, block), file=log, flush=True)
    if problems:
        part.unlink()
        journal.unlink()
        shown = "; ".join(sorted(problems)[:SHOWN_PROBLEMS])
        raise TrainingError(
            str(folder), f"{len(problems)} unusable clip(s): {shown}", next_step="replace or remove these files"
        )
    os.replace(part, path)


def _go_on(part: Path, journal: Path, shape: tuple[int, int]) -> tuple[I16, int]:
    """The array to write and how many of its blocks are there already; raises TrainingError for lack of space."""
    if part.is_file() and journal.is_file():
        clips: I16 = np.lib.format.open_memmap(part, mode="r+")
        noted = journal.read_text().splitlines()
        found = zip(noted, _blocks(len(clips)), strict=False)
        done = next((i for i, (sum_, block) in enumerate(found) if sum_ != _checksum(clips, block)), len(noted))
        journal.write_text("".join(f"{line}\n" for line in noted[:done]))
        return clips, done
    needed, free = 2 * shape[0] * shape[1] + SPARE_BYTES, shutil.disk_usage(part.parent).free
    if needed > free:
        raise TrainingError(
            str(part.parent),
            "not enough space for the decoded clips",
            expected=f"{needed / 1e9:.1f} GB",
            got=f"{free / 1e9:.1f} GB free",
            next_step="make room, or put the run folder on another disk",
        )
    clips = np.lib.format.open_memmap(part, mode="w+", dtype=np.int16, shape=shape)
    journal.write_text("")  # last: a part without its journal is begun anew
    return clips, 0


def _checked(path: Path, shape: tuple[int, int], progress: bool) -> I16:
    """The finished cache, every block of it compared with its checksum."""
    damaged = TrainingError(str(path), "the decoded clips are damaged", next_step="remove this file to decode again")
    try:
        clips: I16 = np.load(path, mmap_mode="r")
        noted = _checksums(path).read_text().splitlines()
    except (OSError, ValueError) as error:
        raise damaged from error
    blocks = _blocks(shape[0])
    if clips.shape != shape or clips.dtype != np.int16 or len(noted) != len(blocks):
        raise damaged
    for sum_, block in zip(noted, bar(blocks, "checking clips", shown=progress), strict=True):
        if _checksum(clips, block) != sum_:
            raise damaged
    return clips


def _checksums(path: Path) -> Path:
    return path.with_suffix(".crc32")


def _checksum(clips: I16, block: range) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(clips[block.start : block.stop])):08x}"


def _blocks(count: int) -> list[range]:
    return [range(start, min(start + BLOCK_CLIPS, count)) for start in range(0, count, BLOCK_CLIPS)]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time works in this cache folder; the lock dies with its process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digest(folder: Path, records: Sequence[Record], rate: int) -> str:
    digest = hashlib.sha256(f"{folder.resolve()} {rate}".encode())
    for r in records:
        try:
            stat = (folder / r.filename).stat()
        except OSError as error:
            raise TrainingError(str(folder / r.filename), "cannot be read", next_step="repair the folder") from error
        digest.update(f"{r.filename} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:20]
