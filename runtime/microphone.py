"""Microphone input as pieces of audio, with gaps for lost audio and the drift of the sound card's clock.

Audio arrives in blocks on a thread of the audio library and is queued for a few seconds. Each block has the time of its
capture, so audio lost in the driver or by a slow reader is a jump of that time, which :class:`LiveClock` measures. The
sound card's actual rate differs slightly from its nominal rate; the drift is measured and not corrected, since a
difference of 0.01 % does not change the scene. A device that has no mode with one channel is opened with two, which are
mixed.
Needs the package sounddevice (extra ``mic``) and PortAudio. Refuses to start without them, without an input, or at a
rate outside 1 kHz to 768 kHz.
"""

from __future__ import annotations

import importlib
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import I16
from .errors import RuntimeFailure
from .install_hint import install_hint
from .limits import checked_rate
from .stream import Gap

BLOCK_S = 0.05
QUEUE_S = 5.0
JUMP_S = 0.04  # capture times have a jitter of some milliseconds; lost audio is at least one block
SETTLE_S = 5.0  # drift is measured from here on, after the first capture times have settled
KNOWN_S = 30.0  # a shorter time does not separate drift from jitter
FOLLOW = 0.02  # weight of each block's capture time in the expected time of the next


@dataclass(frozen=True)
class LiveHealth:
    """State of a microphone. ``drift_ppm``: how much slower the sound card's clock is than this machine's, or None."""

    captured_s: float
    overruns: int  # blocks dropped because the queue was full, and overflows reported by the driver
    gaps: int
    lost_s: float
    drift_ppm: float | None


class LiveClock:
    """Lost audio and drift from the capture times and lengths of successive blocks."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.samples = 0
        self.gaps = 0
        self.lost_s = 0.0
        self._first_s = 0.0
        self._lag_s = 0.0  # capture time minus sample time, smoothed
        self._elapsed_s = 0.0
        self._base: tuple[float, float] | None = None  # elapsed time and lag after SETTLE_S

    def observe(self, samples: int, captured_at_s: float) -> float:
        """Add the next block: its length and the capture time of its first sample; return seconds lost before it."""
        if self.samples == 0:
            self._first_s = captured_at_s
        lag_s = captured_at_s - self._first_s - self.samples / self.rate_hz - self.lost_s
        jump_s, lost_s = lag_s - self._lag_s, 0.0
        if jump_s > JUMP_S:
            lost_s, lag_s = jump_s, self._lag_s
            self.gaps, self.lost_s = self.gaps + 1, self.lost_s + jump_s
        self._lag_s += FOLLOW * (lag_s - self._lag_s)
        self._elapsed_s = self.samples / self.rate_hz
        if self._base is None and self._elapsed_s >= SETTLE_S:
            self._base = self._elapsed_s, self._lag_s
        self.samples += samples
        return lost_s

    @property
    def drift_ppm(self) -> float | None:
        """Drift of capture time against sample time in parts per million; None before ``KNOWN_S``."""
        if self._base is None or self._elapsed_s < KNOWN_S:
            return None
        return 1e6 * (self._lag_s - self._base[1]) / (self._elapsed_s - self._base[0])

    def wall_s(self, stream_s: float) -> float:
        """A stream's time in seconds of this machine's clock since the first sample."""
        return stream_s * (1.0 + (self.drift_ppm or 0.0) / 1e6)


class Microphone:
    """One input, mono, int16; a context manager that opens and closes the device.

    Args:
        rate_hz: sampling rate; the device's default if not given.
        device: number or part of a name; the system's default input if not given.

    Raises:
        RuntimeFailure: sounddevice or PortAudio is missing, or the input does not exist.
    """

    def __init__(self, rate_hz: int | None = None, device: str | None = None) -> None:
        self._library = _sounddevice()
        self._device = int(device) if device is not None and device.isdecimal() else device
        with _device_errors(self._library):
            properties = self._library.query_devices(self._device, "input")
        self.name, wanted_hz = str(properties["name"]), properties["default_samplerate"] if rate_hz is None else rate_hz
        self.rate_hz = checked_rate("microphone, sampling rate", wanted_hz)
        self._channel_counts = (1, 2) if int(properties["max_input_channels"]) >= 2 else (1,)
        self.clock = LiveClock(self.rate_hz)
        self.overruns = 0
        self._blocks: queue.Queue[tuple[I16, float]] = queue.Queue(round(QUEUE_S / BLOCK_S))
        self._stream: Any = None

    def __enter__(self) -> Microphone:
        with _device_errors(self._library):
            self._stream = self._opened()
            self._stream.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @property
    def health(self) -> LiveHealth:
        clock = self.clock
        return LiveHealth(clock.samples / self.rate_hz, self.overruns, clock.gaps, clock.lost_s, clock.drift_ppm)

    def pieces(self, seconds: float | None = None) -> Iterator[I16 | Gap]:
        """Blocks (n,) and gaps, for ``seconds`` of audio or without an end.

        Raises RuntimeFailure if no audio arrives any more, as when the device was unplugged.
        """
        while seconds is None or self.clock.samples < seconds * self.rate_hz:
            try:
                block, captured_at_s = self._blocks.get(timeout=QUEUE_S)
            except queue.Empty:
                raise RuntimeFailure(
                    f"microphone '{self.name}'", f"no audio for {QUEUE_S:g} s", next_step="check that it is plugged in"
                ) from None
            lost_s = self.clock.observe(len(block), captured_at_s)
            if lost_s:
                yield Gap(lost_s)
            yield block

    def _opened(self) -> Any:
        """The device with one channel, or with two where it has no mode with one; the first error if neither works."""
        errors: list[Exception] = []
        for channels in self._channel_counts:
            try:
                return self._library.InputStream(
                    samplerate=self.rate_hz,
                    blocksize=round(BLOCK_S * self.rate_hz),
                    device=self._device,
                    channels=channels,
                    dtype="int16",
                    callback=self._captured,
                )
            except self._library.PortAudioError as problem:
                errors.append(problem)
        raise errors[0]

    def _captured(self, block: I16, frames: int, times: Any, status: Any) -> None:
        """Called by the audio library on its own thread: copy, note, return."""
        self.overruns += bool(status.input_overflow)
        try:
            # Some drivers report no capture time: estimate it as now minus the length of the block.
            captured_at_s = times.inputBufferAdcTime or time.monotonic() - frames / self.rate_hz
            self._blocks.put_nowait((_mixed(block), captured_at_s))
        except queue.Full:
            self.overruns += 1


def _mixed(block: I16) -> I16:
    """A copy of a block (n, channels) as its mean over the channels, int16 (n,)."""
    if block.shape[1] == 1:
        return block[:, 0].copy()
    mixed: I16 = (block.sum(axis=1, dtype=np.int32) // block.shape[1]).astype(np.int16)
    return mixed


def _sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ImportError as problem:
        raise RuntimeFailure(
            "microphone",
            "the package sounddevice is not installed",
            next_step=install_hint("mic"),
            missing=True,
        ) from problem
    except OSError as problem:  # the package without the library it wraps
        raise RuntimeFailure(
            "microphone", "the library PortAudio is not installed", next_step="apt install libportaudio2", missing=True
        ) from problem


@contextmanager
def _device_errors(library: Any) -> Iterator[None]:
    """Turn PortAudio's errors about a device into RuntimeFailure."""
    try:
        yield
    except (library.PortAudioError, ValueError) as problem:
        raise RuntimeFailure(
            "microphone", "cannot be opened", got=str(problem), next_step="choose another with --device"
        ) from problem
