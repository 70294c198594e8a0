/* The inner loop in assembly: 2 pixels x 2 channels, and four inputs of each in ten instructions.
 *
 * A block of 32 such steps is entered at the step that leaves as many as there are groups; more groups take several
 * passes. All registers but the stack pointer are used: r0 tiles, r1 weights, r2-r5 weights of two channels, r6-r9
 * two pixels, and the sums r10 (channel 0, pixel 0), r11 (1, 0), r12 (0, 1), r14 (1, 1). Everything else, including
 * the block's return address, is on the stack. */
#include <stddef.h>

#include "ts_dsp_tiles.h"

#ifdef TS_DSP_ASSEMBLY

/* clang-format off */
/* On the stack: the inputs of a tile (weights and initial sums), those of its end (terms of TsDspPair), and
 * TsDspTiles from `out` on. */
typedef char ts_dsp_frame_is_as_written[
    offsetof(TsDspTiles, weight) == 4 && offsetof(TsDspTiles, out) == 8 && offsetof(TsDspTiles, x_end) == 16 &&
    offsetof(TsDspTiles, left) == 32 && offsetof(TsDspTiles, last) == 52 && sizeof(TsDspTiles) == 64 ? 1 : -1];
__asm__(
    ".pushsection .text.ts_dsp_tiles_run, \"ax\", %progbits\n"
    TS_DSP_PROCESSOR ".syntax unified\n"
    ".thumb\n"
    ".equ ts_tiles_at_bias, 4\n.equ ts_tiles_at_terms, 20\n.equ ts_tiles_at_out, 44\n"
    ".equ ts_tiles_at_x_end, 52\n.equ ts_tiles_at_step, 56\n.equ ts_tiles_at_zero, 60\n"
    ".equ ts_tiles_at_summand, 64\n.equ ts_tiles_at_left, 68\n.equ ts_tiles_at_passes, 72\n"
    ".equ ts_tiles_at_entry, 76\n.equ ts_tiles_at_back, 80\n.equ ts_tiles_at_writer, 84\n"
    ".equ ts_tiles_at_last, 88\n.equ ts_tiles_frame_bytes, 104\n"

#ifdef TS_ROUNDING_SINGLE
    /* Four or two sums, channel 0 and 1 of each pixel, to integers; the factors stay in s8 and s9. */
    ".macro ts_tiles_rescale4\n"
    "  vmov s0, s1, r10, r11\n  vmov s2, s3, r12, lr\n"
    "  vcvt.f32.s32 s0, s0\n  vcvt.f32.s32 s1, s1\n  vcvt.f32.s32 s2, s2\n  vcvt.f32.s32 s3, s3\n"
    "  vmul.f32 s0, s0, s8\n  vmul.f32 s1, s1, s9\n  vmul.f32 s2, s2, s8\n  vmul.f32 s3, s3, s9\n"
    "  vcvtr.s32.f32 s0, s0\n  vcvtr.s32.f32 s1, s1\n  vcvtr.s32.f32 s2, s2\n  vcvtr.s32.f32 s3, s3\n"
    "  vmov r10, r11, s0, s1\n  vmov r12, lr, s2, s3\n"
    ".endm\n"
    ".macro ts_tiles_rescale2\n"
    "  vmov s0, s1, r10, r11\n"
    "  vcvt.f32.s32 s0, s0\n  vcvt.f32.s32 s1, s1\n"
    "  vmul.f32 s0, s0, s8\n  vmul.f32 s1, s1, s9\n"
    "  vcvtr.s32.f32 s0, s0\n  vcvtr.s32.f32 s1, s1\n"
    "  vmov r10, r11, s0, s1\n"
    ".endm\n"
    ".macro ts_tiles_positive4\n"
    "  ts_tiles_rescale4\n"
    "  usat r10, #8, r10\n  usat r11, #8, r11\n  usat r12, #8, r12\n  usat lr, #8, lr\n"
    ".endm\n"
    ".macro ts_tiles_positive2\n"
    "  ts_tiles_rescale2\n  usat r10, #8, r10\n  usat r11, #8, r11\n"
    ".endm\n"
    ".macro ts_tiles_codes4\n"
    "  ts_tiles_rescale4\n  ldr r1, [sp, #ts_tiles_at_zero]\n"
    "  qadd r10, r10, r1\n  qadd r11, r11, r1\n  qadd r12, r12, r1\n  qadd lr, lr, r1\n"
    "  ssat r10, #8, r10\n  ssat r11, #8, r11\n  ssat r12, #8, r12\n  ssat lr, #8, lr\n"
    ".endm\n"
    ".macro ts_tiles_codes2\n"
    "  ts_tiles_rescale2\n  ldr r1, [sp, #ts_tiles_at_zero]\n"
    "  qadd r10, r10, r1\n  qadd r11, r11, r1\n  ssat r10, #8, r10\n  ssat r11, #8, r11\n"
    ".endm\n"
    ".macro ts_tiles_terms\n  ldrd r8, r9, [sp, #ts_tiles_at_out]\n.endm\n"
    ".macro ts_tiles_constants\n"
    "  vldr s8, [r1]\n  vldr s9, [r1, #4]\n  ldrd r8, r9, [r1, #8]\n  add lr, sp, #ts_tiles_at_out\n"
    ".endm\n"
    /* r10 plus the summand at the corresponding address, to a code; r3-r6 as in TsDspSum. */
    ".macro ts_tiles_plus code, at, distance, larger\n"
    "  ldrsb r1, [\\at, \\distance]\n"
    "  mla r1, r1, r4, r5\n  mla \\code, \\code, r3, r1\n"
    "  asr \\code, \\code, r6\n  ssat \\code, #8, \\code\n"
    ".endm\n"
#else
    /* terms: r2-r4 and r5-r7 multiplier, offset and shift of the channels, r8 and r9 where to write. */
    ".macro ts_tiles_terms\n  add r1, sp, #ts_tiles_at_terms\n  ldm r1, {r2-r9}\n.endm\n"
    ".macro ts_tiles_constants\n  ldm r1, {r2-r9}\n  add lr, sp, #ts_tiles_at_terms\n  stm lr!, {r2-r7}\n.endm\n"
    /* Rounding would differ below zero only, where ReLU gives zero. */
    ".macro ts_tiles_positive sum, multiplier, offset, shift\n"
    "  smmlar \\sum, \\sum, \\multiplier, \\offset\n  asr \\sum, \\sum, \\shift\n  usat \\sum, #8, \\sum\n"
    ".endm\n"
    ".macro ts_tiles_code sum, multiplier, offset, shift\n"
    "  add r1, \\offset, \\sum, asr #31\n"
    "  smmlar \\sum, \\sum, \\multiplier, r1\n  asr \\sum, \\sum, \\shift\n  ssat \\sum, #8, \\sum\n"
    ".endm\n"
    ".macro ts_tiles_positive2\n  ts_tiles_positive r10, r2, r3, r4\n  ts_tiles_positive r11, r5, r6, r7\n.endm\n"
    ".macro ts_tiles_positive4\n"
    "  ts_tiles_positive2\n  ts_tiles_positive r12, r2, r3, r4\n  ts_tiles_positive lr, r5, r6, r7\n"
    ".endm\n"
    ".macro ts_tiles_codes2\n  ts_tiles_code r10, r2, r3, r4\n  ts_tiles_code r11, r5, r6, r7\n.endm\n"
    ".macro ts_tiles_codes4\n"
    "  ts_tiles_codes2\n  ts_tiles_code r12, r2, r3, r4\n  ts_tiles_code lr, r5, r6, r7\n"
    ".endm\n"
    ".macro ts_tiles_plus sum, at, distance, larger\n"
    "  ldrsb r1, [\\at, \\distance]\n"
    "  .if \\larger\n"
    "  ldr \\sum, [r3, \\sum, lsl #2]\n  add \\sum, \\sum, r1, lsl #20\n"
    "  .else\n"
    "  ldr r1, [r3, r1, lsl #2]\n  add \\sum, r1, \\sum, lsl #20\n"
    "  .endif\n"
    "  ts_tiles_code \\sum, r4, r5, r6\n"
    ".endm\n"
#endif

    ".macro ts_tiles_begin\n  ldm sp, {r1, r10, r11, r12, lr}\n  ldr pc, [sp, #ts_tiles_at_entry]\n.endm\n"
    ".macro ts_tiles_next\n"
    "  ldr r1, [sp, #ts_tiles_at_x_end]\n  strd r8, r9, [sp, #ts_tiles_at_out]\n  cmp r0, r1\n  bne.w 2b\n  b.w 3f\n"
    ".endm\n"
    ".macro ts_tiles_write4\n"
    "  ldr r1, [sp, #ts_tiles_at_step]\n"
    "  strb r10, [r8]\n  strb r11, [r8, #1]\n  strb r12, [r9]\n  strb lr, [r9, #1]\n"
    "  add r8, r8, r1, lsl #1\n  add r9, r9, r1, lsl #1\n"
    ".endm\n"
    ".macro ts_tiles_write2\n  strb r10, [r8]\n  strb r11, [r8, #1]\n.endm\n"
    ".macro ts_tiles_summand\n  ldr r1, [sp, #ts_tiles_at_summand]\n  ldm r1, {r2-r6}\n  add r7, r2, #1\n.endm\n"
    ".macro ts_tiles_sum4 larger\n"
    "  ts_tiles_plus r10, r8, r2, \\larger\n  ts_tiles_plus r11, r8, r7, \\larger\n"
    "  ts_tiles_plus r12, r9, r2, \\larger\n  ts_tiles_plus lr, r9, r7, \\larger\n"
    ".endm\n"
    ".macro ts_tiles_sum2 larger\n  ts_tiles_plus r10, r8, r2, \\larger\n  ts_tiles_plus r11, r8, r7, \\larger\n.endm\n"

    ".balign 4\n"
    ".global ts_dsp_tiles_run\n"
    ".type ts_dsp_tiles_run, %function\n"
    "ts_dsp_tiles_run:\n"
    "  push {r4-r11, lr}\n"
    "  sub sp, sp, #ts_tiles_frame_bytes\n"
    "  ts_tiles_constants\n"
    "  strd r8, r9, [sp, #ts_tiles_at_bias]\n  strd r8, r9, [sp, #ts_tiles_at_bias + 8]\n"
    "  ldm r0!, {r2-r9}\n  str r3, [sp]\n  stm lr!, {r4-r9}\n  cmp r2, r6\n"
    "  ldm r0, {r4-r11}\n  stm lr, {r4-r11}\n"
    "  mov r0, r2\n  beq.w 3f\n"
    "2:\n"
    "  ts_tiles_begin\n"

    ".global ts_dsp_write_planes\n"
    "ts_dsp_write_planes:\n"
    "  ts_tiles_terms\n  ts_tiles_positive4\n"
    "  ldr r1, [sp, #ts_tiles_at_step]\n"
    "  strh r12, [r8, r1]\n  strh r10, [r8], #12\n  strh lr, [r9, r1]\n  strh r11, [r9], #12\n"
    "  ts_tiles_next\n"
    ".global ts_dsp_write_codes\n"
    "ts_dsp_write_codes:\n"
    "  ts_tiles_terms\n  ts_tiles_codes4\n  ts_tiles_write4\n  ts_tiles_next\n"
    ".global ts_dsp_write_sum_0\n"
    "ts_dsp_write_sum_0:\n"
    "  ts_tiles_terms\n  ts_tiles_codes4\n  ts_tiles_summand\n  ts_tiles_sum4 0\n  ts_tiles_write4\n  ts_tiles_next\n"
    ".global ts_dsp_write_sum_1\n"
    "ts_dsp_write_sum_1:\n"
    "  ts_tiles_terms\n  ts_tiles_codes4\n  ts_tiles_summand\n  ts_tiles_sum4 1\n  ts_tiles_write4\n  ts_tiles_next\n"

    "3:\n"
    "  ldr r1, [sp, #ts_tiles_at_last]\n"
    "  cbz r1, 4f\n"
    "  ldr r2, [sp, #ts_tiles_at_last + 4]\n  ldr r3, [sp, #ts_tiles_at_last + 8]\n"
    "  strd r1, r2, [sp, #ts_tiles_at_entry]\n  str r3, [sp, #ts_tiles_at_writer]\n"
    "  ts_tiles_begin\n"
    ".global ts_dsp_last_planes\n"
    "ts_dsp_last_planes:\n"
    "  ts_tiles_terms\n  ts_tiles_positive2\n  strh r10, [r8]\n  strh r11, [r9]\n"
    "4:\n"
    "  add sp, sp, #ts_tiles_frame_bytes\n  pop {r4-r11, pc}\n"
    ".global ts_dsp_last_codes\n"
    "ts_dsp_last_codes:\n"
    "  ts_tiles_terms\n  ts_tiles_codes2\n  ts_tiles_write2\n  b 4b\n"
    ".global ts_dsp_last_sum_0\n"
    "ts_dsp_last_sum_0:\n"
    "  ts_tiles_terms\n  ts_tiles_codes2\n  ts_tiles_summand\n  ts_tiles_sum2 0\n  ts_tiles_write2\n  b 4b\n"
    ".global ts_dsp_last_sum_1\n"
    "ts_dsp_last_sum_1:\n"
    "  ts_tiles_terms\n  ts_tiles_codes2\n  ts_tiles_summand\n  ts_tiles_sum2 1\n  ts_tiles_write2\n  b 4b\n"

    /* The block's return when there are several passes. */
    ".global ts_dsp_again\n"
    "ts_dsp_again:\n"
    "  ldr r2, [sp, #ts_tiles_at_left]\n  subs r2, r2, #1\n  beq 5f\n"
    "  str r2, [sp, #ts_tiles_at_left]\n  ldr pc, [sp, #ts_tiles_at_entry]\n"
    "5:\n"
    "  ldr r2, [sp, #ts_tiles_at_passes]\n  str r2, [sp, #ts_tiles_at_left]\n  ldr pc, [sp, #ts_tiles_at_writer]\n"

    ".balign 4\n"
    ".rept 32\n"
    "  ldm.w r1!, {r2-r5}\n  ldm.w r0!, {r6-r9}\n"
    "  smlad r10, r2, r6, r10\n  smlad r11, r4, r6, r11\n  smlad r12, r2, r8, r12\n  smlad lr, r4, r8, lr\n"
    "  smlad r10, r3, r7, r10\n  smlad r11, r5, r7, r11\n  smlad r12, r3, r9, r12\n  smlad lr, r5, r9, lr\n"
    ".endr\n"
    ".global ts_dsp_pair_end\n"
    "ts_dsp_pair_end:\n"
    "  ldr pc, [sp, #ts_tiles_at_back]\n"
    ".balign 4\n"
    ".rept 32\n"
    "  ldm.w r1!, {r2-r5}\n  ldm.w r0!, {r6-r9}\n"
    "  smlad r10, r2, r6, r10\n  smlad r11, r4, r6, r11\n"
    "  smlad r10, r3, r7, r10\n  smlad r11, r5, r7, r11\n"
    ".endr\n"
    ".global ts_dsp_last_end\n"
    "ts_dsp_last_end:\n"
    "  ldr pc, [sp, #ts_tiles_at_back]\n"
    ".popsection\n");
