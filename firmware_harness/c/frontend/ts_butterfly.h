/* Twiddle factors and butterflies of a fast Fourier transform. A factor cos(a) - i sin(a) is stored as cosine and
 * sine. Written for processors with a fused multiply-add that overwrites the summand, and additions with three
 * operands. */
#ifndef TS_BUTTERFLY_H
#define TS_BUTTERFLY_H

#include <math.h>

#include "ts_complex.h"

/* One instruction also with -fno-builtin and -ffreestanding. */
#ifdef __GNUC__
#define TS_FMAF __builtin_fmaf
#else
#define TS_FMAF fmaf
#endif

typedef struct {
    float cosine, sine;
} TsTurn;

/* One rounding on processors with a float unit, so that they all give the same bits; two roundings without one. */
TS_STRAIGHT float ts_fused(float a, float b, float c) {
#if defined(__SOFTFP__) || (defined(__riscv) && !defined(__riscv_flen))
    return a * b + c;
#else
    return TS_FMAF(a, b, c);
#endif
}

TS_STRAIGHT TsComplex ts_turned(TsComplex v, float cosine, float sine) {
    return (TsComplex){ts_fused(sine, v.im, cosine * v.re), ts_fused(-sine, v.re, cosine * v.im)};
}

/* Four points x0..x3, already multiplied by twiddle factors, become their transform in order; x3 may be known to be
 * zero. */
TS_STRAIGHT void ts_four_points(TsComplex x[4], int with_last) {
    const TsComplex a = ts_sum(x[0], x[2]), b = ts_difference(x[0], x[2]);
    const TsComplex c = with_last ? ts_sum(x[1], x[3]) : x[1], d = with_last ? ts_difference(x[1], x[3]) : x[1];
    x[0] = ts_sum(a, c), x[2] = ts_difference(a, c);
    x[1] = ts_sum_right(b, d), x[3] = ts_sum_left(b, d);
}

/* Eight points, already multiplied by twiddle factors, become their transform in order; all after the first `count`
 * are zero. */
TS_STRAIGHT void ts_eight_points(TsComplex x[8], int count) {
    static const float half_root = 0x1.6a09e6p-1f; /* sqrt(1/2) */
    TsComplex even[4] = {x[0], x[2], x[4], x[6]};
    TsComplex odd[4] = {x[1], x[3], x[5], x[7]};
    ts_four_points(even, count > 6);
    ts_four_points(odd, count > 7);
    const TsComplex first = {odd[1].re + odd[1].im, odd[1].im - odd[1].re};
    const TsComplex third = {odd[3].re + odd[3].im, odd[3].im - odd[3].re};
    x[0] = ts_sum(even[0], odd[0]), x[4] = ts_difference(even[0], odd[0]);
    x[2] = ts_sum_right(even[2], odd[2]), x[6] = ts_sum_left(even[2], odd[2]);
    x[1].re = ts_fused(half_root, first.re, even[1].re), x[1].im = ts_fused(half_root, first.im, even[1].im);
    x[5].re = ts_fused(-half_root, first.re, even[1].re), x[5].im = ts_fused(-half_root, first.im, even[1].im);
    x[3].re = ts_fused(half_root, third.im, even[3].re), x[3].im = ts_fused(-half_root, third.re, even[3].im);
    x[7].re = ts_fused(-half_root, third.im, even[3].re), x[7].im = ts_fused(half_root, third.re, even[3].im);
}

#endif
