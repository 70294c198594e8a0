/* Samples of the stream for Helium, several at a time: the operations of the loops in ts_logmel.c, with the same bits.
 */
#ifndef TS_SAMPLES_MVE_H
#define TS_SAMPLES_MVE_H

#include <stddef.h>
#include <stdint.h>

#include "ts_butterfly.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#define TS_SAMPLES_MVE 1

#include <arm_mve.h>

/* As many of n samples as make whole vectors, each less `emphasis` times the one before it, which is in memory unless
 * `emphasis` is 0; returns their number. */
TS_STRAIGHT size_t ts_mve_samples(float* to, const int16_t* from, size_t n, float emphasis) {
    const size_t whole = n - n % 4;
    for (const int16_t* end = from + whole; from < end; from += 4, to += 4) {
        float32x4_t samples = vcvtq_f32_s32(vldrhq_s32(from));
        if (emphasis != 0.0f) {
            samples = vsubq_f32(samples, vmulq_n_f32(vcvtq_f32_s32(vldrhq_s32(from - 1)), emphasis));
        }
        vstrwq_f32(to, samples);
    }
    return whole;
}

/* As many of n samples as make four vectors, each from `distance` samples further up, the lowest first; returns their
 * number. */
TS_STRAIGHT size_t ts_mve_slide(float* to, size_t n, size_t distance) {
    const float* from = to + distance;
    size_t blocks = distance < 16 ? 0 : n / 16;
    const size_t moved = 16 * blocks;
    __asm__ volatile("wls lr, %[blocks], 2f\n"
                     "1: vldrw.u32 q0, [%[from]], #16\n"
                     "vldrw.u32 q1, [%[from]], #16\n"
                     "vldrw.u32 q2, [%[from]], #16\n"
                     "vldrw.u32 q3, [%[from]], #16\n"
                     "vstrw.32 q0, [%[to]], #16\n"
                     "vstrw.32 q1, [%[to]], #16\n"
                     "vstrw.32 q2, [%[to]], #16\n"
                     "vstrw.32 q3, [%[to]], #16\n"
                     "le lr, 1b\n"
                     "2:\n"
                     : [from] "+r"(from), [to] "+r"(to)
                     : [blocks] "r"(blocks)
                     : "q0", "q1", "q2", "q3", "lr", "memory");
    return moved;
}

#endif
#endif