/* clang-format on */

enum { PAIR_STEP_BYTES = 40, LAST_STEP_BYTES = 24 };

extern const uint8_t ts_dsp_pair_end[], ts_dsp_last_end[], ts_dsp_again[];
extern const uint8_t ts_dsp_write_planes[], ts_dsp_write_codes[], ts_dsp_write_sum_0[], ts_dsp_write_sum_1[];
extern const uint8_t ts_dsp_last_planes[], ts_dsp_last_codes[], ts_dsp_last_sum_0[], ts_dsp_last_sum_1[];

static uintptr_t code(const uint8_t* label) {
    return (uintptr_t)label | 1u; /* Thumb */
}

/* Entry into a block that ends at `end`, with `steps` steps before it. Computed as a number: compilers refuse an index
 * before an array's first element. */
static uintptr_t entry(const uint8_t* end, int32_t steps, int32_t step_bytes) {
    return code(end) - (uintptr_t)(steps * step_bytes);
}

void ts_dsp_tiles_row(TsDspTiles* tiles, const TsDspPointwise* layer, const int16_t* x, int32_t width,
                      TsDspDestination to) {
    static const uint8_t* const writers[] = {ts_dsp_write_planes, ts_dsp_write_codes, ts_dsp_write_sum_0,
                                             ts_dsp_write_sum_1};
    static const uint8_t* const last_writers[] = {ts_dsp_last_planes, ts_dsp_last_codes, ts_dsp_last_sum_0,
                                                  ts_dsp_last_sum_1};
    const int32_t steps = layer->groups / layer->passes;
    tiles->x = x;
    tiles->x_end = x + (width >> 1) * layer->groups * (TS_DSP_TILE_BYTES / 2);
    tiles->zero_point = layer->zero_point;
    tiles->left = tiles->passes = layer->passes;
    tiles->pair.entry = entry(ts_dsp_pair_end, steps, PAIR_STEP_BYTES);
    tiles->pair.writer = code(writers[to]);
    tiles->pair.back = layer->passes > 1 ? code(ts_dsp_again) : tiles->pair.writer;
    tiles->last.entry = (width & 1) != 0 ? entry(ts_dsp_last_end, steps, LAST_STEP_BYTES) : 0;
    tiles->last.writer = code(last_writers[to]);
    tiles->last.back = layer->passes > 1 ? code(ts_dsp_again) : tiles->last.writer;
}

