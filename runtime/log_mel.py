"""Log-mel in NumPy float32: the executable specification of the front end in float arithmetic.

The PyTorch, ONNX and C implementations use its tables and are compared with its frames.
Only the window's samples are transformed (zero-padded to n_fft at the end): the power spectrum equals that of the
centred window, since a shift changes only the phase.
Refuses audio that is not one float32 channel, not finite, or too short for padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from .arrays import F32, I64
from .errors import RuntimeFailure
from .spec import FrontendSpec

Framed = npt.NDArray[Any]  # float32 here, int64 in integer arithmetic
FRAMES_AT_ONCE = 32  # windows and spectra fit the cache, and memory does not grow with the audio


def hann(spec: FrontendSpec, index: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The Hann window of ``spec`` at these sample numbers, float64."""
    result: npt.NDArray[np.float64] = 0.5 - 0.5 * np.cos(2.0 * np.pi * index / spec.window_periods)
    return result


def window(spec: FrontendSpec) -> F32:
    """Hann window of ``win_length`` samples, float32."""
    return hann(spec, np.arange(spec.win_length, dtype=np.float64)).astype(np.float32)


def _mel(hz: npt.NDArray[np.float64], spec: FrontendSpec) -> npt.NDArray[np.float64]:
    """Hertz to mel. Kaldi: 1127 ln(1 + f/700). HTK: 2595 log10(1 + f/700), the same curve."""
    if spec.mel_scale == "kaldi":
        return 1127.0 * np.log1p(hz / 700.0)
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """HTK mel to hertz."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def mel_bank(spec: FrontendSpec) -> F32:
    """Dense triangular mel bank, float32 ``(n_mels, n_fft // 2 + 1)``, peak 1, not area-normalised.

    ``kaldi``: triangles are linear in mel and the Nyquist bin is unused; ``htk``: triangles are linear in hertz
    (torchaudio's MelSpectrogram with ``norm=None``).
    """
    bins_hz = np.arange(spec.n_fft // 2 + 1, dtype=np.float64) * spec.sample_rate_hz / spec.n_fft
    low, high = _mel(np.array([spec.f_min_hz, spec.f_max_hz], dtype=np.float64), spec)
    corners = low + np.arange(spec.n_mels + 2) * (high - low) / (spec.n_mels + 1)
    if spec.mel_scale == "kaldi":
        axis = _mel(bins_hz, spec)
    else:
        axis, corners = bins_hz, _hz(corners)
    left, centre, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (axis[None] - left) / (centre - left)
    falling = (right - axis[None]) / (right - centre)
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if spec.mel_scale == "kaldi":
        bank[:, -1] = 0.0
    weights: F32 = bank.astype(np.float32)
    return weights


@dataclass(frozen=True)
class SparseMel:
    """The mel bank as runs of non-zero weights: band ``i`` covers bins ``first[i] : first[i] + length[i]``.

    ``weight`` is the concatenation of the runs; run ``i`` starts at ``start[i]``.
    Every band has at least one entry (a zero weight if no bin is inside its triangle).
    """

    first: I64  # (n_mels,)
    length: I64  # (n_mels,)
    start: I64  # (n_mels,)
    weight: F32  # (sum of lengths,)
    bins: I64  # (sum of lengths,) the bin of each weight


def sparse_mel(spec: FrontendSpec) -> SparseMel:
    """The non-zero runs of ``mel_bank(spec)``: some 2 entries of 1000."""
    bank = mel_bank(spec)
    used = bank > 0.0
    first = np.argmax(used, axis=1).astype(np.int64)
    last = (bank.shape[1] - 1 - np.argmax(used[:, ::-1], axis=1)).astype(np.int64)
    empty = ~used.any(axis=1)
    first[empty], last[empty] = 0, 0
    length = last - first + 1
    start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
    bins = np.concatenate([np.arange(f, f + n) for f, n in zip(first, length, strict=True)])
    weight = np.concatenate([bank[i, f : f + n] for i, (f, n) in enumerate(zip(first, length, strict=True))])
    return SparseMel(first, length, start, weight, bins)


@lru_cache(maxsize=16)
def _tables(spec: FrontendSpec) -> tuple[F32, SparseMel]:
    return window(spec), sparse_mel(spec)


class LogMel:
    """Audio to log-mel for one :class:`FrontendSpec`.

    Calling it takes float32 samples ``(samples,)`` in [-1, 1] at ``spec.sample_rate_hz`` and returns
    float32 ``(n_mels, frames)``. :meth:`stream` returns bit-identical frames, piece by piece.
    """

    def __init__(self, spec: FrontendSpec) -> None:
        if spec.arithmetic != "float":
            raise RuntimeFailure(f"front end '{spec.name}'", "arithmetic", expected="float", got=spec.arithmetic)
        self.spec = spec
        self._window, self._mel = _tables(spec)

    def __call__(self, samples: F32) -> F32:
        stream = self.stream()
        return np.concatenate([stream.push(samples), stream.flush()], axis=1)

    def stream(self) -> LogMelStream:
        """A new stream, padded by reflection at its start and end like a clip."""
        return LogMelStream(self)

    def taken(self, samples: F32) -> Framed:
        """Samples float32 (n,) as the numbers that are framed; raises RuntimeFailure as :meth:`LogMelStream.push`."""
        return _checked(samples)

    def emphasised(self, samples: Framed) -> Framed:
        """Taken samples (n,) to (n - 1,): y[t] = x[t+1] - a x[t]."""
        return samples[1:] - np.float32(self.spec.pre_emphasis) * samples[:-1]

    def frames(self, windows: Framed) -> F32:
        """Pre-emphasised windows ``(frames, win_length)`` to log-mel ``(n_mels, frames)``."""
        log_mel = np.empty((self.spec.n_mels, len(windows)), np.float32)
        for at in range(0, len(windows), FRAMES_AT_ONCE):
            log_mel[:, at : at + FRAMES_AT_ONCE] = self._block(windows[at : at + FRAMES_AT_ONCE]).T
        return log_mel

    def _block(self, windows: Framed) -> F32:
        """A few windows ``(frames, win_length)``, also overlapping views, to ``(frames, n_mels)``.

        Every step treats each frame independently, so its bits do not depend on the block it is in.
        """
        spec = self.spec
        padded = np.zeros((len(windows), spec.n_fft), np.float32)
        np.multiply(windows, self._window, out=padded[:, : spec.win_length])
        spectrum = np.fft.rfft(padded, axis=1).astype(np.complex64, copy=False)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        weighed = power.take(self._mel.bins, axis=1)
        weighed *= self._mel.weight
        mel = np.add.reduceat(weighed, self._mel.start, axis=1)
        mel += np.float32(spec.log_offset)
        np.log(mel, out=mel)
        mel -= np.float32(spec.norm_mean)
        mel /= np.float32(spec.norm_std)
        return mel


class LogMelStream:
    """Log-mel frames from audio that arrives in pieces of any length.

    Keeps at most one window plus the last piece. Frame ``k`` is centred on sample ``k * hop`` and is returned as soon
    as its last sample has arrived; :meth:`flush` pads the end by reflection and returns the rest.
    """

    def __init__(self, log_mel: LogMel) -> None:
        self._log_mel = log_mel
        self._spec = log_mel.spec
        self._raw = log_mel.taken(np.zeros(0, np.float32))  # the last sample, which pre-emphasis needs again
        self._tail = self._raw  # framed samples from self._tail_at on
        self._tail_at = 0  # may be negative: reflected samples before the first
        self._count = 0  # framed samples so far
        self._next_frame = 0
        self._started = False
        self._flushed = False

    def push(self, samples: F32) -> F32:
        """Add float32 samples ``(n,)``; return the frames they complete, ``(n_mels, k)``.

        Raises RuntimeFailure for other shapes or types and for NaN or infinity.
        """
        if self._flushed:
            raise RuntimeFailure("log-mel stream", "push after flush", next_step="open a new stream")
        self._tail = np.concatenate([self._tail, self._framed(self._log_mel.taken(samples))])
        self._count = self._tail_at + len(self._tail)
        return self._take(ready=self._count)

    def flush(self) -> F32:
        """End of the signal: pad it by reflection and return the last frames ``(n_mels, k)``."""
        half = self._spec.win_length // 2
        if self._flushed or (self._count == 0 and len(self._raw) == 0):
            self._flushed = True
            return np.zeros((self._spec.n_mels, 0), np.float32)
        self._flushed = True
        if self._count <= half:
            raise RuntimeFailure(
                "log-mel",
                "audio too short for one window",
                expected=f"at least {self._spec.min_samples} samples",
                got=self._count + (1 if self._spec.pre_emphasis else 0),
                next_step="use a longer recording or repeat it to fill a window",
            )
        end = self._count
        self._tail = np.concatenate([self._tail, self._tail[-2 : -half - 2 : -1]])
        return self._take(ready=end + half, last_centre=end)

    def _framed(self, samples: Framed) -> Framed:
        """With pre-emphasis, the newest sample is kept until its successor arrives."""
        if not self._spec.pre_emphasis:
            return samples
        raw = np.concatenate([self._raw, samples])
        self._raw = raw[-1:]
        return self._log_mel.emphasised(raw) if len(raw) else raw

    def _take(self, ready: int, last_centre: int | None = None) -> F32:
        """Frames whose window ends at or before sample ``ready``."""
        spec, half = self._spec, self._spec.win_length // 2
        if not self._started:
            if self._count <= half:
                return np.zeros((spec.n_mels, 0), np.float32)
            self._tail = np.concatenate([self._tail[half:0:-1], self._tail])
            self._tail_at, self._started = -half, True
        end = spec.win_length - half  # the window covers [centre - half, centre + end)
        last = (ready - end) // spec.hop_length
        if last_centre is not None:
            last = min(last, last_centre // spec.hop_length)
        n = last - self._next_frame + 1
        if n <= 0:
            return np.zeros((spec.n_mels, 0), np.float32)
        offset = self._next_frame * spec.hop_length - half - self._tail_at
        windows = sliding_window_view(self._tail[offset:], spec.win_length)[:: spec.hop_length][:n]
        result = self._log_mel.frames(windows)
        self._next_frame += n
        # keep one sample before the next window: reflection around a frame centred on the end needs it
        drop = max(0, min(offset + n * spec.hop_length - 1, len(self._tail)))
        self._tail, self._tail_at = self._tail[drop:], self._tail_at + drop
        return result


def _checked(samples: F32) -> F32:
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise RuntimeFailure(
            "log-mel input",
            "not one channel of float32 samples",
            expected="float32 (samples,)",
            got=f"{samples.dtype} {samples.shape}",
            next_step="mix down and convert first, see tinyscene.runtime.audio.read_audio",
        )
    if not np.isfinite(samples).all():
        bad = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise RuntimeFailure(
            "log-mel input",
            f"sample {bad} is not finite",
            expected="finite samples",
            got=samples[bad],
            next_step="repair or re-export the recording",
        )
    return samples
