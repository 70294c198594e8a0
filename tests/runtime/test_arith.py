"""Rounding compared with unbounded integers and fractions: ties, extremes and random values."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.runtime import oracle
from tinyscene.runtime.arith import (
    Rescale,
    clamp_range,
    dequantise,
    fixed_point,
    high_product,
    inverse_root,
    quantise,
    requantise,
    rescale_double,
    rescale_single,
    rounding_shift_right,
    rsqrt_table,
)
from tinyscene.runtime.graph import Quant

ACCUMULATORS = st.integers(-(2**31) + 1, 2**31 - 1) | st.integers(-300, 300)
MULTIPLIERS = st.integers(2**30, 2**31 - 1) | st.just(2**30)
FACTORS = st.floats(2.0**-30, 2.0**3, allow_subnormal=False)
SCALES = st.floats(1e-6, 1e3).map(lambda s: float(np.float32(s)))


def _i64(value):
    return np.array(value, np.int64)


@given(real=st.floats(2.0**-45, 2.0**20))
@example(real=1.0)
@example(real=0.5)
@example(real=1.0 - 2.0**-53)
@example(real=2.0**-32)
@example(real=2.0**-33)
def test_fixed_point(real):
    (multiplier,), (shift,) = fixed_point(np.array([real]))
    assert (multiplier, shift) == oracle.fixed_point(real)
    if multiplier:
        assert 2**30 <= multiplier < 2**31
        assert abs(Fraction(int(multiplier)) * Fraction(2) ** int(shift - 31) / Fraction(real) - 1) <= Fraction(
            1, 2**31
        )


@given(acc=ACCUMULATORS, multiplier=MULTIPLIERS, shift=st.integers(-31, 0))
@example(acc=-1, multiplier=2**30, shift=0)  # minus one half goes up in the product
@example(acc=-2, multiplier=2**30, shift=-1)  # and away from zero in the shift
@example(acc=-(2**31) + 1, multiplier=2**31 - 1, shift=0)
@example(acc=2**31 - 1, multiplier=2**31 - 1, shift=-31)
def test_double_rule(acc, multiplier, shift):
    got = rescale_double(_i64(acc), _i64(multiplier), _i64(shift))
    assert int(got) == oracle.rescale_double(acc, multiplier, shift)


@given(acc=ACCUMULATORS, multiplier=MULTIPLIERS, shift=st.integers(1, 31))
@example(acc=2**24, multiplier=2**30 + 1, shift=7)  # exceeds int32 by one
def test_double_rule_with_factors_above_one(acc, multiplier, shift):
    got = rescale_double(_i64(acc), _i64(multiplier), _i64(shift))
    assert int(got) == oracle.rescale_double(acc, multiplier, shift)


@given(halves=st.integers(-(2**20), 2**20), bits=st.integers(1, 20))
def test_ties_of_each_step(halves, bits):
    """Odd multiples of one half: up in the product, away from zero in the shift."""
    odd = 2 * halves + 1
    assert int(high_product(_i64(odd), _i64(2**30))) == oracle.half_up(Fraction(odd, 2))
    tie = odd << (bits - 1)
    assert int(rounding_shift_right(_i64(tie), _i64(bits))) == oracle.half_away(Fraction(odd, 2))


@given(acc=ACCUMULATORS, factor=FACTORS)
@example(acc=1, factor=0.5)
@example(acc=3, factor=0.5)
@example(acc=-1, factor=0.5)
@example(acc=2**24 + 1, factor=2.0**-20)  # the accumulator itself is rounded to float32
def test_single_rule(acc, factor):
    factor32 = np.float32(factor)
    got = rescale_single(_i64([acc]), np.array([factor32]))
    assert int(got[0]) == oracle.rescale_single(acc, Fraction(float(factor32)))


@given(
    acc=ACCUMULATORS,
    real=FACTORS,
    zero_point=st.integers(-128, 127),
    relu=st.booleans(),
    rounding=st.sampled_from(["double", "single"]),
)
def test_requantise_saturates_to_the_output_range(acc, real, zero_point, relu, rounding):
    out = Quant.per_tensor(1.0, zero_point)
    rescale = Rescale.of(real, np.float32(real))
    if rounding == "double":
        code = oracle.rescale_double(acc, *oracle.fixed_point(real))
    else:
        code = oracle.rescale_single(acc, oracle.float32(Fraction(real)))
    got = requantise(_i64([acc]), rescale, out, relu=relu, rounding=rounding)
    assert got.dtype == np.int8
    assert int(got[0]) == oracle.saturate(code + zero_point, zero_point if relu else -128)


@pytest.mark.parametrize("zero_point", [-128, -5, 0, 127])
def test_clamp_range(zero_point):
    quant = Quant.per_tensor(0.1, zero_point)
    assert clamp_range(quant, relu=False) == (-128, 127)
    assert clamp_range(quant, relu=True) == (zero_point, 127)


@given(real=st.floats(-1e4, 1e4, width=32), scale=SCALES, zero_point=st.integers(-128, 127))
@example(real=0.5, scale=1.0, zero_point=0)
@example(real=1.5, scale=1.0, zero_point=0)
@example(real=-0.5, scale=1.0, zero_point=0)
def test_quantise(real, scale, zero_point):
    quotient = oracle.float32(Fraction(real) / Fraction(scale))
    code = oracle.saturate(oracle.half_even(quotient) + zero_point)
    assert int(quantise(np.array([real], np.float32), Quant.per_tensor(scale, zero_point))[0]) == code


@given(scale=SCALES, zero_point=st.integers(-128, 127))
def test_codes_are_unchanged_by_dequantising_and_quantising(scale, zero_point):
    """The reason why an engine with float input and output can use codes exactly."""
    codes, quant = np.arange(-128, 128).astype(np.int8), Quant.per_tensor(scale, zero_point)
    real = dequantise(codes, quant)
    assert real.dtype == np.float32
    assert np.array_equal(quantise(real, quant), codes)
    expected = [float(oracle.float32((int(c) - zero_point) * Fraction(scale))) for c in codes]
    assert real.tolist() == expected


def test_inverse_root_is_the_rounded_root_except_for_three_values():
    rounded = {value: round(2**20 / value**0.5) for value in range(1, 256)}
    assert {v: inverse_root(v) - r for v, r in rounded.items() if inverse_root(v) != r} == {2: -1, 8: -1, 131: -1}


@given(s_x=st.floats(1e-5, 1.0), s_out=st.floats(1e-3, 1.0))
def test_rsqrt_table_falls_and_saturates(s_x, s_out):
    table = rsqrt_table(Quant.per_tensor(s_x, -128), Quant.per_tensor(s_out, -128))
    assert table.shape == (256,)
    assert table[0] == 127
    assert (np.diff(table[1:].astype(int)) <= 0).all()
