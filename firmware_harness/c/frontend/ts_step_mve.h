/* The steps for Helium: the operations of the portable steps in ts_spectrum.c, with the same bits, on two complex
 * points at a time, re and im in turns. Eight such pairs fill all registers, so that the steps with twiddle factors for
 * eight points are assembly: compilers move most of the points to the stack and back.
 *
 * Additions with a rotation replace factors of i and -i, and a sign that is left out is made up for where the value is
 * used: neither changes a bit, except the sign of a zero. Offsets of gathers are in words. */
#ifndef TS_STEP_MVE_H
#define TS_STEP_MVE_H

#include "ts_butterfly.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#define TS_STEP_MVE 1

#include <arm_mve.h>

typedef float32x4_t TsTwo; /* two complex points */

/* Point `index` from each of two addresses. Macros, because the offset is part of the instruction; the store is
 * assembly, because GCC 12 takes the addresses of vstrdq_scatter_base for an output. */
#define TS_TWO_AT(addresses, index) vreinterpretq_f32_u64(vldrdq_gather_base_u64(addresses, 8 * (index)))
#define TS_TWO_TO(addresses, index, two)                                                                               \
    __asm__ volatile("vstrd.64 %q1, [%q0, #%c2]" : : "w"(addresses), "w"(two), "i"(8 * (index)) : "memory")

/* An address, and the one `pitch` bytes behind it. */
TS_STRAIGHT uint64x2_t ts_two_addresses(const void* first, int pitch) {
    uint64x2_t addresses;
    __asm__("vmov %q0[2], %q0[0], %1, %2" : "=w"(addresses) : "r"(first), "r"((const char*)first + pitch));
    return addresses;
}

TS_STRAIGHT TsTwo ts_two(const TsComplex* z) {
    return vldrwq_f32((const float*)z);
}

TS_STRAIGHT void ts_two_to(TsComplex* z, TsTwo two) {
    vstrwq_f32((float*)z, two);
}

/* Four floats, the last first. */
TS_STRAIGHT float32x4_t ts_reversed(const float* values) {
    return vldrwq_gather_shifted_offset_f32(values, vddupq_n_u32(3, 1));
}

/* See ts_turned. */
TS_STRAIGHT TsTwo ts_two_turned(TsTwo v, TsTwo turn) {
    return vcmlaq_rot270_f32(vcmulq_f32(turn, v), turn, v);
}

/* See ts_four_points. */
TS_STRAIGHT void ts_four_twos(TsTwo x[4], int with_last) {
    const TsTwo a = vaddq_f32(x[0], x[2]), b = vsubq_f32(x[0], x[2]);
    const TsTwo c = with_last ? vaddq_f32(x[1], x[3]) : x[1], d = with_last ? vsubq_f32(x[1], x[3]) : x[1];
    x[0] = vaddq_f32(a, c), x[2] = vsubq_f32(a, c);
    x[1] = vcaddq_rot270_f32(b, d), x[3] = vcaddq_rot90_f32(b, d);
}

/* See ts_eight_points; `third` is that one times -i. */
TS_STRAIGHT void ts_eight_twos(TsTwo x[8], int count) {
    const float half_root = 0x1.6a09e6p-1f; /* sqrt(1/2) */
    TsTwo even[4] = {x[0], x[2], x[4], x[6]};
    TsTwo odd[4] = {x[1], x[3], x[5], x[7]};
    ts_four_twos(even, count > 6);
    ts_four_twos(odd, count > 7);
    const TsTwo first = vcaddq_rot270_f32(odd[1], odd[1]), third = vcaddq_rot90_f32(odd[3], odd[3]);
    x[0] = vaddq_f32(even[0], odd[0]), x[4] = vsubq_f32(even[0], odd[0]);
    x[2] = vcaddq_rot270_f32(even[2], odd[2]), x[6] = vcaddq_rot90_f32(even[2], odd[2]);
    x[1] = vfmaq_n_f32(even[1], first, half_root), x[5] = vfmaq_n_f32(even[1], first, -half_root);
    x[3] = vfmaq_n_f32(even[3], third, -half_root), x[7] = vfmaq_n_f32(even[3], third, half_root);
}

