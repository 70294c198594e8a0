/* The inner loop of a 3x3 depthwise convolution in assembly: two outputs of a channel at a time in 12 products.
 *
 * r0 plane, r1 output, r2-r7 weights (w0, w1), (w1, w2) for each of the plane's rows, r8-r10 a pair of columns of three
 * rows, r11 and r12 sums, r14 from one output to the next; the rest on the stack. With stride 2 a third pair of columns
 * is read. */
#include <stddef.h>

#include "ts_dsp_taps.h"

#ifdef TS_DSP_ASSEMBLY

typedef char ts_dsp_taps_is_as_written[offsetof(TsDspTaps, entry) == 36 && offsetof(TsDspTaps, order) == 52 &&
                                               offsetof(TsDspTaps, in_step) == 64 && sizeof(TsDspTaps) == 76
                                           ? 1
                                           : -1];

/* clang-format off */
__asm__(
    ".pushsection .text.ts_dsp_taps_run, \"ax\", %progbits\n"
    TS_DSP_PROCESSOR ".syntax unified\n"
    ".thumb\n"
    /* On the stack: multiplier, offset, shift and bias of a channel, TsDspTaps, then the end of the pairs in this row
     * and the number of rows that remain. */
    ".equ ts_taps_at_bias, 12\n.equ ts_taps_at_taps, 16\n.equ ts_taps_at_constants, 20\n.equ ts_taps_at_plane, 24\n"
    ".equ ts_taps_at_out, 32\n.equ ts_taps_at_step, 40\n.equ ts_taps_at_pairs, 44\n.equ ts_taps_at_entry, 52\n"
    ".equ ts_taps_at_tail, 56\n.equ ts_taps_at_channels, 60\n.equ ts_taps_at_zero, 64\n.equ ts_taps_at_order, 68\n"
    ".equ ts_taps_at_in_step, 80\n.equ ts_taps_at_end, 92\n.equ ts_taps_frame_bytes, 104\n"

    ".macro ts_taps_widen a, b\n"
    "  sxtb16 \\b, \\a, ror #8\n  sxtb16 \\a, \\a\n"
#ifndef TS_ROUNDING_SINGLE
    "  sadd16 \\b, \\b, \\b\n  sadd16 \\a, \\a, \\a\n"
#endif
    ".endm\n"
#ifdef TS_ROUNDING_SINGLE
    ".macro ts_taps_constants\n"
    "  ldm r12!, {r8, r9}\n  vmov s8, r8\n  str r9, [sp, #ts_taps_at_bias]\n"
    ".endm\n"
    ".macro ts_taps_nearest a, b\n"
    "  vmov s0, s1, \\a, \\b\n"
    "  vcvt.f32.s32 s0, s0\n  vcvt.f32.s32 s1, s1\n"
    "  vmul.f32 s0, s0, s8\n  vmul.f32 s1, s1, s8\n"
    "  vcvtr.s32.f32 s0, s0\n  vcvtr.s32.f32 s1, s1\n"
    "  vmov \\a, \\b, s0, s1\n"
    ".endm\n"
    ".macro ts_taps_positive a, b\n"
    "  ts_taps_nearest \\a, \\b\n  usat \\a, #8, \\a\n  usat \\b, #8, \\b\n"
    ".endm\n"
    ".macro ts_taps_code sum\n  qadd \\sum, \\sum, r8\n  ssat \\sum, #8, \\sum\n.endm\n"
    ".macro ts_taps_codes a, b, relu\n"
    "  ts_taps_nearest \\a, \\b\n  ldr r8, [sp, #ts_taps_at_zero]\n  ts_taps_code \\a\n  ts_taps_code \\b\n"
    ".endm\n"
#else
    ".macro ts_taps_constants\n"
    "  ldm r12!, {r8, r10, r11}\n  ldr r9, [sp, #ts_taps_at_zero]\n"
    "  lsl r9, r9, r10\n  asr r9, r9, #1\n  stm sp, {r8-r11}\n"
    ".endm\n"
    /* Rounding would differ below zero only, where ReLU gives zero. */
    ".macro ts_taps_shifted a, b\n"
    "  ldm.w sp, {r8-r10}\n"
    "  smmlar \\a, \\a, r8, r9\n  smmlar \\b, \\b, r8, r9\n  asr \\a, \\a, r10\n  asr \\b, \\b, r10\n"
    ".endm\n"
    ".macro ts_taps_positive a, b\n"
    "  ts_taps_shifted \\a, \\b\n  usat \\a, #8, \\a\n  usat \\b, #8, \\b\n"
    ".endm\n"
    ".macro ts_taps_code sum\n"
    "  add lr, r9, \\sum, asr #31\n  smmlar \\sum, \\sum, r8, lr\n  asr \\sum, \\sum, r10\n  ssat \\sum, #8, \\sum\n"
    ".endm\n"
    ".macro ts_taps_codes a, b, relu\n"
    "  .if \\relu\n"
    "  ts_taps_shifted \\a, \\b\n  ssat \\a, #8, \\a\n  ssat \\b, #8, \\b\n"
    "  .else\n"
    "  ldm.w sp, {r8-r10}\n  ts_taps_code \\a\n  ts_taps_code \\b\n  ldr.w lr, [sp, #ts_taps_at_step]\n"
    "  .endif\n"
    ".endm\n"
#endif

    /* The three rows of the plane times the weights over them, for one output and for two. */
    ".macro ts_taps_one product, sum, w0, w1, w2\n"
    "  \\product \\sum, r8, \\w0, \\sum\n  \\product \\sum, r9, \\w1, \\sum\n  \\product \\sum, r10, \\w2, \\sum\n"
    ".endm\n"
    ".macro ts_taps_two one, a, v0, v1, v2, two, b, w0, w1, w2, from\n"
    "  \\two \\b, r8, \\w0, \\from\n  \\one \\a, r8, \\v0, \\a\n"
    "  \\one \\a, r9, \\v1, \\a\n  \\two \\b, r9, \\w1, \\b\n"
    "  \\one \\a, r10, \\v2, \\a\n  \\two \\b, r10, \\w2, \\b\n"
    ".endm\n"
    /* The first pair of columns, the bias in r12; in r11 the pitch, where it is not that of three rows. */
    ".macro ts_taps_first codes\n"
    "  .if \\codes\n"
    "  ldm.w r0, {r8-r10}\n  ldrd r12, r11, [sp, #ts_taps_at_bias]\n  add.w r0, r0, r11\n"
    "  .else\n"
    "  ldm.w r0!, {r8-r10}\n  ldr.w r12, [sp, #ts_taps_at_bias]\n"
    "  .endif\n"
    ".endm\n"
    ".macro ts_taps_pair codes, relu, stride\n"
    "  ts_taps_first \\codes\n"
    "  .if \\stride == 1\n"
    "  ts_taps_two smlad, r12, r2, r4, r6, smlatb, r11, r2, r4, r6, r12\n"
    "  ldm.w r0, {r8-r10}\n"
    "  ts_taps_two smlabt, r12, r3, r5, r7, smlad, r11, r3, r5, r7, r11\n"
    "  .else\n"
    "  ts_taps_one smlad, r12, r2, r4, r6\n"
    "  .if \\codes\n  ldm.w r0, {r8-r10}\n  add.w r0, r0, r11\n  .else\n  ldm.w r0!, {r8-r10}\n  .endif\n"
    "  ldr.w r11, [sp, #ts_taps_at_bias]\n"
    "  ts_taps_two smlabt, r12, r3, r5, r7, smlad, r11, r2, r4, r6, r11\n"
    "  ldm.w r0, {r8-r10}\n"
    "  ts_taps_one smlabt, r11, r3, r5, r7\n"
    "  .endif\n"
    "  .if \\codes\n"
    "  ts_taps_codes r12, r11, \\relu\n"
    "  strb.w r12, [r1]\n  strb.w r11, [r1, lr]\n  add.w r1, r1, lr, lsl #1\n"
    "  .else\n"
    "  ts_taps_positive r12, r11\n"
    "  strh.w r12, [r1]\n  strh.w r11, [r1, #4]\n  add.w r1, r1, lr\n"
    "  .endif\n"
    ".endm\n"
    ".macro ts_taps_single codes, relu\n"
    "  ts_taps_first \\codes\n"
    "  ts_taps_one smlad, r12, r2, r4, r6\n"
    "  ldm.w r0, {r8-r10}\n"
    "  ts_taps_one smlabt, r12, r3, r5, r7\n"
    "  .if \\codes\n"
    "  ts_taps_codes r12, r11, \\relu\n  strb.w r12, [r1]\n"
    "  .else\n"
    "  ts_taps_positive r12, r11\n  strh.w r12, [r1]\n"
    "  .endif\n"
    ".endm\n"

    /* Pairs of outputs, entered at \\name or, for an odd number of them, at \\name\\()_odd; then \\name\\()_single or
     * \\name\\()_end. */
    ".macro ts_taps_rows name, codes, relu, stride\n"
    ".balign 4\n"
    ".global \\name, \\name\\()_odd, \\name\\()_single, \\name\\()_end\n"
    "\\name:\n"
    "  ts_taps_pair \\codes, \\relu, \\stride\n"
    "\\name\\()_odd:\n"
    "  ts_taps_pair \\codes, \\relu, \\stride\n"
    "  ldr.w r8, [sp, #ts_taps_at_end]\n  cmp.w r0, r8\n  bne.w \\name\n"
    "  ldr.w pc, [sp, #ts_taps_at_tail]\n"
    "\\name\\()_single:\n"
    "  ts_taps_single \\codes, \\relu\n"
    "\\name\\()_end:\n"
    "  .if \\codes\n" /* the next row */
    "  add.w r8, sp, #ts_taps_at_in_step\n  ldm.w r8, {r8-r12}\n"
    "  add.w r0, r0, r8\n  add.w r1, r1, r9\n  add.w r11, r11, r10\n  subs.w r12, r12, #1\n"
    "  strd r11, r12, [sp, #ts_taps_at_end]\n"
    "  beq.w ts_dsp_taps_next\n  ldr.w pc, [sp, #ts_taps_at_entry]\n"
    "  .else\n"
    "  b.w ts_dsp_taps_next\n"
    "  .endif\n"
    ".endm\n"

    ".balign 4\n"
    ".global ts_dsp_taps_run\n"
    ".type ts_dsp_taps_run, %function\n"
    "ts_dsp_taps_run:\n"
    "  push {r4-r11, lr}\n"
    "  sub.w sp, sp, #ts_taps_frame_bytes\n"
    "  ldm.w r0!, {r1-r12}\n  add lr, sp, #ts_taps_at_taps\n  stm lr!, {r1-r12}\n"
    "  ldm.w r0, {r1-r7}\n  stm lr, {r1-r7}\n"
    "1:\n" /* a channel */
    "  ldr r12, [sp, #ts_taps_at_constants]\n"
    "  ts_taps_constants\n"
    "  add lr, sp, #ts_taps_at_order\n  ldm lr, {r8-r10}\n"
    "  ldr r2, [r12, r8]\n  ldr r4, [r12, r9]\n  ldr r6, [r12, r10]\n"
    "  add r12, r12, #12\n  str r12, [sp, #ts_taps_at_constants]\n"
    "  ts_taps_widen r2, r3\n  ts_taps_widen r4, r5\n  ts_taps_widen r6, r7\n"
    "  ldrd r0, r8, [sp, #ts_taps_at_plane]\n  add.w r8, r8, r0\n  str r8, [sp, #ts_taps_at_plane]\n"
    "  ldrd r8, r9, [sp, #ts_taps_at_pairs]\n  add.w r8, r8, r0\n  strd r8, r9, [sp, #ts_taps_at_end]\n"
    "  ldrd r1, r8, [sp, #ts_taps_at_out]\n  add.w r8, r8, r1\n  str r8, [sp, #ts_taps_at_out]\n"
    "  ldr.w lr, [sp, #ts_taps_at_step]\n  ldr.w pc, [sp, #ts_taps_at_entry]\n"
    ".global ts_dsp_taps_next\n"
    "ts_dsp_taps_next:\n"
    "  ldr r8, [sp, #ts_taps_at_channels]\n  subs r8, r8, #1\n  str r8, [sp, #ts_taps_at_channels]\n  bne.w 1b\n"
    "  add sp, sp, #ts_taps_frame_bytes\n  pop {r4-r11, pc}\n"
    "  ts_taps_rows ts_dsp_taps_tiles_1, 0, 1, 1\n  ts_taps_rows ts_dsp_taps_tiles_2, 0, 1, 2\n"
    "  ts_taps_rows ts_dsp_taps_codes_1, 1, 0, 1\n  ts_taps_rows ts_dsp_taps_codes_2, 1, 0, 2\n"
    "  ts_taps_rows ts_dsp_taps_relu_1, 1, 1, 1\n  ts_taps_rows ts_dsp_taps_relu_2, 1, 1, 2\n"
    ".popsection\n");
