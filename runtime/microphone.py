"""A microphone as pieces of audio: what was lost is told as gaps, and the sound card's clock is watched.

Sound arrives in blocks on a thread of the audio library and waits in a queue of a few seconds. Each block carries the
time at which it was captured, so whatever is lost on the way, by the driver or by a listener who was too slow, shows
as a jump of that time: :class:`LiveClock` says how much. The sound card's rate is never quite what it says; the
difference is measured, not corrected, for a ten-thousandth of pitch changes no scene.
Needs the package sounddevice (extra ``mic``) and PortAudio. Refuses to start without them or without an input.
"""

from __future__ import annotations

import importlib
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .arrays import I16
from .errors import RuntimeFailure
from .install_hint import install_hint
from .stream import Gap

BLOCK_S = 0.05
QUEUE_S = 5.0
JUMP_S = 0.04  # capture times waver by some milliseconds; what is lost is a block at least
SETTLE_S = 5.0  # the first capture times say where the clocks' difference is counted from
KNOWN_S = 30.0  # before that it cannot be told from wavering
FOLLOW = 0.02  # how much each block's capture time counts for where the next is expected


@dataclass(frozen=True)
class LiveHealth:
    """``drift_ppm``: by how many millionths the sound card is slower than this machine's clock; None if not known."""

    captured_s: float
    overruns: int  # blocks dropped here because nobody fetched them, and overflows the driver told of
    gaps: int
    lost_s: float
    drift_ppm: float | None


class LiveClock:
    """Capture times of successive blocks against their number of samples."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.samples = 0
        self.gaps = 0
        self.lost_s = 0.0
        self._first_s = 0.0
        self._lag_s = 0.0  # capture time minus sample time, followed slowly
        self._elapsed_s = 0.0
        self._base: tuple[float, float] | None = None  # elapsed and lag when it had settled

    def observe(self, samples: int, captured_at_s: float) -> float:
        """Take the next block's number of samples and when its first was captured; return seconds lost before it."""
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
        """Millionths by which capture time runs ahead of sample time, once enough has been seen."""
        if self._base is None or self._elapsed_s < KNOWN_S:
            return None
        return 1e6 * (self._lag_s - self._base[1]) / (self._elapsed_s - self._base[0])

    def wall_s(self, stream_s: float) -> float:
        """Seconds on this machine's clock since the first sample, for a stream's time."""
        return stream_s * (1.0 + (self.drift_ppm or 0.0) / 1e6)


class Microphone:
    """One input, mono, int16; opened on entering and closed on leaving.

    Args:
        rate_hz: wanted rate; the device's own by default.
        device: number or part of a name; the system's input by default.

    Raises:
        RuntimeFailure: sounddevice or PortAudio is missing, or there is no such input.
    """

    def __init__(self, rate_hz: int | None = None, device: str | None = None) -> None:
        self._library = _sounddevice()
        self._device = int(device) if device is not None and device.isdecimal() else device
        with _device_errors(self._library):
            found = self._library.query_devices(self._device, "input")
        self.name, self.rate_hz = str(found["name"]), rate_hz or int(found["default_samplerate"])
        self.clock = LiveClock(self.rate_hz)
        self.overruns = 0
        self._blocks: queue.Queue[tuple[I16, float]] = queue.Queue(round(QUEUE_S / BLOCK_S))
        self._stream: Any = None

    def __enter__(self) -> Microphone:
        with _device_errors(self._library):
            self._stream = self._library.InputStream(
                samplerate=self.rate_hz,
                blocksize=round(BLOCK_S * self.rate_hz),
                device=self._device,
                channels=1,
                dtype="int16",
                callback=self._captured,
            )
            self._stream.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @property
    def health(self) -> LiveHealth:
        clock = self.clock
        return LiveHealth(clock.samples / self.rate_hz, self.overruns, clock.gaps, clock.lost_s, clock.drift_ppm)

    def pieces(self, seconds: float | None = None) -> Iterator[I16 | Gap]:
        """Blocks (n,) and, in their places, gaps; without an end unless ``seconds`` says how much audio is wanted.

        Raises RuntimeFailure when nothing arrives any more, as when the device was pulled out.
        """
        while seconds is None or self.clock.samples < seconds * self.rate_hz:
            try:
                block, captured_at_s = self._blocks.get(timeout=QUEUE_S)
            except queue.Empty:
                raise RuntimeFailure(
                    f"microphone '{self.name}'", f"no sound for {QUEUE_S:g} s", next_step="check that it is plugged in"
                ) from None
            lost_s = self.clock.observe(len(block), captured_at_s)
            if lost_s:
                yield Gap(lost_s)
            yield block

    def _captured(self, block: I16, frames: int, times: Any, status: Any) -> None:
        """Called by the audio library on its own thread: copy, note, return."""
        self.overruns += bool(status.input_overflow)
        try:
            # Some drivers do not tell the time of capture; then it is now, less what the block lasts.
            captured_at_s = times.inputBufferAdcTime or time.monotonic() - frames / self.rate_hz
            self._blocks.put_nowait((block[:, 0].copy(), captured_at_s))
        except queue.Full:
            self.overruns += 1


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
    except OSError as problem:  # the package is there, the library it wraps is not
        raise RuntimeFailure(
            "microphone", "the library PortAudio is not installed", next_step="apt install libportaudio2", missing=True
        ) from problem


@contextmanager
def _device_errors(library: Any) -> Iterator[None]:
    """What PortAudio says of a device, as one RuntimeFailure."""
    try:
        yield
    except (library.PortAudioError, ValueError) as problem:
        raise RuntimeFailure(
            "microphone", "cannot be opened", got=str(problem), next_step="name another with --device"
        ) from problem
