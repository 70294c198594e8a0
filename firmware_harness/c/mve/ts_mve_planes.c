/* Depthwise convolution with kernels that are no patch: lines of a plane times lines of the kernel. */
#include <stddef.h>

#include "ts_mve_inner.h"
#include "ts_mve_parts.h"

enum {
    CHANNELS = 8, /* copied to planes at once */
    OUTPUTS = 8,  /* computed side by side */
#ifdef TS_ROUNDING_SINGLE
    PER_OUTPUT = 2
#else
    PER_OUTPUT = 3
#endif
};

/* A line of outputs of several channels; the assembly depends on the order. */
typedef struct {
    uint16_t at[OUTPUTS]; /* bytes from the first code to those of eight outputs */
    const int8_t* weight; /* 16: of the current channel */
    const int32_t* constants;
    const int8_t* plane; /* 24 */
    int8_t* out;
    int32_t channels, plane_bytes; /* 32: channels left */
    int32_t pieces, step;          /* 40: step: from the ninth output's vector of a piece to the next piece */
    int32_t outputs, block;        /* 48: block: bytes of eight outputs */
    int32_t stride, zero_point;    /* 56 */
    int32_t out_step;              /* 64: from channel to channel */
    int32_t left;                  /* 68: outputs of the current channel; then its next output and vector */
    int8_t* next_out;
    const int8_t* next;
} Line;

typedef char ts_mve_line_is_as_written[offsetof(Line, left) == 68 && offsetof(Line, next) == 76 ? 1 : -1];

/* clang-format off */

#define ONE(mla, q, sum, by) "vldrb.u8 " q ", [r1]" by mla " " sum ", q0, " q "\n"

/* A piece of eight outputs. */
#define PIECE(mla, by)                                                                  \
    "vldrw.u32 q0, [r3], #16\n"                                                         \
    ONE(mla, "q1", "r0", by) ONE(mla, "q2", "r2", by) ONE(mla, "q1", "r4", by)          \
    ONE(mla, "q2", "r6", by) ONE(mla, "q1", "r8", by) ONE(mla, "q2", "r10", by)         \
    ONE(mla, "q1", "r12", by) ONE(mla, "q2", "lr", by)                                  \
    "add r1, r9\n"                                                                      \
    "subs r11, #1\n"

#define BY_ONE ", #1\n"
#define BY_TWO ", #2\n"
#define BY_ANY "\nadd r1, r5\n"

/* Any shift: without one to the right, the product is rounded once. */
#ifdef TS_ROUNDING_SINGLE
#define RESCALE TS_MVE_RESCALE("q0", "q1", "r4", "r6") TS_MVE_RESCALE("q1", "q2", "r4", "r6")
#else
#define RESCALE                                                                         \
    "cmp r6, #0\n"                                                                      \
    "blt 4f\n"                                                                          \
    "vshl.s32 q1, r6\n"                                                                 \
    "vshl.s32 q2, r6\n"                                                                 \
    "vqrdmulh.s32 q0, q1, r4\n"                                                         \
    "vqrdmulh.s32 q1, q2, r4\n"                                                         \
    "b 5f\n"                                                                            \
    "4:\n"                                                                              \
    TS_MVE_RESCALE("q0", "q1", "r4", "r6")                                              \
    TS_MVE_RESCALE("q1", "q2", "r4", "r6")                                              \
    "5:\n"
#endif

/* r1 vectors of the plane, r3 weight, r5 stride, r7 line, r9 step, r11 pieces left; q3 offsets of the codes. */
#define RUN(by)                                                                         \
    "push {r4-r11, lr}\n"                                                               \
    "mov r7, r0\n"                                                                      \
    "vldrh.u16 q3, [r7]\n"                                                              \
    "ldr r9, [r7, #44]\n"                                                               \
    "ldr r5, [r7, #56]\n"                                                               \
    "1: ldr r0, [r7, #48]\n" /* a channel */                                            \
    "ldrd r1, r2, [r7, #24]\n"                                                          \
    "strd r0, r2, [r7, #68]\n"                                                          \
    "6: str r1, [r7, #76]\n" /* eight outputs */                                        \
    "ldr r3, [r7, #16]\n"                                                               \
    "ldr r11, [r7, #40]\n"                                                              \
    PIECE("vmladav.s8", by)                                                             \
    "beq 3f\n"                                                                          \
    "2:\n"                                                                              \
    PIECE("vmladava.s8", by)                                                            \
    "bne 2b\n"                                                                          \
    "3:\n"                                                                              \
    "vmov q1[2], q1[0], r0, r8\n"                                                       \
    "vmov q1[3], q1[1], r4, r12\n"                                                      \
    "vmov q2[2], q2[0], r2, r10\n"                                                      \
    "vmov q2[3], q2[1], r6, lr\n"                                                       \
    "ldr r0, [r7, #20]\n"                                                               \
    "ldm r0, " CONSTANTS "\n"                                                           \
    "vadd.i32 q1, q1, r2\n"                                                             \
    "vadd.i32 q2, q2, r2\n"                                                             \
    RESCALE                                                                             \
    "ldrd r0, r2, [r7, #60]\n" /* zero point */                                         \
    "vqmovnb.s32 q0, q0\n"                                                              \
    "vqmovnt.s32 q0, q1\n"                                                              \
    "vqadd.s16 q0, q0, r0\n"                                                            \
    "vqmovnb.s16 q0, q0\n"                                                              \
    "ldrd r0, r2, [r7, #68]\n" /* outputs left, and the next */                         \
    "vctp.16 r0\n"                                                                      \
    "vpst\n"                                                                            \
    "vstrbt.16 q0, [r2, q3]\n"                                                          \
    "ldr r4, [r7, #52]\n"                                                               \
    "ldr r1, [r7, #76]\n"                                                               \
    "add r2, r4\n"                                                                      \
    "add r1, r1, r5, lsl #3\n"                                                          \
    "subs r0, #8\n"                                                                     \
    "strd r0, r2, [r7, #68]\n"                                                          \
    "bgt 6b\n"                                                                          \
    "ldrd r0, r2, [r7, #16]\n" /* the next channel */                                   \
    "ldr r4, [r7, #40]\n"                                                               \
    "add r0, r0, r4, lsl #4\n"                                                          \
    "add r2, #" PER "\n"                                                                \
    "strd r0, r2, [r7, #16]\n"                                                          \
    "ldrd r0, r2, [r7, #24]\n"                                                          \
    "ldrd r4, r6, [r7, #32]\n"                                                          \
    "ldr r8, [r7, #64]\n"                                                               \
    "add r0, r6\n"                                                                      \
    "add r2, r8\n"                                                                      \
    "subs r4, #1\n"                                                                     \
    "strd r0, r2, [r7, #24]\n"                                                          \
    "str r4, [r7, #32]\n"                                                               \
    "bne.w 1b\n"                                                                        \
    "pop {r4-r11, pc}\n"

#ifdef TS_ROUNDING_SINGLE
#define CONSTANTS "{r2, r4}"
#define PER "8"
#else
#define CONSTANTS "{r2, r4, r6}"
#define PER "12"
#endif

static TS_MVE_ASSEMBLY void run_by_one(TS_MVE_ARGUMENT Line* line) {
    __asm__(RUN(BY_ONE));
}

static TS_MVE_ASSEMBLY void run_by_two(TS_MVE_ARGUMENT Line* line) {
    __asm__(RUN(BY_TWO));
}

static TS_MVE_ASSEMBLY void run_by_any(TS_MVE_ARGUMENT Line* line) {
    __asm__(RUN(BY_ANY));
}

/* clang-format on */

