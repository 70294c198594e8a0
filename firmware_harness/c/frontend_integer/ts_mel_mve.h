/* Sums over the bins of a segment on Helium, four at a time; internal to ts_mel.c, whose portable loops give the same.
 * Lanes after the segment's end are neither read nor counted. */
#ifndef TS_MEL_MVE_H
#define TS_MEL_MVE_H

#include <arm_mve.h>

#include "ts_spectrum.h"

/* The largest of all bits of each number, or of its complement: as many bits as all of them together. */
static inline uint32_t ts_largest(const TsComplex* bin, const TsComplex* end) {
    const uint32x4_t offsets = vshlq_n_u32(vidupq_n_u32(0, 1), 3);
    uint32x4_t largest = vdupq_n_u32(0);
    for (; bin < end; bin += 4) {
        const mve_pred16_t active = vctp32q((uint32_t)(end - bin));
        const int32x4_t re = vldrwq_gather_offset_z_s32(&bin->re, offsets, active);
        const int32x4_t im = vldrwq_gather_offset_z_s32(&bin->im, offsets, active);
        const int32x4_t all = vorrq_s32(veorq_s32(re, vshrq_n_s32(re, 31)), veorq_s32(im, vshrq_n_s32(im, 31)));
        largest = vmaxq_u32(largest, vreinterpretq_u32_s32(all));
    }
    return vmaxvq_u32(0, largest);
}

/* Add the powers of the shifted bins to `sum`, and their shares by weight to `rising`. */
static inline void ts_add_powers(const TsComplex* bin, const TsComplex* end, const uint16_t* weight, int32_t shift,
                                 uint32_t* sum, uint32_t* rising) {
    const uint32x4_t offsets = vshlq_n_u32(vidupq_n_u32(0, 1), 3);
    for (; bin < end; bin += 4, weight += 4) {
        const mve_pred16_t active = vctp32q((uint32_t)(end - bin));
        const int32x4_t re = vshlq_r_s32(vldrwq_gather_offset_z_s32(&bin->re, offsets, active), -shift);
        const int32x4_t im = vshlq_r_s32(vldrwq_gather_offset_z_s32(&bin->im, offsets, active), -shift);
        const uint32x4_t power = vreinterpretq_u32_s32(vaddq_s32(vmulq_s32(re, re), vmulq_s32(im, im)));
        const uint32x4_t share = vmulhq_u32(power, vshlq_n_u32(vldrhq_z_u32(weight, active), 16));
        *sum = vaddvaq_u32(*sum, power);
        *rising = vaddvaq_u32(*rising, share);
    }
}

#endif
