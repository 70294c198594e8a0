"""Scenes of continuous audio: pieces of any length in, one event per hop out.

The events do not depend on how the audio is split into pieces, and each log-mel column is computed once. As in firmware
(``firmware_harness/c/scene/ts_scene.h``): with a hop as long as the network's clip, each clip is independent and padded
by reflection at both ends, as in :meth:`tinyscene.runtime.classify.SceneClassifier.classify`; with a shorter hop, clips
overlap and share columns, only the first is padded at its start, and an event is half a window later.

Time is the number of samples plus the seconds given to :meth:`SceneStream.gap`, so it does not drift. A hop of digital
silence, as from a muted microphone, has no scene: it is counted and has no event.
A stream that ends before its first event, with at least 95 % of the audio for it, is completed with zeros, as a
recording of that length is.
Refuses rates outside 1 kHz to 768 kHz, hops that are not a whole number of columns, samples that are not finite or
absurdly large, and audio after the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .arrays import F32
from .audio import Samples, mono_float32, resampler
from .errors import RuntimeFailure
from .limits import MAX_SECONDS, SILENT_PEAK, checked_rate, is_one_clip
from .log_mel import LogMel
from .smoothing import Smoother, Smoothing
from .spec import FrontendSpec


@dataclass(frozen=True)
class SceneEvent:
    """The scene at ``time_s``, seconds of audio since the start of the stream, gaps included.

    ``scores`` are smoothed and add up to 1, in the order of the bundle's labels; ``label`` is the smoothed label,
    ``probability`` its score, and ``changed`` is true for the first event and where the label differs from the previous
    event's.
    """

    time_s: float
    label: str
    probability: float
    scores: tuple[float, ...]
    changed: bool


@dataclass(frozen=True)
class Gap:
    """Lost audio, in place of a piece."""

    seconds: float


@dataclass(frozen=True)
class StreamHealth:
    """Counters of a stream. ``samples`` are at the model's rate."""

    samples: int = 0
    hops: int = 0  # with an event
    silent_hops: int = 0  # without an event
    columns: int = 0  # log-mel columns, each computed once
    gaps: int = 0
    lost_s: float = 0.0


class LogMelClassifier(Protocol):
    """The part of :class:`tinyscene.runtime.classify.SceneClassifier` that a stream uses."""

    frontend: FrontendSpec
    labels: tuple[str, ...]
    log_mel: LogMel

    def scores(self, log_mel: F32) -> F32:
        """Scores, float32 (labels,), of one log-mel (n_mels, n_frames)."""


