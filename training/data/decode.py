"""Decode clips: WAV files to int16 at the front end's sample rate, in parallel, once, cached on disk.

The cache is one memory-mapped .npy with a file of block checksums, named by the rate and a digest of the files' names,
sizes and times. An interrupted decoding continues with the next block, a lock admits one process at a time, and every
block is verified when the cache is opened. Refuses, before the first clip is decoded, a disk with too little space,
and, in one message, files that :mod:`tinyscene.runtime.audio` refuses, that are not one second long, or that differ in
sample rate.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tinyscene.runtime.arrays import I16
from tinyscene.runtime.audio import AudioReader, fit_to_clip, read_audio, to_int16
from tinyscene.runtime.cache import locked
from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.limits import is_one_clip
from tinyscene.runtime.system_errors import about
from tinyscene.runtime.terminal import bar

from ..errors import TrainingError
from .faults import DOUBTS, Fault, refusal
from .split_files import Record

CLIP_SECONDS = 1.0  # within the tolerance of is_one_clip
PLAIN = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32"}  # cannot represent NaN; every code decodes
BLOCK_CLIPS = 256  # unit of checksums and of resuming: 16 MB at 32 kHz
LOCK = ".lock"
SPARE_BYTES = 100_000_000  # kept free for checkpoints and logs


def load_waveforms(
    folder: Path, records: Sequence[Record], sample_rate_hz: int, cache_dir: Path, *, progress: bool = True
) -> I16:
    """int16 (n, sample_rate_hz) of one-second clips, mixed down and resampled, memory-mapped. Raises TrainingError."""
    samples = int(sample_rate_hz * CLIP_SECONDS)
    if not records:
        return np.zeros((0, samples), np.int16)
    path = cache_dir / cache_name(folder, records, sample_rate_hz)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with locked(cache_dir / LOCK):
        if not path.is_file():
            _refuse_small_disk(path, (len(records), samples))
            faults = clip_faults(folder, records, progress=progress)
            if faults:
                raise refusal(folder, faults)
            _decode(folder, records, sample_rate_hz, path, progress)
        waveforms = _checked(path, (len(records), samples), progress)
    return waveforms


def clip_faults(folder: Path, records: Sequence[Record], *, progress: bool = True) -> list[Fault]:
    """Faults of existing files, from their headers; files of other encodings than integer PCM are decoded."""
    return inspect_clips(folder, records, samples=False, progress=progress)[0]


def inspect_clips(
    folder: Path, records: Sequence[Record], *, samples: bool, progress: bool
) -> tuple[list[Fault], list[Fault]]:
    """Faults of existing files and, with ``samples``, doubts about what they contain."""
    found: list[Fault] = []
    rates: dict[str, int] = {}

    def inspect(record: Record) -> None:
        rate, faults = _inspected(folder / record.filename, samples)
        if rate is not None:
            rates[record.filename] = rate
        found.extend(Fault(fault.kind, f"{record.filename} {fault.what}") for fault in faults)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for block in bar(_blocks(len(records)), "reading clips" if samples else "reading headers", shown=progress):
            list(pool.map(inspect, records[block.start : block.stop]))
    common = Counter(rates.values()).most_common(1)
    found += [
        Fault("sample rate", f"{name} has {rate:,} Hz, the others have {common[0][0]:,} Hz")
        for name, rate in rates.items()
        if rate != common[0][0]
    ]
    found.sort(key=lambda fault: fault.what)
    return [f for f in found if f.kind not in DOUBTS], [f for f in found if f.kind in DOUBTS]


def _inspected(path: Path, samples: bool) -> tuple[int | None, list[Fault]]:
    """The sample rate of a file, if it can be read, and its fault or its doubts."""
    try:
        reader = AudioReader(path)
    except RuntimeFailure as failure:
        return None, [Fault("not decodable", f"cannot be decoded ({_reason(failure)})")]
    with reader:
        rate, frames, plain = reader.info.sample_rate_hz, reader.info.frames, reader.info.encoding.split()[1] in PLAIN
        if not is_one_clip(frames, int(rate * CLIP_SECONDS)):
            return rate, [Fault("not one second", f"is {frames / rate:.2f} s long, not {CLIP_SECONDS:g} s")]
        try:
            if samples or not plain:
                reader.whole()
        except RuntimeFailure as failure:
            kind = "not decodable" if reader.refused_sample is None else "not finite"
            return rate, [Fault(kind, _reason(failure))]
        if not samples:
            return rate, []
        doubts = [Fault("doubtful samples", f"({note})") for note in reader.findings]
        return rate, [Fault("silent", "is silent"), *doubts] if reader.is_silent else doubts


def _reason(failure: RuntimeFailure) -> str:
    """What is wrong with a file, without its name."""
    return failure.what if failure.got is None else f"{failure.what}, got {failure.got}"


def read_clip(path: Path, sample_rate_hz: int) -> I16:
    """One clip, int16 (samples,), cut or padded to one second; raises TrainingError if it cannot be decoded."""
    try:
        mono = read_audio(path, sample_rate_hz)
    except RuntimeFailure as failure:
        step = "run 'tinyscene data check'"
        raise TrainingError(str(path), "cannot be decoded", got=_reason(failure), next_step=step) from failure
    return to_int16(fit_to_clip(mono, int(sample_rate_hz * CLIP_SECONDS)))


def _decode(folder: Path, records: Sequence[Record], rate: int, path: Path, progress: bool) -> None:
    """Write the cache block by block, except the blocks that an interrupted call completed."""
    part, journal = path.with_suffix(".part"), _checksums(path)
    with about(path):
        clips, done = _continued(part, journal, (len(records), int(rate * CLIP_SECONDS)))

    def decode(index: int) -> None:
        clips[index] = read_clip(folder / records[index].filename, rate)

    blocks = _blocks(len(records))
    with ThreadPoolExecutor(os.cpu_count()) as pool, open(journal, "a") as log:
        for block in bar(blocks[done:], "decoding clips", shown=progress):
            list(pool.map(decode, block))
            with about(path):
                clips.flush()
                print(_checksum(clips, block), file=log, flush=True)
    os.replace(part, path)


def _continued(part: Path, journal: Path, shape: tuple[int, int]) -> tuple[np.memmap[Any, np.dtype[np.int16]], int]:
    """The array to write, and the number of its blocks that are complete."""
    unfinished = _unfinished(part, shape)
    if unfinished is not None and journal.is_file():
        checksums = journal.read_text(errors="replace").splitlines()
        pairs = list(zip(checksums, _blocks(shape[0]), strict=False))
        done = next((i for i, (crc, block) in enumerate(pairs) if crc != _checksum(unfinished, block)), len(pairs))
        journal.write_text("".join(f"{line}\n" for line in checksums[:done]))
        return unfinished, done
    clips = np.lib.format.open_memmap(part, mode="w+", dtype=np.int16, shape=shape)
    with open(part, "r+b") as file:  # a disk that fills up later would end the process with a signal
        os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
    journal.write_text("")  # last: a part without a journal is started again
    return clips, 0


def _unfinished(part: Path, shape: tuple[int, int]) -> np.memmap[Any, np.dtype[np.int16]] | None:
    """The array that an interrupted call left; None if there is none, or if its file is not whole."""
    try:
        clips = np.lib.format.open_memmap(part, mode="r+")
    except (OSError, ValueError):
        return None
    return clips if clips.shape == shape and clips.dtype == np.int16 else None


def _refuse_small_disk(path: Path, shape: tuple[int, int]) -> None:
    """Raises TrainingError for lack of space, unless an interrupted decoding has already allocated it."""
    needed, free = 2 * shape[0] * shape[1] + SPARE_BYTES, shutil.disk_usage(path.parent).free
    if needed > free and not path.with_suffix(".part").is_file():
        raise TrainingError(
            str(path.parent),
            "not enough space for the decoded clips",
            expected=f"{needed / 1e9:.1f} GB",
            got=f"{free / 1e9:.1f} GB free",
            next_step="free some space, or put the run folder on another disk",
        )


def _checked(path: Path, shape: tuple[int, int], progress: bool) -> I16:
    """The complete cache, every block verified by its checksum."""
    damaged = TrainingError(str(path), "the decoded clips are damaged", next_step="remove this file to decode again")
    try:
        clips: I16 = np.load(path, mmap_mode="r")
        checksums = _checksums(path).read_text(errors="replace").splitlines()
    except (FileNotFoundError, ValueError) as error:
        raise damaged from error
    blocks = _blocks(shape[0])
    if clips.shape != shape or clips.dtype != np.int16 or len(checksums) != len(blocks):
        raise damaged
    for crc, block in zip(checksums, bar(blocks, "checking clips", shown=progress), strict=True):
        if _checksum(clips, block) != crc:
            raise damaged
    return clips


def _checksums(path: Path) -> Path:
    return path.with_suffix(".crc32")


def _checksum(clips: I16, block: range) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(clips[block.start : block.stop]).data):08x}"


def _blocks(count: int) -> list[range]:
    return [range(start, min(start + BLOCK_CLIPS, count)) for start in range(0, count, BLOCK_CLIPS)]


def cache_name(folder: Path, records: Sequence[Record], rate: int) -> str:
    """File name of the cache of these clips at this rate, independent of their folder; missing files are included."""
    digest = hashlib.sha256()
    for r in records:
        try:
            stat = (folder / r.filename).stat()
            digest.update(f"{r.filename} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(f"{r.filename} is not there\n".encode())
    return f"waveforms-{rate}-{digest.hexdigest()[:20]}.npy"
