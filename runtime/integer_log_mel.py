"""Log-mel in integers: int16 samples to int8 codes, the same on every machine, as docs/numeric-contract.md defines.

Products are the high 32 bits of int32 x int32 (rounded down), sums are int32 without overflow, and shifts to the right
round down. The real transform of a window is the complex one of its pairs of samples, by decimation in time: a first
step of eight or four points, then steps of four, each with a quarter of its sum. A segment of the mel bank has one
exponent for its bins, so that sums of their squares fit 32 bits; bands are of 64 bits.
Refuses what :mod:`tinyscene.runtime.integer_tables` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .arrays import F32, I8, I64
from .audio import to_int16
from .graph import Quant
from .integer_tables import HALF_ROOT, LOG_BITS, WEIGHT_BITS, CodeLine, IntegerTables, code_line, integer_tables
from .log_mel import Framed, LogMel
from .spec import FrontendSpec

LOG_INDEX_BITS, LOG_FRACTION_BITS = 7, 16  # of a mantissa, after its leading one


@dataclass(frozen=True, eq=False)
class Complex:
    """Points as two int64 arrays, whose values fit int32."""

    re: I64
    im: I64

    def at(self, *key: Any) -> Complex:
        return Complex(self.re[key], self.im[key])

    def shaped(self, *shape: int) -> Complex:
        return Complex(self.re.reshape(shape), self.im.reshape(shape))

    def plus(self, other: Complex) -> Complex:
        return Complex(self.re + other.re, self.im + other.im)

    def minus(self, other: Complex) -> Complex:
        return Complex(self.re - other.re, self.im - other.im)

    def plus_right(self, other: Complex) -> Complex:
        """Self minus i times ``other``."""
        return Complex(self.re + other.im, self.im - other.re)

    def plus_left(self, other: Complex) -> Complex:
        """Self plus i times ``other``."""
        return Complex(self.re - other.im, self.im + other.re)

    def turned(self, turn: Complex) -> Complex:
        """A quarter of the product with ``turn.re - i turn.im``, in 2**-30; differences, so that no bias is left."""
        return Complex(
            _high(self.re, turn.re) - _high(self.im, -turn.im), _high(self.im, turn.re) - _high(self.re, turn.im)
        )

    def quarter(self) -> Complex:
        """A quarter, rounded."""
        return Complex((self.re + 2) >> 2, (self.im + 2) >> 2)


def _high(a: I64, b: I64 | int) -> I64:
    """High 32 bits of the product, rounded down."""
    product: I64 = (a * b) >> 32
    return product


class IntegerLogMel(LogMel):
    """Audio to log-mel in integer arithmetic; samples are rounded to int16 first.

    With the ``quant`` of a network's input, values are exactly those of its codes: quantising them gives these codes.
    Without, as for calibration, they are those of the logarithm before it becomes a code.

    Raises:
        RuntimeFailure: see :mod:`tinyscene.runtime.integer_tables`.
    """

    def __init__(self, spec: FrontendSpec, quant: Quant | None = None) -> None:
        self.spec, self._quant = spec, quant
        self.tables = integer_tables(spec)
        self._line = None if quant is None else code_line(self.tables, quant)

    def taken(self, samples: F32) -> Framed:
        """Samples float32 (n,) as int64 with the values of int16."""
        return to_int16(super().taken(samples)).astype(np.int64)

    def emphasised(self, samples: Framed) -> Framed:
        """Samples (n,) to (n - 1,) in 2**-15: each one's successor, less ``pre_emphasis`` times it."""
        return (samples[1:] << 15) - ((samples[:-1] * self.tables.emphasis) >> 1)

    def _block(self, windows: Framed) -> F32:
        logs = logarithms(self.tables, windows)
        if self._line is None or self._quant is None:
            octaves = logs / float(1 << LOG_BITS) - self.tables.log_octaves
            log_mel = (octaves * np.log(2.0) - self.spec.norm_mean) / self.spec.norm_std
            return np.asarray(log_mel, np.float32)
        codes = codes_of(self._line, logs).astype(np.float32) - np.float32(self._quant.zero_point)
        values: F32 = codes * np.float32(self._quant.scale[0])
        return values


def open_log_mel(spec: FrontendSpec, quant: Quant | None = None) -> LogMel:
    """The log-mel of a front end in its arithmetic, for a network whose input has ``quant``."""
    return IntegerLogMel(spec, quant) if spec.arithmetic == "integer" else LogMel(spec)


def logarithms(tables: IntegerTables, windows: I64) -> I64:
    """Base-2 logarithms in 2**-22, int64 (frames, n_mels), of framed samples (frames, win_length)."""
    return _log2(tables, _bands(tables, _spectrum(tables, windows)))


def codes_of(line: CodeLine, logs: I64) -> I8:
    """Codes int8 of logarithms, in their shape."""
    values = (_high(logs, line.factor) + line.offset) >> line.shift
    result: I8 = np.clip(values, -128, 127).astype(np.int8)
    return result


def _spectrum(tables: IntegerTables, windows: I64) -> Complex:
    """Bins 0 to n_fft / 2 - 1, (frames, n_fft / 2); the sign of the imaginary part has no meaning."""
    spec = tables.spec
    padded = np.zeros((len(windows), spec.n_fft), np.int64)
    np.multiply(windows, tables.window, out=padded[:, : spec.win_length])
    padded >>= tables.input_shift
    points = Complex(padded[:, 0::2].take(tables.order, axis=1), padded[:, 1::2].take(tables.order, axis=1))
    length = tables.first_radix
    points = _first_step(points, length)
    for _ in range(tables.steps):
        points = _step_of_four(tables, points, length)
        length *= 4
    return _split(tables, points)


