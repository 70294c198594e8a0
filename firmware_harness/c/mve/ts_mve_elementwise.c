/* Sum, product, and functions of one code by table. */
#include <stddef.h>

#include "ts_mve_inner.h"
#include "ts_mve_parts.h"

/* The assembly reads the members from the first factor to the output's zero point in order. */
#ifdef TS_ROUNDING_SINGLE
typedef char ts_mve_add_is_as_written[offsetof(TsMveAdd, multiplier) == 8 && offsetof(TsMveAdd, out) == 24 ? 1 : -1];
#else
typedef char ts_mve_add_is_as_written[offsetof(TsMveAdd, offset) == 8 && offsetof(TsMveAdd, out) == 36 ? 1 : -1];
#endif

/* clang-format off */

/* r1 coarse, r2 other, r3 out; n is on the stack. */
static TS_MVE_ASSEMBLY void add(TS_MVE_ARGUMENT const TsMveAdd* layer, TS_MVE_ARGUMENT const int8_t* coarse,
                                TS_MVE_ARGUMENT const int8_t* other, TS_MVE_ARGUMENT int8_t* out,
                                TS_MVE_ARGUMENT int32_t n) {
    __asm__(
#ifdef TS_ROUNDING_SINGLE
        /* r4 multiplier, r5 other multiplier, r6 bias, r7 shift, r8 zero point */
        "push {r4-r8, lr}\n"
        "ldr lr, [sp, #24]\n"
        "adds r0, #8\n"
        "ldm r0, {r4-r8}\n"
        "rsb r7, r7, #0\n"
        "vdup.32 q2, r4\n"
        "dlstp.32 lr, lr\n"
        "1: vldrb.s32 q0, [r1], #4\n"
        "vldrb.s32 q1, [r2], #4\n"
        "vmlas.s32 q0, q2, r6\n"
        "vmla.s32 q0, q1, r5\n"
        "vshl.s32 q0, r7\n"
        "vadd.i32 q0, q0, r8\n"
        "vqmovnb.s32 q0, q0\n"
        "vqmovnb.s16 q0, q0\n"
        "vstrb.32 q0, [r3], #4\n"
        "letp lr, 1b\n"
        "pop {r4-r8, pc}\n"
#else
        /* r4 offset, r5 other factor, r6 other offset, r7 and r8 other rescale, r9 and r10 rescale, r11 zero point */
        "push {r4-r11, lr}\n"
        "vpush {d8-d9}\n"
        "ldr lr, [sp, #52]\n"
        "adds r0, #8\n"
        "ldm r0, {r4-r11}\n"
        "mov r12, #524288\n"
        "vdup.32 q3, r12\n"
        "vdup.32 q4, r5\n"
        "dlstp.32 lr, lr\n"
        "1: vldrb.s32 q0, [r2], #4\n"
        "vldrb.s32 q1, [r1], #4\n"
        "vmlas.s32 q0, q4, r6\n"
        "vmlas.s32 q1, q3, r4\n"
        TS_MVE_RESCALE("q2", "q0", "r7", "r8")
        "vadd.i32 q1, q1, q2\n"
        TS_MVE_RESCALE("q0", "q1", "r9", "r10")
        "vadd.i32 q0, q0, r11\n"
        "vqmovnb.s32 q0, q0\n"
        "vqmovnb.s16 q0, q0\n"
        "vstrb.32 q0, [r3], #4\n"
        "letp lr, 1b\n"
        "vpop {d8-d9}\n"
        "pop {r4-r11, pc}\n"
#endif
    );
}

/* clang-format on */

void ts_mve_add_some(const TsMveAdd* layer, const int8_t* a, const int8_t* b, int32_t n, int8_t* out) {
    add(layer, layer->swapped ? b : a, layer->swapped ? a : b, out, n);
    ts_mve_raise(out, &layer->out, n);
}

void ts_mve_add(const TsMveAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    ts_mve_add_some(layer, a, b, layer->size, out);
}

/* Operands of a product; the assembly reads the members in order. */
typedef struct {
    int32_t channels, pitch, a_zero_point;
#ifdef TS_ROUNDING_SINGLE
    float multiplier;
#else
    int32_t multiplier;
#endif
    int32_t shift, zero_point;
    const int8_t* table;
    int32_t pixels;
    int16_t even[8], odd[8]; /* 32: factors of sixteen channels, counted from the zero point */
} Product;

/* clang-format off */

/* Every second of eight products of codes in `x` and `factor`, both counted from the zero point; overwrites `x`. */
#define EIGHT(x, factor)                                        \
    "vmullb.s16 q2, " x ", " factor "\n"                        \
    "vmullt.s16 q3, " x ", " factor "\n"                        \
    TS_MVE_RESCALE(x, "q2", "r6", "r7")                         \
    TS_MVE_RESCALE("q2", "q3", "r6", "r7")                      \
    "vqmovnb.s32 " x ", " x "\n"                                \
    "vqmovnt.s32 " x ", q2\n"                                   \
    "vqadd.s16 " x ", " x ", r8\n"

