/* Sum, product, and functions of one code by table. */
#include <stddef.h>

#include "ts_mve_inner.h"
#include "ts_mve_parts.h"

#ifdef TS_ROUNDING_SINGLE

static TS_MVE_APART void add(const TsMveAdd* layer, const int8_t* coarse, const int8_t* other, int32_t n, int8_t* out) {
    const int32x4_t multiplier = vdupq_n_s32(layer->multiplier);
    __asm__ volatile("dlstp.32 lr, %[size]\n"
                     "1: vldrb.s32 q0, [%[coarse]], #4\n"
                     "vldrb.s32 q1, [%[other]], #4\n"
                     "vmlas.s32 q0, %q[multiplier], %[bias]\n"
                     "vmla.s32 q0, q1, %[other_multiplier]\n"
                     "vshl.s32 q0, %[shift]\n"
                     "vadd.i32 q0, q0, %[zero_point]\n"
                     "vqmovnb.s32 q0, q0\n"
                     "vqmovnb.s16 q0, q0\n"
                     "vstrb.32 q0, [%[out]], #4\n"
                     "letp lr, 1b"
                     : [coarse] "+l"(coarse), [other] "+l"(other), [out] "+l"(out)
                     : [size] "r"(n), [bias] "r"(layer->bias), [other_multiplier] "r"(layer->other_multiplier),
                       [shift] "r"(-layer->shift), [zero_point] "r"(layer->out.zero_point), [multiplier] "w"(multiplier)
                     : "lr", "q0", "q1", "memory");
}

#else

static TS_MVE_APART void add(const TsMveAdd* layer, const int8_t* coarse, const int8_t* other, int32_t n, int8_t* out) {
    const int32x4_t half = vdupq_n_s32(1 << 19);
    const int32x4_t factor = vdupq_n_s32(layer->other_factor);
    __asm__ volatile(
        "dlstp.32 lr, %[size]\n"
        "1: vldrb.s32 q0, [%[other]], #4\n"
        "vldrb.s32 q1, [%[coarse]], #4\n"
        "vmlas.s32 q0, %q[factor], %[other_offset]\n"
        "vmlas.s32 q1, %q[half], %[offset]\n" TS_MVE_RESCALE("q2", "q0", "%[other_multiplier]", "%[other_shift]") /* */
        "vadd.i32 q1, q1, q2\n" TS_MVE_RESCALE("q0", "q1", "%[multiplier]",
                                               "%[shift]") "vadd.i32 q0, q0, %[zero_point]\n"
                                                           "vqmovnb.s32 q0, q0\n"
                                                           "vqmovnb.s16 q0, q0\n"
                                                           "vstrb.32 q0, [%[out]], #4\n"
                                                           "letp lr, 1b"
        : [coarse] "+l"(coarse), [other] "+l"(other), [out] "+l"(out)
        : [size] "r"(n), [offset] "r"(layer->offset), [other_offset] "r"(layer->other_offset),
          [other_multiplier] "r"(layer->other_rescale.multiplier), [other_shift] "r"(layer->other_rescale.shift),
          [multiplier] "r"(layer->rescale.multiplier), [shift] "r"(layer->rescale.shift),
          [zero_point] "r"(layer->out.zero_point), [half] "w"(half), [factor] "w"(factor)
        : "lr", "q0", "q1", "q2", "memory");
}

#endif

void ts_mve_add_some(const TsMveAdd* layer, const int8_t* a, const int8_t* b, int32_t n, int8_t* out) {
    add(layer, layer->swapped ? b : a, layer->swapped ? a : b, n, out);
    ts_mve_raise(out, &layer->out, n);
}

void ts_mve_add(const TsMveAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    ts_mve_add_some(layer, a, b, layer->size, out);
}

/* clang-format off */

/* Every second of eight products of codes in `x` and `factor`, both counted from the zero point; overwrites `x`. */
#define EIGHT(x, factor)                                        \
    "vmullb.s16 q2, " x ", " factor "\n"                        \
    "vmullt.s16 q3, " x ", " factor "\n"                        \
    TS_MVE_RESCALE(x, "q2", "%[multiplier]", "%[shift]")        \
    TS_MVE_RESCALE("q2", "q3", "%[multiplier]", "%[shift]")     \
    "vqmovnb.s32 " x ", " x "\n"                                \
    "vqmovnt.s32 " x ", q2\n"                                   \
    "vqadd.s16 " x ", " x ", %[zero_point]\n"

#define MULTIPLY(load, then, store, codes)                                                              \
    __asm__ volatile(                                                                                   \
        "vctp.8 %[channels]\n"                                                                          \
        "dls lr, %[pixels]\n"                                                                           \
        "1: " load " q0, [%[a]]\n"                                                                      \
        "add %[a], %[pitch]\n"                                                                          \
        "vmovlb.s8 q1, q0\n"                                                                            \
        "vmovlt.s8 q0, q0\n"                                                                            \
        "vsub.i16 q1, q1, %[a_zero_point]\n"                                                            \
        "vsub.i16 q0, q0, %[a_zero_point]\n"                                                            \
        EIGHT("q1", "%q[even]") EIGHT("q0", "%q[odd]")                                                  \
        "vqmovnb.s16 q1, q1\n"                                                                          \
        "vqmovnt.s16 q1, q0\n"                                                                          \
        then                                                                                            \
        store " " codes ", [%[out]]\n"                                                                  \
        "add %[out], %[pitch]\n"                                                                        \
        "le lr, 1b\n"                                                                                   \
        : [a] "+r"(a), [out] "+r"(out)                                                                  \
        : [pixels] "r"(pixels), [channels] "r"(channels), [pitch] "r"(pitch),                           \
          [a_zero_point] "r"(layer->a_zero_point),                                                      \
          [multiplier] "r"(MULTIPLIER(layer->rescale)), [shift] "r"(SHIFT(layer->rescale)),             \
          [zero_point] "r"(layer->out.zero_point), [table] "r"(table), [even] "w"(even), [odd] "w"(odd) \
        : "lr", "p0", "q0", "q1", "q2", "q3", "memory")

