/* The inner loop of a 3x3 depthwise convolution in assembly: four outputs of a channel a turn, two at a time in 13
 * products.
 *
 * r0 plane, r1 output, r2-r7 weights (w0, w1), (w1, w2) for each of the plane's rows, r8-r10 a pair of columns of three
 * rows, r11 and r12 sums, r14 from one tile to the next; the rest on the stack. With stride 2 a third pair of columns
 * is read. */
#include <stddef.h>

#include "ts_dsp_planes.h"

/* The assembly reads these members in order: `channels` of one row, with contiguous planes, constants and outputs. */
typedef struct {
    const TsDspChannel* constants;
    const int8_t* plane;
    int32_t plane_bytes;
    int16_t* out;
    int32_t tile_bytes;
    int32_t pairs_bytes; /* from the first pair of outputs to behind the last in the plane */
    int32_t half;        /* 1: the number of pairs is odd */
    int32_t channels;
    int32_t zero_term;          /* of ts_dsp_zero_term */
    int32_t order[TS_DSP_ROWS]; /* for each row of the plane, byte offset of its weights in TsDspChannel's */
} TsDspPlanesRow;

#ifdef TS_DSP_ASSEMBLY

typedef char ts_dsp_row_is_as_written[offsetof(TsDspPlanesRow, half) == 24 && offsetof(TsDspPlanesRow, order) == 36 &&
                                              sizeof(TsDspPlanesRow) == 48
                                          ? 1
                                          : -1];

