"""Quantisation and requantisation with the two rounding rules (for functions of one code see
:mod:`tinyscene.runtime.lookup_tables`).

A run uses one of two rules:

``double``  fixed point: the high half of a 32x32 product is rounded, then the right shift is rounded
            (TFLite reference kernels, TFLite Micro, CMSIS-NN);
``single``  floating point: the float32 product of accumulator and scale is rounded once, half to even
            (LiteRT's XNNPACK kernels on x86-64 and arm64, ONNX Runtime's fused kernels). The zero point
            is added to the rounded number, but sums, means and squares add it in float32 and round the sum.

A 31-bit integer product with one rounding is *not* the second rule: it differs from XNNPACK in about one byte of a
million. Sources: the TFLite 8-bit quantisation specification; for details not specified there, byte-wise comparison
with each engine (tests/runtime/test_engines.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from .arrays import F32, I8, I64
from .graph import Quant
from .op_ranges import SQUARE_HEADROOM_BITS

Rounding = Literal["double", "single"]
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)

ADD_HEADROOM_BITS = 20  # the fixed-point sum keeps this many fractional bits (TFLite int8 ADD)


def quantise(real: npt.NDArray[np.floating], quant: Quant) -> I8:
    """Real values to int8 codes: round half to even of x / scale in float32, plus the zero point, saturated."""
    with np.errstate(over="ignore"):  # beyond float32 is infinity, which saturates
        codes = np.rint(real.astype(np.float32) / np.float32(quant.scale[0])) + np.float32(quant.zero_point)
    return _int8(codes, -128, 127)


def dequantise(codes: npt.NDArray[np.integer], quant: Quant) -> F32:
    """Codes to real values, float32."""
    shifted = (codes.astype(np.int32) - quant.zero_point).astype(np.float32)
    return shifted * np.asarray(quant.scale, np.float32)


def clamp_range(quant: Quant, relu: bool) -> tuple[int, int]:
    """Lowest and highest output code; ReLU raises the lowest to the zero point."""
    return (max(-128, quant.zero_point) if relu else -128), 127


@dataclass(frozen=True, eq=False)
class Rescale:
    """A real factor as both rules use it: ``multiplier * 2**(shift - 31)`` and float32 ``factor``.

    ``multiplier`` is in [2^30, 2^31); arrays have one entry, or one per output channel.
    """

    multiplier: I64
    shift: I64
    factor: F32

    @staticmethod
    def of(real: npt.ArrayLike, factor: npt.ArrayLike) -> Rescale:
        """``real``: the factor in float64, for fixed point. ``factor``: the same computed in float32 arithmetic."""
        multiplier, shift = fixed_point(np.atleast_1d(np.asarray(real, np.float64)))
        return Rescale(multiplier, shift, np.atleast_1d(np.asarray(factor, np.float32)))


def fixed_point(real: npt.NDArray[np.float64]) -> tuple[I64, I64]:
    """``real = multiplier * 2**(shift - 31)`` with a 31-bit multiplier, rounded half up."""
    mantissa, exponent = np.frexp(real)
    multiplier = np.floor(mantissa * 2.0**31 + 0.5).astype(np.int64)
    shift = exponent.astype(np.int64)
    carry = multiplier == 2**31
    multiplier, shift = np.where(carry, 2**30, multiplier), np.where(carry, shift + 1, shift)
    tiny = shift < -31
    return np.where(tiny, 0, multiplier), np.where(tiny, 0, shift)


def conv_rescale(x: Quant, weight: Quant, out: Quant) -> Rescale:
    """Accumulator to output code of a convolution or a product: s_x * s_w / s_out."""
    s_x, s_w, s_out = x.scale[0], np.asarray(weight.scale, np.float64), out.scale[0]
    factor = np.float32(s_x) * s_w.astype(np.float32) / np.float32(s_out)
    return Rescale.of(s_x * s_w / s_out, factor)


def weight_rescale(x: Quant, weight: Quant, out: Quant) -> Rescale:
    """The factor of a matrix product: with one scale for the whole weight, TFLite multiplies both in float32."""
    if weight.axis is not None:
        return conv_rescale(x, weight, out)
    product = np.float32(x.scale[0]) * np.float32(weight.scale[0])
    return Rescale.of(float(product) / out.scale[0], product / np.float32(out.scale[0]))


def high_product(a: I64, multiplier: I64) -> I64:
    """(a * multiplier) / 2^31 rounded half up: the saturating doubling high multiply."""
    product: I64 = a * multiplier
    product += 2**30
    product >>= 31
    return product


def rounding_shift_right(a: I64, bits: I64) -> I64:
    """a / 2^bits rounded half away from zero."""
    half = (np.int64(1) << bits) >> 1
    nudged: I64 = a - (a < 0) * (bits > 0) + half
    nudged >>= bits
    return nudged


def rescale_double(acc: I64, multiplier: I64, shift: I64) -> I64:
    """The ``double`` rule: acc * multiplier * 2^(shift - 31) with two roundings; a left shift wraps around in int32."""
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    if left.any():
        acc = (acc << left).astype(np.int32).astype(np.int64)
    return rounding_shift_right(high_product(acc, multiplier), right)


def rescale_single(acc: npt.NDArray[np.integer], factor: F32) -> F32:
    """The ``single`` rule: the float32 product, rounded half to even (integral float32 values)."""
    product: F32 = acc.astype(np.float32) * factor
    return np.rint(product)


def rescale_once(acc: I64, multiplier: I64, shift: I64) -> I64:
    """The rule of LiteRT's reference matrix product: the 64-bit product is rounded once, half up.

    It differs from the ``double`` rule where the first of its two roundings reaches a tie.
    """
    bits = 31 - shift
    codes: I64 = (acc * multiplier + (np.int64(1) << (bits - 1))) >> bits
    return codes


def rescale_cut(acc: I64, factor: F32) -> I64:
    """XNNPACK's rule for products on arm64: a 31-bit factor, truncated, then a right shift rounded half up.

    It differs from the ``single`` rule where float32 rounds a product to a tie.
    """
    multiplier, shift = fixed_point(factor.astype(np.float64))
    bits = np.maximum(-shift, 1)
    truncated = (acc * multiplier << np.maximum(shift + bits, 0)) >> 31
    halves = np.left_shift(np.int64(1), bits - 1)
    codes: I64 = (truncated + halves) >> bits
    return codes


def requantise(acc: I64, rescale: Rescale, out: Quant, *, relu: bool, rounding: Rounding) -> I8:
    """int32 accumulators (stored as int64) to int8 codes; the last axis is the channel axis."""
    low, high = clamp_range(out, relu)
    if rounding == "double":
        codes = rescale_double(acc, rescale.multiplier, rescale.shift)
        return _int8(codes + out.zero_point, low, high)
    real = rescale_single(acc, rescale.factor)
    return _int8(real + np.float32(out.zero_point), low, high)


@dataclass(frozen=True)
class AddDouble:
    """Constants of the fixed-point sum: each input is scaled to a common scale with 20 fractional bits."""

    multiplier_a: int
    shift_a: int
    multiplier_b: int
    shift_b: int
    multiplier_out: int
    shift_out: int


def add_double(a: Quant, b: Quant, out: Quant) -> AddDouble:
    """TFLite's int8 ADD: the common scale is twice the larger input scale."""
    common = 2.0 * max(a.scale[0], b.scale[0])
    real = np.array([a.scale[0] / common, b.scale[0] / common, common / (2**ADD_HEADROOM_BITS * out.scale[0])])
    multiplier, shift = fixed_point(real)
    (m_a, m_b, m_out), (s_a, s_b, s_out) = multiplier.tolist(), shift.tolist()
    return AddDouble(m_a, s_a, m_b, s_b, m_out, s_out)