/* The place of line i of a plane. */
static int32_t line_at(const TsMvePlanes* layer, int32_t i) {
    const int32_t together = layer->interleaved;
    return i / together * together * layer->columns + i % together + layer->along.pad * together;
}

/* A line of up to eight channels; `from` NULL for padding. */
static void copy_line(const TsMvePlanes* layer, const int8_t* from, uint16x8_t planes, mve_pred16_t channels,
                      int8_t* to) {
    const int32_t pitch = from == NULL ? 0 : layer->along.in_pitch, step = layer->interleaved;
    int16x8_t codes = vdupq_n_s16((int16_t)layer->in_zero_point);
    for (int32_t left = layer->along.in_size; left > 0; --left) {
        if (from != NULL) {
            codes = vldrbq_z_s16(from, channels);
            from += pitch;
        }
        vstrbq_scatter_offset_s16(to, planes, codes);
        to += step;
    }
}

/* The lines below the kernel of `outputs` lines of outputs, from line `first` on. */
static void copy_lines(const TsMvePlanes* layer, const int8_t* x, int32_t first, int32_t outputs, mve_pred16_t channels,
                       int8_t* planes) {
    const uint16x8_t offsets = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)layer->plane_bytes);
    const int32_t lines = (outputs - 1) * layer->across.stride + layer->lines;
    for (int32_t i = 0; i < lines; ++i) {
        const int32_t line = first + i * layer->dilation;
        const int inside = line >= 0 && line < layer->across.in_size;
        copy_line(layer, inside ? x + line * layer->across.in_pitch : NULL, offsets, channels,
                  planes + line_at(layer, i));
    }
}

static void run_line(Line* line) {
    if (line->stride == 1) {
        run_by_one(line);
    } else if (line->stride == 2) {
        run_by_two(line);
    } else {
        run_by_any(line);
    }
}

/* Up to eight input channels from `first` on. */
static void channels_from(const TsMvePlanes* layer, const int8_t* x, int32_t first, int8_t* out, int8_t* planes) {
    const TsMveAxis *across = &layer->across, *along = &layer->along;
    const int32_t n = ts_min(CHANNELS, layer->channels - first);
    const int32_t before = first * layer->multiplier;
    Line line;
    line.plane_bytes = layer->plane_bytes;
    line.pieces = layer->pieces;
    line.stride = along->stride * layer->interleaved;
    line.step = layer->piece_step - OUTPUTS * line.stride;
    line.outputs = along->out_size;
    line.block = OUTPUTS * along->out_pitch;
    line.zero_point = layer->out.zero_point;
    line.out_step = layer->multiplier;
    vst1q_u16(line.at, vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)along->out_pitch));
    for (int32_t at = 0; at < across->out_size; at += layer->at_once) {
        const int32_t lines = ts_min(layer->at_once, across->out_size - at);
        copy_lines(layer, x + first, at * across->stride - across->pad, lines, vctp16q((uint32_t)n), planes);
        for (int32_t i = 0; i < lines; ++i) {
            line.weight = TS_ARRAY(int8_t, layer, weight) + before * layer->pieces * TS_MVE_LANES;
            line.constants = TS_ARRAY(int32_t, layer, constants) + before * PER_OUTPUT;
            for (int32_t output = 0; output < layer->multiplier; ++output) {
                line.channels = n;
                line.plane = planes + i * across->stride * layer->columns;
                line.out = out + (at + i) * across->out_pitch + before + output;
                run_line(&line);
            }
        }
    }
}

void ts_mve_depthwise_planes(const TsMvePlanes* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    ts_mve_fill(scratch, (int8_t)layer->in_zero_point, CHANNELS * layer->plane_bytes);
    for (int32_t first = 0; first < layer->channels; first += CHANNELS) {
        channels_from(layer, x, first, out, scratch);
    }
    ts_mve_raise(out, &layer->out,
                 layer->across.out_size * layer->along.out_size * layer->channels * layer->multiplier);
}
