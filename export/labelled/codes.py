"""Labelled clips as targets meet them: network inputs, what was said of them, and the sounds they came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tinyscene.runtime.arith import Rounding
from tinyscene.runtime.arrays import I8, I16
from tinyscene.runtime.engines import NumpyEngine
from tinyscene.runtime.graph import Graph, Quant
from tinyscene.runtime.spec import FrontendSpec
from tinyscene.training.data.tau22 import Rows

FrontEnd = Callable[[FrontendSpec, Quant, I16], I8]  # waveforms (n, samples) to codes (n, mel, time, 1)


@dataclass(frozen=True, eq=False)
class Sounds:
    """The clips themselves: waveforms int16 (n, samples) at the rate of the front end."""

    waveforms: I16 | Rows
    frontend: FrontendSpec


@dataclass(frozen=True, eq=False)
class LabelledCodes:
    """Network inputs of labelled clips, for accuracy on every target.

    ``codes`` int8 (n, H, W, C); ``labels`` int (n,), or None for clips that show no scene of the model, of which only
    the agreement is measured; ``float_labels`` int (n,): what the float network answers; ``devices`` str (n,): what
    each was recorded with. ``sounds``, where they are at hand, are for targets with a front end of their own.
    """

    codes: I8
    labels: np.ndarray | None
    float_labels: np.ndarray
    devices: np.ndarray
    data: str
    sounds: Sounds | None = None
    _oracle: dict[Rounding, I8] = field(default_factory=dict)
    _samples: dict[tuple[int, int], LabelledCodes] = field(default_factory=dict)
    _heard: dict[FrontEnd, I8] = field(default_factory=dict)

    def take(self, rows: np.ndarray) -> LabelledCodes:
        labels = None if self.labels is None else self.labels[rows]
        oracle = {rounding: scores[rows] for rounding, scores in self._oracle.items()}
        parts = (self.float_labels[rows], self.devices[rows])
        sounds = self.sounds and Sounds(Rows(self.sounds.waveforms, rows), self.sounds.frontend)
        return LabelledCodes(self.codes[rows], labels, *parts, self.data, sounds, oracle)

    def oracle(self, graph: Graph, rounding: Rounding) -> I8:
        """The graph's own output codes (n, ...), computed once."""
        if rounding not in self._oracle:
            self._oracle[rounding] = NumpyEngine(graph, rounding).output_codes(self.codes)
        return self._oracle[rounding]

    def heard(self, front_end: FrontEnd | None, graph: Graph) -> I8:
        """The network's inputs as a target's own front end makes them, computed once; ``codes`` if it has none."""
        if front_end is None or self.sounds is None:
            return self.codes
        if front_end not in self._heard:
            quant = graph.tensors[graph.input].quant
            self._heard[front_end] = front_end(self.sounds.frontend, quant, np.asarray(self.sounds.waveforms))
        return self._heard[front_end]

    def sample(self, count: int, seed: int = 0) -> LabelledCodes:
        """At most ``count`` clips, the same share of every label; drawn once, so that what is known of them is kept."""
        if len(self.codes) <= count:
            return self
        if (count, seed) not in self._samples:
            self._samples[count, seed] = self._drawn(count, seed)
        return self._samples[count, seed]

    def _drawn(self, count: int, seed: int) -> LabelledCodes:
        labels = self.float_labels if self.labels is None else self.labels
        rng = np.random.default_rng(seed)
        shuffled = rng.permutation(len(labels))
        rank = np.zeros(len(labels), np.int64)  # how many of its label stand before each clip
        for label in np.unique(labels):
            mine = shuffled[labels[shuffled] == label]
            rank[mine] = np.arange(len(mine))
        rows = np.sort(shuffled[np.argsort(rank[shuffled], kind="stable")][:count])
        return self.take(rows)
