"""Scenes from audio without an end: pieces of any length in, an event per hop out.

However the audio is cut, the events are the same, and each log-mel column is computed once. As in firmware
(``firmware_harness/c/scene/ts_scene.h``): with a hop as long as the clip that the network sees, each clip stands for
itself, mirrored at both ends, as :meth:`tinyscene.runtime.classify.SceneClassifier.classify` does it; with a shorter
hop, clips overlap and share their columns, only the first is mirrored at its start, and an answer comes half a window
later.

Time is counted in samples and in what :meth:`SceneStream.gap` is told, so it does not drift in hours. A hop of digital
silence, as from a muted microphone, has no scene: it is counted and gives no event.
Refuses hops that are no whole number of columns, samples that are not numbers, and audio after the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .arrays import F32
from .audio import Samples, mono_float32, resampler
from .errors import RuntimeFailure
from .smoothing import Smoother, Smoothing

if TYPE_CHECKING:
    from .classify import SceneClassifier

SILENT_PEAK = 2 / 32768  # two steps of 16 bits: dither and offset of a muted input stay below


@dataclass(frozen=True)
class SceneEvent:
    """What is heard up to ``time_s``, seconds of audio since the stream began, gaps included.

    ``scores`` are smoothed and add up to 1, in the order of the bundle's labels; ``label`` is the held one,
    ``probability`` its score, and ``changed`` says that the event before had another one, or that there was none.
    """

    time_s: float
    label: str
    probability: float
    scores: tuple[float, ...]
    changed: bool


@dataclass(frozen=True)
class Gap:
    """In place of a piece of audio: so many seconds of it were lost."""

    seconds: float


@dataclass(frozen=True)
class StreamHealth:
    """What a stream went through. ``samples`` are at the model's rate."""

    samples: int = 0
    hops: int = 0  # with an event
    silent_hops: int = 0  # without one
    columns: int = 0  # of log-mel, each computed once
    gaps: int = 0
    lost_s: float = 0.0


