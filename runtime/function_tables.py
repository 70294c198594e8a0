"""Tables for the functions of :class:`tinyscene.runtime.ops.Lookup`: 256 output codes, as the engines compute them.

TensorFlow Lite has three ways. Most functions are float32 arithmetic, whose order of operations is kept here; the C
library's own functions are taken as correctly rounded, so that an engine may differ by one code where the result is
within a float32 step of a tie. Piecewise linear ones are rescaled, by a factor from scales in float64 (TFLite Micro)
or float32 (LiteRT). HARD_SWISH is 16-bit fixed point, and TFLite Micro's TANH 32-bit.
Source: all 256 codes of random scales and of scales next to ties, on each engine (tests/runtime/test_functions.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from . import fixed_point as fixed
from .arith import Rounding, rescale_double, rounding_shift_right
from .arith import fixed_point as as_fixed_point
from .arrays import F32, I8, I64
from .graph import Quant

CODES = np.arange(-128, 128, dtype=np.int64)
_TANH_INTEGER_BITS, _TANH_OUTPUT_BITS = 4, 7
_HARD_SWISH_INPUT_BITS = 7  # the input has 7 more bits below a code
_INT16 = 2**15
_SMALLEST_FACTOR, _LARGEST_FACTOR = 2.0**-8, 2.0**7  # of XNNPACK's leaky ReLU
_HALF, _ONE = np.float32(0.5), np.float32(1)
_CUBE_FACTOR, _SQRT_2_OVER_PI = np.float32(0.044715), np.float32(math.sqrt(2 / math.pi))

Table = Callable[[float, Quant, Quant, Rounding], I8]


def real_codes(x: Quant) -> F32:
    """float32 (256,): the real value of each code."""
    return (CODES - x.zero_point).astype(np.float32) * np.float32(x.scale[0])


def _correctly_rounded(function: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], values: F32) -> F32:
    result: F32 = function(values.astype(np.float64)).astype(np.float32)
    return result


def _erfc(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.array([math.erfc(value) for value in values.tolist()])


def _exp(x: F32) -> F32:
    return _correctly_rounded(np.exp, x)


def _log(x: F32) -> F32:
    return _correctly_rounded(np.log, x)


def _tanh(x: F32) -> F32:
    return _correctly_rounded(np.tanh, x)


def _elu(x: F32) -> F32:
    return np.where(x < 0, _correctly_rounded(np.expm1, x), x)


def _elu_of_exp(x: F32) -> F32:
    """TFLite Micro subtracts 1 after rounding."""
    return np.where(x < 0, _exp(x) - _ONE, x)


def _gelu(x: F32) -> F32:
    return _HALF * x * _correctly_rounded(_erfc, x * np.float32(-math.sqrt(0.5)))


def _gelu_tanh(x: F32) -> F32:
    return _HALF * x * (_ONE + _tanh(_SQRT_2_OVER_PI * (x + _CUBE_FACTOR * x * x * x)))


def _away(values: F32, out: Quant) -> I8:
    """Half away from zero, then the zero point."""
    scaled = (values * (_ONE / np.float32(out.scale[0]))).astype(np.float64)
    return int8(np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) + out.zero_point)


def _even(values: F32, out: Quant) -> I8:
    """The zero point is added in float32, then half to even: XNNPACK."""
    return int8(np.rint(values * (_ONE / np.float32(out.scale[0])) + np.float32(out.zero_point)))


def int8(codes: npt.NDArray[np.generic]) -> I8:
    """Saturated codes."""
    saturated: I8 = np.clip(codes, -128, 127).astype(np.int8)
    return saturated


def _same_in_float(function: Callable[[F32], F32]) -> Table:
    """A function that both rules compute in float32."""
    return lambda alpha, x, out, rounding: _away(function(real_codes(x)), out)


def _tanh_table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
    return _tanh_fixed(x) if rounding == "double" else _even(_tanh(real_codes(x)), out)


def saturating(function: Callable[[int], int], x: Quant, integer_bits: int) -> I8:
    """int8 (256,): codes of a function of a number with so many bits before the point, -128 and 127 beyond them."""
    multiplier, shift = fixed.widened(x.scale[0] * 2.0 ** (31 - integer_bits))
    radius = fixed.input_radius(integer_bits, shift)

    def code(distance: int) -> int:
        if abs(distance) >= radius:
            return 127 if distance > 0 else -128
        wide = fixed.high_product(distance << max(shift, 0), multiplier)
        return function(fixed.rounding_shift_right(wide, max(-shift, 0)))

    return int8(np.array([code(distance) for distance in (CODES - x.zero_point).tolist()]))


def _tanh_fixed(x: Quant) -> I8:
    bits = 31 - _TANH_OUTPUT_BITS
    return saturating(lambda inside: fixed.rounding_shift_right(fixed.tanh(inside), bits), x, _TANH_INTEGER_BITS)


def _elu_table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
    return _away(_elu_of_exp(real_codes(x)), out) if rounding == "double" else _even(_elu(real_codes(x)), out)


def _sqrt_table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
    """LiteRT's square root is cut, not rounded."""
    return int8(np.trunc(np.sqrt(real_codes(x)) / np.float32(out.scale[0])) + out.zero_point)


def _neg_table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
    """The code -128 has no negative: it wraps around."""
    return (-CODES).astype(np.int8)


