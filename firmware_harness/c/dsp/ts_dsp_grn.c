/* Global response normalisation: statistics in one pass over the map, and factors in another. */
#include "ts_dsp_pointwise.h"

/* Sums of table values for four channels side by side, over at least one pixel; `table` begins at code 0. */
void ts_dsp_sum_four(const int8_t* x, const int8_t* table, int32_t pixels, int32_t step, int32_t sums[4]);

#ifdef TS_DSP_ASSEMBLY

/* clang-format off */
__asm__(
    ".pushsection .text.ts_dsp_sum_four, \"ax\", %progbits\n"
    TS_DSP_PROCESSOR ".syntax unified\n"
    ".thumb\n"
    ".macro ts_four_pixel\n"
    "  ldrsb r8, [r0]\n  ldrsb r9, [r0, #1]\n  ldrsb r8, [r1, r8]\n  ldrsb r9, [r1, r9]\n"
    "  add r4, r4, r8\n  add r5, r5, r9\n"
    "  ldrsb r8, [r0, #2]\n  ldrsb r9, [r0, #3]\n  ldrsb r8, [r1, r8]\n  ldrsb r9, [r1, r9]\n"
    "  add r6, r6, r8\n  add r7, r7, r9\n"
    "  add r0, r0, r3\n"
    ".endm\n"
    ".balign 4\n.global ts_dsp_sum_four\n.type ts_dsp_sum_four, %function\n"
    "ts_dsp_sum_four:\n"
    "  push {r4-r9}\n"
    "  mla r12, r2, r3, r0\n"
    "  mov r4, #0\n  mov r5, #0\n  mov r6, #0\n  mov r7, #0\n"
    "  tst r2, #1\n  bne 2f\n"
    "1:\n  ts_four_pixel\n"
    "2:\n  ts_four_pixel\n"
    "  cmp r0, r12\n  bne 1b\n"
    "  ldr r8, [sp, #24]\n  stm r8, {r4-r7}\n"
    "  pop {r4-r9}\n  bx lr\n"
    ".popsection\n");
/* clang-format on */

#else

void ts_dsp_sum_four(const int8_t* x, const int8_t* table, int32_t pixels, int32_t step, int32_t sums[4]) {
    for (int32_t channel = 0; channel < 4; ++channel) {
        sums[channel] = 0;
        for (int32_t i = 0; i < pixels; ++i) {
            sums[channel] += table[x[i * step + channel]];
        }
    }
}

#endif

static int32_t sum_one(const int8_t* x, const int8_t* table, int32_t pixels, int32_t step) {
    int32_t sum = 0;
    for (int32_t i = 0; i < pixels; ++i) {
        sum += table[x[i * step]];
    }
    return sum;
}

static int8_t mean_code(const TsMean* mean, int32_t total) {
#ifdef TS_ROUNDING_SINGLE
    const float low = (float)(mean->out.low + mean->out.zero_point);
    const float high = (float)(mean->out.high + mean->out.zero_point);
    return (int8_t)ts_round((float)total * mean->factor + mean->offset, low, high);
#else
    return ts_requantise(total - mean->count * mean->in_zero_point, &mean->rescale, &mean->out);
#endif
}

void ts_dsp_table_mean(const TsDspTableMean* layer, const int8_t* x, int8_t* out) {
    const TsMean* mean = &layer->mean;
    const int8_t* table = TS_ARRAY(int8_t, layer, table) + 128;
    const int32_t full = mean->size & ~3;
    for (int32_t channel = 0; channel < full; channel += 4) {
        int32_t sums[4];
        ts_dsp_sum_four(x + channel, table, mean->count, mean->step, sums);
        for (int32_t i = 0; i < 4; ++i) {
            out[channel + i] = mean_code(mean, sums[i]);
        }
    }
    for (int32_t channel = full; channel < mean->size; ++channel) {
        out[channel] = mean_code(mean, sum_one(x + channel, table, mean->count, mean->step));
    }
}

