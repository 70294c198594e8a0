"""What the samples of a recording show: channels that cancel, integers stored as floats, a constant, clipping.

None of it is refused, all of it makes a label doubtful, and each is one note.
"""

from __future__ import annotations

import numpy as np

from .arrays import F32, F64
from .limits import SILENT_PEAK

CANCELLED_ENERGY = 1e-4  # of the mean, relative to that of the channels, 40 dB; 1 / channels if they are independent
INTEGER_PEAK = 100.0  # no float recording exceeds full scale by 40 dB
FULL_SCALE = 1 - 2.0**-14  # the largest 16-bit sample is 1 - 2 ** -15
CLIPPED_SHARE = 0.01


class MixDown:
    """Mean over the channels of successive pieces, float32 (n, channels) to (n,).

    A piece whose channels cancel, as when one of two is wired with the wrong polarity, becomes digital silence: what
    the mean leaves of it is not the scene.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.cancelled = 0

    def __call__(self, frames: F32) -> F32:
        self.frames += len(frames)
        if frames.ndim == 1 or frames.shape[1] == 1:
            return frames.reshape(-1)
        mono: F32 = frames.mean(axis=1, dtype=np.float32)
        if cancels(frames, mono):
            self.cancelled += len(frames)
            return np.zeros_like(mono)
        return mono

    def notes(self, rate_hz: int) -> tuple[str, ...]:
        """One note, if channels cancelled."""
        if not self.cancelled:
            return ()
        seconds, total = self.cancelled / rate_hz, self.frames / rate_hz
        return (f"channels cancel in {seconds:.1f} of {total:.1f} s, which count as silence: is one of them inverted?",)


def cancels(frames: F32, mono: F32 | F64) -> bool:
    """Whether the mean of channels that are not silent has at most ``CANCELLED_ENERGY`` of their energy."""
    energy = float(np.mean(np.square(frames, dtype=np.float64)))
    return energy > SILENT_PEAK**2 and float(np.mean(np.square(mono, dtype=np.float64))) <= CANCELLED_ENERGY * energy


class SoundLevels:
    """Range of the samples, and how many are at full scale, over all pieces and channels."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.samples = 0
        self.clipped = 0

    def add(self, frames: F32) -> None:
        """Add a piece, float32 (n, channels)."""
        if not frames.size:
            return
        low, high = float(frames.min()), float(frames.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.samples += frames.size
        if max(-low, high) >= FULL_SCALE:
            self.clipped += int(np.count_nonzero(np.abs(frames) >= FULL_SCALE))

    @property
    def is_silent(self) -> bool:
        """Whether no sample exceeds the dither of a muted 16-bit input."""
        return max(-self.low, self.high) <= SILENT_PEAK

    def notes(self) -> tuple[str, ...]:
        """At most one note; none of silence, whose caller knows whether it is doubtful."""
        peak = max(-self.low, self.high)
        if self.is_silent:
            return ()
        if peak > INTEGER_PEAK:
            return (f"samples up to {peak:,.0f}, where full scale is 1: are these integers, stored as floats?",)
        if self.high - self.low <= 2 * SILENT_PEAK:
            return (f"all samples are about {self.high:.3f}: a constant, no sound",)
        if peak <= 1 and self.clipped >= CLIPPED_SHARE * self.samples:
            return (f"{self.clipped / self.samples:.0%} of the samples are at full scale: the recording is clipped",)
        return ()
