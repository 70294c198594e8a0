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
    int32_t pixels, channels;   /* 96 */
    int16_t even[8], odd[8];    /* 104: factors of sixteen channels, counted from the zero point */
} Steps;

/* clang-format off */

/* Eight sums in two vectors to codes that may still exceed a byte. */
#define NARROWED(to, first, second, spare)                      \
    TS_MVE_RESCALE(to, first, "r5", "r6")                       \
    TS_MVE_RESCALE(spare, second, "r5", "r6")                   \
    "vqmovnb.s32 " to ", " to "\n"                              \
    "vqmovnt.s32 " to ", " spare "\n"                           \
    "vqadd.s16 " to ", " to ", r7\n"

#define PRODUCTS(x, factor)                                     \
    "vmullb.s16 q2, " x ", " factor "\n"                        \
    "vmullt.s16 q3, " x ", " factor "\n"                        \
    NARROWED(x, "q2", "q3", "q2")

#define AFFINE(to, codes, first, second)                        \
    "vmovlb.s16 q2, " codes "\n"                                \
    "vmovlt.s16 q3, " codes "\n"                                \
    "vldrw.u32 q6, [r0, #" first "]\n"                          \
    "vldrw.u32 q7, [r0, #" second "]\n"                         \
    "vmla.s32 q6, q2, r4\n"                                     \
    "vmla.s32 q7, q3, r4\n"                                     \
    NARROWED(to, "q6", "q7", "q2")

/* Up to sixteen channels of all pixels. r0 steps, r1 a, r2 out, r3 bytes from one pixel to the next. */
static TS_MVE_ASSEMBLY void run_steps(TS_MVE_ARGUMENT const Steps* steps, TS_MVE_ARGUMENT const int8_t* a,
                                      TS_MVE_ARGUMENT int8_t* out, TS_MVE_ARGUMENT int32_t pitch) {
    __asm__(
        "push {r4-r7, lr}\n"
        "vpush {d8-d15}\n"
        "add r4, r0, #104\n"
        "vldrh.u16 q4, [r4]\n"
        "vldrh.u16 q5, [r4, #16]\n"
        "ldrd lr, r4, [r0, #96]\n"
        "vctp.8 r4\n"
        "dls lr, lr\n"
        "1: ldm r0, {r4-r7}\n"
        "vpst\n"
        "vldrbt.8 q0, [r1]\n"
        "add r1, r3\n"
        "vmovlb.s8 q1, q0\n"
        "vmovlt.s8 q0, q0\n"
        "vsub.i16 q1, q1, r4\n"
        "vsub.i16 q0, q0, r4\n"
        PRODUCTS("q1", "q4")
        PRODUCTS("q0", "q5")
        "vqmovnb.s16 q1, q1\n"
        "vqmovnt.s16 q1, q0\n"
        "ldrd r4, r5, [r0, #16]\n"
        "ldrd r6, r7, [r0, #24]\n"
        "vmovlb.s8 q0, q1\n"
        "vmovlt.s8 q1, q1\n"
        AFFINE("q0", "q0", "32", "48")
        AFFINE("q1", "q1", "64", "80")
        "vqmovnb.s16 q0, q0\n"
        "vqmovnt.s16 q0, q1\n"
        "vpst\n"
        "vstrbt.8 q0, [r2]\n"
        "add r2, r3\n"
        "le lr, 1b\n"
        "vpop {d8-d15}\n"
        "pop {r4-r7, pc}\n");
}

/* clang-format on */

void ts_mve_mul_affine(const TsMveMulAffine* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const TsMul* mul = &layer->mul;
    Steps steps = {.a_zero_point = mul->a_zero_point,
                   .zero_point = mul->out.zero_point,
                   .weight = layer->weight,
                   .pixels = mul->repeats,
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
        vst1q_s16(steps.even, vsubq_n_s16(vmovlbq_s8(factors), (int16_t)mul->b_zero_point));
        vst1q_s16(steps.odd, vsubq_n_s16(vmovltq_s8(factors), (int16_t)mul->b_zero_point));
        steps.channels = n;
        run_steps(&steps, a + channel, out + channel, mul->size);
    }
    ts_mve_raise(out, &layer->out, mul->repeats * mul->size);
}