/* The assembly reads these members in order: a channel's codes, rescaled twice in place. */
typedef struct {
    int8_t* x;
    int32_t step;
    int32_t factor, offset;
#ifdef TS_ROUNDING_SINGLE
    int32_t zero_point;
    TsDspRescale rescale, next_rescale;
    int32_t weight, bias;
    int32_t next_zero_point;
#else
    TsDspRescale rescale;
    int32_t weight, bias;
    TsDspRescale next_rescale;
#endif
    const int8_t *ones, *end; /* one by one until `ones`, then two or four at a time */
} TsDspTwice;

#ifdef TS_DSP_ASSEMBLY

/* r0 codes, r1 step, r2 and r3 factor and offset, r7 and r8 weight and bias, r12 and r14 values; under the
 * fixed-point rule r4-r6 and r9-r11 the rescales, else r4 and r9 the zero points. After ReLU, values below zero are
 * irrelevant. */
/* clang-format off */
__asm__(
    ".pushsection .text.ts_dsp_twice, \"ax\", %progbits\n"
    TS_DSP_PROCESSOR ".syntax unified\n"
    ".thumb\n"
#ifdef TS_ROUNDING_SINGLE
    ".equ ts_twice_at_ones, 40\n.equ ts_twice_at_end, 44\n"
    ".macro ts_twice_round zero, factor\n"
    "  vmov s0, s1, r12, lr\n"
    "  vcvt.f32.s32 s0, s0\n  vcvt.f32.s32 s1, s1\n  vmul.f32 s0, s0, \\factor\n  vmul.f32 s1, s1, \\factor\n"
    "  vcvtr.s32.f32 s0, s0\n  vcvtr.s32.f32 s1, s1\n"
    "  vmov r12, lr, s0, s1\n"
    "  qadd r12, r12, \\zero\n  qadd lr, lr, \\zero\n  ssat r12, #8, r12\n  ssat lr, #8, lr\n"
    ".endm\n"
    ".macro ts_twice_both\n"
    "  mla r12, r12, r2, r3\n  mla lr, lr, r2, r3\n  ts_twice_round r4, s8\n"
    "  mla r12, r12, r7, r8\n  mla lr, lr, r7, r8\n  ts_twice_round r9, s9\n"
    ".endm\n"
    ".macro ts_twice_one relu\n"
    "  ldrsb r12, [r0]\n  mov lr, r12\n  ts_twice_both\n  strb r12, [r0]\n  add r0, r0, r1\n"
    ".endm\n"
    ".macro ts_twice_more relu\n"
    "  ldrsb r12, [r0]\n  ldrsb lr, [r0, r1]\n  ts_twice_both\n"
    "  strb r12, [r0]\n  strb lr, [r0, r1]\n  add r0, r0, r1, lsl #1\n"
    ".endm\n"
    ".macro ts_twice_constants\n  ldm r0, {r0-r9}\n  vmov s8, r5\n  vmov s9, r6\n.endm\n"
#else
    ".equ ts_twice_at_ones, 48\n.equ ts_twice_at_end, 52\n"
    ".macro ts_twice_one relu\n"
    "  ldrsb r12, [r0]\n  mla r12, r12, r2, r3\n"
    "  add lr, r5, r12, asr #31\n  smmlar r12, r12, r4, lr\n  asr r12, r12, r6\n  ssat r12, #8, r12\n"
    "  mla r12, r12, r7, r8\n"
    "  .if \\relu\n"
    "  smmlar r12, r12, r9, r10\n"
    "  .else\n"
    "  add lr, r10, r12, asr #31\n  smmlar r12, r12, r9, lr\n"
    "  .endif\n"
    "  asr r12, r12, r11\n  ssat r12, #8, r12\n  strb r12, [r0]\n  add r0, r0, r1\n"
    ".endm\n"
    ".macro ts_twice_more relu\n  .rept 4\n  ts_twice_one \\relu\n  .endr\n.endm\n"
    ".macro ts_twice_constants\n  ldm r0, {r0-r11}\n.endm\n"
#endif
    ".macro ts_twice_run relu\n"
    "  push {r4-r11, lr}\n"
    "  sub sp, sp, #8\n"
    "  ldrd r2, r3, [r0, #ts_twice_at_ones]\n  strd r2, r3, [sp]\n"
    "  ts_twice_constants\n"
    "1:\n  ldr r12, [sp]\n  cmp r0, r12\n  beq 2f\n  ts_twice_one \\relu\n  b 1b\n"
    "2:\n  ldr r12, [sp, #4]\n  cmp r0, r12\n  beq 3f\n  ts_twice_more \\relu\n  b 2b\n"
    "3:\n  add sp, sp, #8\n  pop {r4-r11, pc}\n"
    ".endm\n"
    ".balign 4\n.global ts_dsp_twice\n.type ts_dsp_twice, %function\n"
    "ts_dsp_twice:\n  ts_twice_run 0\n"
    ".balign 4\n.global ts_dsp_relu_twice\n.type ts_dsp_relu_twice, %function\n"
    "ts_dsp_relu_twice:\n  ts_twice_run 1\n"
    ".popsection\n");
