"""Test signals for a front end, and the input scale of a typical trained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tinyscene.runtime.arith import quantise
from tinyscene.runtime.arrays import I8, I16, INT16_FULL_SCALE
from tinyscene.runtime.audio import to_int16
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.integer_log_mel import open_log_mel
from tinyscene.runtime.spec import FrontendSpec

NOISE_LEVELS_DB = (0, -20, -40, -60, -80)  # full scale is four standard deviations at 0 dB


def typical_quant(spec: FrontendSpec) -> Quant:
    """Digital silence is the lowest code, ln(power) = 10 the highest: for cpm23 from -1.40 to 2.90."""
    high = (10.0 - spec.norm_mean) / spec.norm_std
    scale = (high - spec.floor) / 255
    return Quant.per_tensor(scale, round(-128 - spec.floor / scale))


def synthetic(spec: FrontendSpec) -> dict[str, I16]:
    """Clips of int16 (clip_samples,)."""
    n, rng = spec.clip_samples, np.random.default_rng(0)
    t = np.arange(n) / spec.sample_rate_hz
    seconds = n / spec.sample_rate_hz
    signals = {
        "silence": np.zeros(n),
        "square": np.where(np.sin(2 * np.pi * 440 * t) >= 0, 1.0, -1.0),
        "DC": np.full(n, 0.4),
        "chirp": 0.5 * np.sin(2 * np.pi * (50 * t + (spec.sample_rate_hz / 4 - 50) / seconds * t**2)),
        "impulse": np.where(np.arange(n) == n // 2, 1.0, 0.0),
    }
    for level in NOISE_LEVELS_DB:
        signals[f"noise {level} dB"] = rng.normal(0.0, 0.25 * 10 ** (level / 20), n)
    return {name: to_int16(samples.astype(np.float32)) for name, samples in signals.items()}


def recorded(spec: FrontendSpec, shared_data: Path) -> dict[str, I16]:
    """The middle of every tenth recording of ESC-10 and Taipei, taken as if at the front end's sample rate."""
    clips = {}
    for folder, step in (("taipei", 5), ("esc10", 50)):
        for path in sorted((shared_data / folder / "audio").rglob("*.*"))[::step]:
            audio, _ = soundfile.read(path, dtype="float32", always_2d=True)
            start = max(0, (len(audio) - spec.clip_samples) // 2)
            clip = audio[start : start + spec.clip_samples, 0]
            if len(clip) == spec.clip_samples:
                clips[path.stem] = to_int16(clip)
    return clips


def expected_codes(spec: FrontendSpec, quant: Quant, samples: I16) -> I8:
    """Codes that NumPy computes for the same samples, int8 (n_mels, n)."""
    return quantise(open_log_mel(spec, quant)(samples.astype(np.float32) / np.float32(INT16_FULL_SCALE)), quant)


def distance(codes: I8, expected: I8) -> tuple[float, int]:
    """Share of equal codes, and the largest difference."""
    assert codes.shape == expected.shape
    difference = np.abs(codes.astype(np.int32) - expected)
    return float((difference == 0).mean()), int(difference.max())