def squared_difference(a: Quant, b: Quant, out: Quant) -> AddDouble:
    """Constants of TFLite's int8 SQUARED_DIFFERENCE, the same under both rules: the common scale of a sum."""
    common = 2.0 * max(a.scale[0], b.scale[0])
    square = common * common / (4**SQUARE_HEADROOM_BITS * out.scale[0])
    multiplier, shift = fixed_point(np.array([a.scale[0] / common, b.scale[0] / common, square]))
    (m_a, m_b, m_out), (s_a, s_b, s_out) = multiplier.tolist(), shift.tolist()
    return AddDouble(m_a, s_a, m_b, s_b, m_out, s_out)


@dataclass(frozen=True)
class AddSingle:
    """Constants of XNNPACK's int8 sum: (bias + a * multiplier_a + b * multiplier_b) >> shift, rounded half up."""

    multiplier_a: int
    multiplier_b: int
    bias: int
    shift: int


def sub_single(a: Quant, b: Quant, out: Quant) -> AddSingle:
    """Constants of a difference: a sum whose second factor is negative."""
    s = add_single(a, b, out)
    return AddSingle(s.multiplier_a, -s.multiplier_b, s.bias + 2 * s.multiplier_b * b.zero_point, s.shift)


def add_single(a: Quant, b: Quant, out: Quant) -> AddSingle:
    """Constants of a sum: the larger factor has 21 significant bits; the bias includes zero points and rounding."""
    factor_a = np.float32(a.scale[0]) / np.float32(out.scale[0])
    factor_b = np.float32(b.scale[0]) / np.float32(out.scale[0])
    _, exponent = np.frexp(max(factor_a, factor_b))
    shift = 20 - (int(exponent) - 1)
    if shift > 30:  # both factors are below 2^-10, so that no sum reaches half a code
        return AddSingle(0, 0, 0, 1)
    multiplier_a = int(np.rint(np.ldexp(np.float64(factor_a), shift)))
    multiplier_b = int(np.rint(np.ldexp(np.float64(factor_b), shift)))
    bias = (1 << (shift - 1)) - multiplier_a * a.zero_point - multiplier_b * b.zero_point
    return AddSingle(multiplier_a, multiplier_b, bias, shift)