class SceneStream:
    """One stream of audio; created by :meth:`tinyscene.runtime.classify.SceneClassifier.stream`.

    Several streams may share a classifier, also from several threads; a stream is used by one thread at a time.
    Memory is constant: one network input, one window, and the current piece.
    """

    def __init__(
        self, classifier: LogMelClassifier, rate_hz: int, hop_s: float | None, smoothing: Smoothing | None = None
    ) -> None:
        spec = classifier.frontend
        self._classifier, self._spec, self.rate_hz = classifier, spec, checked_rate("stream, rate_hz", rate_hz)
        self.hop_samples = spec.clip_samples if hop_s is None else _hop_samples(hop_s, spec)
        self._overlaps = self.hop_samples < spec.clip_samples
        if self.hop_samples < 1 or self.hop_samples > spec.clip_samples or self._no_whole_columns():
            raise RuntimeFailure(
                "stream, hop_s",
                "invalid value for this front end",
                expected=f"{spec.clip_samples / spec.sample_rate_hz:g} s, or a smaller multiple of "
                f"{spec.hop_length / spec.sample_rate_hz:g} s",
                got=hop_s,
            )
        self.smoothing = smoothing or Smoothing()
        self._smoother = Smoother(self.smoothing)
        self._start = 0  # samples at the model's rate from the start to the end of the last gap, lost ones included
        self._label = ""
        self._samples = self._hops = self._silent_hops = self._columns_made = self._gaps = 0
        self._lost_s = 0.0
        self._finished = False
        self._restart()

    @property
    def hop_s(self) -> float:
        """Seconds between events: the largest delay from a sample to the first event that includes it.

        Where the rates differ, the resampler delays audio by up to 60 ms more. Computing time, which
        ``tinyscene bench`` measures, is not included.
        """
        return self.hop_samples / self._spec.sample_rate_hz

    @property
    def first_event_s(self) -> float:
        """Seconds of audio before the first event: one clip, or where clips overlap, the end of its last window."""
        return self._first_needed / self._spec.sample_rate_hz

    @property
    def health(self) -> StreamHealth:
        return StreamHealth(
            self._samples, self._hops, self._silent_hops, self._columns_made, self._gaps, round(self._lost_s, 6)
        )

    def push(self, samples: Samples) -> list[SceneEvent]:
        """Add a piece of any length, (n,) or (n, channels), floats in [-1, 1] or int16; return the events it completes.

        Raises RuntimeFailure, leaving the stream as it was, for other types and for samples that are not finite.
        """
        if self._finished:
            raise RuntimeFailure("stream", "push after finish", next_step="open a new stream")
        mono = mono_float32(samples)
        self._pushed += len(mono)
        return self._events_of(mono if self._resampler is None else self._resampler.resample_chunk(mono))

    def gap(self, seconds: float) -> None:
        """Report ``seconds`` of lost audio. Time advances; no log-mel column spans the gap.

        The current hop is dropped. Smoothing continues, unless the gap is longer than the smoothed hops.
        """
        if not 0 <= seconds <= MAX_SECONDS:
            raise RuntimeFailure("stream, gap", "invalid value", expected="seconds, 0 or more", got=seconds)
        self._gaps, self._lost_s = self._gaps + 1, self._lost_s + seconds
        self._start += round((self._pushed / self.rate_hz + seconds) * self._spec.sample_rate_hz)
        if seconds > self.smoothing.hops * self.hop_s:
            self._smoother = Smoother(self.smoothing)
        self._restart()

    def finish(self) -> list[SceneEvent]:
        """End the stream: return the events of the audio left in the resampler.

        An incomplete hop has no event, except the first one of at least 95 % of its length, completed with zeros.
        """
        self._finished, events = True, []
        if self._resampler is not None:
            events = self._events_of(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        first = self._hops + self._silent_hops + self._gaps == 0
        if first and is_one_clip(self._taken, self._first_needed):
            events += self._events_of(np.zeros(self._needed, np.float32))
        return events

    def events(self, pieces: Iterable[Samples | Gap]) -> Iterator[SceneEvent]:
        """The events of a sequence of pieces and gaps, as they complete, :meth:`finish` included."""
        for piece in pieces:
            if isinstance(piece, Gap):
                self.gap(piece.seconds)
            else:
                yield from self.push(piece)
        yield from self.finish()

    def _restart(self) -> None:
        """Start with a first window padded by reflection."""
        self._resampler = None
        if self.rate_hz != self._spec.sample_rate_hz:
            self._resampler = resampler(self.rate_hz, self._spec.sample_rate_hz)
        self._log_mel = self._classifier.log_mel.stream()
        self._columns: list[F32] = []  # (n_mels, k) each
        self._needed = self._first_needed  # samples until the next hop is complete
        self._pushed = 0  # samples at rate_hz
        self._taken = 0  # samples at the model's rate
        self._quiet = 0  # silent samples at the end

    @property
    def _first_needed(self) -> int:
        spec = self._spec
        if not self._overlaps:
            return spec.clip_samples
        return (spec.n_frames - 1) * spec.hop_length + spec.look_ahead_samples

    def _no_whole_columns(self) -> bool:
        return self._overlaps and self.hop_samples % self._spec.hop_length != 0

    def _events_of(self, mono: F32) -> list[SceneEvent]:
        events = []
        while len(mono):
            piece, mono = mono[: self._needed], mono[self._needed :]
            self._keep(self._log_mel.push(piece))
            loud = np.flatnonzero(np.abs(piece) > SILENT_PEAK)
            self._quiet = len(piece) - 1 - int(loud[-1]) if loud.size else self._quiet + len(piece)
            self._samples, self._taken = self._samples + len(piece), self._taken + len(piece)
            self._needed -= len(piece)
            if self._needed == 0:
                events += self._complete_hop()
        return events

    def _keep(self, columns: F32) -> None:
        self._columns.append(columns)
        self._columns_made += columns.shape[1]

    def _complete_hop(self) -> list[SceneEvent]:
        """The event of the hop that is complete now, if it has one; prepare for the next hop."""
        if not self._overlaps:
            self._keep(self._log_mel.flush())
            self._log_mel = self._classifier.log_mel.stream()
        log_mel = np.concatenate(self._columns, axis=1)
        kept = self._spec.n_frames - self.hop_samples // self._spec.hop_length
        self._columns = [log_mel[:, -kept:]] if self._overlaps else []
        self._needed = self.hop_samples
        if self._quiet >= self._spec.clip_samples:
            self._silent_hops += 1
            return []
        self._hops += 1
        index = self._smoother.add(self._classifier.scores(log_mel))
        label, scores = self._classifier.labels[index], self._smoother.scores
        changed, self._label = label != self._label, label
        time_s = (self._start + self._taken) / self._spec.sample_rate_hz
        return [SceneEvent(time_s, label, float(scores[index]), tuple(scores.tolist()), changed)]


def _hop_samples(hop_s: float, spec: FrontendSpec) -> int:
    """The hop in samples; 0, which is refused, for what is no number of seconds up to a clip."""
    longest_s = spec.clip_samples / spec.sample_rate_hz
    is_number = isinstance(hop_s, (int, float, np.integer, np.floating)) and not isinstance(hop_s, bool)
    return round(hop_s * spec.sample_rate_hz) if is_number and 0 < hop_s <= longest_s + 1e-9 else 0