def _factor(x: Quant, out: Quant, rounding: Rounding) -> float:
    """Ratio of the scales; LiteRT divides in float32."""
    if rounding == "double":
        return x.scale[0] / out.scale[0]
    return float(np.float32(x.scale[0]) / np.float32(out.scale[0]))


def rescaled(values: I64, factor: float) -> I64:
    """Values times a factor of any sign, with the two roundings of the ``double`` rule."""
    multiplier, shift = as_fixed_point(np.array([abs(factor)]))
    return rescale_double(values, multiplier if factor >= 0 else -multiplier, shift)


def relu_table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
    codes = rescaled(CODES - x.zero_point, _factor(x, out, rounding))
    return int8(np.maximum(codes, 0) + out.zero_point)


def _clipped(low: float, high: float) -> Table:
    """A value between two limits, which LiteRT alone has: both rules are its."""

    def table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
        codes = rescaled(CODES - x.zero_point, _factor(x, out, "single"))
        lowest, highest = (math.copysign(math.floor(abs(end / out.scale[0]) + 0.5), end) for end in (low, high))
        return int8(np.clip(codes, lowest, highest) + out.zero_point)

    return table


def abs_table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
    return int8(rescaled(np.abs(CODES - x.zero_point), _factor(x, out, rounding)) + out.zero_point)


def leaky_relu_table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
    """``single``: factors with 8 fractional bits (XNNPACK), or LiteRT's own kernel where the one below 0 has none."""
    distances, ratio = CODES - x.zero_point, np.float32(_factor(x, out, "single"))
    if rounding == "double":
        return int8(_two_factors(distances, alpha * x.scale[0] / out.scale[0], x.scale[0] / out.scale[0], out))
    factors = np.array([ratio, abs(ratio * np.float32(alpha))])
    if factors.min() < _SMALLEST_FACTOR or factors.max() > _LARGEST_FACTOR:
        return leaky_relu_of_float_scales(alpha, x, out)
    scaled = np.float32(256) * ratio
    below, above = int(np.rint(scaled * np.float32(alpha))), int(np.rint(scaled))
    return int8(((distances * np.where(distances < 0, below, above) + 128) >> 8) + out.zero_point)


def leaky_relu_of_float_scales(alpha: float, x: Quant, out: Quant) -> I8:
    """The ``double`` rule with factors from scales in float32: LiteRT's reference kernel."""
    below = np.float32(alpha) * np.float32(x.scale[0]) / np.float32(out.scale[0])
    return int8(_two_factors(CODES - x.zero_point, float(below), _factor(x, out, "single"), out))


def _two_factors(distances: I64, below: float, above: float, out: Quant) -> I64:
    return np.where(distances < 0, rescaled(distances, below), rescaled(distances, above)) + out.zero_point


def _hard_swish_table(alpha: float, x: Quant, out: Quant, rounding: Rounding) -> I8:
    """x * relu6(x + 3) / 6 in 16-bit fixed point, the same in every engine."""
    fine = np.float32(x.scale[0]) * np.float32(2.0**-_HARD_SWISH_INPUT_BITS)
    out_multiplier, out_shift = _multiplier16(float(fine / np.float32(out.scale[0])))
    gate_multiplier, gate_shift = _multiplier16(float(fine / np.float32(3 / _INT16)))
    value = (CODES - x.zero_point) << _HARD_SWISH_INPUT_BITS
    gate = value
    if gate_shift > 0:
        gate = _int16(_half_away(_int16(gate << (gate_shift - 1)) * gate_multiplier) << 1)
    else:
        gate = rounding_shift_right(_half_away(gate * gate_multiplier), np.asarray(-gate_shift, np.int64))
    gate = (gate + _INT16) >> 1
    product = gate * _half_away(value * out_multiplier)
    return int8(rounding_shift_right(_cut(product), np.asarray(-out_shift, np.int64)) + out.zero_point)


def _multiplier16(real: float) -> tuple[int, int]:
    """real = multiplier * 2^(shift - 15)."""
    wide, shift = fixed.widened(real)
    return min((wide + _INT16) >> 16, _INT16 - 1), shift


def _int16(values: I64) -> I64:
    return np.clip(values, -_INT16, _INT16 - 1)


def _cut(product: I64) -> I64:
    """/ 2^15, towards zero."""
    cut: I64 = np.sign(product) * (np.abs(product) >> 15)
    return cut


def _half_away(product: I64) -> I64:
    """/ 2^15, half away from zero but for negative ties, which go up."""
    return _cut(product + np.where(product >= 0, _INT16 // 2, 1 - _INT16 // 2))


FUNCTION_TABLES: dict[str, Table] = {
    "relu": relu_table,
    "relu_0_to_1": _clipped(0, 1),
    "relu_n1_to_1": _clipped(-1, 1),
    "leaky_relu": leaky_relu_table,
    "hard_swish": _hard_swish_table,
    "tanh": _tanh_table,
    "elu": _elu_table,
    "gelu": _same_in_float(_gelu),
    "gelu_tanh": _same_in_float(_gelu_tanh),
    "exp": _same_in_float(_exp),
    "log": _same_in_float(_log),
    "sqrt": _sqrt_table,
    "abs": abs_table,
    "neg": _neg_table,
}
