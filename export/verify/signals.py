"""Test signals from samples to codes: a target's own front end compared with the runtime's where both are integers.

Two clips hold silence, an impulse, full scale, DC, a chirp and noise at three levels, so that even the slowest emulated
processor takes seconds. A front end in float arithmetic is compared on the clips of the user's data alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinyscene.runtime.arrays import I8, I16
from tinyscene.runtime.audio import to_int16
from tinyscene.runtime.bundle import Bundle
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.spec import FrontendSpec

from ..labelled.codes import FrontEnd
from ..labelled.once import Once
from ..targets.audio_inputs import runtime_front_end
from .results import FrontEndComparison

NOISE_LEVELS_DB = (0, -40, -70)


def test_clips(spec: FrontendSpec) -> I16:
    """Two clips int16 (2, clip_samples), each of four signals."""
    n, rng = spec.clip_samples // 4, np.random.default_rng(0)
    seconds = np.arange(n) / spec.sample_rate_hz
    chirp = np.sin(np.pi * spec.sample_rate_hz / 2 * seconds * seconds / max(seconds[-1], 1e-9))
    signals = [
        np.zeros(n),
        np.where(np.arange(n) == n // 2, 1.0, 0.0),
        np.where(rng.random(n) < 0.5, -1.0, 1.0),
        np.full(n, -1.0),
        chirp,
        *(rng.normal(0.0, 10.0 ** (level / 20), n) for level in NOISE_LEVELS_DB),
    ]
    clips = np.zeros((2, spec.clip_samples), np.float32)
    clips[:, : 4 * n] = np.concatenate(signals).reshape(2, -1)
    return np.stack([to_int16(clip) for clip in clips])


@dataclass(eq=False)
class Signals:
    """The test signals of one front end, and their codes by each front end that they have gone through."""

    spec: FrontendSpec
    quant: Quant
    _codes: Once[FrontEnd, I8] = field(default_factory=Once)

    @staticmethod
    def of(bundle: Bundle) -> Signals | None:
        """None unless the bundle's front end is in integer arithmetic."""
        if bundle.frontend is None or bundle.frontend.arithmetic != "integer":
            return None
        return Signals(bundle.frontend, bundle.graph.tensors[bundle.graph.input].quant)

    def through(self, front_end: FrontEnd) -> FrontEndComparison:
        """Compare the codes of a target's front end with the runtime's; each computes them once."""
        return FrontEndComparison.of(self._codes_of(front_end), self._codes_of(runtime_front_end))

    def _codes_of(self, front_end: FrontEnd) -> I8:
        return self._codes.get(front_end, lambda: front_end(self.spec, self.quant, test_clips(self.spec)))
