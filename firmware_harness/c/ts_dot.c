/* Sums of products of codes and weights, four or eight at a time, and the outputs that follow from them.
 *
 * A tap of two windows and two outputs takes four loads for four products, where one window and one output take eight;
 * one window alone takes five, with four outputs. Two windows and four outputs take six for eight products, and more
 * registers than Arm's processors have. Of a number of outputs that is not a multiple, the last is computed again. */
#include "ts_dot.h"

#include "ts_dot_armv6m.h"
#include "ts_dot_dsp.h"
#include "ts_dot_mve.h"

#ifndef TS_DOT_MVE
#if !defined(TS_DOT_ARMV6M) && !defined(TS_DOT_DSP)

#ifdef __GNUC__ /* all registers are used */
#define TS_ALONE __attribute__((noinline))
#else
#define TS_ALONE
#endif

/* All sums are computed before the next loads, for which there would be no registers. */
#ifdef __GNUC__
#define TS_SUMMED                                                                                                      \
    __asm__ volatile("" : : "r"(s0), "r"(s1), "r"(s2), "r"(s3), "r"(s4), "r"(s5), "r"(s6), "r"(s7) : "memory");
#else
#define TS_SUMMED
#endif

#define TS_TAPS                                                                                                        \
    TS_TAP(0)                                                                                                          \
    TS_TAP(1)                                                                                                          \
    TS_TAP(2)                                                                                                          \
    TS_TAP(3)
#define TS_SUMS TS_IN_PLACE(s0) TS_IN_PLACE(s1) TS_IN_PLACE(s2) TS_IN_PLACE(s3)

#ifdef __thumb2__

/* Loads move their pointer at no cost. */
enum { TS_OUTPUTS = 2, TS_ALL = 0 };
#define TS_TAP(i)                                                                                                      \
    TS_MULTIPLIED(0)                                                                                                   \
    TS_ADVANCE(1)

#define TS_MULTIPLIED(i)                                                                                               \
    {                                                                                                                  \
        const int32_t a = x0[i], b = x1[i], c = w0[i], d = w1[i];                                                      \
        s0 += (uint32_t)(a * c);                                                                                       \
        s1 += (uint32_t)(b * c);                                                                                       \
        s2 += (uint32_t)(a * d);                                                                                       \
        s3 += (uint32_t)(b * d);                                                                                       \
        TS_SUMS                                                                                                        \
    }
#define TS_ADVANCE(n)                                                                                                  \
    x0 += n, x1 += n, w0 += n, w1 += n;                                                                                \
    TS_IN_PLACE(x0) TS_IN_PLACE(x1) TS_IN_PLACE(w0) TS_IN_PLACE(w1)

