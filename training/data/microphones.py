"""Simulated recording devices: a microphone's band limits and resonances, its level, noise floor and soft clipping.

The parameters of a device are drawn from its name only, so that ``s4`` is the same everywhere. Device ``a`` is the
reference and adds a faint noise floor only. Measured responses can be read from a folder. Refuses a folder without WAV
files, silent responses, and whatever :mod:`tinyscene.runtime.audio` refuses.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F32, F64
from tinyscene.runtime.audio import AudioReader

from ..errors import TrainingError

TAPS_SECONDS = 0.008


@dataclass(frozen=True)
class Device:
    """Parameters of one device; levels in dB relative to full scale."""

    name: str
    low_hz: float
    high_hz: float
    tilt_db_per_octave: float
    resonances: tuple[tuple[float, float, float], ...]  # (centre in Hz, gain in dB, width in octaves)
    gain_db: float
    noise_db: float
    drive: float  # 0: linear; larger: earlier soft clipping


def device(name: str) -> Device:
    """The device of that name."""
    if name == "a":
        return Device("a", 20.0, 20_000.0, 0.0, (), 0.0, -82.0, 0.0)
    rng = np.random.default_rng(zlib.crc32(f"tinyscene device {name}".encode()))
    count = int(rng.integers(2, 5))
    resonances = tuple(
        (
            float(np.exp(rng.uniform(np.log(150), np.log(9_000)))),
            float(rng.uniform(-7, 7)),
            float(rng.uniform(0.2, 1.0)),
        )
        for _ in range(count)
    )
    return Device(
        name,
        low_hz=float(np.exp(rng.uniform(np.log(50), np.log(250)))),
        high_hz=float(np.exp(rng.uniform(np.log(8_000), np.log(16_000)))),
        tilt_db_per_octave=float(rng.uniform(-1.5, 1.5)),
        resonances=resonances,
        gain_db=float(rng.uniform(-8, 4)),
        noise_db=float(rng.uniform(-76, -60)),
        drive=float(rng.uniform(0.0, 1.5)),
    )


def impulse_response(unit: Device, sample_rate_hz: int) -> F32:
    """Minimum-phase FIR of the device, float32 (taps,), unit energy: band limits, tilt and resonances, no gain."""
    n_fft = 8192
    hz = np.fft.rfftfreq(n_fft, 1 / sample_rate_hz)
    octaves = np.log2(np.maximum(hz, 10.0) / 1000.0)
    db = unit.tilt_db_per_octave * octaves
    db -= 10 * np.log10(1 + (unit.low_hz / np.maximum(hz, 1.0)) ** 4)
    db -= 10 * np.log10(1 + (hz / unit.high_hz) ** 12)
    for centre, gain, width in unit.resonances:
        db += gain * np.exp(-0.5 * ((octaves - np.log2(centre / 1000.0)) / (width / 2)) ** 2)
    response = _minimum_phase(np.maximum(db, -80.0) * np.log(10) / 20, n_fft)
    taps = int(TAPS_SECONDS * sample_rate_hz)
    fade = np.ones(taps)
    fade[taps // 2 :] = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, taps - taps // 2))
    response = response[:taps] * fade
    taps_f32: F32 = (response / np.sqrt((response**2).sum())).astype(np.float32)
    return taps_f32


def impulse_responses(count: int, sample_rate_hz: int) -> F32:
    """Responses of ``count`` simulated microphones, float32 (count, taps); none is a device of the data."""
    return np.stack([impulse_response(device(f"augmentation {i}"), sample_rate_hz) for i in range(count)])


def measured_responses(folder: Path, sample_rate_hz: int) -> F32:
    """Responses of the WAV files in ``folder`` in the order of their names, float32 (count, taps), each of unit energy.

    They are mixed down, resampled, and padded to the longest, at most a tenth of a second. Raises TinysceneError.
    """
    responses: list[F32] = []
    for path in sorted(folder.glob("*.wav")):
        with AudioReader(path, sample_rate_hz) as reader:
            response = next(reader.blocks(sample_rate_hz // 10))
        if not response.any():
            raise TrainingError(str(path), "a silent response", next_step="remove the file")
        responses.append(response / np.sqrt((response**2).sum()))
    if not responses:
        raise TrainingError(
            str(folder),
            "no impulse responses",
            expected="a folder of WAV files",
            got="no such folder" if not folder.is_dir() else "no WAV file",
            next_step="name another folder in augment.device_irs, or omit the field",
        )
    taps = max(len(response) for response in responses)
    return np.stack([np.pad(response, (0, taps - len(response))) for response in responses]).astype(np.float32)


def record(samples: F32, unit: Device, sample_rate_hz: int, rng: np.random.Generator) -> F32:
    """``samples`` (n,) in [-1, 1] as recorded by ``unit``: same length, within [-1, 1]."""
    taps = impulse_response(unit, sample_rate_hz)
    if unit.name == "a":
        taps = np.ones(1, np.float32)
    size = 1 << (len(samples) + len(taps) - 2).bit_length()
    recorded = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(taps, size), size)[: len(samples)]
    recorded = recorded * 10 ** (unit.gain_db / 20)
    if unit.drive:
        recorded = np.tanh(recorded * (1 + unit.drive)) / (1 + unit.drive)
    recorded = recorded + 10 ** (unit.noise_db / 20) * rng.standard_normal(len(samples))
    return np.clip(recorded, -1.0, 1.0).astype(np.float32)


def _minimum_phase(log_magnitude: F64, n_fft: int) -> F64:
    """Minimum-phase impulse response of a natural-log magnitude spectrum (folded cepstrum)."""
    cepstrum = np.fft.irfft(log_magnitude, n_fft)
    cepstrum[1 : n_fft // 2] *= 2
    cepstrum[n_fft // 2 + 1 :] = 0
    response: F64 = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), n_fft)
    return response
