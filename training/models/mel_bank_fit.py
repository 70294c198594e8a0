"""The front end that a stored mel bank belongs to: sizes, sample rate, mel scale and edges.

A triangle's zeros lie on the corners of the bank, which are evenly spaced in mel. For every plausible rate and scale,
the corners that the well-resolved bands show are fitted by a line, whose ends are the edges of the bank; the bank
computed from them must equal the stored one. The rate follows from the bank because the mel scales are not linear:
their bend stands at a fixed frequency. Refuses nothing: a bank that no front end of tinyscene computes is described in
words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from tinyscene.runtime.errors import RuntimeFailure
from tinyscene.runtime.log_mel import mel_bank
from tinyscene.runtime.spec import PRESETS, FrontendSpec, MelScale

F64 = npt.NDArray[np.float64]
RATES_HZ = (32_000, 44_100, 48_000, 16_000, 22_050, 8_000, 11_025, 12_000, 24_000, 88_200, 96_000, 192_000)
# Other implementations compute in float32, which moves a weight by up to 3e-5 (torchaudio's formula, 12 banks).
# An upper edge that is 0.1 Hz off moves one by 8e-4, and Kaldi's triangles differ from HTK's by 1.5e-3 in 256 bands.
TOLERANCE = 1e-4
MOST_LINES = 4  # whose banks are computed and compared: those that fit best
MOST_BANDS = 48  # whose corners are fitted
STRAIGHT = 0.02  # root mean square deviation of the corners from the line, in bands, for a scale to be considered
ROUNDING_HZ = (
    500.0,
    100.0,
    50.0,
    25.0,
    10.0,
    1.0,
    0.5,
    0.1,
)  # of edges: the roundest that fits is taken
_SLANEY_STEP = np.log(6.4) / 27  # above 1 kHz; below, a mel is 200/3 Hz


@dataclass(frozen=True)
class _Line:
    """Corner ``i`` of the bank in mel is ``low + i * step``."""

    low: float
    step: float
    deviation: float  # in bands


def fitted_bank(bank: F64, tolerance: float) -> FrontendSpec | str:
    """A front end whose mel bank equals ``bank`` (n_mels, n_fft // 2 + 1), or what the bank is, in words.

    Only the fields that the bank shows are meant: ``sample_rate_hz``, ``n_fft``, ``n_mels``, ``mel_scale``,
    ``f_min_hz`` and ``f_max_hz``. The others are those of a preset.
    """
    n_mels, bins = bank.shape
    for spec in PRESETS.values():
        if (spec.n_mels, spec.n_fft) == (n_mels, 2 * (bins - 1)) and _equal(spec, bank, tolerance):
            return spec
    lines = {}
    for scale, rate in product(("htk", "kaldi", "slaney"), RATES_HZ):
        line = _line(bank, scale, rate)
        if line is not None and line.deviation < STRAIGHT:
            lines[scale, rate] = line
    for (scale, rate), line in sorted(lines.items(), key=lambda item: item[1].deviation)[:MOST_LINES]:
        if scale != "slaney":
            for spec in _candidates(bank, scale, rate, line):  # type: ignore[arg-type]  # one of the two
                if _equal(spec, bank, tolerance):
                    return spec
    return _description(bank, lines)


def _equal(spec: FrontendSpec, bank: F64, tolerance: float) -> bool:
    return bool(np.abs(mel_bank(spec) - bank).max() <= tolerance)


def _candidates(bank: F64, scale: MelScale, rate: int, line: _Line) -> Iterator[FrontendSpec]:
    """Front ends with the line's edges, rounded to fewer and fewer digits that fit less and less."""
    n_mels, bins = bank.shape
    edges = [float(edge) for edge in _hz(np.array([line.low, line.low + (n_mels + 1) * line.step]), scale)]
    rounded = [[step * round(edge / step) for step in ROUNDING_HZ] + [edge] for edge in edges]
    base = replace(PRESETS["passt"], name="imported", hop_length=256, win_length=4, clip_samples=rate)
    for low, high in dict.fromkeys(product(rounded[0], rounded[1])):
        if abs(low - edges[0]) < 5 and abs(high - edges[1]) < 5:
            edge = {"f_min_hz": max(low, 0.0), "f_max_hz": min(high, rate / 2)}
            try:
                sizes = {"sample_rate_hz": rate, "n_fft": 2 * (bins - 1), "n_mels": n_mels, "mel_scale": scale}
                yield replace(base, **sizes, **edge)  # type: ignore[arg-type]  # of the record's types
            except RuntimeFailure:  # out of the range of a front end
                continue


def _line(bank: F64, scale: str, rate: int) -> _Line | None:
    """The line through the corners of the bands that have several bins on a side; None where too few have."""
    bins = bank.shape[1]
    hz = np.arange(bins, dtype=np.float64) * rate / (2 * (bins - 1))
    axis = _mel(hz, "kaldi") if scale == "kaldi" else hz
    index, corner = [], []
    resolved = np.flatnonzero((bank > 0).sum(axis=1) >= 5)
    for band in resolved[:: max(1, -(-len(resolved) // MOST_BANDS))]:
        used, peak = np.flatnonzero(bank[band] > 0), int(bank[band].argmax())
        for side, at in ((used[used < peak], band), (used[used > peak], band + 2)):
            weights = bank[band, side]
            if len(side) >= 2 and weights[0] != weights[-1]:
                slope = (weights[-1] - weights[0]) / (axis[side[-1]] - axis[side[0]])
                index.append(int(at))
                corner.append(float(axis[side[0]] - weights[0] / slope))
    if len(set(index)) < 4:
        return None
    places = np.array(corner)
    if scale != "kaldi":
        places = _mel(np.maximum(places, 0.0), scale)
    step, low = np.polyfit(index, places, 1)
    if not step > 0:
        return None
    return _Line(float(low), float(step), float(np.sqrt(np.mean(((places - low) / step - np.array(index)) ** 2))))


def _mel(hz: F64, scale: str) -> F64:
    if scale == "slaney":
        above = 15.0 + np.log(np.maximum(hz, 1000.0) / 1000.0) / _SLANEY_STEP
        return np.where(hz < 1000.0, hz * 3 / 200, above)
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _hz(mel: F64, scale: str) -> F64:
    if scale == "slaney":
        return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * np.exp(_SLANEY_STEP * (mel - 15.0)))
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def _description(bank: F64, lines: dict[tuple[str, int], _Line]) -> str:
    """Scale, edges and height of the triangles of a bank that equals no front end's."""
    n_mels = len(bank)
    used = np.flatnonzero(bank.max(axis=0) > 0)
    extent = f"bins {used[0]} to {used[-1]}" if len(used) else "all zeros"
    words = [f"{n_mels} bands of {bank.shape[1]} bins, {extent}, largest weight {bank.max():.3g}"]
    if lines:
        (scale, rate), line = min(lines.items(), key=lambda item: item[1].deviation)
        low, high = _hz(np.array([line.low, line.low + (n_mels + 1) * line.step]), scale)
        if scale == "slaney":  # logarithmic above 1 kHz, so that the rate is not shown
            words.append("spaced on a Slaney scale")
        else:
            words.append(f"spaced as {abs(low):.0f} to {high:.0f} Hz at {rate:,} Hz")
    if 0 < bank.max() < 0.9:
        words.append("normalised by area")
    return ", ".join(words)