/* Up to sixteen channels of all pixels. r1 a, r2 out, r3 channels, r4 pitch, r5 zero point of a, r6 and r7 rescale, r8
 * zero point, r9 table. */
#define MULTIPLY(load, then, store, codes)                      \
    "push {r4-r10, lr}\n"                                       \
    "vpush {d8-d11}\n"                                          \
    "vldrh.u16 q4, [r0, #32]\n"                                 \
    "vldrh.u16 q5, [r0, #48]\n"                                 \
    "ldm r0, {r3-r9, lr}\n"                                     \
    "vctp.8 r3\n"                                               \
    "dls lr, lr\n"                                              \
    "1: " load " q0, [r1]\n"                                    \
    "add r1, r4\n"                                              \
    "vmovlb.s8 q1, q0\n"                                        \
    "vmovlt.s8 q0, q0\n"                                        \
    "vsub.i16 q1, q1, r5\n"                                     \
    "vsub.i16 q0, q0, r5\n"                                     \
    EIGHT("q1", "q4") EIGHT("q0", "q5")                         \
    "vqmovnb.s16 q1, q1\n"                                      \
    "vqmovnt.s16 q1, q0\n"                                      \
    then                                                        \
    store " " codes ", [r2]\n"                                  \
    "add r2, r4\n"                                              \
    "le lr, 1b\n"                                               \
    "vpop {d8-d11}\n"                                           \
    "pop {r4-r10, pc}\n"

#define TABLE "vldrb.u8 q0, [r9, q1]\n"
#define ARGUMENTS TS_MVE_ARGUMENT const Product* product, TS_MVE_ARGUMENT const int8_t* a, TS_MVE_ARGUMENT int8_t* out

static TS_MVE_ASSEMBLY void run_mul(ARGUMENTS) {
    __asm__(MULTIPLY("vldrb.8", "", "vstrb.8", "q1"));
}

static TS_MVE_ASSEMBLY void run_mul_some(ARGUMENTS) {
    __asm__(MULTIPLY("vpst\n vldrbt.8", "", "vpst\n vstrbt.8", "q1"));
}

static TS_MVE_ASSEMBLY void run_mul_table(ARGUMENTS) {
    __asm__(MULTIPLY("vldrb.8", TABLE, "vstrb.8", "q0"));
}

static TS_MVE_ASSEMBLY void run_mul_table_some(ARGUMENTS) {
    __asm__(MULTIPLY("vpst\n vldrbt.8", TABLE, "vpst\n vstrbt.8", "q0"));
}

/* clang-format on */

/* Up to sixteen channels of all pixels with their factors; through the table if there is one. */
static void mul(Product* product, int32_t b_zero_point, int8x16_t factors, const int8_t* a, int8_t* out) {
    const int all = product->channels >= TS_MVE_LANES;
    vst1q_s16(product->even, vsubq_n_s16(vmovlbq_s8(factors), (int16_t)b_zero_point));
    vst1q_s16(product->odd, vsubq_n_s16(vmovltq_s8(factors), (int16_t)b_zero_point));
    if (all && product->table == NULL) {
        run_mul(product, a, out);
    } else if (all) {
        run_mul_table(product, a, out);
    } else if (product->table == NULL) {
        run_mul_some(product, a, out);
    } else {
        run_mul_table_some(product, a, out);
    }
}

static void mul_all(const TsMul* layer, const int8_t* a, const int8_t* b, const int8_t* table, int8_t* out) {
    const int32_t channels = layer->size == 1 ? layer->repeats : layer->size;
    Product product;
    product.pixels = layer->size == 1 ? 1 : layer->repeats;
    product.pitch = channels;
    product.a_zero_point = layer->a_zero_point;
#ifdef TS_ROUNDING_SINGLE
    product.multiplier = layer->rescale.factor;
    product.shift = 0;
#else
    product.multiplier = layer->rescale.multiplier;
    product.shift = layer->rescale.shift;
#endif
    product.zero_point = layer->out.zero_point;
    product.table = table;
    for (int32_t channel = 0; channel < channels; channel += TS_MVE_LANES) {
        const int32_t n = ts_min(TS_MVE_LANES, channels - channel);
        const int8x16_t factors = layer->size == 1 ? vdupq_n_s8(*b) : vldrbq_z_s8(b + channel, vctp8q((uint32_t)n));
        product.channels = n;
        mul(&product, layer->b_zero_point, factors, a + channel, out + channel);
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
