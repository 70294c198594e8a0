"""Labelled clips as inputs of the targets: network inputs, labels, predictions, and the waveforms they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8, I16, I64
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.spec import FrontendSpec
from tinyscene.training.data.tau22 import Rows

from .once import Once

FrontEnd = Callable[[FrontendSpec, Quant, I16], I8]  # waveforms (n, samples) to codes (n, mel, time, 1)


@dataclass(frozen=True, eq=False)
class Waveforms:
    """Waveforms int16 (n, samples) at the sample rate of the front end."""

    samples: I16 | Rows
    frontend: FrontendSpec


@dataclass(frozen=True, eq=False)
class LabelledCodes:
    """Network inputs of labelled clips, for accuracy on every target.

    Attributes:
        codes: network inputs int8 (n, H, W, C).
        labels: label indices (n,); None for clips of other scenes than the model's, which only show agreement.
        float_labels: predictions (n,) of the float network.
        devices: recording device (n,) of each clip.
        data: description of the clips.
        audio: the waveforms, if available, for targets with a front end of their own.
    """

    codes: I8
    labels: I64 | None
    float_labels: I64
    devices: npt.NDArray[np.str_]
    data: str
    audio: Waveforms | None = None
    _oracle: Once[Rounding, I8] = field(default_factory=Once)
    _samples: Once[tuple[int, int], LabelledCodes] = field(default_factory=Once)
    _target_inputs: Once[FrontEnd, I8] = field(default_factory=Once)

    def take(self, rows: I64) -> LabelledCodes:
        """The clips at these row numbers, with the outputs computed so far."""
        labels = None if self.labels is None else self.labels[rows]
        oracle = {rounding: scores[rows] for rounding, scores in self._oracle.ready().items()}
        parts = (self.float_labels[rows], self.devices[rows])
        audio = self.audio and Waveforms(Rows(self.audio.samples, rows), self.audio.frontend)
        return LabelledCodes(self.codes[rows], labels, *parts, self.data, audio, Once(oracle))

    def oracle(self, graph: Graph, rounding: Rounding) -> I8:
        """The output codes (n, ...) of the NumPy interpreter, computed once."""
        return self._oracle.get(rounding, lambda: NumpyEngine(graph, rounding).output_codes(self.codes))

    def inputs_of(self, front_end: FrontEnd | None, graph: Graph) -> I8:
        """The network's inputs computed by a target's own front end, once; ``codes`` if it has none."""
        if front_end is None or self.audio is None:
            return self.codes
        quant, audio = graph.tensors[graph.input].quant, self.audio
        return self._target_inputs.get(front_end, lambda: front_end(audio.frontend, quant, np.asarray(audio.samples)))

    def sample(self, count: int, seed: int = 0) -> LabelledCodes:
        """At most ``count`` clips, the same share of every label; the sample of a seed is drawn once and reused."""
        if len(self.codes) <= count:
            return self
        return self._samples.get((count, seed), lambda: self._drawn(count, seed))

    def _drawn(self, count: int, seed: int) -> LabelledCodes:
        labels = self.float_labels if self.labels is None else self.labels
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(len(labels))
        rank = np.zeros(len(labels), np.int64)  # number of earlier clips with the same label
        for label in np.unique(labels):
            same_label = shuffled[labels[shuffled] == label]
            rank[same_label] = np.arange(len(same_label))
        rows = np.sort(shuffled[np.argsort(rank[shuffled], kind="stable")][:count])
        return self.take(rows)