/* Two windows and two outputs, of which `left` are left: sums of x0 w0, x1 w0, x0 w1, x1 w1. */
TS_ALONE static void sums_of_two(const int8_t* x0, const int8_t* x1, const int8_t* w0, int32_t n, int32_t left,
                                 uint32_t sum[2 * TS_OUTPUTS]) {
    const int8_t* w1 = left > 1 ? w0 + n : w0;
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (const int8_t* end = x0 + (n & ~3); x0 != end;) {
        TS_TAPS
    }
    for (n &= 3; n > 0; --n) {
        TS_TAP(0)
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

#else

/* Pointers move once for four taps. */
enum { TS_OUTPUTS = 4, TS_ALL = 4 };
#define TS_TAP(i) TS_MULTIPLIED(i)

#define TS_MULTIPLIED(i)                                                                                               \
    {                                                                                                                  \
        const int32_t a = x0[i], b = x1[i];                                                                            \
        int32_t w = w0[i];                                                                                             \
        s0 += (uint32_t)(a * w);                                                                                       \
        s1 += (uint32_t)(b * w);                                                                                       \
        w = w1[i];                                                                                                     \
        s2 += (uint32_t)(a * w);                                                                                       \
        s3 += (uint32_t)(b * w);                                                                                       \
        w = w2[i];                                                                                                     \
        s4 += (uint32_t)(a * w);                                                                                       \
        s5 += (uint32_t)(b * w);                                                                                       \
        w = w3[i];                                                                                                     \
        s6 += (uint32_t)(a * w);                                                                                       \
        s7 += (uint32_t)(b * w);                                                                                       \
        TS_SUMMED                                                                                                      \
    }
#define TS_ADVANCE(n) x0 += n, x1 += n, w0 += n, w1 += n, w2 += n, w3 += n;

/* Two windows and four outputs, of which `left` are left: sums of x0 w0, x1 w0, x0 w1, ... */
TS_ALONE static void sums_of_two(const int8_t* x0, const int8_t* x1, const int8_t* w0, int32_t n, int32_t left,
                                 uint32_t sum[2 * TS_OUTPUTS]) {
    const int8_t *w1 = left > 1 ? w0 + n : w0, *w2 = left > 2 ? w1 + n : w1, *w3 = left > 3 ? w2 + n : w2;
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
    for (const int8_t* end = x0 + (n & ~3); x0 != end;) {
        TS_TAPS
        TS_ADVANCE(TS_ALL)
    }
    for (n &= 3; n > 0; --n) {
        TS_MULTIPLIED(0)
        TS_ADVANCE(1)
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3, sum[4] = s4, sum[5] = s5, sum[6] = s6, sum[7] = s7;
}

#endif

#undef TS_MULTIPLIED
#undef TS_ADVANCE
#define TS_MULTIPLIED(i)                                                                                               \
    {                                                                                                                  \
        const int32_t a = x[i];                                                                                        \
        s0 += (uint32_t)(a * w0[i]);                                                                                   \
        s1 += (uint32_t)(a * w1[i]);                                                                                   \
        s2 += (uint32_t)(a * w2[i]);                                                                                   \
        s3 += (uint32_t)(a * w3[i]);                                                                                   \
        TS_SUMS                                                                                                        \
    }
#define TS_ADVANCE(n)                                                                                                  \
    x += n, w0 += n, w1 += n, w2 += n, w3 += n;                                                                        \
    TS_IN_PLACE(x) TS_IN_PLACE(w0) TS_IN_PLACE(w1) TS_IN_PLACE(w2) TS_IN_PLACE(w3)

/* One window and four outputs. */
TS_ALONE static void sums_of_one(const int8_t* x, const int8_t* w0, int32_t n, int32_t left, uint32_t sum[4]) {
    const int8_t *w1 = left > 1 ? w0 + n : w0, *w2 = left > 2 ? w1 + n : w1, *w3 = left > 3 ? w2 + n : w2;
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (const int8_t* end = x + (n & ~3); x != end;) {
        TS_TAPS
        TS_ADVANCE(TS_ALL)
    }
    for (n &= 3; n > 0; --n) {
        TS_MULTIPLIED(0)
        TS_ADVANCE(1)
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

#endif

void ts_outputs_of_one(const TsFilters* filters, const int8_t* x, int8_t* out) {
    const TsFilters f = *filters; /* which no output is written to, as the compiler cannot know of others */
    for (int32_t first = 0; first < f.channels; first += 4) {
        uint32_t sum[4];
        sums_of_one(x, f.weight + first * f.taps, f.taps, f.channels - first, sum);
        for (int32_t i = 0; i < 4 && first + i < f.channels; ++i) {
            const TsRescale rescale = f.rescale[first + i];
            const int32_t acc = ts_wrapping_add((int32_t)sum[i], f.bias[first + i]);
            out[first + i] = ts_requantise(acc, &rescale, &f.out);
        }
    }
}

void ts_outputs_of_two(const TsFilters* filters, const int8_t* const x[2], int8_t* const out[2]) {
    const TsFilters f = *filters;
    const int8_t *x0 = x[0], *x1 = x[1], *weight = f.weight;
    int8_t *out0 = out[0], *out1 = out[1];
    for (int32_t first = 0; first < f.channels; first += TS_OUTPUTS) {
        const int32_t left = f.channels - first;
        uint32_t sum[2 * TS_OUTPUTS];
        sums_of_two(x0, x1, weight, f.taps, left, sum);
        weight += TS_OUTPUTS * f.taps;
        for (int32_t i = 0; i < TS_OUTPUTS && i < left; ++i) {
            const TsRescale rescale = f.rescale[first + i];
            const int32_t bias = f.bias[first + i];
            const int32_t acc = ts_wrapping_add((int32_t)sum[2 * i], bias);
            const int32_t next = ts_wrapping_add((int32_t)sum[2 * i + 1], bias);
            out0[first + i] = ts_requantise(acc, &rescale, &f.out);
            out1[first + i] = ts_requantise(next, &rescale, &f.out);
        }
    }
}

#endif
