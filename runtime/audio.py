"""Audio files of any rate, sample width and length as blocks of mono float32 at a model's rate.

Reads block by block in constant memory; resampling keeps its state between blocks, so the samples equal those of
resampling the whole file. ``notes`` lists the conversions.
Refuses missing, empty, truncated and non-audio files, files without samples, and samples that are not finite.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from .arrays import F32, I16, INT16_FULL_SCALE
from .errors import RuntimeFailure

Samples = npt.NDArray[np.floating[Any]] | npt.NDArray[np.int16]

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg"})
RESAMPLER_QUALITY = "HQ"
_STREAMED_BYTES = 0x7FFFF000  # a WAV header with this size or more was written before the length was known
_CHANNEL_NAMES = {2: "stereo"}


@dataclass(frozen=True)
class AudioInfo:
    """Properties of an audio file. ``frames`` counts samples per channel at the file's rate."""

    path: Path
    sample_rate_hz: int
    channels: int
    frames: int
    encoding: str  # such as "WAV PCM_16"

    @property
    def seconds(self) -> float:
        return self.frames / self.sample_rate_hz


class AudioReader:
    """One audio file as mono float32 in [-1, 1] at ``sample_rate_hz``, read once from start to end.

    Raises RuntimeFailure for a file that the module refuses; :meth:`blocks` raises it for faults after the header.
    """

    def __init__(self, path: Path, sample_rate_hz: int) -> None:
        self.path, self.sample_rate_hz = path, sample_rate_hz
        self._file = _open(path)
        self.info = AudioInfo(
            path,
            int(self._file.samplerate),
            int(self._file.channels),
            int(self._file.frames),
            f"{self._file.format} {self._file.subtype}",
        )
        if self.info.frames == 0:
            self._file.close()
            raise RuntimeFailure(str(path), "audio file without samples", next_step="record it again")
        self.notes = _notes(self.info, sample_rate_hz)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def blocks(self, samples: int) -> Iterator[F32]:
        """Blocks of exactly ``samples`` samples, float32 (samples,); the last one may be shorter."""
        pending: list[F32] = []
        n_pending = 0
        for piece in self._resampled():
            pending.append(piece)
            n_pending += len(piece)
            if n_pending >= samples:
                joined = np.concatenate(pending)
                whole = n_pending - n_pending % samples
                for at in range(0, whole, samples):
                    yield joined[at : at + samples]
                pending, n_pending = [joined[whole:]], n_pending - whole
        if n_pending:
            yield np.concatenate(pending)

    def _resampled(self) -> Iterator[F32]:
        if self.info.sample_rate_hz == self.sample_rate_hz:
            yield from self._mono()
            return
        stream = resampler(self.info.sample_rate_hz, self.sample_rate_hz)
        for piece in self._mono():
            yield stream.resample_chunk(piece)
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)

    def _mono(self) -> Iterator[F32]:
        """Pieces of about one second, validated and mixed down."""
        done = 0
        while done < self.info.frames:
            try:
                frames = self._file.read(self.info.sample_rate_hz, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as problem:
                raise self._truncated(done) from problem
            if len(frames) == 0:
                raise self._truncated(done)
            finite = np.isfinite(frames).all(axis=1)
            if not finite.all():
                at = done + int(np.argmin(finite))
                raise RuntimeFailure(
                    str(self.path),
                    f"sample {at:,} ({at / self.info.sample_rate_hz:.3f} s) is not finite",
                    expected="finite samples",
                    got=frames[at - done].tolist(),
                    next_step="repair or export the recording again",
                )
            done += len(frames)
            yield mix_down(frames)

    def _truncated(self, done: int) -> RuntimeFailure:
        return RuntimeFailure(
            str(self.path),
            "truncated or damaged audio file",
            expected=f"{self.info.frames:,} samples",
            got=f"{done:,} readable samples",
            next_step="copy or record it again",
        )


def read_audio(path: Path, sample_rate_hz: int) -> F32:
    """A whole file as mono float32 ``(samples,)`` at that rate; for clips that fit the memory."""
    with AudioReader(path, sample_rate_hz) as reader:
        return np.concatenate(list(reader.blocks(sample_rate_hz)))


def mono_float32(samples: Samples) -> F32:
    """Samples (n,) or (n, channels), floats in [-1, 1] or int16, as mono float32 (n,).

    Raises RuntimeFailure for other types and shapes, no channels, and samples that are not finite.
    """
    frames = np.asarray(samples)
    integer = frames.dtype == np.int16
    supported = integer or np.issubdtype(frames.dtype, np.floating)
    if not supported or frames.ndim not in (1, 2) or (frames.ndim == 2 and frames.shape[1] == 0):
        raise RuntimeFailure(
            "samples",
            "unsupported type or shape",
            expected="floats in [-1, 1] or int16, (n,) or (n, channels)",
            got=f"{frames.dtype} {frames.shape}",
        )
    mono = mix_down(frames.astype(np.float32))
    if integer:
        return mono / np.float32(INT16_FULL_SCALE)
    if not np.isfinite(mono).all():
        at = int(np.argmin(np.isfinite(mono)))
        raise RuntimeFailure(
            "samples", f"sample {at:,} is not finite", expected="finite samples", next_step="repair the recording"
        )
    return mono


def to_int16(samples: F32) -> I16:
    """Samples in [-1, 1] as 16-bit PCM: scaled by ``INT16_FULL_SCALE``, rounded half to even, clipped."""
    scaled = np.rint(samples * np.float32(INT16_FULL_SCALE))
    pcm: I16 = np.clip(scaled, -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(np.int16)
    return pcm


def mix_down(frames: F32) -> F32:
    """Mean over the channels, float32 (frames, channels) to (frames,); (frames,) is returned as it is."""
    if frames.ndim == 1:
        return frames
    return frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)


def resample(samples: F32, from_hz: int, to_hz: int) -> F32:
    """Mono float32 samples at another rate, by the same resampler as :class:`AudioReader`."""
    if from_hz == to_hz:
        return samples
    resampled: F32 = soxr.resample(samples, from_hz, to_hz, quality=RESAMPLER_QUALITY)
    return resampled


def resampler(from_hz: int, to_hz: int) -> soxr.ResampleStream:
    """A resampler for mono float32 samples in pieces."""
    return soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality=RESAMPLER_QUALITY)


