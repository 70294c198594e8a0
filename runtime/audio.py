"""Audio files of any rate, sample width and length as blocks of mono float32 at a model's rate.

Reads block by block in constant memory, whatever the header declares; resampling keeps its state between blocks, so the
samples equal those of resampling the whole file. ``notes`` lists the conversions, ``findings`` what the samples showed.
Refuses missing, empty, truncated and non-audio files, anything but regular files, files without samples, rates and
numbers of channels outside :mod:`tinyscene.runtime.limits`, and samples that are not finite or absurdly large.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from .arrays import F32, I16, INT16_FULL_SCALE, array_of
from .audio_file import OpenedAudio, open_audio
from .errors import RuntimeFailure
from .limits import MAX_PEAK, beyond_limits, checked_channels, checked_rate
from .sound_levels import MixDown, SoundLevels

Samples = npt.NDArray[np.floating[Any]] | npt.NDArray[np.int16]

RESAMPLER_QUALITY = "HQ"
PIECE_BYTES = 2**22  # of decoded float32 samples, all channels; one second where that is less
MAX_WHOLE_SAMPLES = 2**28  # of a file in memory: 1 GiB, 2.3 hours at 32 kHz
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

    Args:
        path: the file, or the name of ``descriptor`` in messages.
        sample_rate_hz: the rate of the blocks; the file's own if not given.
        descriptor: of an open regular file, which the reader closes.

    Raises RuntimeFailure for a file that the module refuses; :meth:`blocks` raises it for faults after the header.
    """

    def __init__(self, path: Path, sample_rate_hz: int | None = None, descriptor: int | None = None) -> None:
        self.path = path
        self._file: OpenedAudio = open_audio(path, descriptor)
        try:
            self.info = self._info()
            self.sample_rate_hz = self.info.sample_rate_hz
            if sample_rate_hz is not None:
                self.sample_rate_hz = checked_rate("model, sample_rate_hz", sample_rate_hz)
        except RuntimeFailure:
            self._file.close()
            raise
        self.notes = (*_notes(self.info, self.sample_rate_hz), *self._file.notes)
        self.refused_sample: int | None = None  # position of the sample that is not finite or absurdly large, if any
        self._mix_down, self._levels = MixDown(), SoundLevels()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    @property
    def findings(self) -> tuple[str, ...]:
        """Notes about the samples that were read so far: cancelling channels, integers as floats, clipping."""
        return (*self._mix_down.notes(self.info.sample_rate_hz), *self._levels.notes())

    @property
    def is_silent(self) -> bool:
        """Whether no sample that was read so far exceeds the dither of a muted 16-bit input."""
        return self._levels.is_silent

    @property
    def samples(self) -> int:
        """Number of samples at ``sample_rate_hz``, as the header declares them."""
        return round(self.info.frames * self.sample_rate_hz / self.info.sample_rate_hz)

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

    def whole(self) -> F32:
        """All samples, float32 (samples,); raises RuntimeFailure for more than ``MAX_WHOLE_SAMPLES``."""
        if self.samples > MAX_WHOLE_SAMPLES:
            raise RuntimeFailure(
                str(self.path),
                "too long to be read into memory",
                expected=f"at most {MAX_WHOLE_SAMPLES / self.sample_rate_hz / 3600:.1f} h",
                got=f"{self.info.seconds / 3600:.1f} h",
                next_step="split the recording",
            )
        return np.concatenate([np.zeros(0, np.float32), *self._resampled()])

    def _info(self) -> AudioInfo:
        """The header, if its figures are within the limits."""
        file, where = self._file, str(self.path)
        rate_hz = checked_rate(f"{where}, sampling rate", file.sample_rate_hz)
        channels = checked_channels(f"{where}, channels", file.channels)
        if file.frames <= 0:
            raise RuntimeFailure(where, "audio file without samples", next_step="record it again")
        return AudioInfo(self.path, rate_hz, channels, file.frames, file.encoding)

    def _resampled(self) -> Iterator[F32]:
        if self.info.sample_rate_hz == self.sample_rate_hz:
            yield from self._mono()
            return
        stream = resampler(self.info.sample_rate_hz, self.sample_rate_hz)
        for piece in self._mono():
            yield stream.resample_chunk(piece)
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)

    def _mono(self) -> Iterator[F32]:
        """Pieces of at most a second, validated and mixed down."""
        done = 0
        piece = min(self.info.sample_rate_hz, PIECE_BYTES // (4 * self.info.channels))
        while done < self.info.frames:
            frames = self._file.read(piece, done)
            absurd = beyond_limits(frames).any(axis=1)
            if absurd.any():
                at = int(np.argmax(absurd))
                raise self._absurd(done + at, frames[at])
            done += len(frames)
            self._levels.add(frames)
            yield self._mix_down(frames)

    def _absurd(self, at: int, frame: F32) -> RuntimeFailure:
        self.refused_sample = at
        return RuntimeFailure(
            str(self.path),
            f"sample {at:,} ({at / self.info.sample_rate_hz:.3f} s) is {_absurdity(frame)}",
            expected=_EXPECTED_SAMPLES,
            got=frame[:2].tolist(),
            next_step="repair or export the recording again",
        )


def read_audio(path: Path, sample_rate_hz: int) -> F32:
    """A whole file as mono float32 ``(samples,)`` at that rate, of at most ``MAX_WHOLE_SAMPLES`` samples."""
    with AudioReader(path, sample_rate_hz) as reader:
        return reader.whole()


def mono_float32(samples: Samples) -> F32:
    """Samples (n,) or (n, channels), floats in [-1, 1] or int16, as mono float32 (n,).

    Raises RuntimeFailure for other types and shapes, no or more than 64 channels, and samples that are not finite or
    beyond ``MAX_PEAK``.
    """
    return mix_down(checked_float32(samples))


def checked_float32(samples: Samples) -> F32:
    """The same as :func:`mono_float32` before the channels are mixed: float32 (n,) or (n, channels)."""
    frames = array_of(samples)
    integer = frames.dtype == np.int16
    supported = integer or np.issubdtype(frames.dtype, np.floating)
    if not supported or frames.ndim not in (1, 2) or (frames.ndim == 2 and frames.shape[1] == 0):
        raise RuntimeFailure(
            "samples",
            "unsupported type or shape",
            expected="floats in [-1, 1] or int16, (n,) or (n, channels)",
            got=f"{frames.dtype} {frames.shape}",
        )
    if frames.ndim == 2:
        checked_channels(f"samples of shape {frames.shape}, (n, channels)", frames.shape[1])
    if integer:
        return frames.astype(np.float32) / np.float32(INT16_FULL_SCALE)
    absurd = beyond_limits(frames if frames.ndim == 1 else np.abs(frames).max(axis=1))  # a NaN is the largest
    if absurd.any():
        at = int(np.argmax(absurd))
        raise RuntimeFailure(
            "samples",
            f"sample {at:,} is {_absurdity(frames[at])}",
            expected=_EXPECTED_SAMPLES,
            next_step="repair the recording",
        )
    return frames.astype(np.float32)


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


def fit_to_clip(samples: F32, clip_samples: int) -> F32:
    """Samples of about one clip (:func:`tinyscene.runtime.limits.is_one_clip`) as exactly one: cut, or zeros added."""
    return np.pad(samples[:clip_samples], (0, max(0, clip_samples - len(samples))))


def resample(samples: F32, from_hz: int, to_hz: int) -> F32:
    """Mono float32 samples at another rate, by the same resampler as :class:`AudioReader`."""
    if from_hz == to_hz:
        return samples
    rates = checked_rate("resampler, input rate", from_hz), checked_rate("resampler, output rate", to_hz)
    resampled: F32 = soxr.resample(samples, *rates, quality=RESAMPLER_QUALITY)
    return resampled


def resampler(from_hz: int, to_hz: int) -> soxr.ResampleStream:
    """A resampler for mono float32 samples in pieces; raises RuntimeFailure for rates outside the limits."""
    rates = checked_rate("resampler, input rate", from_hz), checked_rate("resampler, output rate", to_hz)
    return soxr.ResampleStream(*rates, 1, dtype="float32", quality=RESAMPLER_QUALITY)


_EXPECTED_SAMPLES = "finite samples in [-1, 1]"


def _absurdity(sample: npt.NDArray[Any]) -> str:
    return f"beyond {MAX_PEAK:,.0f}" if np.isfinite(sample).all() else "not finite"


def _notes(info: AudioInfo, sample_rate_hz: int) -> tuple[str, ...]:
    notes = []
    if info.channels > 1:
        notes.append(f"{_CHANNEL_NAMES.get(info.channels, f'{info.channels} channels')}, mixed down to mono")
    if info.sample_rate_hz != sample_rate_hz:
        note = f"{info.sample_rate_hz:,} Hz resampled to {sample_rate_hz:,} Hz"
        lost = f": no content above {info.sample_rate_hz // 2:,} Hz" if info.sample_rate_hz < sample_rate_hz else ""
        notes.append(note + lost)
    return tuple(notes)