/* clang-format off */
__asm__(
    ".pushsection .text.ts_dsp_planes_run, \"ax\", %progbits\n"
    TS_DSP_PROCESSOR ".syntax unified\n"
    ".thumb\n"
    /* On the stack: multiplier, offset, shift and bias of a channel, then TsDspPlanesRow. */
    ".equ ts_row_at_bias, 12\n.equ ts_row_at_constants, 16\n.equ ts_row_at_plane, 20\n"
    ".equ ts_row_at_out, 28\n.equ ts_row_at_tile, 32\n.equ ts_row_at_pairs, 36\n.equ ts_row_at_half, 40\n"
    ".equ ts_row_at_channels, 44\n.equ ts_row_at_zero, 48\n.equ ts_row_at_order, 52\n"
    ".equ ts_row_at_end, 64\n.equ ts_row_frame_bytes, 72\n"

    ".macro ts_row_widen a, b\n"
    "  sxtb16 \\b, \\a, ror #8\n  sxtb16 \\a, \\a\n"
#ifndef TS_ROUNDING_SINGLE
    "  sadd16 \\b, \\b, \\b\n  sadd16 \\a, \\a, \\a\n"
#endif
    ".endm\n"
#ifdef TS_ROUNDING_SINGLE
    ".macro ts_row_constants\n"
    "  ldm r12!, {r8, r9}\n  vmov s8, r8\n  str r9, [sp, #ts_row_at_bias]\n"
    ".endm\n"
    ".macro ts_row_codes relu\n"
    "  vmov s0, s1, r11, r12\n"
    "  vcvt.f32.s32 s0, s0\n  vcvt.f32.s32 s1, s1\n"
    "  vmul.f32 s0, s0, s8\n  vmul.f32 s1, s1, s8\n"
    "  vcvtr.s32.f32 s0, s0\n  vcvtr.s32.f32 s1, s1\n"
    "  vmov r11, r12, s0, s1\n"
    "  .if \\relu\n"
    "  usat r11, #8, r11\n  usat r12, #8, r12\n"
    "  .else\n"
    "  ldr r8, [sp, #ts_row_at_zero]\n  qadd r11, r11, r8\n  qadd r12, r12, r8\n"
    "  ssat r11, #8, r11\n  ssat r12, #8, r12\n"
    "  .endif\n"
    ".endm\n"
#else
    ".macro ts_row_constants\n"
    "  ldm r12!, {r8, r10, r11}\n  ldr r9, [sp, #ts_row_at_zero]\n"
    "  lsl r9, r9, r10\n  asr r9, r9, #1\n  stm sp, {r8-r11}\n"
    ".endm\n"
    ".macro ts_row_code sum\n"
    "  add lr, r9, \\sum, asr #31\n  smmlar \\sum, \\sum, r8, lr\n  asr \\sum, \\sum, r10\n  ssat \\sum, #8, \\sum\n"
    ".endm\n"
    ".macro ts_row_codes relu\n"
    "  ldm.w sp, {r8-r10}\n"
    "  .if \\relu\n"
    "  smmlar r11, r11, r8, r9\n  smmlar r12, r12, r8, r9\n"
    "  asr r11, r11, r10\n  asr r12, r12, r10\n"
    "  usat r11, #8, r11\n  usat r12, #8, r12\n"
    "  .else\n"
    "  ts_row_code r11\n  ts_row_code r12\n"
    "  ldr.w lr, [sp, #ts_row_at_tile]\n"
    "  .endif\n"
    ".endm\n"
#endif

    /* The three rows of the plane times the weights over them, for two outputs. */
    ".macro ts_row_three one, two, w0, w1, w2\n"
    "  \\one r11, r8, \\w0, r11\n  \\two r12, r8, \\w0, r12\n"
    "  \\one r11, r9, \\w1, r11\n  \\two r12, r9, \\w1, r12\n"
    "  \\one r11, r10, \\w2, r11\n  \\two r12, r10, \\w2, r12\n"
    ".endm\n"
    ".macro ts_row_one product, sum, w0, w1, w2\n"
    "  \\product \\sum, r8, \\w0, \\sum\n  \\product \\sum, r9, \\w1, \\sum\n  \\product \\sum, r10, \\w2, \\sum\n"
    ".endm\n"
    ".macro ts_row_pair relu, stride\n"
    "  ldm.w r0!, {r8-r10}\n  ldr.w r12, [sp, #ts_row_at_bias]\n"
    "  .if \\stride == 1\n"
    "  smlad r11, r8, r2, r12\n  smlatb r12, r8, r2, r12\n"
    "  smlad r11, r9, r4, r11\n  smlatb r12, r9, r4, r12\n"
    "  smlad r11, r10, r6, r11\n  smlatb r12, r10, r6, r12\n"
    "  ldm.w r0, {r8-r10}\n"
    "  ts_row_three smlabt, smlad, r3, r5, r7\n"
    "  .else\n"
    "  smlad r11, r8, r2, r12\n  smlad r11, r9, r4, r11\n  smlad r11, r10, r6, r11\n"
    "  ldm.w r0!, {r8-r10}\n"
    "  smlabt r11, r8, r3, r11\n  smlad r12, r8, r2, r12\n"
    "  smlabt r11, r9, r5, r11\n  smlad r12, r9, r4, r12\n"
    "  smlabt r11, r10, r7, r11\n  smlad r12, r10, r6, r12\n"
    "  ldm.w r0, {r8-r10}\n"
    "  ts_row_one smlabt, r12, r3, r5, r7\n"
    "  .endif\n"
    "  ts_row_codes \\relu\n"
    "  strh.w r11, [r1]\n  strh.w r12, [r1, #4]\n  add.w r1, r1, lr\n"
    ".endm\n"
    ".macro ts_row_run name, relu, stride\n"
    ".balign 4\n"
    ".global \\name\n"
    ".type \\name, %function\n"
    "\\name:\n"
    "  push {r4-r11, lr}\n"
    "  ldm r0, {r1-r12}\n"
    "  sub sp, sp, #ts_row_frame_bytes\n"
    "  add r0, sp, #ts_row_at_constants\n"
    "  stm r0, {r1-r12}\n"
    "1:\n" /* a channel */
    "  ldr r12, [sp, #ts_row_at_constants]\n"
    "  ts_row_constants\n"
    "  add lr, sp, #ts_row_at_order\n  ldm lr, {r8-r10}\n"
    "  ldr r2, [r12, r8]\n  ldr r4, [r12, r9]\n  ldr r6, [r12, r10]\n"
    "  add r12, r12, #12\n  str r12, [sp, #ts_row_at_constants]\n"
    "  ts_row_widen r2, r3\n  ts_row_widen r4, r5\n  ts_row_widen r6, r7\n"
    "  ldrd r0, r8, [sp, #ts_row_at_plane]\n  add.w r8, r8, r0\n  str r8, [sp, #ts_row_at_plane]\n"
    "  ldrd r1, lr, [sp, #ts_row_at_out]\n  add r8, r1, #16\n  str r8, [sp, #ts_row_at_out]\n"
    "  ldrd r8, r9, [sp, #ts_row_at_pairs]\n  add.w r8, r8, r0\n  str r8, [sp, #ts_row_at_end]\n"
    "  cmp r9, #0\n  bne.w 3f\n"
    ".balign 4\n"
    "2:\n" /* four outputs */
    "  ts_row_pair \\relu, \\stride\n"
    "3:\n"
    "  ts_row_pair \\relu, \\stride\n"
    "  ldr.w r8, [sp, #ts_row_at_end]\n  cmp r0, r8\n  bne 2b\n"
    "  ldr r8, [sp, #ts_row_at_channels]\n  subs r8, r8, #1\n  str r8, [sp, #ts_row_at_channels]\n  bne.w 1b\n"
    "  add sp, sp, #ts_row_frame_bytes\n  pop {r4-r11, pc}\n"
    ".endm\n"
    "  ts_row_run ts_dsp_row_1, 0, 1\n  ts_row_run ts_dsp_row_2, 0, 2\n"
    "  ts_row_run ts_dsp_relu_row_1, 1, 1\n  ts_row_run ts_dsp_relu_row_2, 1, 2\n"
    ".popsection\n");