#else

void ts_dsp_tiles_row(TsDspTiles* tiles, const TsDspPointwise* layer, const int16_t* x, int32_t width,
                      TsDspDestination to) {
    tiles->x = x;
    tiles->x_end = x + (width >> 1) * layer->groups * (TS_DSP_TILE_BYTES / 2);
    tiles->zero_point = layer->zero_point;
    tiles->left = tiles->passes = layer->passes;
    tiles->pair.entry = tiles->last.entry = (uintptr_t)layer->groups;
    tiles->pair.back = tiles->pair.writer = (uintptr_t)to;
    tiles->last.back = tiles->last.writer = (width & 1) != 0;
}

static int32_t dot(const int16_t* x, const int16_t* weight, int32_t groups, int32_t bias) {
    for (int32_t i = 0; i < groups; ++i) {
        for (int32_t j = 0; j < 4; ++j) {
            bias = ts_dsp_plus(bias, x[i * 8 + j] * weight[i * 8 + j]);
        }
    }
    return bias;
}

static TsDspRescale rescale_of(const TsDspPair* constants, int32_t i) {
#ifdef TS_ROUNDING_SINGLE
    const TsDspRescale rescale = {constants->factor[i]};
    return rescale;
#else
    return constants->rescale[i];
#endif
}

static int32_t add(int32_t product, int32_t other, const TsDspSummand* summand, TsDspDestination to) {
#ifdef TS_ROUNDING_SINGLE
    const TsDspSum* sum = &summand->sum;
    (void)to;
    return ts_dsp_saturate((sum->bias + product * sum->multiplier_a + other * sum->multiplier_b) >> sum->shift);
#else
    const int32_t smaller = to == TS_DSP_TO_SUM_0 ? other : product;
    const int32_t larger = to == TS_DSP_TO_SUM_0 ? product : other;
    return ts_dsp_code(summand->table[smaller] + larger * (1 << 20), &summand->rescale, 0);
#endif
}

