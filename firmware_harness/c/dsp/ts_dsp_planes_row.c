/* The inner loop of a 3x3 depthwise convolution in assembly: two outputs of a channel in 13 products.
 *
 * r0 plane, r1 output, r2-r7 weights (w0, w1), (w1, w2) of three rows, r8-r10 a pair of columns of three rows, r11
 * and r12 sums, r14 from one tile to the next; the rest on the stack. With stride 2 a third pair of columns is read. */
#include <stddef.h>

#include "ts_dsp_planes.h"

/* The assembly reads these members in order: `channels` of one row, with contiguous planes, constants and outputs. */
typedef struct {
    const TsDspChannel* constants;
    const int8_t* plane;
    int32_t plane_bytes;
    int16_t* out;
    int32_t tile_bytes;
    int32_t pairs_bytes; /* bytes of the plane read for full pairs of outputs */
    int32_t odd;         /* one more output */
    int32_t channels;
    int32_t zero_point;
} TsDspPlanesRow;

#ifdef TS_DSP_ASSEMBLY

typedef char ts_dsp_row_is_as_written[sizeof(TsDspPlanesRow) == 36 ? 1 : -1];

/* clang-format off */
__asm__(
    ".pushsection .text.ts_dsp_planes_run, \"ax\", %progbits\n"
    TS_DSP_PROCESSOR ".syntax unified\n"
    ".thumb\n"
    /* On the stack: terms and bias of a channel, then TsDspPlanesRow. */
    ".equ ts_row_at_bias, 12\n.equ ts_row_at_constants, 20\n.equ ts_row_at_plane, 24\n"
    ".equ ts_row_at_out, 32\n.equ ts_row_at_tile, 36\n.equ ts_row_at_pairs, 40\n.equ ts_row_at_odd, 44\n"
    ".equ ts_row_at_channels, 48\n.equ ts_row_at_zero, 52\n.equ ts_row_at_end, 56\n"
    ".equ ts_row_frame_bytes, 64\n"

#ifdef TS_ROUNDING_SINGLE
    ".macro ts_row_constants\n"
    "  ldm r12!, {r8, r9}\n  ldm r12!, {r2-r7}\n"
    "  vmov s8, r8\n  strd r9, r9, [sp, #ts_row_at_bias]\n"
    ".endm\n"
    ".macro ts_row_codes relu\n"
    "  vmov s0, s1, r11, r12\n"
    "  vcvt.f32.s32 s0, s0\n  vcvt.f32.s32 s1, s1\n  vmul.f32 s0, s0, s8\n  vmul.f32 s1, s1, s8\n"
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
    "  ldm r12!, {r8-r11}\n  ldm r12!, {r2-r7}\n"
    "  strd r11, r11, [sp, #ts_row_at_bias]\n  stm sp, {r8-r10}\n"
    ".endm\n"
    ".macro ts_row_codes relu\n"
    "  ldm sp, {r8-r10}\n"
    "  .if \\relu\n"
    "  smmlar r11, r11, r8, r9\n  smmlar r12, r12, r8, r9\n"
    "  asr r11, r11, r10\n  asr r12, r12, r10\n  usat r11, #8, r11\n  usat r12, #8, r12\n"
    "  .else\n"
    "  add lr, r9, r11, asr #31\n  smmlar r11, r11, r8, lr\n"
    "  add lr, r9, r12, asr #31\n  smmlar r12, r12, r8, lr\n"
    "  asr r11, r11, r10\n  asr r12, r12, r10\n  ssat r11, #8, r11\n  ssat r12, #8, r12\n"
    "  ldr lr, [sp, #ts_row_at_tile]\n"
    "  .endif\n"
    ".endm\n"
#endif

    /* The three rows of the plane times the weights of the kernel rows over them; a: (w0, w1), b: (w1, w2). */
    ".macro ts_row_three product, acc, w0, w1, w2\n"
    "  \\product \\acc, r8, \\w0, \\acc\n  \\product \\acc, r9, \\w1, \\acc\n  \\product \\acc, r10, \\w2, \\acc\n"
    ".endm\n"
    ".macro ts_row_sums stride, a0, b0, a1, b1, a2, b2\n"
    "  ldrd r11, r12, [sp, #ts_row_at_bias]\n"
    "  ldm r0!, {r8-r10}\n"
    "  ts_row_three smlad, r11, \\a0, \\a1, \\a2\n"
    "  .if \\stride == 1\n"
    "  ts_row_three smlatb, r12, \\a0, \\a1, \\a2\n"
    "  ldm r0, {r8-r10}\n"
    "  ts_row_three smlabt, r11, \\b0, \\b1, \\b2\n"
    "  ts_row_three smlad, r12, \\b0, \\b1, \\b2\n"
    "  .else\n"
    "  ldm r0!, {r8-r10}\n"
    "  ts_row_three smlabt, r11, \\b0, \\b1, \\b2\n"
    "  ts_row_three smlad, r12, \\a0, \\a1, \\a2\n"
    "  ldm r0, {r8-r10}\n"
    "  ts_row_three smlabt, r12, \\b0, \\b1, \\b2\n"
    "  .endif\n"
    ".endm\n"
    ".macro ts_row_run name, relu, stride, a0, b0, a1, b1, a2, b2\n"
    ".balign 4\n"
    ".type \\name, %function\n"
    "\\name:\n"
    "  push {r4-r11, lr}\n"
    "  ldm r0, {r1-r9}\n"
    "  sub sp, sp, #ts_row_frame_bytes\n"
    "  add r0, sp, #ts_row_at_constants\n"
    "  stm r0, {r1-r9}\n"
    "1:\n" /* a channel */
    "  ldr r12, [sp, #ts_row_at_constants]\n"
    "  ts_row_constants\n"
    "  str r12, [sp, #ts_row_at_constants]\n"
    "  ldrd r0, r8, [sp, #ts_row_at_plane]\n  add r8, r8, r0\n  str r8, [sp, #ts_row_at_plane]\n"
    "  ldrd r1, lr, [sp, #ts_row_at_out]\n  add r8, r1, #16\n  str r8, [sp, #ts_row_at_out]\n"
    "  ldr r8, [sp, #ts_row_at_pairs]\n  add r8, r8, r0\n  str r8, [sp, #ts_row_at_end]\n"
    "  cmp r0, r8\n  beq 3f\n"
    "2:\n" /* two outputs */
    "  ts_row_sums \\stride, \\a0, \\b0, \\a1, \\b1, \\a2, \\b2\n"
    "  ts_row_codes \\relu\n"
    "  ldr r8, [sp, #ts_row_at_end]\n"
    "  strh r11, [r1]\n  strh r12, [r1, #4]\n  add r1, r1, lr\n"
    "  cmp r0, r8\n  bne 2b\n"
    "3:\n"
    "  ldr r8, [sp, #ts_row_at_odd]\n  cmp r8, #0\n  beq 4f\n"
    "  ldr r11, [sp, #ts_row_at_bias]\n"
    "  ldm r0!, {r8-r10}\n"
    "  ts_row_three smlad, r11, \\a0, \\a1, \\a2\n"
    "  ldm r0, {r8-r10}\n"
    "  ts_row_three smlabt, r11, \\b0, \\b1, \\b2\n"
    "  ts_row_codes \\relu\n"
    "  strh r11, [r1]\n"
    "4:\n"
    "  ldr r8, [sp, #ts_row_at_channels]\n  subs r8, r8, #1\n  str r8, [sp, #ts_row_at_channels]\n  bne 1b\n"
    "  add sp, sp, #ts_row_frame_bytes\n  pop {r4-r11, pc}\n"
    ".endm\n"
    ".global ts_dsp_row_1_0\n  ts_row_run ts_dsp_row_1_0, 0, 1, r2, r3, r4, r5, r6, r7\n"
    ".global ts_dsp_row_1_1\n  ts_row_run ts_dsp_row_1_1, 0, 1, r6, r7, r2, r3, r4, r5\n"
    ".global ts_dsp_row_1_2\n  ts_row_run ts_dsp_row_1_2, 0, 1, r4, r5, r6, r7, r2, r3\n"
    ".global ts_dsp_row_2_0\n  ts_row_run ts_dsp_row_2_0, 0, 2, r2, r3, r4, r5, r6, r7\n"
    ".global ts_dsp_row_2_1\n  ts_row_run ts_dsp_row_2_1, 0, 2, r6, r7, r2, r3, r4, r5\n"
    ".global ts_dsp_row_2_2\n  ts_row_run ts_dsp_row_2_2, 0, 2, r4, r5, r6, r7, r2, r3\n"
    ".global ts_dsp_relu_row_1_0\n  ts_row_run ts_dsp_relu_row_1_0, 1, 1, r2, r3, r4, r5, r6, r7\n"
    ".global ts_dsp_relu_row_1_1\n  ts_row_run ts_dsp_relu_row_1_1, 1, 1, r6, r7, r2, r3, r4, r5\n"
    ".global ts_dsp_relu_row_1_2\n  ts_row_run ts_dsp_relu_row_1_2, 1, 1, r4, r5, r6, r7, r2, r3\n"
    ".global ts_dsp_relu_row_2_0\n  ts_row_run ts_dsp_relu_row_2_0, 1, 2, r2, r3, r4, r5, r6, r7\n"
    ".global ts_dsp_relu_row_2_1\n  ts_row_run ts_dsp_relu_row_2_1, 1, 2, r6, r7, r2, r3, r4, r5\n"
    ".global ts_dsp_relu_row_2_2\n  ts_row_run ts_dsp_relu_row_2_2, 1, 2, r4, r5, r6, r7, r2, r3\n"
    ".popsection\n");