/* clang-format on */

#define LABELS(name) name[], name##_odd[], name##_single[], name##_end[]
extern const uint8_t LABELS(ts_dsp_taps_tiles_1), LABELS(ts_dsp_taps_tiles_2), LABELS(ts_dsp_taps_codes_1),
    LABELS(ts_dsp_taps_codes_2), LABELS(ts_dsp_taps_relu_1), LABELS(ts_dsp_taps_relu_2);
#undef LABELS

static uintptr_t code(const uint8_t* label) {
    return (uintptr_t)label | 1u; /* Thumb */
}

void ts_dsp_taps_width(TsDspTaps* taps, TsDspTapsTo to, int32_t width, int32_t stride) {
#define LABELS(name)                                                                                                   \
    { name, name##_odd, name##_single, name##_end }
    static const uint8_t* const labels[3][2][4] = {{LABELS(ts_dsp_taps_tiles_1), LABELS(ts_dsp_taps_tiles_2)},
                                                   {LABELS(ts_dsp_taps_codes_1), LABELS(ts_dsp_taps_codes_2)},
                                                   {LABELS(ts_dsp_taps_relu_1), LABELS(ts_dsp_taps_relu_2)}};
#undef LABELS
    const uint8_t* const* at = labels[to][stride - 1];
    const int32_t pairs = width >> 1;
    taps->pairs_bytes = pairs * stride * taps->pitch;
    taps->entry = code(pairs == 0 ? at[2] : at[pairs & 1]);
    taps->tail = code((width & 1) != 0 ? at[2] : at[3]);
}

#else

/* The sum of a window whose first column is `column`, and whose first row is at `plane`. */
static int32_t sum(const TsDspTaps* taps, const TsDspChannel* constants, const int8_t* plane, int32_t column) {
    int32_t acc = constants->bias;
    for (int32_t row = 0; row < TS_DSP_ROWS; ++row) {
        const uint32_t packed = constants->weight[taps->order[row] / 4];
        for (int32_t j = 0; j < TS_DSP_COLUMNS; ++j) {
            const int8_t w = (int8_t)(packed >> (j == 0 ? 0 : 8 * (j + 1)) & 0xffu);
            const int8_t* at = plane + (column + j) / 2 * taps->pitch + row * 4 + (column + j) % 2 * 2;
            acc = ts_dsp_plus(acc, *(const int16_t*)at * w * TS_DSP_TIMES);
        }
    }
    return acc;
}

static TsDspRescale rescale_of(const TsDspTaps* taps, const TsDspChannel* constants) {
#ifdef TS_ROUNDING_SINGLE
    (void)taps;
    const TsDspRescale rescale = {constants->factor};
#else
    const int32_t shift = constants->shift;
    const TsDspRescale rescale = {constants->multiplier, taps->zero_term * (1 << (shift - 1)), shift};
#endif
    return rescale;
}

void ts_dsp_taps_width(TsDspTaps* taps, TsDspTapsTo to, int32_t width, int32_t stride) {
    taps->pairs_bytes = (width >> 1) * stride * taps->pitch;
    taps->entry = (uintptr_t)to * 4 + (uintptr_t)stride;
    taps->tail = (uintptr_t)width;
}

void ts_dsp_taps_run(const TsDspTaps* taps) {
    const TsDspTapsTo to = (TsDspTapsTo)(taps->entry / 4);
    const int32_t stride = (int32_t)(taps->entry % 4), width = (int32_t)taps->tail;
    for (int32_t channel = 0; channel < taps->channels; ++channel) {
        const TsDspChannel* constants = taps->constants + channel;
        const TsDspRescale rescale = rescale_of(taps, constants);
        const int8_t* plane = taps->plane + channel * taps->plane_bytes;
        int8_t* out = (int8_t*)taps->out + channel * taps->out_bytes;
        for (int32_t y = 0; y < (to == TS_DSP_TAPS_TO_TILES ? 1 : taps->rows); ++y) {
            for (int32_t x = 0; x < width; ++x) {
                const int32_t acc = sum(taps, constants, plane, x * stride);
                if (to == TS_DSP_TAPS_TO_TILES) {
                    *(int16_t*)(out + x / 2 * taps->step + x % 2 * 4) = (int16_t)ts_dsp_positive(acc, &rescale);
                } else {
                    out[x * taps->step] = (int8_t)ts_dsp_code(acc, &rescale, taps->zero_term);
                }
            }
            plane += taps->down;
            out += taps->out_step + (width & ~1) * taps->step;
        }
    }
}

#endif
