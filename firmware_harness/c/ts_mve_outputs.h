/* Four sums of products to output codes on Helium, for the portable kernels. */
#ifndef TS_MVE_OUTPUTS_H
#define TS_MVE_OUTPUTS_H

/* Bit 1: with floating-point vectors, which the float rule needs. */
#if defined(__ARM_FEATURE_MVE) && (!defined(TS_ROUNDING_SINGLE) || (__ARM_FEATURE_MVE & 2))
#define TS_DOT_MVE

#include <arm_mve.h>

#include "ts_dot.h"

enum { TS_QUAD = 4 };

/* Rescale sums without their biases, each with the constants of its channel. */
static inline int32x4_t ts_rescaled(const TsFilters* filters, int32_t first, int32x4_t sum, mve_pred16_t inside) {
    const int32x4_t acc = vaddq_s32(sum, vld1q_z_s32(filters->bias + first, inside));
#ifdef TS_ROUNDING_SINGLE
    const float32x4_t factor = vld1q_z_f32(&filters->rescale[first].factor, inside);
    return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc), factor));
#else
    const uint32x4_t each = vidupq_n_u32(0, 2); /* words from one rescale to the next */
    const int32_t* constants = &filters->rescale[first].multiplier;
    const int32x4_t multiplier = vldrwq_gather_shifted_offset_z_s32(constants, each, inside);
    const int32x4_t shift = vldrwq_gather_shifted_offset_z_s32(constants + 1, each, inside);
    const int32x4_t scaled = vqrdmulhq_s32(vshlq_s32(acc, vmaxq_s32(shift, vdupq_n_s32(0))), multiplier);
    /* a shift to the right rounds half up: 1 less of what is negative is half away from zero */
    const int32x4_t less = vandq_s32(vshrq_n_s32(scaled, 31), vshrq_n_s32(shift, 31));
    return vrshlq_s32(vaddq_s32(scaled, less), vminq_s32(shift, vdupq_n_s32(0)));
#endif
}

/* Output codes of the sums of up to four channels from `first` on. */
static inline void ts_store_outputs(const TsFilters* filters, int32_t first, int32x4_t sum, int8_t* out) {
    const mve_pred16_t inside = vctp32q((uint32_t)(filters->channels - first));
    const int32x4_t low = vdupq_n_s32(filters->out.low), high = vdupq_n_s32(filters->out.high);
    const int32x4_t value = vminq_s32(vmaxq_s32(ts_rescaled(filters, first, sum, inside), low), high);
    vstrbq_p_s32(out + first, vaddq_n_s32(value, filters->out.zero_point), inside);
}

#endif

#endif
