/* Mean over space, of codes or of a function of them by table, sixteen channels at a time; mean over channels. */
#include <stddef.h>

#include "ts_mve_inner.h"

enum { AT_ONCE = 255 }; /* number of codes whose sum fits into 16 bits */

#ifdef TS_ROUNDING_SINGLE

static inline int32x4_t mean_of(int32x4_t total, const TsMean* layer) {
    const float32x4_t real = vmulq_n_f32(vcvtq_f32_s32(total), layer->factor);
    return vcvtnq_s32_f32(vaddq_n_f32(real, layer->offset));
}

#else

static inline int32x4_t mean_of(int32x4_t total, const TsMean* layer) {
    const int32x4_t centred = vsubq_n_s32(total, layer->count * layer->in_zero_point);
    const TsRescale* rescale = &layer->rescale;
    const int32x4_t mean = rescale->shift < 0
                               ? ts_mve_rescale(centred, rescale)
                               : vqrdmulhq_n_s32(vshlq_r_s32(centred, rescale->shift), rescale->multiplier);
    return vqaddq_n_s32(mean, layer->out.zero_point);
}

#endif

static inline int16x8_t halves(int32x4_t even, int32x4_t odd, const TsMean* layer) {
    return ts_mve_halves(mean_of(even, layer), mean_of(odd, layer));
}

/* clang-format off */

/* Sixteen sums of n codes, in the lanes of the predicate. `channels` is also an output, so that the predicate of the
 * final store is computed after this. */
#define SUM(load, lookup, codes)                                                        \
    __asm__ volatile("vctp.8 %[channels]\n"                                             \
                     "dls lr, %[n]\n"                                                   \
                     "1: " load " q0, [%[x]]\n"                                         \
                     "add %[x], %[step]\n"                                              \
                     lookup                                                             \
                     "vmovlb.s8 q2, " codes "\n"                                        \
                     "vmovlt.s8 q0, " codes "\n"                                        \
                     "vadd.i16 %q[even], %q[even], q2\n"                                \
                     "vadd.i16 %q[odd], %q[odd], q0\n"                                  \
                     "le lr, 1b"                                                        \
                     : [x] "+r"(x), [channels] "+r"(channels), [even] "+w"(even),       \
                       [odd] "+w"(odd)                                                  \
                     : [n] "r"(n), [step] "r"(layer->step), [table] "r"(table)          \
                     : TS_MVE_P0 "lr", "q0", "q1", "q2", "memory")

#define TABLE "vldrb.u8 q1, [%[table], q0]\n"

/* clang-format on */

/* Up to sixteen channels. */
static TS_MVE_APART void means(const TsMean* layer, const int8_t* x, const int8_t* table, int32_t channels,
                               int8_t* out) {
    int32x4_t totals[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int32_t left = layer->count; left > 0; left -= AT_ONCE) {
        const int32_t n = ts_min(left, AT_ONCE);
        int16x8_t even = vdupq_n_s16(0);
        int16x8_t odd = vdupq_n_s16(0);
        if (table != NULL && channels >= TS_MVE_LANES) {
            SUM("vldrb.8", TABLE, "q1");
        } else if (table != NULL) {
            SUM("vpst\n vldrbt.8", TABLE, "q1");
        } else {
            SUM("vpst\n vldrbt.8", "", "q0");
        }
        totals[0] = vaddq_s32(totals[0], vmovlbq_s16(even));
        totals[1] = vaddq_s32(totals[1], vmovltq_s16(even));
        totals[2] = vaddq_s32(totals[2], vmovlbq_s16(odd));
        totals[3] = vaddq_s32(totals[3], vmovltq_s16(odd));
    }
    const int16x8_t bottom = halves(totals[0], totals[1], layer);
    const int16x8_t top = halves(totals[2], totals[3], layer);
    vstrbq_p_s8(out, ts_mve_codes(bottom, top), vctp8q((uint32_t)channels));
}

/* One output of contiguous codes. */
static void mean_of_row(const TsMean* layer, const int8_t* x, int8_t* out) {
    int32_t total = 0;
    for (int32_t at = 0; at < layer->count; at += TS_MVE_LANES) {
        total = vaddvaq_s8(total, vldrbq_z_s8(x + at, vctp8q((uint32_t)(layer->count - at))));
    }
    const int16x8_t half = halves(vdupq_n_s32(total), vdupq_n_s32(0), layer);
    *out = vgetq_lane_s8(ts_mve_codes(half, half), 0);
}

void ts_mve_mean(const TsMean* layer, const int8_t* x, int8_t* out) {
    for (int32_t channel = 0; channel < layer->size; channel += TS_MVE_LANES) {
        means(layer, x + channel, NULL, layer->size - channel, out + channel);
    }
}

void ts_mve_mean_of_channels(const TsMean* layer, const int8_t* x, int8_t* out) {
    for (int32_t pixel = 0; pixel < layer->size; ++pixel) {
        mean_of_row(layer, x + pixel * layer->stride, out + pixel);
    }
}

void ts_mve_lookup_mean(const TsMveLookupMean* layer, const int8_t* x, int8_t* out) {
    for (int32_t channel = 0; channel < layer->mean.size; channel += TS_MVE_LANES) {
        means(&layer->mean, x + channel, TS_ARRAY(int8_t, layer, table), layer->mean.size - channel, out + channel);
    }
}
