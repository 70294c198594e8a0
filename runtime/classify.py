"""Classify recordings with a model and an engine, hop by hop, with the time of each stage.

A hop is one network input of audio, without overlap; the rest at the end of a recording is covered by one more hop
that ends with it. A recording within 5 % of one input (:func:`tinyscene.runtime.limits.is_one_clip`) is one hop. A hop
of digital silence has no scene, as in :mod:`tinyscene.runtime.stream`, which classifies continuous audio. Results are
deterministic. Refuses shorter audio.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .arith import quantise
from .arrays import F32, I8
from .audio import AudioReader, Samples, checked_float32, fit_to_clip, resample
from .bundle import read_bundle
from .engines import Engine, open_engine
from .errors import RuntimeFailure
from .integer_log_mel import open_log_mel
from .limits import SILENT_PEAK, checked_rate, is_one_clip
from .model import AudioModel, Model, with_frontend
from .scores import scores_of
from .smoothing import Smoothing
from .sound_levels import MixDown
from .stream import SceneStream


@dataclass(frozen=True)
class StageTimes:
    """Seconds of wall-clock time spent on one hop."""

    read_s: float  # reading, mixing down and resampling
    log_mel_s: float
    network_s: float


@dataclass(frozen=True)
class Hop:
    """Result for one network input. ``scores`` add up to 1, in the order of the model's labels.

    Digital silence has no scene: ``label`` is None, and ``scores`` is empty.
    """

    start_s: float
    label: str | None
    scores: tuple[float, ...]
    times: StageTimes


@dataclass(frozen=True)
class Classification:
    """Result for a whole recording: mean ``scores`` of its hops, in the order of the model's labels, and the best.

    Silent hops do not count. If all are silent, ``label`` is None, ``probability`` 0, and ``scores`` is empty.
    """

    label: str | None
    probability: float
    scores: tuple[float, ...]
    hops: tuple[Hop, ...]

    @staticmethod
    def of(labels: Sequence[str], hops: Sequence[Hop]) -> Classification:
        """The classification of a recording from its hops, one or more."""
        sounding = [hop.scores for hop in hops if hop.label is not None]
        if not sounding:
            return Classification(None, 0.0, (), tuple(hops))
        mean = [sum(column) / len(sounding) for column in zip(*sounding, strict=True)]
        return Classification(labels[mean.index(max(mean))], max(mean), tuple(mean), tuple(hops))

    @property
    def silent_hops(self) -> int:
        """Number of hops without a scene."""
        return sum(hop.label is None for hop in self.hops)


class SceneClassifier:
    """A model opened with one engine. Threads may share it: the engine runs one input at a time.

    >>> classifier = SceneClassifier.open(bundle)
    >>> samples = np.random.default_rng(0).normal(0.0, 0.1, 88_200)  # two seconds, mono, in [-1, 1]
    >>> result = classifier.classify(samples, 44_100)
    >>> result.label in classifier.labels, len(result.hops)
    (True, 2)

    A stream takes pieces of audio as they arrive, here a tenth of a second each, and returns an event every 0.6 s:

    >>> stream = classifier.stream(44_100, hop_s=0.6)
    >>> for piece in np.split(samples, 20):
    ...     for event in stream.push(piece):
    ...         print(f"{event.time_s:.2f} s", event.label in classifier.labels, event.changed)
    1.02 s True True
    1.62 s True False
    """

    def __init__(self, model: AudioModel, engine: Engine) -> None:
        self.model, self.engine, self.labels = model, engine, model.labels
        self.frontend = model.frontend
        self._input = model.graph.tensors[model.graph.input]
        self.log_mel = open_log_mel(model.frontend, self._input.quant)
        self._one_at_a_time = threading.Lock()  # interpreters keep their tensors between set, invoke and get

    @staticmethod
    def open(model: Path | str | Model, engine: str = "litert", threads: int = 1) -> SceneClassifier:
        """Open a model (the folder of a bundle, or a :class:`Model`) with the named engine.

        Raises RuntimeFailure for a changed bundle, a model without a front end, an unknown engine, an engine whose
        package is not installed, and a number of threads that is not 1 to 256.
        """
        opened = with_frontend(read_bundle(model) if isinstance(model, Path | str) else model)
        return SceneClassifier(opened, open_engine(engine, opened, threads))

    def codes(self, log_mel: F32) -> I8:
        """Network input, int8 (1, n_mels, n_frames, 1), for a float32 log-mel (n_mels, n_frames)."""
        return quantise(log_mel, self._input.quant).reshape(1, *self._input.shape[1:])

    def scores(self, log_mel: F32) -> F32:
        """Scores of one log-mel (n_mels, n_frames), float32 (labels,), see :mod:`tinyscene.runtime.scores`."""
        codes = self.codes(log_mel)
        with self._one_at_a_time:
            output = self.engine.output_codes(codes)
        return scores_of(self.model.graph, output).reshape(-1)

    def classify(self, samples: Samples, rate_hz: int) -> Classification:
        """Classify samples, (n,) or (n, channels), floats in [-1, 1] or int16, at 1 kHz to 768 kHz.

        Raises RuntimeFailure for any other rate, and for samples shorter than one network input, not finite, absurdly
        large, or of another type.
        """
        rate_hz = checked_rate("classify, rate_hz", rate_hz)
        frames, mix_down = checked_float32(samples), MixDown()
        pieces = [mix_down(frames[at : at + rate_hz]) for at in range(0, len(frames), rate_hz)]
        mono = resample(np.concatenate([np.zeros(0, np.float32), *pieces]), rate_hz, self.frontend.sample_rate_hz)
        clip = self.frontend.clip_samples
        if is_one_clip(len(mono), clip):
            mono = fit_to_clip(mono, clip)
        hops = self._hops((mono[at : at + clip] for at in range(0, len(mono), clip)), "samples")
        return Classification.of(self.labels, list(hops))

    def stream(self, rate_hz: int, hop_s: float | None = None, smoothing: Smoothing | None = None) -> SceneStream:
        """A new stream for audio that arrives in pieces at ``rate_hz``.

        Args:
            hop_s: seconds between events: one clip (the default) or a smaller multiple of the front end's hop.
            smoothing: the defaults of :class:`tinyscene.runtime.smoothing.Smoothing` if not given.

        Raises:
            RuntimeFailure: any other ``hop_s``, or a rate that is not 1 kHz to 768 kHz.
        """
        return SceneStream(self, rate_hz, hop_s, smoothing)

    def classify_file(self, reader: AudioReader | Path | str) -> Iterator[Hop]:
        """Hops of an audio file, as they are computed, in constant memory.

        Raises RuntimeFailure for what :mod:`tinyscene.runtime.audio` refuses and for files shorter than one network
        input.
        """
        if isinstance(reader, (Path, str)):
            with AudioReader(Path(reader), self.frontend.sample_rate_hz) as opened:
                yield from self.classify_file(opened)
            return
        clip = self.frontend.clip_samples
        if is_one_clip(reader.samples, clip):
            yield from self._hops((fit_to_clip(reader.whole(), clip) for _ in range(1)), str(reader.path))
            return
        if reader.samples < clip:
            raise self._too_short(str(reader.path), reader.info.seconds)
        yield from self._hops(reader.blocks(clip), str(reader.path))

    def n_hops(self, seconds: float) -> int:
        """Number of hops of a recording of that length."""
        samples = round(seconds * self.frontend.sample_rate_hz)
        if is_one_clip(samples, self.frontend.clip_samples):
            return 1
        return int(np.ceil(samples / self.frontend.clip_samples))

    @property
    def _clip_s(self) -> float:
        return self.frontend.clip_samples / self.frontend.sample_rate_hz

    def _hops(self, blocks: Iterable[F32], where: str) -> Iterator[Hop]:
        clip_samples, previous, end = self.frontend.clip_samples, np.zeros(0, np.float32), 0
        source = iter(blocks)
        while True:
            begin = time.perf_counter()
            block = next(source, None)
            read_s = time.perf_counter() - begin
            if block is None:
                break
            end += len(block)
            clip = np.concatenate([previous, block])[-clip_samples:]
            if len(clip) < clip_samples:
                raise self._too_short(where, len(clip) / self.frontend.sample_rate_hz)
            previous = clip
            yield self._hop(clip, (end - clip_samples) / self.frontend.sample_rate_hz, read_s)
        if end == 0:
            raise self._too_short(where, 0.0)

    def _hop(self, clip: F32, start_s: float, read_s: float) -> Hop:
        if np.abs(clip).max() <= SILENT_PEAK:
            return Hop(start_s, None, (), StageTimes(read_s, 0.0, 0.0))
        begin = time.perf_counter()
        log_mel = self.log_mel(clip)
        middle = time.perf_counter()
        scores = self.scores(log_mel)
        times = StageTimes(read_s, middle - begin, time.perf_counter() - middle)
        return Hop(start_s, self.labels[int(np.argmax(scores))], tuple(scores.tolist()), times)

    def _too_short(self, where: str, seconds: float) -> RuntimeFailure:
        return RuntimeFailure(
            where,
            "too short for this model",
            expected=f"at least {0.95 * self._clip_s:g} s",
            got=f"{seconds:g} s",
            next_step="use a longer recording",
        )
