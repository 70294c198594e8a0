/* The inner loops, which take nearly all of the time, and the two rounding rules.
 *
 * The portable kernels only iterate over pixels and call these. This header is portable C99; it relies on two's
 * complement with arithmetic right shift, and for TS_ROUNDING_SINGLE on IEEE float32 without excess precision,
 * contraction or reassociation. */
#ifndef TS_INNER_H
#define TS_INNER_H

#include <float.h>
#include <stdint.h>

#include "ts_kernels.h"

/* Without a product of 64 bits, or a float unit, the compiler would call a library. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
#define TS_NARROW_MULTIPLY
#endif
#if defined(__SOFTFP__) || (defined(__riscv) && !defined(__riscv_flen))
#define TS_SOFT_FLOAT
#endif

typedef char ts_needs_arithmetic_shift_right[(-1 >> 1) == -1 ? 1 : -1];
#ifdef TS_ROUNDING_SINGLE
#if defined(__FAST_MATH__) || FLT_EVAL_METHOD != 0
#error "single rounding needs exact float32: no -ffast-math, no excess precision"
#endif
#endif

/* Computes a variable before what follows. GCC otherwise moves the loads of several sums together, and stores
 * registers to make room. */
#ifdef __GNUC__
#define TS_IN_PLACE(variable) __asm__ volatile("" : "+r"(variable));
#else
#define TS_IN_PLACE(variable)
#endif

static inline int32_t ts_max(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static inline int32_t ts_min(int32_t a, int32_t b) {
    return a < b ? a : b;
}

/* Element i of TS_AXES axes, the outermost first, counted in order: its distance with these steps. */
static inline int32_t ts_place(const int32_t* sizes, const int32_t* steps, int32_t i) {
    const int32_t inner = i % sizes[2];
    const int32_t middle = i / sizes[2] % sizes[1];
    const int32_t outer = i / sizes[2] / sizes[1];
    return outer * steps[0] + middle * steps[1] + inner * steps[2];
}

/* a + b modulo 2^32, as every engine adds to an accumulator. */
static inline int32_t ts_wrapping_add(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* acc + sum of (x - zero_point) * weight over n contiguous elements. */
static inline int32_t ts_dot(const int8_t* x, const int8_t* weight, int32_t n, int32_t zero_point, int32_t acc) {
    for (int32_t i = 0; i < n; ++i) {
        acc = ts_wrapping_add(acc, (x[i] - zero_point) * weight[i]);
    }
    return acc;
}

/* A number counted from the zero point to an output code. Clamping first prevents an overflow of the sum. */
static inline int8_t ts_code(int32_t value, const TsOutput* out) {
    return (int8_t)(ts_min(ts_max(value, out->low), out->high) + out->zero_point);
}

/* value * 2^bits modulo 2^32, as TensorFlow Lite Micro computes it. */
static inline int32_t ts_wrapping_shift_left(int32_t value, int32_t bits) {
    return (int32_t)((uint32_t)value << bits);
}

/* value * 2^bits, saturated. */
static inline int32_t ts_shift_left(int32_t value, int32_t bits) {
    const int64_t wide = (int64_t)value * ((int64_t)1 << bits);
    return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* value / 2^bits, half away from zero. */
static inline int32_t ts_rounding_shift_right(int32_t value, int32_t bits) {
    const int32_t mask = (int32_t)((1u << bits) - 1u);
    const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
    return (value >> bits) + ((value & mask) > threshold ? 1 : 0);
}

/* value * multiplier / 2^31, half up; the product of two values of -2^31 is excluded. */
#ifdef TS_NARROW_MULTIPLY
static inline int32_t ts_high_product(int32_t value, int32_t multiplier) {
    const int32_t value_high = value >> 16, value_low = value & 0xffff;
    const int32_t high = multiplier >> 16, low = multiplier & 0xffff;
    const int32_t middle = value_high * low + (int32_t)((uint32_t)value_low * (uint32_t)low >> 16);
    const int32_t below = value_low * high + (middle & 0xffff); /* of 2^-16, like `middle` */
    const uint32_t above = (uint32_t)(value_high * high) + (uint32_t)(middle >> 16);
    return (int32_t)(2 * above + (uint32_t)((below + (1 << 14)) >> 15));
}
#else
static inline int32_t ts_high_product(int32_t value, int32_t multiplier) {
    const uint64_t doubled = 2 * (uint64_t)((int64_t)value * multiplier);
    return (int32_t)((uint32_t)(doubled >> 32) + ((uint32_t)doubled >> 31));
}
#endif

/* value * 2^shift, half away from zero, for a value above -2^31; unchanged for a shift to the left. */
static inline int32_t ts_shift_down(int32_t value, int32_t shift) {
    return shift >= 0 ? value : (((value - (value < 0)) >> (-shift - 1)) + 1) >> 1;
}

/* value * multiplier * 2^(shift - 31), with two roundings; the multiplier is not negative, so that the first result is
 * above -2^31. */
#ifdef TS_NARROW_MULTIPLY
int32_t ts_fixed_point(int32_t value, int32_t multiplier, int32_t shift);
#else
static inline int32_t ts_fixed_point(int32_t value, int32_t multiplier, int32_t shift) {
    const int32_t shifted = ts_wrapping_shift_left(value, ts_max(shift, 0));
#ifdef __riscv /* which has a product of a signed and an unsigned number, but no carry */
    const int64_t product = (int64_t)shifted * (2 * (uint32_t)multiplier);
    return ts_shift_down((int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31), shift);
#else
    return ts_shift_down(ts_high_product(shifted, multiplier), shift);
#endif
}
#endif

#ifdef TS_ROUNDING_SINGLE

/* The float32 product rounded half to even. Below 2^22, adding 1.5 * 2^23 leaves no bits for a fraction, so that the
 * sum itself rounds, identically on every IEEE machine; the clamp before it is to integers and does not change the
 * result. */
static inline int32_t ts_round(float value, float low, float high) {
    const float no_fraction = 12582912.0f;
    value = value < low ? low : value;
    value = value > high ? high : value;
    return (int32_t)((value + no_fraction) - no_fraction);
}

static inline int8_t ts_requantise_float(int32_t acc, float factor, const TsOutput* out) {
    const float value = (float)acc * factor;
    return (int8_t)(ts_round(value, (float)out->low, (float)out->high) + out->zero_point);
}

#ifdef TS_SOFT_FLOAT

/* As ts_requantise_float, in integers unless the product is near a tie; see ts_requantise.c. */
int8_t ts_requantise(int32_t acc, const TsRescale* rescale, const TsOutput* out);

#else

static inline int8_t ts_requantise(int32_t acc, const TsRescale* rescale, const TsOutput* out) {
    return ts_requantise_float(acc, rescale->factor, out);
}

#endif

#else

static inline int32_t ts_rescale(int32_t value, const TsRescale* rescale) {
    return ts_fixed_point(value, rescale->multiplier, rescale->shift);
}

static inline int8_t ts_requantise(int32_t acc, const TsRescale* rescale, const TsOutput* out) {
    return ts_code(ts_rescale(acc, rescale), out);
}

#endif

#endif