def _notes(info: AudioInfo, sample_rate_hz: int) -> tuple[str, ...]:
    notes = []
    if info.channels > 1:
        notes.append(f"{_CHANNEL_NAMES.get(info.channels, f'{info.channels} channels')}, mixed down to mono")
    if info.sample_rate_hz != sample_rate_hz:
        note = f"{info.sample_rate_hz:,} Hz resampled to {sample_rate_hz:,} Hz"
        lost = f": no content above {info.sample_rate_hz // 2:,} Hz" if info.sample_rate_hz < sample_rate_hz else ""
        notes.append(note + lost)
    return tuple(notes)


def _open(path: Path) -> Any:
    """The opened file; raises RuntimeFailure with the reason why it cannot be read."""
    if not path.exists():
        raise RuntimeFailure(str(path), "no such file", expected="an audio file", next_step="check the path")
    if not path.is_file():
        raise RuntimeFailure(str(path), "not a file", expected="an audio file", next_step="give the files in it")
    if path.stat().st_size == 0:
        raise RuntimeFailure(str(path), "empty file", expected="audio", got="0 bytes", next_step="record it again")
    try:
        opened = soundfile.SoundFile(str(path))
    except (soundfile.SoundFileError, TypeError) as problem:  # TypeError: a name ending in .raw
        reason = str(problem).rpartition(": ")[2].rstrip(".")
        raise RuntimeFailure(
            str(path),
            "not a readable audio file",
            expected="WAV, FLAC or OGG",
            got=f"{path.stat().st_size:,} bytes, {reason}",
            next_step="convert it, for example with ffmpeg",
        ) from problem
    cut = _cut_short(str(opened.extra_info))
    if cut:
        opened.close()
        raise RuntimeFailure(str(path), "truncated audio file", **cut, next_step="copy or record it again")
    return opened


def _cut_short(log: str) -> dict[str, Any]:
    """Truncation in libsndfile's log: a WAV file shorter than in its header, an OGG file without its last page."""
    data = re.search(r"^data\s*:\s*(\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if data and int(data[2]) < int(data[1]) < _STREAMED_BYTES:
        return {"expected": f"{int(data[1]):,} bytes of samples", "got": f"{int(data[2]):,}"}
    if "lacks an end-of-stream" in log or "Junk after the last page" in log:
        return {"expected": "a complete last page", "got": "none"}
    return {}
