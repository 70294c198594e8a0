/* The inner loop in assembly: 2 pixels x 4 channels, and two inputs of each in eleven instructions, 17 cycles of a
 * Cortex-M4.
 *
 * The loop has TS_TILES_UNROLLED steps of four inputs; it is entered at the step from which the others are a multiple
 * of it, and ends when the weights do. Loop and what writes its results fit into 1 KB of cache. All registers but the
 * stack pointer are used: r0 tiles, r1 weights, r2 and r3 two pixels, r12 and r14 two channels, and the sums r4 to r11
 * (channel 0 of pixel 0, of pixel 1, channel 1 of pixel 0...). Everything else is on the stack. */
#include <stddef.h>

#include "ts_dsp_tiles.h"

/* Where tiles begin and end, and the size of the weights. */
static void ends(TsDspTiles* tiles, const TsDspPointwise* layer, const int16_t* x, int32_t width) {
    const int32_t tile = layer->groups * (TS_DSP_GROUP_BYTES / 2);
    tiles->x = x;
    tiles->x_end = x + (width >> 1) * tile;
    tiles->x_stop = tiles->x_end + (width & 1) * tile;
    tiles->weight_bytes = layer->groups * TS_DSP_QUAD_BYTES;
}

#ifdef TS_DSP_ASSEMBLY

#define TS_TILES_UNROLLED 4
#define TS_TILES_LAST_UNROLLED 3
#define TS_TILES_TEXT(number) TS_TILES_TEXT_OF(number)
#define TS_TILES_TEXT_OF(number) #number

/* clang-format off */
/* On the stack: the inputs of a tile (weights and initial sums), multiplier, offset and shift of four channels, the
 * address to write to, TsDspTiles, what its first member was, and the end of the tiles in this turn. */
typedef char ts_dsp_frame_is_as_written[
    offsetof(TsDspTiles, weight) == 8 && offsetof(TsDspTiles, x_end) == 12 && offsetof(TsDspTiles, last_entry) == 24 &&
    offsetof(TsDspTiles, x) == 40 && offsetof(TsDspTiles, out) == 52 && sizeof(TsDspTiles) == 64 ? 1 : -1];
