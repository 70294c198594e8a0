/* The functions of ts_dot.c on Helium: sixteen products of each sum at a time, and four outputs. */
#ifndef TS_DOT_MVE_H
#define TS_DOT_MVE_H

#include "ts_mve_outputs.h"

#ifdef TS_DOT_MVE

/* Sums of x0 w0, x0 w1, x1 w0, x1 w1. Lanes beyond n take no part. Not inlined, as most registers are used. */
__attribute__((noinline)) static void two_by_two(const int8_t* const x[2], const int8_t* w0, const int8_t* w1,
                                                 int32_t n, int32_t* sum0, int32_t* sum1) {
    const int8_t *x0 = x[0], *x1 = x[1];
    int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
                     "1: vldrb.8 q0, [%[x0]], #16\n"
                     "vldrb.8 q2, [%[w0]], #16\n"
                     "vmladava.s8 %[s00], q0, q2\n"
                     "vldrb.8 q1, [%[x1]], #16\n"
                     "vmladava.s8 %[s10], q1, q2\n"
                     "vldrb.8 q3, [%[w1]], #16\n"
                     "vmladava.s8 %[s01], q0, q3\n"
                     "vmladava.s8 %[s11], q1, q3\n"
                     "letp lr, 1b"
                     : [x0] "+r"(x0), [x1] "+r"(x1), [w0] "+r"(w0), [w1] "+r"(w1), [s00] "+Te"(s00), [s01] "+Te"(s01),
                       [s10] "+Te"(s10), [s11] "+Te"(s11)
                     : [n] "r"(n)
                     : "lr", "q0", "q1", "q2", "q3", "memory");
    sum0[0] = s00, sum0[1] = s01, sum1[0] = s10, sum1[1] = s11;
}

/* Sums of x w0, x w1, x w2, x w3. */
__attribute__((noinline)) static void one_by_four(const int8_t* x, const int8_t* const w[TS_QUAD], int32_t n,
                                                  int32_t sum[TS_QUAD]) {
    const int8_t *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
                     "1: vldrb.8 q0, [%[x]], #16\n"
                     "vldrb.8 q1, [%[w0]], #16\n"
                     "vmladava.s8 %[s0], q0, q1\n"
                     "vldrb.8 q2, [%[w1]], #16\n"
                     "vmladava.s8 %[s1], q0, q2\n"
                     "vldrb.8 q1, [%[w2]], #16\n"
                     "vmladava.s8 %[s2], q0, q1\n"
                     "vldrb.8 q2, [%[w3]], #16\n"
                     "vmladava.s8 %[s3], q0, q2\n"
                     "letp lr, 1b"
                     : [x] "+r"(x), [w0] "+r"(w0), [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3), [s0] "+Te"(s0),
                       [s1] "+Te"(s1), [s2] "+Te"(s2), [s3] "+Te"(s3)
                     : [n] "r"(n)
                     : "lr", "q0", "q1", "q2", "memory");
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

void ts_outputs_of_one(const TsFilters* filters, const int8_t* x, int8_t* out) {
    const int32_t last = filters->channels - 1;
    for (int32_t first = 0; first <= last; first += TS_QUAD) {
        const int8_t* weight[TS_QUAD];
        int32_t sum[TS_QUAD];
        for (int32_t i = 0; i < TS_QUAD; ++i) {
            weight[i] = filters->weight + ts_min(first + i, last) * filters->taps;
        }
        one_by_four(x, weight, filters->taps, sum);
        ts_store_outputs(filters, first, vld1q_s32(sum), out);
    }
}

void ts_outputs_of_two(const TsFilters* filters, const int8_t* const x[2], int8_t* const out[2]) {
    const int32_t taps = filters->taps, last = filters->channels - 1;
    for (int32_t first = 0; first <= last; first += TS_QUAD) {
        int32_t sum[2][TS_QUAD];
        for (int32_t i = 0; i < TS_QUAD; i += 2) {
            const int8_t* w0 = filters->weight + ts_min(first + i, last) * taps;
            const int8_t* w1 = filters->weight + ts_min(first + i + 1, last) * taps;
            two_by_two(x, w0, w1, taps, &sum[0][i], &sum[1][i]);
        }
        ts_store_outputs(filters, first, vld1q_s32(sum[0]), out[0]);
        ts_store_outputs(filters, first, vld1q_s32(sum[1]), out[1]);
    }
}

#endif

#endif
