"""Ten acoustic scenes as distributions over places: sounds, their levels, and the room.

A place is one draw of levels, pitches and room, a recording of it one draw of events. The scenes overlap: they differ
in the probability and level of sounds, rarely in which sounds can occur.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyscene.runtime.arrays import F32, F64

from .sounds import RATE_HZ, SOUNDS, normalised

LEVEL_SPREAD_DB = 3.0  # between places of one scene
LOUDNESS_SPREAD_DB = 4.0  # of a whole place


@dataclass(frozen=True)
class Scene:
    """Range of reverberation times in seconds, level of reverberation, and (probability, level in dB) of each sound."""

    rt60_s: tuple[float, float]
    wet: float
    sounds: dict[str, tuple[float, float]]


SCENES: dict[str, Scene] = {
    "airport": Scene(
        (1.3, 2.8),
        0.6,
        {
            "air": (1.0, -10),
            "ventilation": (0.9, -6),
            "babble": (0.9, -7),
            "announcement": (0.75, -4),
            "rolling_cases": (0.85, -5),
            "footsteps": (0.5, -12),
            "beeps": (0.3, -14),
        },
    ),
    "bus": Scene(
        (0.1, 0.3),
        0.2,
        {
            "air": (1.0, -14),
            "diesel": (1.0, 0),
            "passing_cars": (0.3, -12),
            "babble": (0.3, -13),
            "speech": (0.4, -10),
            "beeps": (0.35, -12),
            "announcement": (0.2, -11),
        },
    ),
    "metro": Scene(
        (0.3, 0.7),
        0.35,
        {
            "air": (1.0, -12),
            "metro_motor": (1.0, 0),
            "rail_joints": (0.85, -3),
            "squeal": (0.25, -12),
            "ventilation": (0.5, -9),
            "babble": (0.3, -14),
            "announcement": (0.3, -9),
        },
    ),
    "metro_station": Scene(
        (1.0, 2.4),
        0.65,
        {
            "air": (1.0, -10),
            "ventilation": (0.7, -9),
            "metro_motor": (0.75, -4),
            "squeal": (0.5, -7),
            "babble": (0.6, -10),
            "footsteps": (0.75, -6),
            "announcement": (0.4, -6),
            "beeps": (0.5, -9),
        },
    ),
    "park": Scene(
        (0.05, 0.25),
        0.1,
        {
            "air": (1.0, -9),
            "wind": (0.8, -4),
            "birds": (0.95, -3),
            "passing_cars": (0.35, -13),
            "speech": (0.3, -13),
            "footsteps": (0.35, -14),
            "fountain": (0.15, -13),
        },
    ),
    "public_square": Scene(
        (0.3, 0.9),
        0.3,
        {
            "air": (1.0, -8),
            "wind": (0.4, -9),
            "babble": (0.85, -5),
            "footsteps": (0.45, -12),
            "birds": (0.3, -10),
            "passing_cars": (0.5, -9),
            "fountain": (0.7, -4),
            "bell": (0.2, -12),
        },
    ),
    "shopping_mall": Scene(
        (0.5, 1.6),
        0.45,
        {
            "air": (1.0, -10),
            "ventilation": (0.7, -9),
            "babble": (0.95, -5),
            "music": (0.85, -3),
            "beeps": (0.45, -10),
            "footsteps": (0.6, -11),
            "announcement": (0.15, -11),
        },
    ),
    "street_pedestrian": Scene(
        (0.2, 0.7),
        0.25,
        {
            "air": (1.0, -9),
            "footsteps": (1.0, -1),
            "babble": (0.55, -9),
            "speech": (0.6, -7),
            "passing_cars": (0.3, -12),
            "wind": (0.3, -12),
            "music": (0.15, -13),
        },
    ),
    "street_traffic": Scene(
        (0.15, 0.6),
        0.2,
        {
            "air": (1.0, -9),
            "passing_cars": (1.0, 0),
            "diesel": (0.25, -9),
            "wind": (0.35, -11),
            "footsteps": (0.3, -13),
            "birds": (0.15, -14),
            "speech": (0.2, -14),
        },
    ),
    "tram": Scene(
        (0.15, 0.5),
        0.2,
        {
            "air": (1.0, -12),
            "tram_motor": (1.0, 0),
            "rail_joints": (0.4, -9),
            "squeal": (0.5, -7),
            "bell": (0.6, -4),
            "speech": (0.4, -10),
            "passing_cars": (0.3, -11),
            "beeps": (0.2, -14),
        },
    ),
}


def record_place(scene: str, seconds: int, rng: np.random.Generator) -> F32:
    """A continuous recording of a new place of ``scene``: float32 (seconds * 44,100,) in [-1, 1]."""
    kind = SCENES[scene]
    n = seconds * RATE_HZ
    mix = np.zeros(n)
    for name, (probability, level_db) in kind.sounds.items():
        if rng.random() < probability:
            level = level_db + rng.normal(0, LEVEL_SPREAD_DB)
            mix += 10 ** (level / 20) * SOUNDS[name](rng, n)
    rt60 = float(rng.uniform(*kind.rt60_s))
    wet = kind.wet * float(rng.uniform(0.6, 1.3))
    mix = normalised(mix) + wet * normalised(reverberated(mix, rt60, rng))
    loudness_db = -24 + rng.normal(0, LOUDNESS_SPREAD_DB)
    return np.clip(normalised(mix) * 10 ** (loudness_db / 20), -1, 1).astype(np.float32)


def reverberated(dry: F64, rt60_s: float, rng: np.random.Generator) -> F64:
    """``dry`` in a diffuse room whose energy decays by 60 dB in ``rt60_s`` (high frequencies faster), same length."""
    taps = int(min(rt60_s, 2.0) * RATE_HZ)
    t = np.arange(taps) / RATE_HZ
    noise = rng.standard_normal((2, taps))
    dull = np.convolve(noise[0], np.ones(12) / 12, mode="same") * 3
    tail = dull * 10 ** (-3 * t / rt60_s) + noise[1] * 10 ** (-3 * t / (0.4 * rt60_s)) * 0.5
    size = 1 << (len(dry) + taps - 2).bit_length()
    wet: F64 = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(tail, size), size)[: len(dry)]
    return wet