/* Combine four transforms of `length` points each, everywhere. */
TS_STRAIGHT void ts_mve_four(TsComplex* bins, int length, const TsTurn* w) {
    for (int j = 0; j < length; j += 2, w += 6) {
        const uint64x2_t turns = ts_two_addresses(w, 3 * (int)sizeof *w);
        const TsTwo turn[3] = {TS_TWO_AT(turns, 0), TS_TWO_AT(turns, 1), TS_TWO_AT(turns, 2)};
        for (TsComplex* z = bins + j; z < bins + TS_HALF_FFT; z += 4 * length) {
            TsTwo x[4];
            x[0] = ts_two(z);
            x[1] = ts_two_turned(ts_two(z + length), turn[0]);
            x[2] = ts_two_turned(ts_two(z + 2 * length), turn[1]);
            x[3] = ts_two_turned(ts_two(z + 3 * length), turn[2]);
            ts_four_twos(x, 1);
            ts_two_to(z, x[0]), ts_two_to(z + length, x[1]);
            ts_two_to(z + 2 * length, x[2]), ts_two_to(z + 3 * length, x[3]);
        }
    }
}

#define TS_MVE_ALL "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7"

/* clang-format off */

enum { TS_TWO_PITCH = TS_HALF_FFT / 8 * (int)sizeof(TsComplex) }; /* bytes between the points of a group */

/* The first step for an even group and the next, with six points in the window, three in each half. `samples` and
 * `rising` point to the first points and their weights, `falling` to the mirrored weights of the fourth points, those
 * of the others are at lower addresses; `out` to the place of the even group. */
TS_STRAIGHT void ts_mve_six(const float* samples, const float* rising, const float* falling, TsComplex* out) {
    TsTwo kept[2];
    uint32_t t;
    __asm__ volatile(
        "movs %[t], #3\n"
        "vddup.u32 q7, %[t], #1\n"
        "vldrw.u32 q0, [%[x]]\n"
        "vldrw.u32 q1, [%[r]]\n"
        "add %[t], %[x], #%c[s4]\n"
        "vmul.f32 q0, q0, q1\n"
        "vldrw.u32 q1, [%[t]]\n"
        "sub %[t], %[f], #%c[s1]\n"
        "vldrw.u32 q2, [%[t], q7, uxtw #2]\n"
        "add %[t], %[x], #%c[s2]\n"
        "vmul.f32 q1, q1, q2\n"
        "vldrw.u32 q2, [%[t]]\n"
        "add %[t], %[r], #%c[s2]\n"
        "vadd.f32 q3, q0, q1\n"
        "vldrw.u32 q4, [%[t]]\n"
        "vsub.f32 q0, q0, q1\n"
        "add %[t], %[x], #%c[s1]\n"
        "vmul.f32 q2, q2, q4\n"
        "vldrw.u32 q5, [%[t]]\n"
        "vcadd.f32 q4, q0, q2, #270\n"
        "add %[t], %[r], #%c[s1]\n"
        "vstrw.32 q4, [%[kept]]\n"
        "vcadd.f32 q0, q0, q2, #90\n"
        "vstrw.32 q0, [%[kept], #16]\n"
        "vadd.f32 q1, q3, q2\n"
        "vldrw.u32 q6, [%[t]]\n"
        "vsub.f32 q3, q3, q2\n"
        "add %[t], %[x], #%c[s5]\n"
        "vmul.f32 q0, q5, q6\n"
        "vldrw.u32 q2, [%[t]]\n"
        "sub %[t], %[f], #%c[s2]\n"
        "vldrw.u32 q4, [%[t], q7, uxtw #2]\n"
        "add %[t], %[x], #%c[s3]\n"
        "vmul.f32 q2, q2, q4\n"
        "vldrw.u32 q4, [%[t]]\n"
        "vadd.f32 q6, q0, q2\n"
        "vldrw.u32 q5, [%[f], q7, uxtw #2]\n"
        "vsub.f32 q0, q0, q2\n"
        "add %[t], %[out], #%c[quarter]\n"
        "vmul.f32 q4, q4, q5\n"
        "vmov q7[2], q7[0], %[out], %[t]\n"
        /* even: 0, 2 in q1, q3; odd: 0 to 3 in q2, q6, q5, q0 */
        "vadd.f32 q2, q6, q4\n"
        "vsub.f32 q5, q6, q4\n"
        "vcadd.f32 q6, q0, q4, #270\n"
        "vcadd.f32 q0, q0, q4, #90\n"
        "vadd.f32 q4, q1, q2\n"
        "vstrd.64 q4, [q7]\n"
        "vsub.f32 q1, q1, q2\n"
        "vstrd.64 q1, [q7, #32]\n"
        "vcadd.f32 q4, q3, q5, #270\n"
        "vstrd.64 q4, [q7, #16]\n"
        "vcadd.f32 q3, q3, q5, #90\n"
        "vstrd.64 q3, [q7, #48]\n"
        "vcadd.f32 q1, q6, q6, #270\n"
        "vldrw.u32 q3, [%[kept]]\n"
        "vcadd.f32 q2, q0, q0, #90\n"
        "vldrw.u32 q5, [%[kept], #16]\n"
        "vmov q4, q3\n"
        "vfma.f32 q3, q1, %[h]\n"
        "vstrd.64 q3, [q7, #8]\n"
        "vfma.f32 q4, q1, %[minus_h]\n"
        "vstrd.64 q4, [q7, #40]\n"
        "vmov q6, q5\n"
        "vfma.f32 q5, q2, %[minus_h]\n"
        "vstrd.64 q5, [q7, #24]\n"
        "vfma.f32 q6, q2, %[h]\n"
        "vstrd.64 q6, [q7, #56]\n"
        : [t] "=&Te"(t) /* an even register, for vddup */
        : [x] "r"(samples), [r] "r"(rising), [f] "r"(falling - 2), [out] "r"(out), [kept] "r"(kept),
          [h] "r"(0x1.6a09e6p-1f), [minus_h] "r"(-0x1.6a09e6p-1f), [s1] "i"(TS_TWO_PITCH), [s2] "i"(2 * TS_TWO_PITCH),
          [s3] "i"(3 * TS_TWO_PITCH), [s4] "i"(4 * TS_TWO_PITCH), [s5] "i"(5 * TS_TWO_PITCH),
          [quarter] "i"(TS_HALF_FFT / 4 * (int)sizeof(TsComplex))
        : TS_MVE_ALL, "memory");
}