/* clang-format on */

typedef void Run(const TsDspPlanesRow* row);

Run ts_dsp_row_1_0, ts_dsp_row_1_1, ts_dsp_row_1_2, ts_dsp_row_2_0, ts_dsp_row_2_1, ts_dsp_row_2_2;
Run ts_dsp_relu_row_1_0, ts_dsp_relu_row_1_1, ts_dsp_relu_row_1_2;
Run ts_dsp_relu_row_2_0, ts_dsp_relu_row_2_1, ts_dsp_relu_row_2_2;

static void run(const TsDspPlanesRow* row, int32_t relu, int32_t stride, int32_t first) {
    static Run* const runs[2][2][TS_DSP_ROWS] = {
        {{ts_dsp_row_1_0, ts_dsp_row_1_1, ts_dsp_row_1_2}, {ts_dsp_row_2_0, ts_dsp_row_2_1, ts_dsp_row_2_2}},
        {{ts_dsp_relu_row_1_0, ts_dsp_relu_row_1_1, ts_dsp_relu_row_1_2},
         {ts_dsp_relu_row_2_0, ts_dsp_relu_row_2_1, ts_dsp_relu_row_2_2}},
    };
    runs[relu][stride - 1][first](row);
}

#else

static int32_t sum(const TsDspChannel* constants, const int8_t* plane, int32_t column, int32_t first) {
    int32_t acc = constants->bias;
    for (int32_t i = 0; i < TS_DSP_ROWS; ++i) {
        const int32_t row = (first + i) % TS_DSP_ROWS;
        const uint32_t w01 = constants->weight[2 * i], w12 = constants->weight[2 * i + 1];
        const int32_t w[] = {ts_dsp_low(w01), ts_dsp_high(w01), ts_dsp_high(w12)};
        for (int32_t j = column; j < column + 3; ++j) {
            const int8_t* at = plane + j / 2 * TS_DSP_COLUMNS_BYTES + row * TS_DSP_ROW_BYTES + j % 2 * 2;
            acc = ts_dsp_plus(acc, *(const int16_t*)at * w[j - column]);
        }
    }
    return acc;
}

