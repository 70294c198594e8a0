"""Audio to scene: a bundle and an engine, hop by hop, with the time each stage takes.

A hop is one network input of audio, without overlap; what is left at the end of a file is covered by one more hop
that ends with the file. Refuses audio shorter than one network input.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .arith import I8, dequantise, quantise
from .audio import F32, AudioReader, mix_down, resample
from .bundle import Bundle, read_bundle
from .engines import Engine, open_engine
from .errors import RuntimeFailure
from .frontend import LogMel


@dataclass(frozen=True)
class StageTimes:
    """Seconds of wall-clock time spent on one hop."""

    read_s: float  # reading, mixing down and resampling
    log_mel_s: float
    network_s: float


@dataclass(frozen=True)
class Hop:
    """One network input's answer. ``scores`` add up to 1, in the order of the bundle's labels."""

    start_s: float
    label: str
    scores: tuple[float, ...]
    times: StageTimes


class SceneClassifier:
    """A bundle with one engine, ready to listen."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle, self.engine, self.labels = bundle, engine, bundle.labels
        self.frontend = bundle.frontend
        self._log_mel = LogMel(bundle.frontend)
        self._input = bundle.graph.tensors[bundle.graph.input]
        self._output = bundle.graph.tensors[bundle.graph.output]

    @staticmethod
    def open(bundle: Path | Bundle, engine: str = "litert") -> SceneClassifier:
        """Open a bundle (its folder, or one that is read already) with the engine of that name."""
        opened = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
        return SceneClassifier(opened, open_engine(engine, opened))

    def codes(self, log_mel: F32) -> I8:
        """The network's input for float32 log-mel (n_mels, n_frames): int8 (1, n_mels, n_frames, 1)."""
        return quantise(log_mel, self._input.quant).reshape(1, *self._input.shape[1:])

    def scores(self, log_mel: F32) -> F32:
        """Softmax over the network's real-valued answer to one log-mel (n_mels, n_frames), float32 (labels,)."""
        logits = dequantise(self.engine.output_codes(self.codes(log_mel)), self._output.quant)
        return softmax(logits.reshape(-1))

    def classify(self, samples: npt.NDArray[np.floating], sample_rate_hz: int) -> list[Hop]:
        """Hops of samples in [-1, 1], (n,) or (n, channels), at any rate.

        Raises RuntimeFailure for samples shorter than one network input or not finite.
        """
        mono = resample(mix_down(np.asarray(samples, np.float32)), sample_rate_hz, self.frontend.sample_rate_hz)
        clip = self.frontend.clip_samples
        return list(self._hops((mono[at : at + clip] for at in range(0, len(mono), clip)), "samples"))

    def classify_file(self, reader: AudioReader | Path) -> Iterator[Hop]:
        """Hops of an audio file, as they are computed, in constant memory.

        Raises RuntimeFailure for what :mod:`runtime.audio` refuses and for files shorter than one network input.
        """
        if isinstance(reader, Path):
            with AudioReader(reader, self.frontend.sample_rate_hz) as opened:
                yield from self.classify_file(opened)
            return
        if reader.info.seconds < self._clip_s:
            raise self._too_short(str(reader.path), reader.info.seconds)
        yield from self._hops(reader.blocks(self.frontend.clip_samples), str(reader.path))

    def n_hops(self, seconds: float) -> int:
        """How many hops a recording of that length has."""
        return int(np.ceil(round(seconds * self.frontend.sample_rate_hz) / self.frontend.clip_samples))

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
        begin = time.perf_counter()
        log_mel = self._log_mel(clip)
        middle = time.perf_counter()
        scores = self.scores(log_mel)
        times = StageTimes(read_s, middle - begin, time.perf_counter() - middle)
        return Hop(start_s, self.labels[int(np.argmax(scores))], tuple(scores.tolist()), times)

    def _too_short(self, where: str, seconds: float) -> RuntimeFailure:
        return RuntimeFailure(
            where,
            "too short for this model",
            expected=f"at least {self._clip_s:g} s",
            got=f"{seconds:g} s",
            next_step="use a longer recording",
        )


def softmax(logits: F32) -> F32:
    """Softmax over the last axis, float32."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    scores: F32 = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores
