"""A small front end, labels, and noise of varying loudness, for the tests of classification."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyscene.runtime.spec import preset

RATE = 32_000
LABELS = tuple(f"scene_{i}" for i in range(10))
FRONTEND = replace(preset("cpm23"), name="small", n_mels=20, hop_length=2400)


def noise(seed, samples):
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0.001, 0.5, samples // 4000 + 1), 4000)[:samples]
    return (rng.standard_normal(samples) * envelope).astype(np.float32)