static void run(const TsDspPlanesRow* row, int32_t relu, int32_t stride, int32_t first) {
    const int32_t width = row->pairs_bytes / (TS_DSP_COLUMNS_BYTES * stride) * 2 + row->odd;
    for (int32_t channel = 0; channel < row->channels; ++channel) {
        const TsDspChannel* constants = row->constants + channel;
        const int8_t* plane = row->plane + channel * row->plane_bytes;
#ifdef TS_ROUNDING_SINGLE
        const TsDspRescale rescale = {constants->factor};
#else
        const TsDspRescale rescale = {constants->multiplier, constants->offset, constants->shift};
#endif
        for (int32_t x = 0; x < width; ++x) {
            const int32_t acc = sum(constants, plane, x * stride, first);
            row->out[x / 2 * (row->tile_bytes / 2) + x % 2 * 2 + channel * 8] =
                (int16_t)(relu ? ts_dsp_positive(acc, &rescale) : ts_dsp_code(acc, &rescale, row->zero_point));
        }
    }
}

#endif

void ts_dsp_planes_row(const TsDspPlanes* layer, const int8_t* planes, int32_t first, int32_t stride, int32_t width,
                       int16_t* tiles) {
    TsDspPlanesRow row;
    row.constants = TS_ARRAY(TsDspChannel, layer, constants);
    row.plane = planes;
    row.plane_bytes = layer->plane_bytes;
    row.tile_bytes = layer->groups * 16;
    row.pairs_bytes = (width >> 1) * TS_DSP_COLUMNS_BYTES * stride;
    row.odd = width & 1;
    row.zero_point = layer->zero_point;
    for (int32_t i = 0; i < ts_min(4, layer->channels); ++i) {
        row.channels = (layer->channels - i + 3) >> 2;
        row.out = tiles + ts_dsp_place[i];
        run(&row, layer->relu, stride, first);
        row.constants += row.channels;
        row.plane += ts_dsp_planes_of_four(layer) * layer->plane_bytes;
    }
}
