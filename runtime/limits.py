"""Bounds of audio and of numbers that come from outside, checked before anything is allocated from them.

Refuses booleans, NaN and infinity, fractions where a count is expected, and values outside the bounds.
"""

from __future__ import annotations

import math
import operator
from typing import SupportsIndex

import numpy as np

from .arrays import INT16_FULL_SCALE, Bools
from .errors import RuntimeFailure

MIN_RATE_HZ = 1_000  # below it, nothing is left that a scene could be recognised by
MAX_RATE_HZ = 768_000  # the fastest recorders of ultrasound
MAX_CHANNELS = 64  # Ambisonics of the seventh order
MAX_SECONDS = 1e9  # 31 years
MAX_THREADS = 256
MAX_PEAK = 2.0**31  # full scale of 32-bit integers that are stored as floats
SILENT_PEAK = 2 / INT16_FULL_SCALE  # dither and offset of a muted 16-bit input stay below
CLIP_TOLERANCE = 20  # audio within 1/20 of a clip's length is one clip


def checked_rate(where: str, rate_hz: object) -> int:
    """A sampling rate in hertz; raises RuntimeFailure outside 1 kHz to 768 kHz and for anything but a whole number."""
    return whole_number(where, rate_hz, MIN_RATE_HZ, MAX_RATE_HZ, "Hz")


def checked_channels(where: str, channels: object) -> int:
    """A number of channels; raises RuntimeFailure outside 1 to 64."""
    return whole_number(where, channels, 1, MAX_CHANNELS, "channels")


def checked_seconds(where: str, seconds: object) -> float:
    """A duration in seconds; raises RuntimeFailure for NaN, infinity, and values that are not above 0."""
    number = isinstance(seconds, (int, float, np.integer, np.floating)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= MAX_SECONDS:  # type: ignore[operator]  # a number, but mypy sees an object
        raise RuntimeFailure(where, "invalid value", expected="seconds above 0", got=_shown(seconds))
    return float(seconds)  # type: ignore[arg-type]  # as above


def whole_number(where: str, value: object, low: int, high: int, unit: str) -> int:
    """``value`` as an int from ``low`` to ``high``; floats without a fraction are accepted, booleans are not.

    Raises:
        RuntimeFailure: any other value.
    """
    whole: int | None = None
    if isinstance(value, (float, np.floating)) and math.isfinite(value) and value == int(value):
        whole = int(value)
    elif isinstance(value, SupportsIndex) and not isinstance(value, (bool, np.bool_, np.ndarray)):
        whole = operator.index(value)
    if whole is None or not low <= whole <= high:
        raise RuntimeFailure(where, "invalid value", expected=f"{low:,} to {high:,} {unit}", got=_shown(value))
    return whole


def beyond_limits(samples: np.ndarray) -> Bools:
    """Which samples, of any shape, are NaN, infinite, or further from zero than ``MAX_PEAK``."""
    wide = np.result_type(samples, np.float32)  # in float16 the limit would be infinity
    absurd: Bools = ~(np.abs(samples, dtype=wide) <= MAX_PEAK)
    return absurd


def is_one_clip(samples: float, clip_samples: int) -> bool:
    """Whether audio of that length counts as one clip: within 5 % of its length.

    It is then padded with zeros or cut at its end (:func:`tinyscene.runtime.audio.fit_to_clip`). The one rule of
    ``run``, ``data check``, ``train``, ``eval`` and the library.
    """
    return CLIP_TOLERANCE * abs(samples - clip_samples) <= clip_samples


def _shown(value: object) -> str:
    """Text of a refused value; Python refuses to print integers of thousands of digits."""
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a number of more than 18 digits"
    return f"{value!r}"[:40] if isinstance(value, str) else f"{value}"[:40]
