"""FrontendSpec -> frontend.h and the tables of the log-mel in C: data only; the code is hand-written in c/frontend/.

The mel weights are those of runtime/log_mel.py. Normalisation and the network's input scale are multiplied into the
coefficients of the logarithm. Refuses front ends that the C code does not support: n_fft other than a power of two from
256 to 4096, a hop longer than the window, mel banks whose neighbouring triangles do not sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyscene.runtime.arrays import F64, INT16_FULL_SCALE
from tinyscene.runtime.graph import Quant
from tinyscene.runtime.limits import checked_seconds
from tinyscene.runtime.log_mel import mel_bank, window
from tinyscene.runtime.plan import ALIGNMENT
from tinyscene.runtime.smoothing import SMOOTHED_HOPS
from tinyscene.runtime.spec import FrontendSpec

from ..errors import FirmwareError
from .c_text import comment, float_literal, integer
from .constant_block import ConstantBlock
from .constant_bytes import ConstantBytes, constant_bytes, crc32_macro
from .model import Emitted

FRONTEND_FOLDER = Path(__file__).resolve().parents[1] / "c" / "frontend"
SCENE_FOLDER = FRONTEND_FOLDER.with_name("scene")
FFT_LENGTHS = (256, 512, 1024, 2048, 4096)
LOG_DEGREE = 6
SPECTRUM_TABLES, MEL_TABLES = "ts_spectrum_tables", "ts_mel_tables"
TABLE_NAMES = ("frontend.h", "frontend_spectrum.h", "frontend_mel.h")


@dataclass(frozen=True)
class EmittedFrontend:
    """Three headers: sizes, tables of the spectrum, tables of the mel bank. ``tables``: the bytes of the latter two."""

    spec: FrontendSpec
    quant: Quant
    headers: dict[str, str]
    tables: tuple[ConstantBytes, ConstantBytes]

    @property
    def constant_bytes(self) -> int:
        """Size of the tables."""
        return sum(table.size for table in self.tables)

    def write(self, folder: Path) -> None:
        """Write the three headers and all C files of the application into the folder of a model."""
        self.write_tables(folder)
        for source in (*frontend_sources(), *scene_sources()):
            (folder / source.name).write_text(source.read_text())

    def write_tables(self, folder: Path) -> None:
        """Write the three headers."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.headers.items():
            (folder / name).write_text(text)


def frontend_sources() -> list[Path]:
    """The hand-written C files of the front end, headers included, in a fixed order."""
    return sorted(FRONTEND_FOLDER.glob("ts_*.[ch]"))


def scene_sources() -> list[Path]:
    """The hand-written C files of the application around front end and network, headers included."""
    return sorted(SCENE_FOLDER.glob("ts_*.[ch]"))


