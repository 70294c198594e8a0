"""Decoding of clips: WAV files to int16 at the front end's rate, in parallel, kept on disk.

The cache is one memory-mapped .npy, named by a digest of the file names, sizes and the rate, and written to a
temporary sibling first. Refuses, in one message, files that do not decode, are not one second long, or hold NaN.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from .errors import TrainingError

if TYPE_CHECKING:
    from .data import I16, Record

CLIP_SECONDS = 1.0
TOLERANCE_SECONDS = 0.05
SHOWN_PROBLEMS = 5


def load_waveforms(
    folder: Path, records: Sequence[Record], sample_rate_hz: int, cache_dir: Path, *, progress: bool = True
) -> I16:
    """int16 (n, sample_rate_hz) of one-second clips, mixed down and resampled, memory-mapped. Raises TrainingError."""
    if not records:
        return np.zeros((0, int(sample_rate_hz * CLIP_SECONDS)), np.int16)
    path = cache_dir / f"waveforms-{_digest(folder, records, sample_rate_hz)}.npy"
    if not path.is_file():
        cache_dir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.part")
        try:
            _decode(folder, records, sample_rate_hz, temporary, progress)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    waveforms: I16 = np.load(path, mmap_mode="r")
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


def _decode(folder: Path, records: Sequence[Record], rate: int, out: Path, progress: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    shape = (len(records), int(rate * CLIP_SECONDS))
    clips = np.lib.format.open_memmap(out, mode="w+", dtype=np.int16, shape=shape)
    problems: list[str] = []

    def decode(index: int) -> None:
        try:
            clips[index] = read_clip(folder / records[index].filename, rate)
        except ValueError as error:
            problems.append(f"{records[index].filename} {error}")

    console = Console(stderr=True)
    with (
        Progress(console=console, disable=not (progress and console.is_terminal), transient=True) as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for _ in bar.track(pool.map(decode, range(len(records))), total=len(records), description="Decoding clips"):
            pass
    clips.flush()
    if problems:
        shown = "; ".join(sorted(problems)[:SHOWN_PROBLEMS])
        raise TrainingError(
            str(folder), f"{len(problems)} unusable clip(s): {shown}", next_step="replace or remove these files"
        )


def _digest(folder: Path, records: Sequence[Record], rate: int) -> str:
    digest = hashlib.sha256(f"{folder.resolve()} {rate}".encode())
    for r in records:
        try:
            stat = (folder / r.filename).stat()
        except OSError as error:
            raise TrainingError(str(folder / r.filename), "cannot be read", next_step="repair the folder") from error
        digest.update(f"{r.filename} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:20]
