/* Matrix product: the dot products of eight outputs side by side, then the codes from the sums. */
#include <stddef.h>

#include "ts_mve_inner.h"
#include "ts_mve_parts.h"

enum {
    SIDE_BY_SIDE = 8, /* outputs */
    AT_ONCE = 32,     /* outputs whose sums are stored */
#ifdef TS_ROUNDING_SINGLE
    PER_FOUR = 2 * 4
#else
    PER_FOUR = 3 * 4
#endif
};

/* Groups of outputs; the assembly reads the members in order. */
typedef struct {
    const int8_t* weight;
    int32_t* sums;
    int32_t groups;
    const int8_t *x, *end;
} Groups;

/* clang-format off */

/* A vector of eight outputs' weights times that of the inputs, 128 products. */
#define VECTOR(mla)                                             \
    "vldrb.u8 q0, [r7], #16\n"                                  \
    "vldrw.u32 q1, [r1], #16\n"                                 \
    "vldrw.u32 q2, [r1], #16\n"                                 \
    mla " r0, q0, q1\n"                                         \
    "vldrw.u32 q3, [r1], #16\n"                                 \
    mla " r2, q0, q2\n"                                         \
    "vldrw.u32 q1, [r1], #16\n"                                 \
    mla " r4, q0, q3\n"                                         \
    "vldrw.u32 q2, [r1], #16\n"                                 \
    mla " r6, q0, q1\n"                                         \
    "vldrw.u32 q3, [r1], #16\n"                                 \
    mla " r8, q0, q2\n"                                         \
    "vldrw.u32 q1, [r1], #16\n"                                 \
    mla " r10, q0, q3\n"                                        \
    "vldrw.u32 q2, [r1], #16\n"                                 \
    mla " r12, q0, q1\n"                                        \
    mla " lr, q0, q2\n"

/* r1 weight, r3 sums, r5 groups left, r7 input, r9 its begin, r11 its end. */
static TS_MVE_ASSEMBLY void run_groups(TS_MVE_ARGUMENT const Groups* groups) {
    __asm__(
        "push {r4-r11, lr}\n"
        "ldm r0, {r1, r3, r5, r9, r11}\n"
        "1: mov r7, r9\n"
        VECTOR("vmladav.s8")
        "cmp r7, r11\n"
        "beq 3f\n"
        "2:\n"
        VECTOR("vmladava.s8")
        "cmp r7, r11\n"
        "bne 2b\n"
        "3: stm r3!, {r0, r2, r4, r6, r8, r10, r12, lr}\n"
        "subs r5, #1\n"
        "bne 1b\n"
        "pop {r4-r11, pc}\n");
}

/* clang-format on */

/* Codes of n outputs from their sums. */
static void narrow(const TsOutput* out, const int32_t* sums, const int32_t* constants, int32_t n, int8_t* to) {
    const int8x16_t low = vdupq_n_s8((int8_t)(out->low + out->zero_point));
    for (; n > 0; n -= 4) {
        int32x4_t code = vaddq_s32(vld1q_s32(sums), vld1q_s32(constants));
        code = ts_mve_rescale_lanes(code, constants + 4);
        const int16x8_t half = vqaddq_n_s16(ts_mve_halves(code, code), (int16_t)out->zero_point);
        const int8x16_t codes = vmaxq_s8(ts_mve_codes(half, half), low);
        vstrbq_p_s32(to, vreinterpretq_s32_s8(codes), vctp32q((uint32_t)n));
        constants += PER_FOUR;
        sums += 4;
        to += 4;
    }
}

void ts_mve_row(const TsMveFullyConnected* layer, const int8_t* x, int8_t* out) {
    const int32_t n_bytes = ts_mve_whole(layer->inputs);
    const int8_t* weight = TS_ARRAY(int8_t, layer, weight);
    const int32_t* constants = TS_ARRAY(int32_t, layer, constants);
    for (int32_t left = layer->outputs; left > 0; left -= AT_ONCE) {
        const int32_t n = ts_min(left, AT_ONCE);
        int32_t sums[AT_ONCE];
        const Groups groups = {weight, sums, n / SIDE_BY_SIDE, x, x + n_bytes};
        if (groups.groups > 0) {
            run_groups(&groups);
        }
        weight += n / SIDE_BY_SIDE * SIDE_BY_SIDE * n_bytes;
        for (int32_t output = n / SIDE_BY_SIDE * SIDE_BY_SIDE; output < n; ++output) {
            int32_t sum = 0;
            for (int32_t at = 0; at < n_bytes; at += TS_MVE_LANES) {
                sum = vmladavaq_s8(sum, vld1q_s8(x + at), vld1q_s8(weight));
                weight += TS_MVE_LANES;
            }
            sums[output] = sum;
        }
        narrow(&layer->out, sums, constants, n, out);
        constants += n / 4 * PER_FOUR;
        out += n;
    }
}

void ts_mve_fully_connected(const TsMveFullyConnected* layer, const int8_t* x, int8_t* out) {
    for (int32_t row = 0; row < layer->rows; ++row) {
        ts_mve_row(layer, x, out);
        x += layer->inputs;
        out += layer->outputs;
    }
}

void ts_mve_fully_connected_padded(const TsMveFullyConnected* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    for (int32_t row = 0; row < layer->rows; ++row) {
        ts_mve_copy(scratch, x, layer->inputs);
        ts_mve_row(layer, scratch, out);
        x += layer->inputs;
        out += layer->outputs;
    }
}