/* Eight pairs of points, `length` points apart, become the transform of their products with turn[0..6]; the same in
 * each group of 8 * length points. Registers p0 to p3 point to the middle between two of the pairs. Even points come
 * first; two of their sums wait in memory for the odd ones. */
#define TS_MVE_EIGHT(length)                                                                                           \
    __asm__ volatile(                                                                                                  \
        "dls lr, %[groups]\n"                                                                                          \
        "1:\n"                                                                                                         \
        "vldrw.u32 q1, [%[p2], #%c[low]]\n"                                                                            \
        "vldrw.u32 q2, [%[w], #48]\n"                                                                                  \
        "vldrw.u32 q0, [%[p0], #%c[low]]\n"                                                                            \
        "vcmul.f32 q3, q2, q1, #0\n"                                                                                   \
        "vldrw.u32 q5, [%[p1], #%c[low]]\n"                                                                            \
        "vcmla.f32 q3, q2, q1, #270\n"                                                                                 \
        "vldrw.u32 q6, [%[w], #16]\n"                                                                                  \
        "vadd.f32 q1, q0, q3\n"                                                                                        \
        "vldrw.u32 q2, [%[p3], #%c[low]]\n"                                                                            \
        "vsub.f32 q0, q0, q3\n"                                                                                        \
        "vldrw.u32 q3, [%[w], #80]\n"                                                                                  \
        "vcmul.f32 q4, q6, q5, #0\n"                                                                                   \
        "vcmla.f32 q4, q6, q5, #270\n"                                                                                 \
        "vldrw.u32 q6, [%[p0], #%c[high]]\n"                                                                           \
        "vcmul.f32 q5, q3, q2, #0\n"                                                                                   \
        "vldrw.u32 q7, [%[w]]\n"                                                                                       \
        "vcmla.f32 q5, q3, q2, #270\n"                                                                                 \
        "vadd.f32 q2, q4, q5\n"                                                                                        \
        "vsub.f32 q3, q4, q5\n"                                                                                        \
        "vadd.f32 q4, q1, q2\n"                                                                                        \
        "vldrw.u32 q5, [%[w], #64]\n"                                                                                  \
        "vsub.f32 q1, q1, q2\n"                                                                                        \
        "vstrw.32 q4, [%[p0], #%c[low]]\n"                                                                             \
        "vcadd.f32 q2, q0, q3, #270\n"                                                                                 \
        "vldrw.u32 q4, [%[p2], #%c[high]]\n"                                                                           \
        "vcadd.f32 q0, q0, q3, #90\n"                                                                                  \
        "vcmul.f32 q3, q7, q6, #0\n"                                                                                   \
        "vstrw.32 q0, [%[p1], #%c[low]]\n"                                                                             \
        "vcmla.f32 q3, q7, q6, #270\n"                                                                                 \
        "vldrw.u32 q7, [%[p1], #%c[high]]\n"                                                                           \
        "vcmul.f32 q6, q5, q4, #0\n"                                                                                   \
        "vldrw.u32 q0, [%[w], #32]\n"                                                                                  \
        "vcmla.f32 q6, q5, q4, #270\n"                                                                                 \
        "vadd.f32 q4, q3, q6\n"                                                                                        \
        "vsub.f32 q5, q3, q6\n"                                                                                        \
        "vcmul.f32 q3, q0, q7, #0\n"                                                                                   \
        "vldrw.u32 q6, [%[p3], #%c[high]]\n"                                                                           \
        "vcmla.f32 q3, q0, q7, #270\n"                                                                                 \
        "vldrw.u32 q0, [%[w], #96]\n"                                                                                  \
        "vcmul.f32 q7, q0, q6, #0\n"                                                                                   \
        "vcmla.f32 q7, q0, q6, #270\n"                                                                                 \
        "vadd.f32 q6, q3, q7\n"                                                                                        \
        "vsub.f32 q7, q3, q7\n"                                                                                        \
        "vadd.f32 q0, q4, q6\n"                                                                                        \
        "vsub.f32 q3, q4, q6\n"                                                                                        \
        "vldrw.u32 q4, [%[p0], #%c[low]]\n"                                                                            \
        "vcadd.f32 q6, q5, q7, #270\n"                                                                                 \
        "vcadd.f32 q5, q5, q7, #90\n"                                                                                  \
        "vcadd.f32 q7, q6, q6, #270\n"                                                                                 \
        "vadd.f32 q6, q4, q0\n"                                                                                        \
        "vsub.f32 q4, q4, q0\n"                                                                                        \
        "vstrw.32 q6, [%[p0], #%c[low]]\n"                                                                             \
        "vcadd.f32 q6, q5, q5, #90\n"                                                                                  \
        "vldrw.u32 q0, [%[p1], #%c[low]]\n"                                                                            \
        "vcadd.f32 q5, q1, q3, #270\n"                                                                                 \
        "vstrw.32 q4, [%[p2], #%c[low]]\n"                                                                             \
        "vmov q4, q0\n"                                                                                                \
        "vstrw.32 q5, [%[p1], #%c[low]]\n"                                                                             \
        "vcadd.f32 q1, q1, q3, #90\n"                                                                                  \
        "vmov q3, q2\n"                                                                                                \
        "vstrw.32 q1, [%[p3], #%c[low]]\n"                                                                             \
        "vfma.f32 q2, q7, %[h]\n"                                                                                      \
        "vstrw.32 q2, [%[p0], #%c[high]]\n"                                                                            \
        "vfma.f32 q3, q7, %[minus_h]\n"                                                                                \
        "vstrw.32 q3, [%[p2], #%c[high]]\n"                                                                            \
        "vfma.f32 q0, q6, %[minus_h]\n"                                                                                \
        "vstrw.32 q0, [%[p1], #%c[high]]\n"                                                                            \
        "vfma.f32 q4, q6, %[h]\n"                                                                                      \
        "vstrw.32 q4, [%[p3], #%c[high]]\n"                                                                            \
        "add %[p0], %[p0], #%c[step]\n"                                                                                \
        "add %[p1], %[p1], #%c[step]\n"                                                                                \
        "add %[p2], %[p2], #%c[step]\n"                                                                                \
        "add %[p3], %[p3], #%c[step]\n"                                                                                \
        "le lr, 1b\n"                                                                                                  \
        : [p0] "+r"(p0), [p1] "+r"(p1), [p2] "+r"(p2), [p3] "+r"(p3)                                                   \
        : [w] "r"(turn), [h] "r"(0x1.6a09e6p-1f), [minus_h] "r"(-0x1.6a09e6p-1f),                                      \
          [groups] "r"(TS_HALF_FFT / 8 / (length)), [low] "i"(-4 * (length)), [high] "i"(4 * (length)),                \
          [step] "i"(64 * (length))                                                                                    \
        : TS_MVE_ALL, "lr", "memory")

/* Combine eight transforms of `length` points each, everywhere; length is 8 or 64. */
TS_STRAIGHT void ts_mve_eight(TsComplex* bins, int length, const TsTurn* w) {
    for (int j = 0; j < length; j += 2, w += 14) {
        const uint64x2_t turns = ts_two_addresses(w, 7 * (int)sizeof *w);
        const TsTwo turn[7] = {TS_TWO_AT(turns, 0), TS_TWO_AT(turns, 1), TS_TWO_AT(turns, 2), TS_TWO_AT(turns, 3),
                               TS_TWO_AT(turns, 4), TS_TWO_AT(turns, 5), TS_TWO_AT(turns, 6)};
        float* p0 = (float*)(bins + j) + length;
        float *p1 = p0 + 4 * length, *p2 = p0 + 8 * length, *p3 = p0 + 12 * length;
        if (length == 8) {
            TS_MVE_EIGHT(8);
        } else {
            TS_MVE_EIGHT(64);
        }
    }
}
/* clang-format on */

#endif
#endif
