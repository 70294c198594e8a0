/* The bands for Helium: the operations of the portable code in ts_mel.c, with the same bits, on four neighbouring bands
 * at a time. Their bins are gathered, and added in the portable order: eight at a time, the last of them first. */
#ifndef TS_MEL_MVE_H
#define TS_MEL_MVE_H

#include <string.h>

#include "ts_butterfly.h"
#include "ts_mel.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2)
#define TS_MEL_MVE 1

#include <arm_mve.h>

/* In a list of clobbers: the predicates. Clang has no name for them; predicates of C end before the assembly. */
#ifdef __clang__
#define TS_MEL_PREDICATES
#else
#define TS_MEL_PREDICATES "p0",
#endif

/* The bins between the centres of four bands and those below: addresses of the first bin and its weight, number of
 * eights of bins that each has, and number of further bins, of each and the largest. */
typedef struct {
    uint32x4_t bin, weight;
    int32x4_t further;
    int32_t most_further, eights;
} TsFourSegments;

/* clang-format off */

/* A piece of assembly for each of the next eight bins, the last first: `each` takes the offsets of bin and weight. */
#define TS_MEL_EIGHT(each)                                                                                             \
    each("56", "28") each("48", "24") each("40", "20") each("32", "16")                                                \
    each("24", "12") each("16", "8") each("8", "4") each("0", "0")

/* All eights, then the further bins, from the last one of the longest segment on: those segments that have the bin. */
#define TS_MEL_SEGMENTS(each, masked, further_weight)                                                                  \
    "wls lr, %[eights], 2f\n"                                                                                          \
    "1:\n"                                                                                                             \
    TS_MEL_EIGHT(each)                                                                                                 \
    "vadd.i32 %q[bin], %q[bin], %[bytes]\n"                                                                            \
    further_weight                                                                                                     \
    "le lr, 1b\n"                                                                                                      \
    "2: subs %[left], #1\n"                                                                                            \
    "bmi 9f\n"                                                                                                         \
    "3: usat %[i], #3, %[left]\n"                                                                                      \
    "tbb [pc, %[i]]\n"                                                                                                 \
    "4: .byte (10f - 4b) / 2, (11f - 4b) / 2, (12f - 4b) / 2, (13f - 4b) / 2\n"                                        \
    ".byte (14f - 4b) / 2, (15f - 4b) / 2, (16f - 4b) / 2, (17f - 4b) / 2\n"                                           \
    masked("7", "56", "28") masked("6", "48", "24") masked("5", "40", "20") masked("4", "32", "16")                    \
    masked("3", "24", "12") masked("2", "16", "8") masked("1", "8", "4") masked("0", "0", "0")                         \
    "subs %[left], #8\n"                                                                                               \
    "bmi 9f\n"                                                                                                         \
    "vsub.i32 %q[further], %q[further], %[eight]\n"                                                                    \
    "vadd.i32 %q[bin], %q[bin], %[bytes]\n"                                                                            \
    further_weight                                                                                                     \
    "b 3b\n"                                                                                                           \
    "9:\n"

#define TS_MEL_RISE(bin, weight)                                                                                       \
    "vldrw.u32 %q[x], [%q[bin], #" bin "]\n"                                                                           \
    "vldrw.u32 %q[w], [%q[weight], #" weight "]\n"                                                                     \
    "vfma.f32 %q[sum], %q[x], %q[w]\n"
#define TS_MEL_RISE_SOME(i, bin, weight)                                                                               \
    "1" i ": movs %[i], #" i "\n"                                                                                      \
    "vpttt.s32 gt, %q[further], %[i]\n"                                                                                \
    "vldrwt.u32 %q[x], [%q[bin], #" bin "]\n"                                                                          \
    "vldrwt.u32 %q[w], [%q[weight], #" weight "]\n"                                                                    \
    "vfmat.f32 %q[sum], %q[x], %q[w]\n"
#define TS_MEL_ADD(bin, weight)                                                                                        \
    "vldrw.u32 %q[x], [%q[bin], #" bin "]\n"                                                                           \
    "vadd.f32 %q[sum], %q[sum], %q[x]\n"
#define TS_MEL_ADD_SOME(i, bin, weight)                                                                                \
    "1" i ": movs %[i], #" i "\n"                                                                                      \
    "vptt.s32 gt, %q[further], %[i]\n"                                                                                 \
    "vldrwt.u32 %q[x], [%q[bin], #" bin "]\n"                                                                          \
    "vaddt.f32 %q[sum], %q[sum], %q[x]\n"

/* `sum` and the weighted bins of each segment. */
TS_STRAIGHT float32x4_t ts_four_rising(TsFourSegments s, float32x4_t sum) {
    float32x4_t x, w;
    int32_t i;
    __asm__ volatile(TS_MEL_SEGMENTS(TS_MEL_RISE, TS_MEL_RISE_SOME, "vadd.i32 %q[weight], %q[weight], %[half]\n")
                     : [sum] "+w"(sum), [bin] "+w"(s.bin), [weight] "+w"(s.weight), [further] "+w"(s.further),
                       [left] "+r"(s.most_further), [x] "=&w"(x), [w] "=&w"(w), [i] "=&r"(i)
                     : [eights] "r"(s.eights), [bytes] "r"(64), [half] "r"(32), [eight] "r"(8)
                     : TS_MEL_PREDICATES "lr", "cc", "memory");
    return sum;
}

