/* A product with one factor per channel, then an affine function in which only the bias differs by channel: the end of
 * GRN.
 *
 * Sixteen channels of a pixel at a time. Lanes are split by halves, even before odd, and narrowing restores the
 * order; biases are stored in the order of use. */
#include "ts_mve_inner.h"

/* The loop's operands; the assembly depends on the order. */
typedef struct {
    int32_t a_zero_point;
#ifdef TS_ROUNDING_SINGLE
    float multiplier;
#else
    int32_t multiplier;
#endif
    int32_t shift, zero_point; /* of the product */
    int32_t weight;            /* 16 */
#ifdef TS_ROUNDING_SINGLE
    float out_multiplier;
#else
    int32_t out_multiplier;
#endif
    int32_t out_shift, out_zero_point;
    int32_t bias[TS_MVE_LANES]; /* 32 */
} Steps;

/* clang-format off */

/* Eight sums in two vectors to codes that may still exceed a byte. */
#define NARROWED(to, first, second, spare)                      \
    TS_MVE_RESCALE(to, first, "r2", "r4")                       \
    TS_MVE_RESCALE(spare, second, "r2", "r4")                   \
    "vqmovnb.s32 " to ", " to "\n"                              \
    "vqmovnt.s32 " to ", " spare "\n"                           \
    "vqadd.s16 " to ", " to ", r6\n"

#define PRODUCTS(x, factor)                                     \
    "vmullb.s16 q2, " x ", " factor "\n"                        \
    "vmullt.s16 q3, " x ", " factor "\n"                        \
    NARROWED(x, "q2", "q3", "q2")

#define AFFINE(to, codes, first, second)                        \
    "vmovlb.s16 q2, " codes "\n"                                \
    "vmovlt.s16 q3, " codes "\n"                                \
    "vldrw.u32 q6, [%[steps], #" first "]\n"                    \
    "vldrw.u32 q7, [%[steps], #" second "]\n"                   \
    "vmla.s32 q6, q2, r0\n"                                     \
    "vmla.s32 q7, q3, r0\n"                                     \
    NARROWED(to, "q6", "q7", "q2")

/* Up to sixteen channels of all pixels, which are `pitch` bytes apart. */
static TS_MVE_APART void channels_of(const Steps* steps, int8x16_t factors, int32_t b_zero_point, int32_t pixels,
                                     int32_t pitch, int32_t channels, const int8_t* a, int8_t* out) {
    const int16x8_t even = vsubq_n_s16(vmovlbq_s8(factors), (int16_t)b_zero_point);
    const int16x8_t odd = vsubq_n_s16(vmovltq_s8(factors), (int16_t)b_zero_point);
    __asm__ volatile(
        "vctp.8 %[channels]\n"
        "dls lr, %[pixels]\n"
        "1: ldm %[steps], {r0, r2, r4, r6}\n"
        "vpst\n"
        "vldrbt.8 q0, [%[a]]\n"
        "add %[a], %[pitch]\n"
        "vmovlb.s8 q1, q0\n"
        "vmovlt.s8 q0, q0\n"
        "vsub.i16 q1, q1, r0\n"
        "vsub.i16 q0, q0, r0\n"
        PRODUCTS("q1", "%q[even]")
        PRODUCTS("q0", "%q[odd]")
        "vqmovnb.s16 q1, q1\n"
        "vqmovnt.s16 q1, q0\n"
        "ldrd r0, r2, [%[steps], #16]\n"
        "ldrd r4, r6, [%[steps], #24]\n"
        "vmovlb.s8 q0, q1\n"
        "vmovlt.s8 q1, q1\n"
        AFFINE("q0", "q0", "32", "48")
        AFFINE("q1", "q1", "64", "80")
        "vqmovnb.s16 q0, q0\n"
        "vqmovnt.s16 q0, q1\n"
        "vpst\n"
        "vstrbt.8 q0, [%[out]]\n"
        "add %[out], %[pitch]\n"
        "le lr, 1b\n"
        : [a] "+r"(a), [out] "+r"(out)
        : [steps] "r"(steps), [pixels] "r"(pixels), [channels] "r"(channels), [pitch] "r"(pitch), [even] "w"(even),
          [odd] "w"(odd)
        : "r0", "r2", "r4", "r6", "lr", "p0", "q0", "q1", "q2", "q3", "q6", "q7", "memory");
}

/* clang-format on */

void ts_mve_mul_affine(const TsMveMulAffine* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const TsMul* mul = &layer->mul;
    Steps steps = {.a_zero_point = mul->a_zero_point,
                   .zero_point = mul->out.zero_point,
                   .weight = layer->weight,
                   .out_zero_point = layer->out.zero_point};
#ifdef TS_ROUNDING_SINGLE
    steps.multiplier = mul->rescale.factor;
    steps.out_multiplier = layer->rescale.factor;
#else
    steps.multiplier = mul->rescale.multiplier;
    steps.shift = mul->rescale.shift;
    steps.out_multiplier = layer->rescale.multiplier;
    steps.out_shift = layer->rescale.shift;
#endif
    for (int32_t channel = 0; channel < mul->size; channel += TS_MVE_LANES) {
        const int32_t n = ts_min(TS_MVE_LANES, mul->size - channel);
        const int8x16_t factors = vldrbq_z_s8(b + channel, vctp8q((uint32_t)n));
        for (int32_t i = 0; i < TS_MVE_LANES; i += 4) {
            vst1q_s32(steps.bias + i, vld1q_s32(TS_ARRAY(int32_t, layer, bias) + channel + i));
        }
        channels_of(&steps, factors, mul->b_zero_point, mul->repeats, mul->size, n, a + channel, out + channel);
    }
    ts_mve_raise(out, &layer->out, mul->repeats * mul->size);
}
