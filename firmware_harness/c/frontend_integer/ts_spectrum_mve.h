/* Steps of the transform on Helium, four groups, columns or bins at a time: the same bits as the portable steps in
 * ts_spectrum.c. Internal to it; transforms of fewer than 64 points use the portable steps. */
#ifndef TS_SPECTRUM_MVE_H
#define TS_SPECTRUM_MVE_H

#if defined(__ARM_FEATURE_MVE) && TS_LOGMEL_N_FFT >= 128
#define TS_SPECTRUM_MVE

#include <arm_mve.h>

typedef struct {
    int32x4_t re, im;
} Points;

typedef struct {
    int32x4_t cosine, sine;
} Turns;

/* Offsets of four points in bytes. */
static const uint32_t ascending[4] = {0, 8, 16, 24}, descending[4] = {24, 16, 8, 0};

TS_STRAIGHT Points load_points(const TsComplex* z) {
#ifdef __clang__
    const int32x4x2_t both = vld2q_s32(&z->re);
    return (Points){both.val[0], both.val[1]};
#else
    register int32x4_t re __asm__("q2");
    register int32x4_t im __asm__("q3");
    __asm__ volatile("vld20.32 {q2, q3}, [%2]\n vld21.32 {q2, q3}, [%2]" : "=&w"(re), "=&w"(im) : "r"(z) : "memory");
    return (Points){re, im};
#endif
}

TS_STRAIGHT void store_points(TsComplex* z, Points v) {
#ifdef __clang__
    const int32x4x2_t both = {{v.re, v.im}};
    vst2q_s32(&z->re, both);
#else /* GCC 12 makes a pair of registers by way of memory */
    register int32x4_t re __asm__("q0") = v.re;
    register int32x4_t im __asm__("q1") = v.im;
    __asm__ volatile("vst20.32 {q0, q1}, [%0]\n vst21.32 {q0, q1}, [%0]" : : "r"(z), "w"(re), "w"(im) : "memory");
#endif
}

/* Points at these offsets in bytes. */
TS_STRAIGHT Points gather_points(const TsComplex* z, uint32x4_t offsets) {
    return (Points){vldrwq_gather_offset_s32(&z->re, offsets), vldrwq_gather_offset_s32(&z->im, offsets)};
}

TS_STRAIGHT void scatter_points(TsComplex* z, uint32x4_t offsets, Points v) {
    vstrwq_scatter_offset_s32(&z->re, offsets, v.re);
    vstrwq_scatter_offset_s32(&z->im, offsets, v.im);
}

TS_STRAIGHT Points sum_of(Points a, Points b) {
    return (Points){vaddq_s32(a.re, b.re), vaddq_s32(a.im, b.im)};
}

TS_STRAIGHT Points difference_of(Points a, Points b) {
    return (Points){vsubq_s32(a.re, b.re), vsubq_s32(a.im, b.im)};
}

/* a - i b */
TS_STRAIGHT Points sum_right_of(Points a, Points b) {
    return (Points){vaddq_s32(a.re, b.im), vsubq_s32(a.im, b.re)};
}

/* a + i b */
TS_STRAIGHT Points sum_left_of(Points a, Points b) {
    return (Points){vsubq_s32(a.re, b.im), vaddq_s32(a.im, b.re)};
}

TS_STRAIGHT Points quarters_of(Points v) {
    return (Points){vrshrq_n_s32(v.re, 2), vrshrq_n_s32(v.im, 2)};
}

TS_STRAIGHT Points turned_by(Points v, Turns w) {
    return (Points){vsubq_s32(vmulhq_s32(v.re, w.cosine), vmulhq_s32(vnegq_s32(v.im), w.sine)),
                    vsubq_s32(vmulhq_s32(v.im, w.cosine), vmulhq_s32(v.re, w.sine))};
}

/* As four_points. */
TS_STRAIGHT void four_times_four(Points x[4]) {
    const Points a = sum_of(x[0], x[1]), b = difference_of(x[0], x[1]);
    const Points c = sum_of(x[2], x[3]), d = difference_of(x[2], x[3]);
    x[0] = sum_of(a, c), x[1] = sum_right_of(b, d), x[2] = difference_of(a, c), x[3] = sum_left_of(b, d);
}