class SceneStream:
    """One listener on a classifier; made by :meth:`tinyscene.runtime.classify.SceneClassifier.stream`.

    Several streams may share a classifier, also from several threads; one stream belongs to one thread at a time.
    Memory is constant: one network input, one window, and the piece at hand.
    """

    def __init__(
        self, classifier: SceneClassifier, rate_hz: int, hop_s: float | None, smoothing: Smoothing | None = None
    ) -> None:
        spec = classifier.frontend
        self._classifier, self._spec, self.rate_hz = classifier, spec, rate_hz
        self.hop_samples = spec.clip_samples if hop_s is None else round(hop_s * spec.sample_rate_hz)
        self._overlaps = self.hop_samples < spec.clip_samples
        if self.hop_samples < 1 or self.hop_samples > spec.clip_samples or self._no_whole_columns():
            raise RuntimeFailure(
                "stream, hop_s",
                "not possible with this front end",
                expected=f"{spec.clip_samples / spec.sample_rate_hz:g} s, or a multiple of "
                f"{spec.hop_length / spec.sample_rate_hz:g} s below",
                got=hop_s,
            )
        self.smoothing = smoothing or Smoothing()
        self._smoother = Smoother(self.smoothing)
        self._began = 0  # samples of the model's rate from the start to the last gap's end, lost ones included
        self._label = ""
        self._samples = self._hops = self._silent_hops = self._columns_made = self._gaps = 0
        self._lost_s = 0.0
        self._finished = False
        self._restart()

    @property
    def hop_s(self) -> float:
        """Seconds from event to event, which is the longest that a sample waits for the first event that counts it.

        The resampler, where the rates differ, holds up to 60 ms more back; the time that computing takes comes on top
        and is what ``tinyscene bench`` measures.
        """
        return self.hop_samples / self._spec.sample_rate_hz

    @property
    def first_event_s(self) -> float:
        """Seconds of audio before the first event: a clip, and where clips overlap, the end of its last window."""
        return self._first_needed / self._spec.sample_rate_hz

    @property
    def health(self) -> StreamHealth:
        return StreamHealth(
            self._samples, self._hops, self._silent_hops, self._columns_made, self._gaps, round(self._lost_s, 6)
        )

    def push(self, samples: Samples) -> list[SceneEvent]:
        """Take a piece of any length, (n,) or (n, channels), floats in [-1, 1] or int16; return the events it brings.

        Raises RuntimeFailure, leaving the stream as it was, for other types and for samples that are not numbers.
        """
        if self._finished:
            raise RuntimeFailure("stream", "push after finish", next_step="open a new stream")
        mono = mono_float32(samples)
        self._pushed += len(mono)
        return self._heard(mono if self._resampler is None else self._resampler.resample_chunk(mono))

    def gap(self, seconds: float) -> None:
        """Say that so much audio was lost here. The clock goes on; no log-mel column spans the gap.

        The hop under way is dropped. Smoothing goes on, unless the gap is longer than smoothing looks back.
        """
        if not seconds >= 0:
            raise RuntimeFailure("stream, gap", "not possible", expected="seconds, 0 or more", got=seconds)
        self._gaps, self._lost_s = self._gaps + 1, self._lost_s + seconds
        self._began += round((self._pushed / self.rate_hz + seconds) * self._spec.sample_rate_hz)
        if seconds > self.smoothing.hops * self.hop_s:
            self._smoother = Smoother(self.smoothing)
        self._restart()

    def finish(self) -> list[SceneEvent]:
        """End of the audio: what the resampler still kept. A hop that is not whole brings no event."""
        self._finished = True
        if self._resampler is None:
            return []
        return self._heard(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))

    def events(self, pieces: Iterable[Samples | Gap]) -> Iterator[SceneEvent]:
        """The events of a whole sequence of pieces and gaps, as they come, :meth:`finish` included."""
        for piece in pieces:
            if isinstance(piece, Gap):
                self.gap(piece.seconds)
            else:
                yield from self.push(piece)
        yield from self.finish()

    def _restart(self) -> None:
        """Begin with a mirrored first window."""
        self._resampler = None
        if self.rate_hz != self._spec.sample_rate_hz:
            self._resampler = resampler(self.rate_hz, self._spec.sample_rate_hz)
        self._log_mel = self._classifier.log_mel.stream()
        self._columns: list[F32] = []  # (n_mels, k) each
        self._needed = self._first_needed  # samples until the next answer
        self._pushed = 0  # samples at rate_hz
        self._taken = 0  # samples at the model's rate
        self._quiet = 0  # of them, how many at the end are silent

    @property
    def _first_needed(self) -> int:
        spec = self._spec
        if not self._overlaps:
            return spec.clip_samples
        return (spec.n_frames - 1) * spec.hop_length + spec.look_ahead_samples

    def _no_whole_columns(self) -> bool:
        return self._overlaps and self.hop_samples % self._spec.hop_length != 0

    def _heard(self, mono: F32) -> list[SceneEvent]:
        events = []
        while len(mono):
            piece, mono = mono[: self._needed], mono[self._needed :]
            self._keep(self._log_mel.push(piece))
            loud = np.flatnonzero(np.abs(piece) > SILENT_PEAK)
            self._quiet = len(piece) - 1 - int(loud[-1]) if loud.size else self._quiet + len(piece)
            self._samples, self._taken = self._samples + len(piece), self._taken + len(piece)
            self._needed -= len(piece)
            if self._needed == 0:
                events += self._answer()
        return events

    def _keep(self, columns: F32) -> None:
        self._columns.append(columns)
        self._columns_made += columns.shape[1]

    def _answer(self) -> list[SceneEvent]:
        """The event that is due now, if this hop has one; get ready for the next hop."""
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
        time_s = (self._began + self._taken) / self._spec.sample_rate_hz
        return [SceneEvent(time_s, label, float(scores[index]), tuple(scores.tolist()), changed)]