/* clang-format on */

void ts_dsp_twice(const TsDspTwice* channel);
void ts_dsp_relu_twice(const TsDspTwice* channel);

static void run(const TsDspTwice* channel, int32_t relu) {
    if (relu) {
        ts_dsp_relu_twice(channel);
    } else {
        ts_dsp_twice(channel);
    }
}

#else

static void run(const TsDspTwice* channel, int32_t relu) {
#ifdef TS_ROUNDING_SINGLE
    const int32_t zero_point = channel->zero_point, next_zero_point = channel->next_zero_point;
#else
    const int32_t zero_point = 0, next_zero_point = 0;
#endif
    (void)relu;
    for (int8_t* x = channel->x; x < channel->end; x += channel->step) {
        const int32_t once = ts_dsp_code(*x * channel->factor + channel->offset, &channel->rescale, zero_point);
        *x = (int8_t)ts_dsp_code(once * channel->weight + channel->bias, &channel->next_rescale, next_zero_point);
    }
}

#endif

static TsDspTwice channel_of(const TsDspGain* layer, const int8_t* factor, int32_t index) {
    TsDspTwice channel;
    channel.factor = (factor[index] - layer->factor_zero_point) * TS_DSP_TIMES;
    channel.offset = -layer->x_zero_point * channel.factor;
    channel.rescale = layer->rescale;
    channel.weight = TS_ARRAY(int8_t, layer, weight)[index] * TS_DSP_TIMES;
    channel.bias = TS_ARRAY(int32_t, layer, bias)[index] * TS_DSP_TIMES;
    channel.next_rescale = TS_ARRAY(TsDspRescale, layer, rescales)[index];
#ifdef TS_ROUNDING_SINGLE
    channel.zero_point = layer->product_zero_point;
    channel.next_zero_point = layer->out_zero_point;
#endif
    return channel;
}

static void scale(TsDspTwice* channel, int32_t relu, int8_t* x, int32_t n, int32_t step) {
    channel->x = x;
    channel->step = step;
    channel->ones = x + (n & 3) * step;
    channel->end = x + n * step;
    run(channel, relu);
}

static void look_up(const int8_t* table, int8_t* x, int32_t n, int32_t step) {
    for (int32_t i = 0; i < (n & 3); ++i, x += step) {
        *x = table[*x];
    }
#pragma GCC unroll 4
    for (int32_t i = 0; i < (n & ~3); ++i, x += step) {
        *x = table[*x];
    }
}

enum { TABLE_PAYS = 450, CODES = 256 }; /* number of pixels from which on a table of all codes is faster */

void ts_dsp_gain(const TsDspGain* layer, const int8_t* x, const int8_t* factor, int8_t* out, int8_t* scratch) {
    const int32_t step = layer->channels, size = layer->pixels * step;
    if (x != out) {
        memcpy(out, x, (size_t)size);
    }
    for (int32_t index = 0; index < step; ++index) {
        TsDspTwice channel = channel_of(layer, factor, index);
        if (layer->pixels < TABLE_PAYS) {
            scale(&channel, layer->relu, out + index, layer->pixels, step);
            continue;
        }
        for (int32_t i = 0; i < CODES; ++i) {
            scratch[i] = (int8_t)(i - CODES / 2);
        }
        scale(&channel, layer->relu, scratch, CODES, 1);
        look_up(scratch + CODES / 2, out + index, layer->pixels, step);
    }
    if (layer->low > -128) {
        ts_dsp_raise(out, size, layer->low);
    }
}
