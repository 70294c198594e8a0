"""The tables of the log-mel in C in float arithmetic: window, twiddle factors, sides of the triangles, a logarithm.

Normalisation and the network's input scale are multiplied into the coefficients of the logarithm.
Refuses what :mod:`tinyscene.runtime.mel_segments` refuses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinyscene.runtime.arrays import F64, INT16_FULL_SCALE
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.log_mel import window
from tinyscene.runtime.mel_segments import mel_segments
from tinyscene.runtime.spec import FrontendSpec

from ..errors import FirmwareError
from .c_text import float_literal, integer
from .constant_block import ConstantBlock

FFT_LENGTHS = (256, 512, 1024, 2048, 4096)
LOG_DEGREE = 6
SPECTRUM_TABLES, MEL_TABLES = "ts_spectrum_tables", "ts_mel_tables"


def refuse_float(spec: FrontendSpec, quant: Quant) -> None:
    """Raise FirmwareError for front ends that the C code does not support in float arithmetic."""
    where = f"front end '{spec.name}' in C"
    if spec.n_fft not in FFT_LENGTHS:
        raise FirmwareError(where, "n_fft", expected=" | ".join(map(str, FFT_LENGTHS)), got=spec.n_fft)
    loudest = 2.0 * spec.win_length * spec.win_length
    reach = max(abs(spec.floor), abs(np.log(loudest) - spec.norm_mean) / spec.norm_std) / quant.scale[0]
    if reach >= 2**21:
        raise FirmwareError(where, "input scale too fine to round in float32", expected=">= 1e-5", got=quant.scale[0])


def float_sizes(spec: FrontendSpec, quant: Quant) -> Iterator[str]:
    """Lines of frontend.h that only this arithmetic has."""
    first, second = middle_radices(spec)
    if spec.pre_emphasis:
        yield f"#define TS_LOGMEL_PRE_EMPHASIS {float_literal(spec.pre_emphasis)}"
    yield f"#define TS_LOGMEL_LOG_OFFSET {float_literal(spec.log_offset)}"
    yield f"#define TS_LOGMEL_ZERO_POINT ({integer(quant.zero_point)})"
    yield "\n/* radices of the FFT of n_fft / 2 points: 8, these two, and 4 */"
    yield f"#define TS_FFT_FIRST {first}\n#define TS_FFT_SECOND {second}"


def middle_radices(spec: FrontendSpec) -> tuple[int, int]:
    """Radices (8, 4 or 1) of the FFT steps between the first, radix 8, and the last, radix 4."""
    return {256: (4, 1), 512: (8, 1), 1024: (4, 4), 2048: (8, 4), 4096: (8, 8)}[spec.n_fft]


def spectrum_tables(spec: FrontendSpec) -> str:
    """Header with half of the window and the twiddle factors of each step."""
    first, second = middle_radices(spec)
    half_window = window(spec)[: spec.win_length // 2 + 1].astype(np.float64) / (2.0 * INT16_FULL_SCALE)
    block = ConstantBlock()
    block.array("float", "window", map(float_literal, half_window.tolist()))
    block.array("TsTurn", "first_turns", _pairs(_step_turns(first, 8)))
    if second > 1:
        block.array("TsTurn", "second_turns", _pairs(_step_turns(second, 8 * first)))
    block.array("TsLastTurns", "last_turns", (_last_record(row) for row in _last_turns(spec.n_fft // 2)))
    title = "/* Emitted by tinyscene: half the window, in halves of full scale; twiddle factors, {cosine, sine}. */"
    return "\n".join([title, *block.lines("TsSpectrumTables", SPECTRUM_TABLES)]) + "\n"


def _step_turns(radix: int, length: int) -> F64:
    """Angles (length, radix - 1) of the twiddle factors that combine ``radix`` transforms of ``length`` points."""
    angle = 2.0 * np.pi * np.arange(length) / (radix * length)
    return np.outer(angle, np.arange(1, radix))


def _last_turns(points: int) -> F64:
    """Angles (points / 8 + 1, 5) for each column of the last step: three of radix 4, two of the real-input split."""
    angle = 2.0 * np.pi * np.arange(points // 8 + 1) / points
    return np.stack([angle, 2 * angle, 3 * angle, angle / 2, angle / 2 + np.pi / 4], axis=1)


def _last_record(angles: F64) -> str:
    pairs = _pairs(angles)
    return f"{{{{{', '.join(pairs[:3])}}}, {{{', '.join(pairs[3:])}}}}}"


def _pairs(angles: F64) -> list[str]:
    return [f"{{{float_literal(np.cos(a))}, {float_literal(np.sin(a))}}}" for a in angles.ravel()]


def mel_tables(spec: FrontendSpec, quant: Quant) -> str:
    """Header with the bank's rising sides and the coefficients of the logarithm."""
    segments = mel_segments(spec)
    scale = 1.0 / (spec.norm_std * float(np.float32(quant.scale[0])))
    offset = -spec.norm_mean * scale
    octave = np.sqrt([0.5, 2.0]) - 1.0
    logarithm = np.polynomial.Chebyshev.interpolate(np.log1p, LOG_DEGREE, domain=octave)
    coefficients = scale * np.asarray(logarithm.convert(kind=np.polynomial.Polynomial).coef, np.float64)
    coefficients[0] += offset
    block = ConstantBlock()
    block.array("uint16_t", "count", map(integer, segments.counts))
    block.array("float", "weight", map(float_literal, segments.weights))
    lines = [
        "/* Emitted by tinyscene: weights of the rising sides; a polynomial with results in the network's codes. */",
        f"#define TS_MEL_FIRST_BIN {segments.first_bin}",
        f"#define TS_LOG_OCTAVE {float_literal(scale * np.log(2.0))}",
        *(f"#define TS_LOG_{power} {float_literal(value)}" for power, value in enumerate(coefficients)),
        *block.lines("TsMelTables", MEL_TABLES),
    ]
    return "\n".join(lines) + "\n"