__asm__(
    ".pushsection .text.ts_dsp_tiles_run, \"ax\", %progbits\n"
    TS_DSP_PROCESSOR ".syntax unified\n"
    ".thumb\n"
    ".equ ts_tiles_at_bias, 4\n.equ ts_tiles_at_terms, 36\n.equ ts_tiles_at_place, 84\n.equ ts_tiles_at_row, 88\n"
    ".equ ts_tiles_at_weight_end, 96\n.equ ts_tiles_at_x_end, 100\n.equ ts_tiles_at_entry, 104\n"
    ".equ ts_tiles_at_writer, 108\n.equ ts_tiles_at_last, 112\n.equ ts_tiles_at_x_stop, 116\n"
    ".equ ts_tiles_at_summand, 120\n.equ ts_tiles_at_zero, 124\n.equ ts_tiles_at_x, 128\n.equ ts_tiles_at_quads, 132\n"
    ".equ ts_tiles_at_count, 136\n.equ ts_tiles_at_out, 140\n.equ ts_tiles_at_out_bytes, 144\n"
    ".equ ts_tiles_at_weight_bytes, 148\n.equ ts_tiles_at_pixel, 152\n.equ ts_tiles_at_end, 156\n"
    ".equ ts_tiles_frame_bytes, 160\n"

    /* Initial sums of a channel: `at` is its number times 8. */
    ".macro ts_tiles_bias sum, at\n"
    "  str \\sum, [sp, #ts_tiles_at_bias + \\at]\n  str \\sum, [sp, #ts_tiles_at_bias + 4 + \\at]\n"
    ".endm\n"
#ifdef TS_ROUNDING_SINGLE
    /* The factors stay in s8 to s11. */
    ".macro ts_tiles_constants\n"
    "  vldm r0!, {s8-s11}\n  ldm r0!, {r4-r7}\n"
    "  ts_tiles_bias r4, 0\n  ts_tiles_bias r5, 8\n  ts_tiles_bias r6, 16\n  ts_tiles_bias r7, 24\n"
    ".endm\n"
    /* The sums of a pixel, of channels 0 to 3, to integers. */
    ".macro ts_tiles_rescale a, b, c, d\n"
    "  vmov s0, s1, \\a, \\b\n  vmov s2, s3, \\c, \\d\n"
    "  vcvt.f32.s32 s0, s0\n  vcvt.f32.s32 s1, s1\n  vcvt.f32.s32 s2, s2\n  vcvt.f32.s32 s3, s3\n"
    "  vmul.f32 s0, s0, s8\n  vmul.f32 s1, s1, s9\n  vmul.f32 s2, s2, s10\n  vmul.f32 s3, s3, s11\n"
    "  vcvtr.s32.f32 s0, s0\n  vcvtr.s32.f32 s1, s1\n  vcvtr.s32.f32 s2, s2\n  vcvtr.s32.f32 s3, s3\n"
    "  vmov \\a, \\b, s0, s1\n  vmov \\c, \\d, s2, s3\n"
    ".endm\n"
    ".macro ts_tiles_positive_pixel a, b, c, d\n"
    "  ts_tiles_rescale \\a, \\b, \\c, \\d\n"
    "  usat \\a, #8, \\a\n  usat \\b, #8, \\b\n  usat \\c, #8, \\c\n  usat \\d, #8, \\d\n"
    ".endm\n"
    ".macro ts_tiles_codes_pixel a, b, c, d\n"
    "  ts_tiles_rescale \\a, \\b, \\c, \\d\n"
    "  qadd \\a, \\a, r1\n  qadd \\b, \\b, r1\n  qadd \\c, \\c, r1\n  qadd \\d, \\d, r1\n"
    "  ssat \\a, #8, \\a\n  ssat \\b, #8, \\b\n  ssat \\c, #8, \\c\n  ssat \\d, #8, \\d\n"
    ".endm\n"
    ".macro ts_tiles_positive\n"
    "  ts_tiles_positive_pixel r4, r6, r8, r10\n  ts_tiles_positive_pixel r5, r7, r9, r11\n"
    ".endm\n"
    ".macro ts_tiles_codes\n"
    "  ldr.w r1, [sp, #ts_tiles_at_zero]\n"
    "  ts_tiles_codes_pixel r4, r6, r8, r10\n  ts_tiles_codes_pixel r5, r7, r9, r11\n"
    ".endm\n"
    /* A code times its multiplier plus that of the summand at an address; as in TsDspSum, r2 and r3 are the
     * multipliers, r12 the bias. */
    ".macro ts_tiles_plus_one code, at\n"
    "  ldrsb r1, [lr, #\\at]\n  mla r1, r1, r3, r12\n  mla \\code, \\code, r2, r1\n"
    ".endm\n"
    ".macro ts_tiles_plus a, b, at, larger\n"
    "  ts_tiles_plus_one \\a, \\at\n  ts_tiles_plus_one \\b, \\at + 1\n"
    ".endm\n"
    ".macro ts_tiles_summand\n"
    "  ldr.w r1, [sp, #ts_tiles_at_summand]\n  ldr.w lr, [sp, #ts_tiles_at_place]\n  ldm.w r1, {r1, r2, r3, r12}\n"
    "  add.w lr, lr, r1\n"
    ".endm\n"
    ".macro ts_tiles_total\n  ldr.w r1, [sp, #ts_tiles_at_summand]\n  ldr.w r1, [r1, #16]\n.endm\n"
    ".macro ts_tiles_total_code code\n  asr \\code, \\code, r1\n  ssat \\code, #8, \\code\n.endm\n"
#else
    /* A channel's shift, in a byte of r12, its offset and its multiplier to its terms. */
    ".macro ts_tiles_term multiplier, byte\n"
    "  uxtb r2, r12, ror #8 * \\byte\n  lsl r3, r1, r2\n  asr r3, r3, #1\n"
    "  str \\multiplier, [sp, #ts_tiles_at_terms + 12 * \\byte]\n"
    "  str r3, [sp, #ts_tiles_at_terms + 4 + 12 * \\byte]\n  str r2, [sp, #ts_tiles_at_terms + 8 + 12 * \\byte]\n"
    ".endm\n"
    ".macro ts_tiles_constants\n"
    "  ldm r0!, {r4-r11, r12}\n  ldr r1, [sp, #ts_tiles_at_zero]\n"
    "  ts_tiles_bias r8, 0\n  ts_tiles_bias r9, 8\n  ts_tiles_bias r10, 16\n  ts_tiles_bias r11, 24\n"
    "  ts_tiles_term r4, 0\n  ts_tiles_term r5, 1\n  ts_tiles_term r6, 2\n  ts_tiles_term r7, 3\n"
    ".endm\n"
    /* r2 multiplier, r3 offset, r12 shift. Rounding would differ below zero only, where ReLU gives zero. */
    ".macro ts_tiles_positive_channel a, b\n"
    "  ldm.w r1!, {r2, r3, r12}\n"
    "  smmlar \\a, \\a, r2, r3\n  smmlar \\b, \\b, r2, r3\n  asr.w \\a, \\a, r12\n  asr.w \\b, \\b, r12\n"
    "  usat \\a, #8, \\a\n  usat \\b, #8, \\b\n"
    ".endm\n"
    ".macro ts_tiles_code sum\n"
    "  add.w lr, r3, \\sum, asr #31\n  smmlar \\sum, \\sum, r2, lr\n  asr.w \\sum, \\sum, r12\n"
    "  ssat \\sum, #8, \\sum\n"
    ".endm\n"
    ".macro ts_tiles_codes_channel a, b\n"
    "  ldm.w r1!, {r2, r3, r12}\n  ts_tiles_code \\a\n  ts_tiles_code \\b\n"
    ".endm\n"
    ".macro ts_tiles_positive\n"
    "  addw r1, sp, #ts_tiles_at_terms\n"
    "  ts_tiles_positive_channel r4, r5\n  ts_tiles_positive_channel r6, r7\n"
    "  ts_tiles_positive_channel r8, r9\n  ts_tiles_positive_channel r10, r11\n"
    ".endm\n"
    ".macro ts_tiles_codes\n"
    "  addw r1, sp, #ts_tiles_at_terms\n"
    "  ts_tiles_codes_channel r4, r5\n  ts_tiles_codes_channel r6, r7\n"
    "  ts_tiles_codes_channel r8, r9\n  ts_tiles_codes_channel r10, r11\n"
    ".endm\n"
    /* Two codes plus the summands at an address, in the common scale; r2 is the table. */
    ".macro ts_tiles_plus a, b, at, larger\n"
    "  ldrsb.w r1, [lr, #\\at]\n  ldrsb.w r3, [lr, #\\at + 1]\n"
    "  .if \\larger\n"
    "  ldr.w \\a, [r2, \\a, lsl #2]\n  ldr.w \\b, [r2, \\b, lsl #2]\n"
    "  add.w \\a, \\a, r1, lsl #20\n  add.w \\b, \\b, r3, lsl #20\n"
    "  .else\n"
    "  ldr.w r1, [r2, r1, lsl #2]\n  ldr.w r3, [r2, r3, lsl #2]\n"
    "  add.w \\a, r1, \\a, lsl #20\n  add.w \\b, r3, \\b, lsl #20\n"
    "  .endif\n"
    ".endm\n"
    ".macro ts_tiles_summand\n"
    "  ldr.w r1, [sp, #ts_tiles_at_summand]\n  ldr.w lr, [sp, #ts_tiles_at_place]\n  ldrd r1, r2, [r1]\n"
    "  add.w lr, lr, r1\n"
    ".endm\n"
    ".macro ts_tiles_total\n"
    "  ldr.w r1, [sp, #ts_tiles_at_summand]\n  add.w r1, r1, #8\n  ldm.w r1, {r2, r3, r12}\n"
    ".endm\n"
    ".macro ts_tiles_total_code sum\n  ts_tiles_code \\sum\n.endm\n"
#endif

    ".macro ts_tiles_next\n"
    "  ldr.w r1, [sp, #ts_tiles_at_end]\n  cmp.w r0, r1\n  bne.w 2b\n  b.w 3f\n"
    ".endm\n"
    ".macro ts_tiles_write_pixel a, b, c, d\n"
    "  strb.w \\a, [r2]\n  strb.w \\b, [r2, #1]\n  strb.w \\c, [r2, #2]\n  strb.w \\d, [r2, #3]\n  add.w r2, r2, r3\n"
    ".endm\n"
    ".macro ts_tiles_write\n"
    "  ldrd r2, r3, [sp, #ts_tiles_at_place]\n"
    "  ts_tiles_write_pixel r4, r6, r8, r10\n  ts_tiles_write_pixel r5, r7, r9, r11\n"
    "  str.w r2, [sp, #ts_tiles_at_place]\n"
    ".endm\n"
    ".macro ts_tiles_sum_pixel a, b, c, d, larger\n"
    "  ts_tiles_plus \\a, \\b, 0, \\larger\n  ts_tiles_plus \\c, \\d, 2, \\larger\n"
    ".endm\n"
    ".macro ts_tiles_sum larger\n"
    "  ts_tiles_summand\n  ts_tiles_sum_pixel r4, r6, r8, r10, \\larger\n"
    "  ldr.w r1, [sp, #ts_tiles_at_row]\n  add.w lr, lr, r1\n"
    "  ts_tiles_sum_pixel r5, r7, r9, r11, \\larger\n  ts_tiles_total\n"
    "  ts_tiles_total_code r4\n  ts_tiles_total_code r5\n  ts_tiles_total_code r6\n  ts_tiles_total_code r7\n"
    "  ts_tiles_total_code r8\n  ts_tiles_total_code r9\n  ts_tiles_total_code r10\n  ts_tiles_total_code r11\n"
    ".endm\n"
    ".macro ts_tiles_step\n"
    "  ldrd r2, r3, [r0], #8\n  ldrd r12, lr, [r1], #16\n"
    "  smlad r4, r2, r12, r4\n  smlad r5, r3, r12, r5\n  smlad r6, r2, lr, r6\n  smlad r7, r3, lr, r7\n"
    "  ldrd r12, lr, [r1, #-8]\n"
    "  smlad r8, r2, r12, r8\n  smlad r9, r3, r12, r9\n  smlad r10, r2, lr, r10\n  smlad r11, r3, lr, r11\n"
    ".endm\n"
    ".macro ts_tiles_last_step x\n"
    "  ldm.w r1!, {r4, r6, r8, r12}\n"
    "  smlad r5, \\x, r4, r5\n  smlad r7, \\x, r6, r7\n  smlad r9, \\x, r8, r9\n  smlad r11, \\x, r12, r11\n"
    ".endm\n"

    ".balign 4\n"
    ".global ts_dsp_tiles_run\n"
    ".type ts_dsp_tiles_run, %function\n"
    "ts_dsp_tiles_run:\n"
    "  push {r4-r11, lr}\n"
    "  sub sp, sp, #ts_tiles_frame_bytes\n"
    "  add r12, sp, #ts_tiles_at_row\n"
    "  ldm r0!, {r4-r11}\n  str r4, [sp, #ts_tiles_at_pixel]\n  stm r12!, {r4-r11}\n"
    "  ldm r0, {r4-r11}\n  stm r12, {r4-r11}\n"
    "1:\n" /* a quad */
    "  ldr r0, [sp, #ts_tiles_at_quads]\n  ts_tiles_constants\n  str r0, [sp, #ts_tiles_at_quads]\n"
    "  ldrd r2, r3, [sp, #ts_tiles_at_out]\n  str r2, [sp, #ts_tiles_at_place]\n  add r2, r2, r3\n"
    "  str r2, [sp, #ts_tiles_at_out]\n"
    "  ldr r3, [sp, #ts_tiles_at_weight_bytes]\n  ldr r2, [sp, #ts_tiles_at_weight_end]\n"
    "  str r2, [sp]\n  add r2, r2, r3\n  str r2, [sp, #ts_tiles_at_weight_end]\n"
    "  ldr r2, [sp, #ts_tiles_at_pixel]\n  ldr r1, [sp, #ts_tiles_at_x_end]\n  ldr r0, [sp, #ts_tiles_at_x]\n"
    "  str r2, [sp, #ts_tiles_at_row]\n  str r1, [sp, #ts_tiles_at_end]\n"
    "  cmp r0, r1\n  beq.w 3f\n"
    ".balign 4\n"
    "2:\n" /* a tile */
    "  ldm.w sp, {r1, r4-r11}\n  ldr.w pc, [sp, #ts_tiles_at_entry]\n"
    "4:\n"
    ".rept " TS_TILES_TEXT(TS_TILES_UNROLLED) "\n"
    "  ts_tiles_step\n  ts_tiles_step\n"
    ".endr\n"
    ".global ts_dsp_pair_end\n"
    "ts_dsp_pair_end:\n"
    "  ldr.w r2, [sp, #ts_tiles_at_weight_end]\n  cmp.w r1, r2\n  bne.w 4b\n  ldr.w pc, [sp, #ts_tiles_at_writer]\n"

    ".global ts_dsp_write_planes\n"
    "ts_dsp_write_planes:\n"
    "  ts_tiles_positive\n"
    "  addw r1, sp, #ts_tiles_at_place\n  ldm.w r1, {r2, r3, r12}\n"
    "  add.w lr, r2, #12\n  str.w lr, [r1]\n  add.w lr, r2, r12\n"
    "  strh.w r4, [r2]\n  strh.w r5, [r2, r3]\n  strh.w r6, [lr]\n  strh.w r7, [lr, r3]\n"
    "  add.w r2, r2, r12, lsl #1\n  add.w lr, lr, r12, lsl #1\n"
    "  strh.w r8, [r2]\n  strh.w r9, [r2, r3]\n  strh.w r10, [lr]\n  strh.w r11, [lr, r3]\n"
    "  ts_tiles_next\n"
    ".global ts_dsp_write_codes\n"
    "ts_dsp_write_codes:\n"
    "  ts_tiles_codes\n  ts_tiles_write\n  ts_tiles_next\n"
    ".global ts_dsp_write_sum_0\n"
    "ts_dsp_write_sum_0:\n"
    "  ts_tiles_codes\n  ts_tiles_sum 0\n  ts_tiles_write\n  ts_tiles_next\n"
    ".global ts_dsp_write_sum_1\n"
    "ts_dsp_write_sum_1:\n"
    "  ts_tiles_codes\n  ts_tiles_sum 1\n  ts_tiles_write\n  ts_tiles_next\n"

    "3:\n" /* a last pixel without neighbour: as the second of two that are written to the same address */
    "  ldr.w r1, [sp, #ts_tiles_at_x_stop]\n  cmp.w r0, r1\n  beq.w 6f\n"
    "  mov.w r2, #0\n  str.w r1, [sp, #ts_tiles_at_end]\n  str.w r2, [sp, #ts_tiles_at_row]\n"
    "  ldr.w r5, [sp, #ts_tiles_at_bias]\n  ldr.w r7, [sp, #ts_tiles_at_bias + 8]\n"
    "  ldr.w r9, [sp, #ts_tiles_at_bias + 16]\n  ldr.w r11, [sp, #ts_tiles_at_bias + 24]\n"
    "  ldr.w lr, [sp, #ts_tiles_at_weight_end]\n  ldr.w r1, [sp]\n  ldr.w pc, [sp, #ts_tiles_at_last]\n"
    "5:\n"
    ".rept " TS_TILES_TEXT(TS_TILES_LAST_UNROLLED) "\n"
    "  ldr.w r2, [r0], #8\n  ldr.w r3, [r0], #8\n  ts_tiles_last_step r2\n  ts_tiles_last_step r3\n"
    ".endr\n"
    ".global ts_dsp_last_end\n"
    "ts_dsp_last_end:\n"
    "  cmp.w r1, lr\n  bne.w 5b\n  ldr.w pc, [sp, #ts_tiles_at_writer]\n"
    "6:\n"
    "  ldr r2, [sp, #ts_tiles_at_count]\n  subs r2, r2, #1\n  str r2, [sp, #ts_tiles_at_count]\n  bne.w 1b\n"
    "  add sp, sp, #ts_tiles_frame_bytes\n  pop {r4-r11, pc}\n"
    ".popsection\n");