#if TS_FFT_FIRST == 8
TS_STRAIGHT Points half_roots(int32x4_t re, int32x4_t im) {
    return (Points){vshlq_n_s32(vmulhq_s32(re, vdupq_n_s32(TS_FFT_HALF_ROOT)), 1),
                    vshlq_n_s32(vmulhq_s32(im, vdupq_n_s32(TS_FFT_HALF_ROOT)), 1)};
}
#endif

static void first_step_of_groups(TsComplex* bins) {
    const uint32x4_t groups = vmulq_n_u32(vld1q_u32(ascending), TS_FFT_FIRST);
    for (TsComplex* z = bins; z < bins + TS_HALF_FFT; z += 4 * TS_FFT_FIRST) {
        Points low[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            low[i] = gather_points(z + i, groups);
        }
        four_times_four(low);
#if TS_FFT_FIRST == 8
        Points high[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            high[i] = gather_points(z + 4 + i, groups);
        }
        four_times_four(high);
        high[1] = half_roots(vaddq_s32(high[1].re, high[1].im), vsubq_s32(high[1].im, high[1].re));
        high[3] = half_roots(vsubq_s32(high[3].im, high[3].re), vsubq_s32(vnegq_s32(high[3].re), high[3].im));
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            scatter_points(z + i, groups, i == 2 ? sum_right_of(low[2], high[2]) : sum_of(low[i], high[i]));
            scatter_points(z + 4 + i, groups, i == 2 ? sum_left_of(low[2], high[2]) : difference_of(low[i], high[i]));
        }
#else
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            scatter_points(z + i, groups, low[i]);
        }
#endif
    }
}

/* As turn, of four angles within the first quarters of a turn, `quarters` of them. */
TS_STRAIGHT Turns turns_of(int32x4_t angle, int quarters) {
    const int32_t* const quarter = ts_spectrum_tables.quarter;
    const int32x4_t to_quarter = vabsq_s32(vsubq_s32(angle, vdupq_n_s32(QUARTER)));
    if (quarters == 1) {
        return (Turns){vldrwq_gather_shifted_offset_s32(quarter, vreinterpretq_u32_s32(angle)),
                       vldrwq_gather_shifted_offset_s32(quarter, vreinterpretq_u32_s32(to_quarter))};
    }
    const int32x4_t to_half = vabsq_s32(vsubq_s32(angle, vdupq_n_s32(2 * QUARTER)));
    const mve_pred16_t second = vcmpgtq_n_s32(angle, QUARTER);
    const uint32x4_t cosine_at = vreinterpretq_u32_s32(vpselq_s32(to_half, angle, second));
    const int32x4_t cosine = vldrwq_gather_shifted_offset_s32(quarter, cosine_at);
    const int32x4_t signed_cosine = vnegq_m_s32(cosine, cosine, second);
    if (quarters == 2) {
        return (Turns){signed_cosine, vldrwq_gather_shifted_offset_s32(quarter, vreinterpretq_u32_s32(to_quarter))};
    }
    const int32x4_t to_last = vsubq_s32(vdupq_n_s32(3 * QUARTER), angle);
    const mve_pred16_t third = vcmpgtq_n_s32(angle, 2 * QUARTER);
    const uint32x4_t sine_at = vreinterpretq_u32_s32(vpselq_s32(to_last, to_quarter, third));
    const int32x4_t sine = vldrwq_gather_shifted_offset_s32(quarter, sine_at);
    return (Turns){signed_cosine, vnegq_m_s32(sine, sine, third)};
}

/* A pointer to numbers that GCC does not keep in registers, of which there are eight, and then in copies. */
TS_STRAIGHT const int32_t* in_memory(const int32_t* numbers) {
    __asm__("" : "+r"(numbers) : : "memory");
    return numbers;
}

TS_STRAIGHT void keep(int32_t* kept, Turns turns) {
    vst1q_s32(kept, turns.cosine), vst1q_s32(kept + 4, turns.sine);
}

TS_STRAIGHT Turns turns_at(const int32_t* kept) {
    return (Turns){vld1q_s32(kept), vld1q_s32(kept + 4)};
}

