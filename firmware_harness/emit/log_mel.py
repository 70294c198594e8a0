"""FrontendSpec -> frontend.h and the tables of the log-mel in C: data only; the code is hand-written in c/frontend/.

Each arithmetic has C files and tables of its own. Refuses front ends that the C code does not support: a hop longer
than the window, fewer than two mel bands, in float arithmetic an n_fft other than a power of two from 256 to 4096, and
mel banks whose neighbouring triangles do not sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyscene.runtime.graph import Quant
from tinyscene.runtime.integer_tables import integer_tables
from tinyscene.runtime.limits import checked_seconds
from tinyscene.runtime.plan import ALIGNMENT
from tinyscene.runtime.smoothing import SMOOTHED_HOPS
from tinyscene.runtime.spec import Arithmetic, FrontendSpec

from ..errors import FirmwareError
from .c_text import comment, integer
from .constant_bytes import ConstantBytes, constant_bytes, crc32_macro
from .float_log_mel import MEL_TABLES, SPECTRUM_TABLES, float_sizes, mel_tables, refuse_float, spectrum_tables
from .integer_log_mel import integer_mel_tables, integer_sizes, integer_spectrum_tables
from .model import Emitted

FRONTEND_FOLDER = Path(__file__).resolve().parents[1] / "c" / "frontend"
INTEGER_FOLDER = FRONTEND_FOLDER.with_name("frontend_integer")
SCENE_FOLDER = FRONTEND_FOLDER.with_name("scene")
SHARED_HEADERS = ("ts_complex.h", "ts_logmel.h", "ts_slide.h")  # of both arithmetics
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
        for source in (*frontend_sources(self.spec.arithmetic), *scene_sources()):
            (folder / source.name).write_text(source.read_text())

    def write_tables(self, folder: Path) -> None:
        """Write the three headers."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.headers.items():
            (folder / name).write_text(text)


def frontend_sources(arithmetic: Arithmetic) -> list[Path]:
    """The hand-written C files of the front end, headers included, in a fixed order."""
    if arithmetic == "float":
        return sorted(FRONTEND_FOLDER.glob("ts_*.[ch]"))
    shared = [FRONTEND_FOLDER / name for name in SHARED_HEADERS]
    return sorted([*shared, *INTEGER_FOLDER.glob("ts_*.[ch]")], key=lambda path: path.name)


def frontend_folders(arithmetic: Arithmetic) -> list[Path]:
    """The folders of the files of :func:`frontend_sources`, for a compiler's search path."""
    return [FRONTEND_FOLDER] if arithmetic == "float" else [INTEGER_FOLDER, FRONTEND_FOLDER]


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
    spectrum, mel = _tables(spec, quant)
    definitions = "\n".join(path.read_text() for path in frontend_sources(spec.arithmetic))
    tables = (
        constant_bytes(spectrum, SPECTRUM_TABLES, definitions, {}),
        constant_bytes(mel, MEL_TABLES, definitions, {}),
    )
    sizes = "\n".join([*_sizes(spec, quant, hop_samples, smoothed_hops), *_checksums(tables), "", "#endif"]) + "\n"
    headers = dict(zip(TABLE_NAMES, (sizes, spectrum, mel), strict=True))
    return EmittedFrontend(spec, quant, headers, tables)


def _tables(spec: FrontendSpec, quant: Quant) -> tuple[str, str]:
    if spec.arithmetic == "float":
        return spectrum_tables(spec), mel_tables(spec, quant)
    tables = integer_tables(spec)
    return integer_spectrum_tables(tables), integer_mel_tables(tables)


def _checksums(tables: tuple[ConstantBytes, ConstantBytes]) -> Iterator[str]:
    yield "\n/* size and CRC-32 of the tables, see ts_check.h */"
    for name, table in zip(("TS_SPECTRUM", "TS_MEL"), tables, strict=True):
        yield f"#define {name}_BYTES {table.size}"
        yield from crc32_macro(f"{name}_CRC32", *table.crc32)


def _refuse(spec: FrontendSpec, quant: Quant) -> None:
    where = f"front end '{spec.name}' in C"
    if spec.hop_length > spec.win_length:
        expected = f"at most win_length = {spec.win_length}"
        raise FirmwareError(where, "hop_length", expected=expected, got=spec.hop_length)
    if spec.n_mels < 2:
        raise FirmwareError(where, "n_mels", expected="2 or more", got=spec.n_mels)
    if spec.arithmetic == "float":
        refuse_float(spec, quant)


def _refuse_hops(spec: FrontendSpec, hop_samples: int, smoothed_hops: int) -> None:
    where = f"application with front end '{spec.name}'"
    shorter = 0 < hop_samples < spec.clip_samples and hop_samples % spec.hop_length == 0
    if not shorter and hop_samples != spec.clip_samples:
        expected = f"{spec.clip_samples}, or a smaller multiple of {spec.hop_length}"
        raise FirmwareError(where, "samples between results", expected=expected, got=hop_samples)
    if smoothed_hops < 1:
        raise FirmwareError(where, "results to average", expected="1 or more", got=smoothed_hops)


def _sizes(spec: FrontendSpec, quant: Quant, hop_samples: int, smoothed_hops: int) -> Iterator[str]:
    yield f"/* Emitted by tinyscene from front end {comment(spec.name)}. Do not edit; emit it again. */"
    yield "#ifndef FRONTEND_H\n#define FRONTEND_H\n"
    yield f'#define TS_LOGMEL_DIGEST "{spec.digest()}"'
    yield f"#define TS_LOGMEL_SAMPLE_RATE_HZ {integer(spec.sample_rate_hz)}"
    yield f"#define TS_LOGMEL_CLIP_SAMPLES {integer(spec.clip_samples)} /* of one network input */"
    yield f"#define TS_LOGMEL_MIN_SAMPLES {integer(spec.min_samples)}"
    for name in ("n_fft", "win_length", "hop_length", "n_mels", "n_frames"):
        yield f"#define TS_LOGMEL_{name.upper()} {integer(getattr(spec, name))}"
    yield f"#define TS_LOGMEL_WINDOW_MIRROR {spec.window_periods} /* window[i] = window[this - i] */"
    yield f"\n#define TS_SCENE_HOP_SAMPLES {integer(hop_samples)} /* between two results */"
    yield f"#define TS_SCENE_SMOOTHED_HOPS {integer(smoothed_hops)}"
    yield from (float_sizes if spec.arithmetic == "float" else integer_sizes)(spec, quant)
