/* Dot products of pairs of channels with four windows, and their codes. */
#include <stddef.h>

#include "ts_mve_pairs.h"

enum { MIDDLE = 2 * TS_MVE_PITCH }; /* of the windows: load offsets reach 508 in both directions */

typedef char ts_mve_pairs_are_as_written[offsetof(TsMvePairs, at) == 24 && offsetof(TsMvePairs, pitch) == 40 ? 1 : -1];

/* clang-format off */

/* Piece `j` of two channels times that of four windows, 128 products. The first channel's weights have been loaded, and
 * those of the next piece are, beyond the last one too. */
#define PIECE(j, mla)                                           \
    "vldrw.u32 q2, [r9, #" #j " * 16 - 480]\n"                  \
    mla " r0, q0, q2\n"                                         \
    "vldrw.u32 q1, [r1], #16\n"                                 \
    mla " r8, q1, q2\n"                                         \
    "vldrw.u32 q3, [r9, #" #j " * 16 - 240]\n"                  \
    mla " r2, q0, q3\n"                                         \
    mla " r10, q1, q3\n"                                        \
    "vldrw.u32 q2, [r9, #" #j " * 16]\n"                        \
    mla " r4, q0, q2\n"                                         \
    mla " r12, q1, q2\n"                                        \
    "vldrw.u32 q3, [r9, #" #j " * 16 + 240]\n"                  \
    mla " r6, q0, q3\n"                                         \
    "vldrw.u32 q0, [r1], #16\n"                                 \
    mla " lr, q1, q3\n"

#define ENTRY(j) ".hword (" #j "0f - 9b) / 2\n"
#define FURTHER(j) #j "0:\n" PIECE(j, "vmladava.s8")

#ifdef TS_ROUNDING_SINGLE
#define CONSTANTS "ldm r3!, {r0, r2, r4, r6}\n"
enum { PER_PAIR = 4 };
#else
#define CONSTANTS "ldm r3!, {r0, r2, r4, r6, r8, r10}\n"
enum { PER_PAIR = 6 };
#endif

/* The codes of eight sums, two channels at four pixels: constants at r3, output at r7. */
#define CODES                                                   \
    "vmov q1[2], q1[0], r0, r4\n"                               \
    "vmov q1[3], q1[1], r2, r6\n"                               \
    "vmov q2[2], q2[0], r8, r12\n"                              \
    "vmov q2[3], q2[1], r10, lr\n"                              \
    CONSTANTS                                                   \
    TS_MVE_NARROW("q3", "q1", "r0", "r4", "r8",                 \
                  "q1", "q2", "r2", "r6", "r10")                \
    "vqadd.s16 q3, q3, q5\n"                                    \
    "vqmovnb.s16 q3, q3\n"                                      \
    "vstrb.16 q3, [r7, q4]\n"

/* The codes of pairs of channels at four pixels. r1 weight, r3 constants, r5 pairs left, r7 out, r9 middle of the
 * windows, r11 pieces; q4 offsets of the codes, q5 zero point. */
static TS_MVE_ASSEMBLY void run_pairs(TS_MVE_ARGUMENT const TsMvePairs* pairs, TS_MVE_ARGUMENT int8_t* out) {
    __asm__(
        "push {r4-r11, lr}\n"
        "vpush {d8-d11}\n"
        "mov r7, r1\n"
        "vldrh.u16 q4, [r0, #24]\n"
        "ldm r0, {r1, r3, r5, r9, r11, r12}\n"
        "vdup.16 q5, r12\n"
        "vldrw.u32 q0, [r1], #16\n"
        "8:\n"
        PIECE(0, "vmladav.s8")
        "tbh [pc, r11, lsl #1]\n"
        "9: .hword 0\n" /* every convolution has at least one piece */
        ENTRY(0) ENTRY(1) ENTRY(2) ENTRY(3) ENTRY(4) ENTRY(5) ENTRY(6) ENTRY(7)
        ENTRY(8) ENTRY(9) ENTRY(10) ENTRY(11) ENTRY(12) ENTRY(13) ENTRY(14)
        FURTHER(14) FURTHER(13) FURTHER(12) FURTHER(11) FURTHER(10) FURTHER(9) FURTHER(8)
        FURTHER(7) FURTHER(6) FURTHER(5) FURTHER(4) FURTHER(3) FURTHER(2) FURTHER(1)
        "00:\n"
        CODES
        "add r7, #2\n"
        "subs r5, #1\n"
        "bne.w 8b\n"
        "vpop {d8-d11}\n"
        "pop {r4-r11, pc}\n");
}

/* A vector of two channels' weights times that of four windows of any length; loads as above. */
#define LONG(mla)                                               \
    "vldrb.u8 q2, [r3], #16\n"                                  \
    mla " r0, q0, q2\n"                                         \
    "vldrw.u32 q1, [r1], #16\n"                                 \
    mla " r8, q1, q2\n"                                         \
    "vldrb.u8 q3, [r5], #16\n"                                  \
    mla " r2, q0, q3\n"                                         \
    mla " r10, q1, q3\n"                                        \
    "vldrb.u8 q2, [r7], #16\n"                                  \
    mla " r4, q0, q2\n"                                         \
    mla " r12, q1, q2\n"                                        \
    "vldrb.u8 q3, [r9], #16\n"                                  \
    mla " r6, q0, q3\n"                                         \
    "vldrw.u32 q0, [r1], #16\n"                                 \
    mla " lr, q1, q3\n"