static void step_of_four_columns(TsComplex* bins, int32_t length) {
    const int32_t unit = TS_LOGMEL_N_FFT / 4 / length;
    const int32x4_t units = vmulq_n_s32(vreinterpretq_s32_u32(vidupq_n_u32(0, 1)), unit);
    for (int32_t k = 0; k < length; k += 4) {
        const int32x4_t angle = vaddq_n_s32(units, k * unit);
        int32_t kept[3][8];
        keep(kept[0], turns_of(angle, 1));
        keep(kept[1], turns_of(vmulq_n_s32(angle, 2), 2));
        keep(kept[2], turns_of(vmulq_n_s32(angle, 3), 3));
        const int32_t* const turns = in_memory(kept[0]);
        for (TsComplex* z = bins + k; z < bins + TS_HALF_FFT; z += 4 * length) {
            TsComplex *const z1 = z + length, *const z2 = z1 + length, *const z3 = z2 + length;
            const Points x2 = turned_by(load_points(z2), turns_at(turns)),
                         x3 = turned_by(load_points(z3), turns_at(turns + 16));
            const Points c = sum_of(x2, x3), d = difference_of(x2, x3);
            const Points x0 = quarters_of(load_points(z)), x1 = turned_by(load_points(z1), turns_at(turns + 8));
            const Points a = sum_of(x0, x1), b = difference_of(x0, x1);
            store_points(z, sum_of(a, c)), store_points(z2, difference_of(a, c));
            store_points(z1, sum_right_of(b, d)), store_points(z3, sum_left_of(b, d));
        }
    }
}

/* As split, while four bins from each end do not meet; returns the first that is left. */
static int32_t split_fours(TsComplex* bins) {
    const uint32x4_t backwards = vld1q_u32(descending);
    const uint32x4_t down = vshrq_n_u32(backwards, 1);
    int32_t k = 1;
    for (; k + 3 < TS_HALF_FFT - k - 3; k += 4) {
        TsComplex *const low = bins + k, *const high = bins + TS_HALF_FFT - k - 3;
        const Points a = load_points(low), b = gather_points(high, backwards);
        const int32x4_t sine = vldrwq_gather_offset_s32(ts_spectrum_tables.quarter + QUARTER - k - 3, down);
        const Turns w = {vld1q_s32(ts_spectrum_tables.quarter + k), sine};
        const Points even = quarters_of((Points){vaddq_s32(a.re, b.re), vsubq_s32(a.im, b.im)});
        const Points odd = turned_by((Points){vaddq_s32(a.im, b.im), vsubq_s32(b.re, a.re)}, w);
        store_points(low, sum_of(even, odd));
        scatter_points(high, backwards, difference_of(even, odd));
    }
    return k;
}

/* Four pairs of the window from index `at` on, which all rise or all fall and are not mirrored, to their places. */
TS_STRAIGHT void place_four(const TsLogmel* stream, TsComplex* places, int group, int32_t at, int rising) {
    const int32_t* const weights = ts_spectrum_tables.window;
    const uint32x4_t to = vshlq_n_u32(vldrhq_u32(ts_spectrum_tables.places + group), 3);
    const uint32x4_t forwards = vshrq_n_u32(vld1q_u32(ascending), 2); /* of samples: 0, 2, 4, 6 */
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part) {
        const int16_t* const sample = stream->samples + 1 + at + part;
        const int32x4_t value = vldrhq_gather_shifted_offset_s32(sample, forwards);
        const int32_t* const weight = rising ? weights + at + part : weights + TS_LOGMEL_WINDOW_MIRROR - at - part - 6;
        const uint32x4_t order = rising ? forwards : vshrq_n_u32(vld1q_u32(descending), 2);
        const int32x4_t w = vldrwq_gather_shifted_offset_s32(weight, order);
#ifdef TS_LOGMEL_PRE_EMPHASIS
        const int32x4_t next = vldrhq_gather_shifted_offset_s32(sample + 1, forwards);
        const int32x4_t before = vmulq_n_s32(value, TS_LOGMEL_PRE_EMPHASIS);
        const int32x4_t emphasised = vsubq_s32(vshlq_n_s32(next, 15), vshrq_n_s32(before, 1));
        const int32x4_t x = vshlq_s32(vmulhq_s32(emphasised, w), vdupq_n_s32(32 - TS_LOGMEL_INPUT_SHIFT));
#else
        const int32x4_t product = vmulhq_s32(vshlq_n_s32(value, 16), w);
        const int32x4_t x = vshlq_s32(product, vdupq_n_s32(16 - TS_LOGMEL_INPUT_SHIFT));
#endif
        vstrwq_scatter_offset_s32(part ? &places->im : &places->re, to, x);
    }
}

#endif
#endif
