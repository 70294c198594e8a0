/* Sums of products of codes and weights, four at a time, and the outputs that follow from them.
 *
 * A tap of two windows and two outputs takes four loads for four products, where one window and one output take eight.
 * One window alone takes five, with four outputs. Of a number of outputs that is not a multiple, the last is computed
 * again instead. */
#include "ts_dot.h"

#include "ts_dot_armv6m.h"

#ifndef TS_DOT_ARMV6M

#ifdef __GNUC__ /* all registers are used */
#define TS_ALONE __attribute__((noinline))
#else
#define TS_ALONE
#endif

/* Arm's loads move their pointer at no cost, elsewhere it moves once for four taps. */
#ifdef __thumb2__
enum { TS_EACH = 1, TS_ALL = 0 };
#else
enum { TS_EACH = 0, TS_ALL = 4 };
#endif
#define TS_TAP(i)                                                                                                      \
    TS_PRODUCTS(TS_EACH == 1 ? 0 : (i))                                                                                \
    TS_ADVANCE(TS_EACH)
#define TS_SUMS TS_IN_PLACE(s0) TS_IN_PLACE(s1) TS_IN_PLACE(s2) TS_IN_PLACE(s3)

#define TS_PRODUCTS(i)                                                                                                 \
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

/* Two windows and two outputs: sums of x0 w0, x1 w0, x0 w1, x1 w1. */
TS_ALONE static void two_by_two(const int8_t* x0, const int8_t* x1, const int8_t* w0, const int8_t* w1, int32_t n,
                                uint32_t sum[4]) {
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (const int8_t* end = x0 + (n & ~3); x0 != end;) {
        TS_TAP(0)
        TS_TAP(1)
        TS_TAP(2)
        TS_TAP(3)
        TS_ADVANCE(TS_ALL)
    }
    for (n &= 3; n > 0; --n) {
        TS_PRODUCTS(0)
        TS_ADVANCE(1)
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

#undef TS_PRODUCTS
#undef TS_ADVANCE
#define TS_PRODUCTS(i)                                                                                                 \
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
TS_ALONE static void one_by_four(const int8_t* x, const int8_t* const w[4], int32_t n, uint32_t sum[4]) {
    const int8_t *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (const int8_t* end = x + (n & ~3); x != end;) {
        TS_TAP(0)
        TS_TAP(1)
        TS_TAP(2)
        TS_TAP(3)
        TS_ADVANCE(TS_ALL)
    }
    for (n &= 3; n > 0; --n) {
        TS_PRODUCTS(0)
        TS_ADVANCE(1)
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

#endif

void ts_outputs_of_one(const TsFilters* filters, const int8_t* x, int8_t* out) {
    const int32_t last = filters->channels - 1;
    for (int32_t first = 0; first <= last; first += 4) {
        const int8_t* weight[4];
        uint32_t sum[4];
        for (int32_t i = 0; i < 4; ++i) {
            weight[i] = filters->weight + ts_min(first + i, last) * filters->taps;
        }
        one_by_four(x, weight, filters->taps, sum);
        for (int32_t i = 0; i < 4 && first + i <= last; ++i) {
            const int32_t channel = first + i;
            const int32_t acc = ts_wrapping_add((int32_t)sum[i], filters->bias[channel]);
            out[channel] = ts_requantise(acc, &filters->rescale[channel], &filters->out);
        }
    }
}

void ts_outputs_of_two(const TsFilters* filters, const int8_t* const x[2], int8_t* const out[2]) {
    const TsFilters f = *filters; /* which no output is written to, as the compiler cannot know of others */
    const int8_t *x0 = x[0], *x1 = x[1];
    int8_t *out0 = out[0], *out1 = out[1];
    const int8_t* weight = f.weight;
    for (int32_t first = 0; first < f.channels; first += 2) {
        const int32_t several = first + 1 < f.channels;
        uint32_t sum[4];
        two_by_two(x0, x1, weight, several ? weight + f.taps : weight, f.taps, sum);
        weight += 2 * f.taps;
        for (int32_t i = 0; i <= several; ++i) {
            const TsRescale rescale = f.rescale[first + i];
            const int32_t bias = f.bias[first + i];
            const int32_t acc = ts_wrapping_add((int32_t)sum[2 * i], bias);
            const int32_t next = ts_wrapping_add((int32_t)sum[2 * i + 1], bias);
            out0[first + i] = ts_requantise(acc, &rescale, &f.out);
            out1[first + i] = ts_requantise(next, &rescale, &f.out);
        }
    }
}