/* clang-format on */

enum { PAIR_STEP_BYTES = 88, LAST_STEP_BYTES = 48 }; /* of four inputs */

extern const uint8_t ts_dsp_pair_end[], ts_dsp_last_end[];
extern const uint8_t ts_dsp_write_planes[], ts_dsp_write_codes[], ts_dsp_write_sum_0[], ts_dsp_write_sum_1[];

static uintptr_t code(const uint8_t* label) {
    return (uintptr_t)label | 1u; /* Thumb */
}

/* Where a loop of `unrolled` steps is entered that ends at `end`: the number of steps before it that leaves whole
 * turns. Computed as a number: compilers refuse an index before an array's first element. */
static uintptr_t entry(const uint8_t* end, int32_t steps, int32_t unrolled, int32_t step_bytes) {
    return code(end) - (uintptr_t)(((steps - 1) % unrolled + 1) * step_bytes);
}

void ts_dsp_tiles_row(TsDspTiles* tiles, const TsDspPointwise* layer, const int16_t* x, int32_t width,
                      TsDspDestination to) {
    static const uint8_t* const writers[] = {ts_dsp_write_planes, ts_dsp_write_codes, ts_dsp_write_sum_0,
                                             ts_dsp_write_sum_1};
    const int32_t steps = layer->groups;
    ends(tiles, layer, x, width);
    tiles->zero_term = ts_dsp_zero_term(to == TS_DSP_TO_PLANES ? 0 : layer->zero_point);
    tiles->entry = entry(ts_dsp_pair_end, steps, TS_TILES_UNROLLED, PAIR_STEP_BYTES);
    tiles->last_entry = entry(ts_dsp_last_end, steps, TS_TILES_LAST_UNROLLED, LAST_STEP_BYTES);
    tiles->writer = code(writers[to]);
}