def sum_double(x: Quant, out: Quant) -> Rescale:
    """Sum of codes (zero point removed) to the sum's code (TFLite Micro's SUM)."""
    return Rescale.of(x.scale[0] / out.scale[0], np.float32(x.scale[0]) / np.float32(out.scale[0]))


def prelu_factors(x: Quant, alpha: Quant, out: Quant, rounding: Rounding) -> tuple[float, float]:
    """Factors of a PReLU for values from 0 on, and for products with ``alpha`` below 0; ``single``: in float32."""
    s_x, s_alpha, s_out = x.scale[0], alpha.scale[0], out.scale[0]
    if rounding == "double":
        return s_x / s_out, s_x * s_alpha / s_out
    above, below = np.float32(s_x) / np.float32(s_out), np.float32(s_x) * np.float32(s_alpha) / np.float32(s_out)
    return float(above), float(below)


def mean_double(x: Quant, out: Quant, count: int) -> Rescale:
    """Sum of ``count`` codes (zero point removed) to the mean's code: the multiplier is divided by the count after
    widening it as far as 64 bits allow, and truncated (TFLite reference MEAN)."""
    multiplier, shift = fixed_point(np.array([x.scale[0] / out.scale[0]]))
    widen = min(count.bit_length() - 1, 32, 31 + int(shift[0]))
    factor = np.array([x.scale[0] / out.scale[0] / count], np.float32)
    return Rescale((multiplier << widen) // count, shift - widen, factor)


@dataclass(frozen=True)
class TotalSingle:
    """XNNPACK's sum and mean: the float32 sum of ``factor * total`` and ``offset`` is rounded; ``total`` sums bare
    codes."""

    factor: np.float32
    offset: np.float32

    def codes(self, total: I64) -> I8:
        return _int8(np.rint(total.astype(np.float32) * self.factor + self.offset), -128, 127)

    def codes_of_one_rounding(self, total: I64) -> I8:
        """The codes on arm64, where the product is not rounded before the sum."""
        exact = total.astype(np.float64) * np.float64(self.factor) + np.float64(self.offset)
        return _int8(np.rint(exact.astype(np.float32)), -128, 127)


def mean_single(x: Quant, out: Quant, count: int) -> TotalSingle:
    """Constants of XNNPACK's mean; the order of roundings follows from byte-wise comparison at near-ties."""
    factor = np.float32(x.scale[0]) / np.float32(out.scale[0]) * (np.float32(1) / np.float32(count))
    return _total_single(x, out, count, factor)


def sum_single(x: Quant, out: Quant, count: int) -> TotalSingle:
    """Constants of XNNPACK's sum."""
    return _total_single(x, out, count, np.float32(x.scale[0]) / np.float32(out.scale[0]))


def _total_single(x: Quant, out: Quant, count: int, factor: np.float32) -> TotalSingle:
    return TotalSingle(factor, np.float32(out.zero_point) - np.float32(x.zero_point * count) * factor)


def square_table(x: Quant, out: Quant, *, relu: bool, rounding: Rounding) -> I8:
    """int8 (256,): the output code of a product of a tensor with itself, for each input code -128..127.

    Under ``single`` it differs from a product of two tensors: XNNPACK squares the real value, and rounds the sum of the
    rescaled square and the zero point.
    """
    codes = np.arange(-128, 128, dtype=np.int64) - x.zero_point
    if rounding == "double":
        return requantise(codes * codes, conv_rescale(x, x, out), out, relu=relu, rounding=rounding)
    real = codes.astype(np.float32) * np.float32(x.scale[0])
    scaled = real * real * (np.float32(1) / np.float32(out.scale[0]))
    return _int8(np.rint(scaled + np.float32(out.zero_point)), *clamp_range(out, relu))


def rsqrt_table(x: Quant, out: Quant) -> I8:
    """int8 (256,): the output code for each input code -128..127, the same under both rules.

    1/sqrt of the code itself is taken with 20 fractional bits, then rescaled in fixed point by
    1 / (sqrt(s_x) * s_out) (TFLite int8 RSQRT; no engine has a float kernel for it).
    """
    codes = np.arange(-128, 128, dtype=np.int64) - x.zero_point
    roots = np.array([inverse_root(code) for code in range(1, 256)], np.int64)
    multiplier, shift = fixed_point(np.array([1.0 / (np.sqrt(np.float64(x.scale[0])) * out.scale[0])]))
    scaled = rescale_double(roots[np.maximum(codes, 1) - 1], multiplier, shift - 20) + out.zero_point
    return np.where(codes <= 0, 127, np.clip(scaled, -128, 127)).astype(np.int8)


@lru_cache(maxsize=256)
def inverse_root(value: int) -> int:
    """2^20 / sqrt(value) for value in 1..255. For 2, 8 and 131 it is one below the correctly rounded result."""
    if value == 1:
        return 2**20
    multiplier, shift = inverse_root_factor(value)
    return int(rescale_double(_i64(1), _i64(multiplier), _i64(20 - shift)))


def inverse_root_factor(value: int) -> tuple[int, int]:
    """1 / sqrt(value) = multiplier * 2^(-31 - shift) for a sum of squares, by TFLite's fixed-point Newton iteration.

    Five steps of y <- (3 y - v y^3) / 2 from 1, with 28 fractional bits, where v is the value scaled by a power of 4
    into [1/4, 1).
    """
    if value <= 1:
        return 2**31 - 1, 0
    shift = 11
    while value >= 2**29:
        value, shift = value // 4, shift + 1
    pairs = (31 - value.bit_length()) // 2 - 1
    half = _i64((value << 2 * pairs) >> 2)  # v / 2 with 28 fractional bits
    three_halves, root = _i64(3 << 27), _i64(1 << 28)
    for _ in range(5):
        cube = high_product(high_product(root, root), root) << 6
        root = (high_product(three_halves, root) - high_product(half, cube)) << 3
    return int(high_product(root, _i64(round(2**30.5)))), shift - pairs


def _int8(codes: npt.NDArray[Any], low: int, high: int) -> I8:
    saturated: I8 = np.clip(codes, low, high).astype(np.int8)
    return saturated


def _i64(value: int) -> I64:
    return np.asarray(value, np.int64)