/* `sum` and the bins of each segment. */
TS_STRAIGHT float32x4_t ts_four_sums(TsFourSegments s, float32x4_t sum) {
    float32x4_t x;
    int32_t i;
    __asm__ volatile(TS_MEL_SEGMENTS(TS_MEL_ADD, TS_MEL_ADD_SOME, "")
                     : [sum] "+w"(sum), [bin] "+w"(s.bin), [further] "+w"(s.further), [left] "+r"(s.most_further),
                       [x] "=&w"(x), [i] "=&r"(i)
                     : [eights] "r"(s.eights), [bytes] "r"(64), [eight] "r"(8)
                     : TS_MEL_PREDICATES "lr", "cc", "memory");
    return sum;
}
/* clang-format on */

/* Numbers of bins before each of four segments. */
TS_STRAIGHT uint32x4_t ts_four_before(uint32x4_t count) {
    uint32_t none = 0;
    const uint32x4_t one = vshlcq_u32(count, &none, 32);
    none = 0;
    const uint32x4_t two = vshlcq_u32(one, &none, 32);
    none = 0;
    return vaddq_u32(vaddq_u32(one, two), vshlcq_u32(two, &none, 32));
}

/* See code_of in ts_mel.c. */
TS_STRAIGHT int32x4_t ts_four_codes(float32x4_t power) {
    const int32x4_t bits = vreinterpretq_s32_f32(power);
    const int32x4_t exponent = vshrq_n_s32(vsubq_n_s32(bits, TS_ROOT_HALF), 23);
    const float32x4_t mantissa = vreinterpretq_f32_s32(vsubq_s32(bits, vshlq_n_s32(exponent, 23)));
    const float32x4_t fraction = vsubq_n_f32(mantissa, 1.0f);
    float32x4_t line = vdupq_n_f32(TS_LOG_6);
    line = vfmasq_n_f32(line, fraction, TS_LOG_5);
    line = vfmasq_n_f32(line, fraction, TS_LOG_4);
    line = vfmasq_n_f32(line, fraction, TS_LOG_3);
    line = vfmasq_n_f32(line, fraction, TS_LOG_2);
    line = vfmasq_n_f32(line, fraction, TS_LOG_1);
    line = vfmasq_n_f32(line, fraction, TS_LOG_0);
    line = vaddq_n_f32(vfmaq_n_f32(line, vcvtq_f32_s32(exponent), TS_LOG_OCTAVE), 0x1.8p23f);
    const int32x4_t code = vaddq_n_s32(vreinterpretq_s32_f32(line), TS_LOGMEL_ZERO_POINT - TS_HALF_TO_EVEN);
    const int16x8_t narrow = vqmovnbq_s32(vreinterpretq_s16_s32(code), code);
    return vreinterpretq_s32_s8(vqmovnbq_s16(vreinterpretq_s8_s16(narrow), narrow)); /* in the lowest bytes */
}

/* The rising side of the lowest band, as bits. */
TS_STRAIGHT uint32_t ts_first_rising(const TsComplex* bin, const float* weight, int count) {
    float rising = TS_LOGMEL_LOG_OFFSET;
    uint32_t bits;
    for (; count > 0; count -= 8, bin += 8, weight += 8) {
        for (int i = count > 8 ? 7 : count - 1; i >= 0; --i) {
            rising = ts_fused(weight[i], bin[i].re, rising);
        }
    }
    memcpy(&bits, &rising, sizeof bits);
    return bits;
}

/* Write the codes of four bands, of which `present` exist. */
TS_STRAIGHT void ts_put_four(int8_t* codes, int32_t stride, int32x4_t four, int present) {
    int8_t each[4];
    if (present >= 4) {
        vstrbq_scatter_offset_s32(codes, vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)stride), four);
        return;
    }
    vstrbq_s32(each, four);
    for (int i = 0; i < present; ++i) {
        codes[i * stride] = each[i];
    }
}

/* See ts_mel_codes; ts_mel_tables are in scope. */
TS_STRAIGHT void ts_mel_by_fours(const TsComplex* bins, int8_t* codes, int32_t stride) {
    const TsComplex* bin = bins + TS_MEL_FIRST_BIN;
    const float* weight = ts_mel_tables.weight;
    const uint32_t lowest = ts_mel_tables.count[0];
    uint32_t rising_before = ts_first_rising(bin, weight, (int)lowest);
    bin += lowest, weight += lowest;
    for (int band = 0; band < TS_LOGMEL_N_MELS; band += 4, codes += 4 * stride) {
        const int present = TS_LOGMEL_N_MELS - band;
        const uint32x4_t count = vldrhq_z_u32(ts_mel_tables.count + 1 + band, vctp32q((uint32_t)present));
        const uint32x4_t before = ts_four_before(count);
        const uint32_t eights = vminvq_u32(UINT32_MAX, count) / 8, most = vmaxvq_u32(0, count);
        const TsFourSegments segments = {vaddq_n_u32(vshlq_n_u32(before, 3), (uint32_t)(uintptr_t)bin),
                                         vaddq_n_u32(vshlq_n_u32(before, 2), (uint32_t)(uintptr_t)weight),
                                         vreinterpretq_s32_u32(vsubq_n_u32(count, 8 * eights)),
                                         (int32_t)(most - 8 * eights), (int32_t)eights};
        const uint32_t bins_of_four = vaddvq_u32(count);
        bin += bins_of_four, weight += bins_of_four;
        const float32x4_t rising = ts_four_rising(segments, vdupq_n_f32(TS_LOGMEL_LOG_OFFSET));
        const uint32x4_t lower = vshlcq_u32(vreinterpretq_u32_f32(rising), &rising_before, 32);
        const float32x4_t sum = ts_four_sums(segments, vreinterpretq_f32_u32(lower));
        ts_put_four(codes, stride, ts_four_codes(vaddq_n_f32(vsubq_f32(sum, rising), TS_LOGMEL_LOG_OFFSET)), present);
    }
}

#endif
#endif
