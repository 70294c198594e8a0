"""The tables of the log-mel in C in integer arithmetic, from :mod:`tinyscene.runtime.integer_tables`.

Refuses what that module refuses.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinyscene.runtime.graph import Quant
from tinyscene.runtime.integer_tables import HALF_ROOT, LOG_BITS, IntegerTables, code_line, integer_tables
from tinyscene.runtime.spec import FrontendSpec

from .c_text import integer
from .constant_block import ConstantBlock
from .float_log_mel import MEL_TABLES, SPECTRUM_TABLES


def integer_sizes(spec: FrontendSpec, quant: Quant) -> Iterator[str]:
    """Lines of frontend.h that only this arithmetic has; raises RuntimeFailure, see the module's refusals."""
    tables, line = integer_tables(spec), code_line(integer_tables(spec), quant)
    yield "#define TS_LOGMEL_INTEGER"
    if spec.pre_emphasis:
        yield f"#define TS_LOGMEL_PRE_EMPHASIS {integer(tables.emphasis)} /* in 2^-16 */"
    yield f"#define TS_LOGMEL_INPUT_SHIFT {integer(tables.input_shift)}"
    yield f"#define TS_LOGMEL_BIN_BITS {integer(tables.bin_bits)}"
    yield f"#define TS_LOGMEL_LOG_OFFSET UINT64_C({integer(tables.offset)}) /* in units of power */"
    yield f"#define TS_LOG_BITS {LOG_BITS}"
    yield f"#define TS_LOG_FLOOR ({integer(tables.floor)}) /* of a band without power */"
    yield "\n/* codes: (((logarithm * factor) >> 32) + offset) >> shift */"
    yield f"#define TS_CODE_FACTOR {integer(line.factor)}"
    yield f"#define TS_CODE_OFFSET ({integer(line.offset)})"
    yield f"#define TS_CODE_SHIFT {integer(line.shift)}"
    yield "\n/* radix of the first step of the FFT of n_fft / 2 points; the others have 4 */"
    yield f"#define TS_FFT_FIRST {tables.first_radix}"
    yield f"#define TS_FFT_HALF_ROOT {HALF_ROOT} /* sqrt(1/2) in 2^-31 */"


def integer_spectrum_tables(tables: IntegerTables) -> str:
    """Header with half of the window, a quarter of a cosine, and the place of each group's points."""
    half = tables.window[: tables.spec.win_length // 2 + 1]
    groups = len(tables.order) // tables.first_radix
    block = ConstantBlock()
    block.array("int32_t", "window", map(integer, half.tolist()))
    block.array("int32_t", "quarter", map(integer, tables.quarter.tolist()))
    block.array("uint16_t", "places", map(integer, tables.places(groups).tolist()))
    title = (
        "/* Emitted by tinyscene: half the window and a quarter of a cosine, in 2^-30; places with bits reversed. */"
    )
    return "\n".join([title, *block.lines("TsSpectrumTables", SPECTRUM_TABLES)]) + "\n"


def integer_mel_tables(tables: IntegerTables) -> str:
    """Header with the bank's rising sides and the logarithm."""
    block = ConstantBlock()
    block.array("uint32_t", "logs", map(integer, tables.logs.tolist()))
    block.array("uint16_t", "count", map(integer, tables.counts.tolist()))
    block.array("uint8_t", "mantissa_bits", map(integer, tables.mantissa_bits.tolist()))
    block.array("uint16_t", "weight", map(integer, tables.weights.tolist()))
    lines = [
        "/* Emitted by tinyscene: weights of the rising sides, in 2^-16; logarithms of one octave, in 2^-22. */",
        f"#define TS_MEL_FIRST_BIN {tables.first_bin}",
        *block.lines("TsMelTables", MEL_TABLES),
    ]
    return "\n".join(lines) + "\n"