/* As run_pairs, with windows of any length. r1 weight; r3, r5, r7, r9 the windows, r11 vectors left; on the stack
 * constants, pairs left, out, and the begins of the windows and their number of vectors. */
static TS_MVE_ASSEMBLY void run_long_pairs(TS_MVE_ARGUMENT const TsMvePairs* pairs, TS_MVE_ARGUMENT int8_t* out) {
    __asm__(
        "push {r4-r11, lr}\n"
        "vpush {d8-d11}\n"
        "sub sp, #32\n"
        "mov r7, r1\n"
        "vldrh.u16 q4, [r0, #24]\n"
        "ldrd r1, r3, [r0]\n"
        "ldrd r5, r6, [r0, #8]\n"
        "stm sp, {r3, r5, r7}\n"
        "ldrd r11, r12, [r0, #16]\n"
        "vdup.16 q5, r12\n"
        "ldr r12, [r0, #40]\n"
        "add r7, r6, r12\n"
        "add r8, r7, r12\n"
        "add r9, r8, r12\n"
        "add r12, sp, #12\n"
        "stm r12, {r6-r9, r11}\n"
        "vldrw.u32 q0, [r1], #16\n"
        "8: add r12, sp, #12\n"
        "ldm r12, {r3, r5, r7, r9, r11}\n"
        LONG("vmladav.s8")
        "subs r11, #1\n"
        "beq 3f\n"
        "2:\n"
        LONG("vmladava.s8")
        "subs r11, #1\n"
        "bne 2b\n"
        "3: ldm sp, {r3, r5, r7}\n"
        CODES
        "add r7, #2\n"
        "subs r5, #1\n"
        "stm sp, {r3, r5, r7}\n"
        "bne.w 8b\n"
        "add sp, #32\n"
        "vpop {d8-d11}\n"
        "pop {r4-r11, pc}\n");
}

/* clang-format on */

static void run(const TsMvePairs* pairs, int8_t* out) {
    if (pairs->pieces <= TS_MVE_MOST_PIECES) {
        run_pairs(pairs, out);
    } else {
        run_long_pairs(pairs, out);
    }
}

/* `pairs` pairs from pair `first` on, written to pixels that are `out_pitch` bytes apart. */
static void begin_pairs(const TsMveConv2D* layer, const int8_t* windows, int32_t first, int32_t pairs,
                        int32_t out_pitch, TsMvePairs* run) {
    const uint16x8_t pixel = vshrq_n_u16(vidupq_n_u16(0, 1), 1);
    const uint16x8_t channel = vandq_u16(vidupq_n_u16(0, 1), vdupq_n_u16(1));
    run->weight = TS_ARRAY(int8_t, layer, weight) + first * 2 * layer->pieces * TS_MVE_LANES;
    run->constants = TS_ARRAY(int32_t, layer, constants) + first * PER_PAIR;
    run->pairs = pairs;
    run->windows = layer->pieces <= TS_MVE_MOST_PIECES ? windows + MIDDLE : windows;
    run->pieces = layer->pieces;
    run->zero_point = layer->out.zero_point;
    run->pitch = ts_mve_pitch(layer);
    vst1q_u16(run->at, vmlaq_n_u16(channel, pixel, (uint16_t)out_pitch));
}

void ts_mve_begin_channels(const TsMveConv2D* layer, int32_t group, const int8_t* windows, int8_t* spare,
                           TsMveChannels* all) {
    const int32_t channels = layer->group_outputs;
    const int32_t first = group * ((channels + 1) / 2);
    all->channels = channels;
    all->pitch = layer->out_channels;
    all->spare = spare;
    begin_pairs(layer, windows, first, channels / 2, all->pitch, &all->whole);
    if (channels % 2 != 0) {
        begin_pairs(layer, windows, first + channels / 2, 1, 2, &all->last);
    }
}

void ts_mve_pixels(const TsMveChannels* all, int32_t n, int8_t* out) {
    const int32_t channels = all->channels;
    if (n == TS_MVE_PIXELS && channels % 2 == 0) {
        run(&all->whole, out);
        return;
    }
    int8_t* to = n < TS_MVE_PIXELS ? all->spare : out;
    if (channels > 1) {
        run(&all->whole, to);
    }
    if (channels % 2 != 0) {
        int8_t last[2 * TS_MVE_PIXELS];
        run(&all->last, last);
        for (int32_t pixel = 0; pixel < TS_MVE_PIXELS; ++pixel) {
            to[pixel * all->pitch + channels - 1] = last[2 * pixel];
        }
    }
    for (int32_t pixel = 0; to == all->spare && pixel < n; ++pixel) {
        ts_mve_copy(out + pixel * all->pitch, to + pixel * all->pitch, channels);
    }
}