/* Write one sum, channel `i` of pixel `at`, to its address. */
static void write(const TsDspTiles* tiles, const TsDspRescale* rescale, int32_t acc, int32_t i, int32_t at) {
    const TsDspDestination to = (TsDspDestination)tiles->pair.writer;
    if (to == TS_DSP_TO_PLANES) {
        *(int16_t*)(tiles->out[i] + at / 2 * 12 + (at % 2) * tiles->step) = (int16_t)ts_dsp_positive(acc, rescale);
        return;
    }
    int8_t* place = tiles->out[0] + at * tiles->step + i;
    const int32_t value = ts_dsp_code(acc, rescale, tiles->zero_point);
    *place = (int8_t)(to == TS_DSP_TO_CODES ? value : add(value, place[tiles->summand->distance], tiles->summand, to));
}

void ts_dsp_tiles_run(const TsDspTiles* tiles, const TsDspPair* constants) {
    const int32_t groups = (int32_t)tiles->pair.entry;
    const int32_t full = (int32_t)((tiles->x_end - tiles->x) / (groups * 8));
    const int32_t width = full * 2 + (int32_t)tiles->last.writer;
    for (int32_t at = 0; at < width; ++at) {
        const int16_t* x = tiles->x + (at / 2) * groups * 8 + (at % 2) * 4;
        for (int32_t i = 0; i < 2; ++i) {
            const TsDspRescale rescale = rescale_of(constants, i);
            write(tiles, &rescale, dot(x, tiles->weight + i * 4, groups, constants->bias[i]), i, at);
        }
    }
}

#endif