def _first_step(points: Complex, radix: int) -> Complex:
    shape = points.re.shape
    z = points.shaped(*shape[:-1], -1, radix)
    low = _four_points([z.at(..., place) for place in range(4)])
    if radix == 4:
        return _joined(low, -1).shaped(*shape)
    high = _four_points([z.at(..., place) for place in range(4, 8)])
    first = Complex(high[1].re + high[1].im, high[1].im - high[1].re)
    third = Complex(high[3].im - high[3].re, -high[3].re - high[3].im)
    high[1] = Complex(_high(first.re, HALF_ROOT) << 1, _high(first.im, HALF_ROOT) << 1)
    high[3] = Complex(_high(third.re, HALF_ROOT) << 1, _high(third.im, HALF_ROOT) << 1)
    sums = [low[0].plus(high[0]), low[1].plus(high[1]), low[2].plus_right(high[2]), low[3].plus(high[3])]
    rest = [low[0].minus(high[0]), low[1].minus(high[1]), low[2].plus_left(high[2]), low[3].minus(high[3])]
    return _joined(sums + rest, -1).shaped(*shape)


def _four_points(z: list[Complex]) -> list[Complex]:
    """Transform of four points, which are given with their bits reversed: 0, 2, 1, 3."""
    a, b, c, d = z[0].plus(z[1]), z[0].minus(z[1]), z[2].plus(z[3]), z[2].minus(z[3])
    return [a.plus(c), b.plus_right(d), a.minus(c), b.plus_left(d)]


def _joined(parts: list[Complex], axis: int) -> Complex:
    return Complex(np.stack([part.re for part in parts], axis), np.stack([part.im for part in parts], axis))


def _step_of_four(tables: IntegerTables, points: Complex, length: int) -> Complex:
    """Combine four transforms of ``length`` points each, everywhere."""
    shape = points.re.shape
    blocks = points.shaped(*shape[:-1], -1, 4, length)
    angle = np.arange(length) * (tables.spec.n_fft // (4 * length))
    parts = [blocks.at(..., 0, slice(None)).quarter()]
    for place, turns in ((1, 2), (2, 1), (3, 3)):
        parts.append(blocks.at(..., place, slice(None)).turned(_turn(tables, turns * angle)))
    return _joined(_four_points(parts), -2).shaped(*shape)


def _turn(tables: IntegerTables, angle: I64) -> Complex:
    """Cosine and sine of angles below three quarters of a turn, in n_fft-ths of a turn."""
    return Complex(tables.cosines[angle], tables.sines[angle])


def _split(tables: IntegerTables, points: Complex) -> Complex:
    """The transform of pairs to that of samples, halved: bins k and n_fft / 2 - k from each other's points."""
    count = points.re.shape[-1]
    k = np.arange(1, count // 2 + 1)
    a, b = points.at(..., k), points.at(..., count - k)
    even = Complex(a.re + b.re, a.im - b.im).quarter()
    odd = Complex(a.im + b.im, b.re - a.re).turned(_turn(tables, k))
    high, low = even.minus(odd), even.plus(odd)
    re, im = np.zeros_like(points.re), np.zeros_like(points.im)
    re[..., count - k], im[..., count - k] = high.re, high.im
    re[..., k], im[..., k] = low.re, low.im
    return Complex(re, im)


def _bands(tables: IntegerTables, bins: Complex) -> I64:
    """Power of each mel band, int64 (frames, n_mels)."""
    used = slice(tables.first_bin, tables.first_bin + int(tables.counts.sum()))
    re, im = bins.re[:, used], bins.im[:, used]
    filled = np.flatnonzero(tables.counts)
    counts = tables.counts[filled]
    starts = np.cumsum(counts) - counts
    magnitudes = np.bitwise_or.reduceat((re ^ (re >> 63)) | (im ^ (im >> 63)), starts, axis=1)
    shifts = np.maximum(_bit_lengths(magnitudes) - tables.mantissa_bits[filled], 0)
    by_bin = np.repeat(shifts, counts, axis=1)
    power = np.square(re >> by_bin) + np.square(im >> by_bin)
    sums = np.zeros((len(re), len(tables.counts)), np.int64)
    rising = np.zeros_like(sums)
    sums[:, filled] = np.add.reduceat(power, starts, axis=1) << (2 * shifts)
    rising[:, filled] = np.add.reduceat((power * tables.weights) >> WEIGHT_BITS, starts, axis=1) << (2 * shifts)
    return rising[:, :-1] + (sums - rising)[:, 1:]


def _bit_lengths(values: I64) -> I64:
    """Bits of each number, which is below 2**53 and not negative."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _log2(tables: IntegerTables, power: I64) -> I64:
    """Base-2 logarithm of power plus the offset, in 2**-22, linear between the entries of the table."""
    silent = power == 0
    total = np.where(silent, 1, power + tables.offset)
    upper = total >> 31
    exponent = np.where(upper > 0, _bit_lengths(upper) + 31, _bit_lengths(total)) - 1
    kept = LOG_INDEX_BITS + LOG_FRACTION_BITS
    down = exponent - kept
    mantissa = np.where(down >= 0, total >> np.maximum(down, 0), total << np.maximum(-down, 0)) - (1 << kept)
    index, fraction = mantissa >> LOG_FRACTION_BITS, mantissa & ((1 << LOG_FRACTION_BITS) - 1)
    low, high = tables.logs[index], tables.logs[index + 1]
    logs = (exponent << LOG_BITS) + low + (((high - low) * fraction) >> LOG_FRACTION_BITS)
    return np.where(silent, tables.floor, logs)