def scene_arena_bytes(emitted: Emitted, spec: FrontendSpec, hop_samples: int) -> int:
    """Size of the arena shared by the network and, between its runs, the spectrum (TS_SCENE_ARENA_BYTES)."""
    scratch, offset = 4 * spec.n_fft, 0
    source, input_offset = emitted.graph.tensors[emitted.graph.input], emitted.plan.offsets[emitted.graph.input]
    if hop_samples == spec.clip_samples and input_offset < scratch:
        offset = -(-(input_offset + source.n_bytes) // ALIGNMENT) * ALIGNMENT
    return max(offset + scratch, emitted.plan.arena_bytes)


def samples_of_hop(spec: FrontendSpec, hop_s: float | None) -> int:
    """Samples between two results, a whole clip for None; raises RuntimeFailure for what is no duration in seconds."""
    return spec.clip_samples if hop_s is None else round(checked_seconds("--hop", hop_s) * spec.sample_rate_hz)


def emit_frontend(
    spec: FrontendSpec, quant: Quant, *, hop_samples: int | None = None, smoothed_hops: int = SMOOTHED_HOPS
) -> EmittedFrontend:
    """Emit a front end whose output is int8 codes of ``quant``.

    Args:
        spec: the front end.
        quant: scale and zero point of the network's input.
        hop_samples: samples between two results of the application; a whole clip by default, or a smaller multiple of
            the front end's hop, and then clips overlap.
        smoothed_hops: number of results that are averaged.

    Raises:
        FirmwareError: see the module's refusals.
    """
    hop_samples = spec.clip_samples if hop_samples is None else hop_samples
    _refuse(spec, quant)
    _refuse_hops(spec, hop_samples, smoothed_hops)
    spectrum, mel = _spectrum_tables(spec), _mel_tables(spec, quant)
    definitions = "\n".join(path.read_text() for path in frontend_sources())
    tables = (
        constant_bytes(spectrum, SPECTRUM_TABLES, definitions, {}),
        constant_bytes(mel, MEL_TABLES, definitions, {}),
    )
    sizes = "\n".join([*_sizes(spec, quant, hop_samples, smoothed_hops), *_checksums(tables), "", "#endif"]) + "\n"
    headers = dict(zip(TABLE_NAMES, (sizes, spectrum, mel), strict=True))
    return EmittedFrontend(spec, quant, headers, tables)


def _checksums(tables: tuple[ConstantBytes, ConstantBytes]) -> Iterator[str]:
    yield "\n/* size and CRC-32 of the tables, see ts_check.h */"
    for name, table in zip(("TS_SPECTRUM", "TS_MEL"), tables, strict=True):
        yield f"#define {name}_BYTES {table.size}"
        yield from crc32_macro(f"{name}_CRC32", *table.crc32)


def _refuse(spec: FrontendSpec, quant: Quant) -> None:
    where = f"front end '{spec.name}' in C"
    if spec.n_fft not in FFT_LENGTHS:
        raise FirmwareError(where, "n_fft", expected=" | ".join(map(str, FFT_LENGTHS)), got=spec.n_fft)
    if spec.hop_length > spec.win_length:
        expected = f"at most win_length = {spec.win_length}"
        raise FirmwareError(where, "hop_length", expected=expected, got=spec.hop_length)
    if spec.n_mels < 2:
        raise FirmwareError(where, "n_mels", expected="2 or more", got=spec.n_mels)
    loudest = 2.0 * spec.win_length * spec.win_length
    reach = max(abs(spec.floor), abs(np.log(loudest) - spec.norm_mean) / spec.norm_std) / quant.scale[0]
    if reach >= 2**21:
        raise FirmwareError(where, "input scale too fine to round in float32", expected=">= 1e-5", got=quant.scale[0])


def _refuse_hops(spec: FrontendSpec, hop_samples: int, smoothed_hops: int) -> None:
    where = f"application with front end '{spec.name}'"
    shorter = 0 < hop_samples < spec.clip_samples and hop_samples % spec.hop_length == 0
    if not shorter and hop_samples != spec.clip_samples:
        expected = f"{spec.clip_samples}, or a smaller multiple of {spec.hop_length}"
        raise FirmwareError(where, "samples between results", expected=expected, got=hop_samples)
    if smoothed_hops < 1:
        raise FirmwareError(where, "results to average", expected="1 or more", got=smoothed_hops)


def _sizes(spec: FrontendSpec, quant: Quant, hop_samples: int, smoothed_hops: int) -> Iterator[str]:
    first, second = _middle_radices(spec)
    yield f"/* Emitted by tinyscene from front end {comment(spec.name)}. Do not edit; emit it again. */"
    yield "#ifndef FRONTEND_H\n#define FRONTEND_H\n"
    yield f'#define TS_LOGMEL_DIGEST "{spec.digest()}"'
    yield f"#define TS_LOGMEL_SAMPLE_RATE_HZ {integer(spec.sample_rate_hz)}"
    yield f"#define TS_LOGMEL_CLIP_SAMPLES {integer(spec.clip_samples)} /* of one network input */"
    yield f"#define TS_LOGMEL_MIN_SAMPLES {integer(spec.min_samples)}"
    for name in ("n_fft", "win_length", "hop_length", "n_mels", "n_frames"):
        yield f"#define TS_LOGMEL_{name.upper()} {integer(getattr(spec, name))}"
    if spec.pre_emphasis:
        yield f"#define TS_LOGMEL_PRE_EMPHASIS {float_literal(spec.pre_emphasis)}"
    mirror = spec.win_length - (1 if spec.window == "hann_symmetric" else 0)
    yield f"#define TS_LOGMEL_WINDOW_MIRROR {mirror} /* window[i] = window[this - i] */"
    yield f"#define TS_LOGMEL_LOG_OFFSET {float_literal(spec.log_offset)}"
    yield f"#define TS_LOGMEL_ZERO_POINT ({integer(quant.zero_point)})"
    yield f"\n#define TS_SCENE_HOP_SAMPLES {integer(hop_samples)} /* between two results */"
    yield f"#define TS_SCENE_SMOOTHED_HOPS {integer(smoothed_hops)}"
    yield "\n/* radices of the FFT of n_fft / 2 points: 8, these two, and 4 */"
    yield f"#define TS_FFT_FIRST {first}\n#define TS_FFT_SECOND {second}"


def _middle_radices(spec: FrontendSpec) -> tuple[int, int]:
    """Radices (8, 4 or 1) of the FFT steps between the first, radix 8, and the last, radix 4."""
    return {256: (4, 1), 512: (8, 1), 1024: (4, 4), 2048: (8, 4), 4096: (8, 8)}[spec.n_fft]


def _spectrum_tables(spec: FrontendSpec) -> str:
    """Header with half of the window and the twiddle factors of each step."""
    first, second = _middle_radices(spec)
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


def _mel_tables(spec: FrontendSpec, quant: Quant) -> str:
    """Header with the bank's rising sides and the coefficients of the logarithm."""
    first_bin, counts, weights = _rising_sides(spec)
    scale = 1.0 / (spec.norm_std * float(np.float32(quant.scale[0])))
    offset = -spec.norm_mean * scale
    octave = np.sqrt([0.5, 2.0]) - 1.0
    logarithm = np.polynomial.Chebyshev.interpolate(np.log1p, LOG_DEGREE, domain=octave)
    coefficients = scale * np.asarray(logarithm.convert(kind=np.polynomial.Polynomial).coef, np.float64)
    coefficients[0] += offset
    block = ConstantBlock()
    block.array("uint16_t", "count", map(integer, counts))
    block.array("float", "weight", map(float_literal, weights))
    lines = [
        "/* Emitted by tinyscene: weights of the rising sides; a polynomial with results in the network's codes. */",
        f"#define TS_MEL_FIRST_BIN {first_bin}",
        f"#define TS_LOG_OCTAVE {float_literal(scale * np.log(2.0))}",
        *(f"#define TS_LOG_{power} {float_literal(value)}" for power, value in enumerate(coefficients)),
        *block.lines("TsMelTables", MEL_TABLES),
    ]
    return "\n".join(lines) + "\n"


def _rising_sides(spec: FrontendSpec) -> tuple[int, list[int], list[float]]:
    """First bin used, number of bins between neighbouring centres, and each bin's weight in the upper band.

    Segment s is between the centres of bands s - 1 and s; the weight in the lower band is 1 - weight.
    """
    bank = mel_bank(spec).astype(np.float64)[:, :-1]  # no triangle reaches above its end, which is Nyquist at most
    used = np.flatnonzero(bank.any(axis=0))
    if not used.size:
        raise FirmwareError(f"front end '{spec.name}' in C", "mel bank", expected="a bin inside of a triangle")
    last, columns = spec.n_mels - 1, np.arange(len(used))
    part = bank[:, used]
    segment = np.where(part.astype(bool), np.arange(spec.n_mels)[:, None], -1).max(axis=0)  # the band that rises
    weight = part[segment, columns]
    falling = (segment == last) & (np.count_nonzero(part, axis=0) == 1)
    segment, weight = np.where(falling, last + 1, segment), np.where(falling, 1.0 - weight, weight)
    rebuilt = np.zeros((spec.n_mels + 2, len(used)))
    rebuilt[segment + 1, columns], rebuilt[segment, columns] = weight, 1.0 - weight
    if np.any(np.diff(used) != 1) or np.any(np.diff(segment) < 0) or np.abs(rebuilt[1:-1] - part).max() > 1e-6:
        where = f"front end '{spec.name}' in C"
        raise FirmwareError(where, "mel bank", expected="neighbouring triangles that add up to 1")
    return int(used[0]), np.bincount(segment, minlength=spec.n_mels + 1).tolist(), weight.tolist()