#else

void ts_dsp_tiles_row(TsDspTiles* tiles, const TsDspPointwise* layer, const int16_t* x, int32_t width,
                      TsDspDestination to) {
    ends(tiles, layer, x, width);
    tiles->zero_term = ts_dsp_zero_term(to == TS_DSP_TO_PLANES ? 0 : layer->zero_point);
    tiles->entry = tiles->last_entry = (uintptr_t)layer->groups;
    tiles->writer = (uintptr_t)to;
}

/* `x` and `weight`: first inputs of a pixel and a channel; the pairs of a group of either are 4 numbers apart. */
static int32_t dot(const int16_t* x, const int16_t* weight, int32_t groups, int32_t bias) {
    for (int32_t i = 0; i < groups * 2; ++i) {
        for (int32_t j = 0; j < 2; ++j) {
            bias = ts_dsp_plus(bias, x[i * 4 + j] * weight[i * 8 + j]);
        }
    }
    return bias;
}

/* Write one sum, channel `i` of pixel `at` of a quad whose first channel and pixel are at `out`. */
static void write(const TsDspTiles* tiles, int8_t* out, const TsDspRescale* rescale, int32_t acc, int32_t i,
                  int32_t at) {
    const TsDspDestination to = (TsDspDestination)tiles->writer;
    if (to == TS_DSP_TO_PLANES) {
        int8_t* place = out + i * tiles->plane + at / 2 * 12 + (at % 2) * tiles->pixel;
        *(int16_t*)place = (int16_t)ts_dsp_positive(acc, rescale);
        return;
    }
    int8_t* place = out + at * tiles->pixel + i;
    const int32_t value = ts_dsp_code(acc, rescale, tiles->zero_term);
    *place =
        (int8_t)(to == TS_DSP_TO_CODES ? value
                                       : ts_dsp_sum_of(value, place[tiles->summand->distance], tiles->summand, to));
}

void ts_dsp_tiles_run(const TsDspTiles* tiles) {
    const int32_t groups = (int32_t)tiles->entry;
    const int32_t full = (int32_t)((tiles->x_end - tiles->x) / (groups * 8));
    const int32_t width = full * 2 + (tiles->x_stop > tiles->x_end);
    for (int32_t quad = 0; quad < tiles->count; ++quad) {
        const TsDspQuad* constants = tiles->quads + quad;
        const int16_t* weight = tiles->weight + quad * (tiles->weight_bytes / 2);
        for (int32_t at = 0; at < width; ++at) {
            const int16_t* x = tiles->x + (at / 2) * groups * 8 + (at % 2) * 2;
            for (int32_t i = 0; i < 4; ++i) {
                const TsDspRescale rescale = ts_dsp_rescale_of(constants, i, tiles->zero_term);
                const int32_t acc = dot(x, weight + i * 2, groups, constants->bias[i]);
                write(tiles, tiles->out + quad * tiles->out_bytes, &rescale, acc, i, at);
            }
        }
    }
}

#endif