#define TABLE "vldrb.u8 q0, [%[table], q1]\n"

#ifdef TS_ROUNDING_SINGLE
#define MULTIPLIER(rescale) (rescale).factor
#define SHIFT(rescale) 0
#else
#define MULTIPLIER(rescale) (rescale).multiplier
#define SHIFT(rescale) (rescale).shift
#endif

/* Up to sixteen channels of all pixels with their factors; through the table if there is one. */
static TS_MVE_APART void mul(const TsMul* layer, int32_t pixels, int32_t pitch, int32_t channels, int8x16_t factors,
                             const int8_t* a, const int8_t* table, int8_t* out) {
    const int16x8_t even = vsubq_n_s16(vmovlbq_s8(factors), (int16_t)layer->b_zero_point);
    const int16x8_t odd = vsubq_n_s16(vmovltq_s8(factors), (int16_t)layer->b_zero_point);
    if (channels == TS_MVE_LANES && table != NULL) {
        MULTIPLY("vldrb.8", TABLE, "vstrb.8", "q0");
    } else if (channels == TS_MVE_LANES) {
        MULTIPLY("vldrb.8", "", "vstrb.8", "q1");
    } else if (table != NULL) {
        MULTIPLY("vpst\n vldrbt.8", TABLE, "vpst\n vstrbt.8", "q0");
    } else {
        MULTIPLY("vpst\n vldrbt.8", "", "vpst\n vstrbt.8", "q1");
    }
}

/* clang-format on */

static void mul_all(const TsMul* layer, const int8_t* a, const int8_t* b, const int8_t* table, int8_t* out) {
    const int32_t pixels = layer->size == 1 ? 1 : layer->repeats;
    const int32_t channels = layer->size == 1 ? layer->repeats : layer->size;
    for (int32_t channel = 0; channel < channels; channel += TS_MVE_LANES) {
        const int32_t n = ts_min(TS_MVE_LANES, channels - channel);
        const int8x16_t factors = layer->size == 1 ? vdupq_n_s8(*b) : vldrbq_z_s8(b + channel, vctp8q((uint32_t)n));
        mul(layer, pixels, channels, n, factors, a + channel, table, out + channel);
    }
}

void ts_mve_mul(const TsMul* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    mul_all(layer, a, b, NULL, out);
    ts_mve_raise(out, &layer->out, layer->repeats * layer->size);
}

void ts_mve_mul_lookup(const TsMveMulLookup* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    mul_all(&layer->mul, a, b, TS_ARRAY(int8_t, layer, table), out);
}

void ts_mve_lookup(const TsLookup* layer, const int8_t* x, int8_t* out) {
    const uint8x16_t first = vdupq_n_u8(128);
    __asm__ volatile("dlstp.8 lr, %[size]\n"
                     "1: vldrb.u8 q0, [%[x]], #16\n"
                     "veor q0, q0, %q[first]\n"
                     "vldrb.u8 q1, [%[table], q0]\n"
                     "vstrb.8 q1, [%[out]], #16\n"
                     "letp lr, 1b"
                     : [x] "+r"(x), [out] "+r"(out)
                     : [size] "r"(layer->size), [table] "r"(TS_ARRAY(int8_t, layer, table)), [first] "w"(first)
                     : "lr", "q0", "q1", "memory");
}

#ifdef TS_ROUNDING_SINGLE
enum { PER_FOUR = 3 * 4 };
#else
enum { PER_FOUR = 4 * 4 };
#endif

/* Four channels of all pixels. */
static void affine(const TsMveAffine* layer, const int32_t* constants, const int8_t* x, mve_pred16_t inside,
                   int8_t* out) {
    const int32x4_t bias = vld1q_s32(constants);
    const int32x4_t weight = vld1q_s32(constants + 4);
#ifdef TS_ROUNDING_SINGLE
    const float32x4_t factor = vreinterpretq_f32_s32(vld1q_s32(constants + 8));
#else
    const int32x4_t multiplier = vld1q_s32(constants + 8);
    const int32x4_t shift = vld1q_s32(constants + 12);
#endif
    const int32_t zero_point = layer->out.zero_point;
    const int32_t pitch = layer->channels;
    for (int32_t left = layer->pixels; left > 0; --left) {
        int32x4_t code = vaddq_s32(vmulq_s32(vldrbq_z_s32(x, inside), weight), bias);
#ifdef TS_ROUNDING_SINGLE
        code = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(code), factor));
#else
        code = vrshlq_s32(vaddq_s32(vqrdmulhq_s32(code, multiplier), vshrq_n_s32(code, 31)), shift);
#endif
        code = vaddq_n_s32(code, zero_point);
        const int16x8_t half = vqmovnbq_s32(vreinterpretq_s16_s32(code), code);
        vstrbq_p_s32(out, vreinterpretq_s32_s8(vqmovnbq_s16(vreinterpretq_s8_s16(half), half)), inside);
        x += pitch;
        out += pitch;
    }
}

void ts_mve_affine(const TsMveAffine* layer, const int8_t* x, int8_t* out) {
    const int32_t* constants = TS_ARRAY(int32_t, layer, constants);
    for (int32_t channel = 0; channel < layer->channels; channel += 4) {
        affine(layer, constants, x + channel, vctp32q((uint32_t)(layer->channels - channel)), out + channel);
        constants += PER_FOUR;
    }
    ts_mve_raise(out, &layer->out, layer->pixels * layer->channels);
}