/* clang-format on */

typedef void Run(const TsDspPlanesRow* row);

Run ts_dsp_row_1, ts_dsp_row_2, ts_dsp_relu_row_1, ts_dsp_relu_row_2;

static void run(const TsDspPlanesRow* row, int32_t relu, int32_t stride) {
    static Run* const runs[2][2] = {{ts_dsp_row_1, ts_dsp_row_2}, {ts_dsp_relu_row_1, ts_dsp_relu_row_2}};
    runs[relu][stride - 1](row);
}

#else

static int32_t sum(const TsDspChannel* constants, const int8_t* plane, int32_t column, const int32_t* order) {
    int32_t acc = constants->bias;
    for (int32_t row = 0; row < TS_DSP_ROWS; ++row) {
        const uint32_t packed = constants->weight[order[row] / 4];
        for (int32_t j = 0; j < 3; ++j) {
            const int8_t w = (int8_t)(packed >> (j == 0 ? 0 : 8 * (j + 1)) & 0xffu);
            const int8_t* at =
                plane + (column + j) / 2 * TS_DSP_COLUMNS_BYTES + row * TS_DSP_ROW_BYTES + (column + j) % 2 * 2;
            acc = ts_dsp_plus(acc, *(const int16_t*)at * w * TS_DSP_TIMES);
        }
    }
    return acc;
}

static void run(const TsDspPlanesRow* row, int32_t relu, int32_t stride) {
    const int32_t width = row->pairs_bytes / (TS_DSP_COLUMNS_BYTES * stride) * 2;
    for (int32_t channel = 0; channel < row->channels; ++channel) {
        const TsDspChannel* constants = row->constants + channel;
        const int8_t* plane = row->plane + channel * row->plane_bytes;
#ifdef TS_ROUNDING_SINGLE
        const TsDspRescale rescale = {constants->factor};
#else
        const int32_t shift = constants->shift;
        const TsDspRescale rescale = {constants->multiplier, row->zero_term * (1 << (shift - 1)), shift};
#endif
        for (int32_t x = 0; x < width; ++x) {
            const int32_t acc = sum(constants, plane, x * stride, row->order);
            row->out[x / 2 * (row->tile_bytes / 2) + x % 2 * 2 + channel * 8] =
                (int16_t)(relu ? ts_dsp_positive(acc, &rescale) : ts_dsp_code(acc, &rescale, row->zero_term));
        }
    }
}

#endif

void ts_dsp_planes_row(const TsDspPlanes* layer, const int8_t* planes, int32_t first, int32_t stride, int32_t width,
                       int16_t* tiles) {
    const int32_t pairs = (width + 1) >> 1; /* of an odd number, the last output is its tile's unused pixel */
    TsDspPlanesRow row;
    row.constants = TS_ARRAY(TsDspChannel, layer, constants);
    row.plane = planes;
    row.plane_bytes = layer->plane_bytes;
    row.tile_bytes = layer->groups * 16;
    row.pairs_bytes = pairs * TS_DSP_COLUMNS_BYTES * stride;
    row.half = pairs & 1;
    row.zero_term = ts_dsp_zero_term(layer->relu ? 0 : layer->zero_point);
    for (int32_t i = 0; i < TS_DSP_ROWS; ++i) {
        row.order[(first + i) % TS_DSP_ROWS] = 4 * i;
    }
    for (int32_t i = 0; i < ts_min(4, layer->channels); ++i) {
        row.channels = (layer->channels - i + 3) >> 2;
        row.out = tiles + ts_dsp_place[i];
        run(&row, layer->relu, stride);
        row.constants += row.channels;
        row.plane += ts_dsp_planes_of_four(layer) * layer->plane_bytes;
    }
}
