/* The sums of ts_dot.c with the DSP instructions of Armv7E-M and Armv8-M: two products of 16 bits each. Words may be
 * loaded from any address. */
#ifndef TS_DOT_DSP_H
#define TS_DOT_DSP_H

#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && !defined(__ARM_FEATURE_MVE)
#define TS_DOT_DSP

#include <string.h>

#include "ts_inner.h"

enum { TS_OUTPUTS = 2 };

/* Codes 0 and 2, and 1 and 3, of four. */
#define TS_CODES(even, odd, from)                                                                                      \
    {                                                                                                                  \
        uint32_t word;                                                                                                 \
        memcpy(&word, from, sizeof word);                                                                              \
        from += sizeof word;                                                                                           \
        TS_IN_PLACE(from)                                                                                              \
        __asm__ volatile("sxtb16 %0, %1" : "=r"(even) : "r"(word));                                                    \
        __asm__ volatile("sxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));                                             \
    }
#define TS_SUM(sum, a, b) __asm__ volatile("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));

/* Two windows and two outputs, of which `left` are left: sums of x0 w0, x1 w0, x0 w1, x1 w1. */
__attribute__((noinline)) static void sums_of_two(const int8_t* x0, const int8_t* x1, const int8_t* w0, int32_t n,
                                                  int32_t left, uint32_t sum[2 * TS_OUTPUTS]) {
    const int8_t* w1 = left > 1 ? w0 + n : w0;
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (const int8_t* end = x0 + (n & ~3); x0 != end;) {
        uint32_t x0_even, x0_odd, x1_even, x1_odd, even, odd;
        TS_CODES(x0_even, x0_odd, x0)
        TS_CODES(x1_even, x1_odd, x1)
        TS_CODES(even, odd, w0)
        TS_SUM(s0, x0_even, even)
        TS_SUM(s1, x1_even, even)
        TS_SUM(s0, x0_odd, odd)
        TS_SUM(s1, x1_odd, odd)
        TS_CODES(even, odd, w1)
        TS_SUM(s2, x0_even, even)
        TS_SUM(s3, x1_even, even)
        TS_SUM(s2, x0_odd, odd)
        TS_SUM(s3, x1_odd, odd)
    }
    for (n &= 3; n > 0; --n) {
        const int32_t a = *x0++, b = *x1++, c = *w0++, d = *w1++;
        s0 += (uint32_t)(a * c), s1 += (uint32_t)(b * c), s2 += (uint32_t)(a * d), s3 += (uint32_t)(b * d);
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

/* One window and four outputs, of which `left` are left. */
__attribute__((noinline)) static void sums_of_one(const int8_t* x, const int8_t* w0, int32_t n, int32_t left,
                                                  uint32_t sum[4]) {
    const int8_t *w1 = left > 1 ? w0 + n : w0, *w2 = left > 2 ? w1 + n : w1, *w3 = left > 3 ? w2 + n : w2;
    uint32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (const int8_t* end = x + (n & ~3); x != end;) {
        uint32_t x_even, x_odd, even, odd;
        TS_CODES(x_even, x_odd, x)
        TS_CODES(even, odd, w0)
        TS_SUM(s0, x_even, even)
        TS_SUM(s0, x_odd, odd)
        TS_CODES(even, odd, w1)
        TS_SUM(s1, x_even, even)
        TS_SUM(s1, x_odd, odd)
        TS_CODES(even, odd, w2)
        TS_SUM(s2, x_even, even)
        TS_SUM(s2, x_odd, odd)
        TS_CODES(even, odd, w3)
        TS_SUM(s3, x_even, even)
        TS_SUM(s3, x_odd, odd)
    }
    for (n &= 3; n > 0; --n) {
        const int32_t a = *x++;
        s0 += (uint32_t)(a * *w0++), s1 += (uint32_t)(a * *w1++);
        s2 += (uint32_t)(a * *w2++), s3 += (uint32_t)(a * *w3++);
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

#undef TS_CODES
#undef TS_SUM

#endif

#endif
