/* Depthwise convolution: 4x4 codes of one channel are one vector, and an output is its dot product with the kernel.
 *
 * Four neighbours across are interleaved into words, for sixteen channels and a whole strip at a time. A vector of
 * four words is then a patch, beginning at any word. The last step of a strip overlaps the one before. */
#include <stddef.h>

#include "ts_mve_inner.h"
#include "ts_mve_parts.h"

enum { WORDS = TS_MVE_LANES * 4 }; /* bytes of one pixel of a strip */

/* clang-format off */

#define NEXT_PATCH "vldrw.u32 q0, [q3, #128]!\n" /* two pixels further */

/* Two lanes of each of two vectors of sums; a patch has windows both across and along, one of these, or none. */
#define TWO_BY_TWO                                              \
    NEXT_PATCH                                                  \
    "vmladav.s8 r0, q4, q0\n" "vmladav.s8 r2, q5, q0\n"         \
    "vmladav.s8 r4, q6, q0\n" "vmladav.s8 r6, q7, q0\n"
#define TWO                                                     \
    NEXT_PATCH                                                  \
    "vmladav.s8 r0, q4, q0\n" "vmladav.s8 r4, q6, q0\n"         \
    NEXT_PATCH                                                  \
    "vmladav.s8 r2, q4, q0\n" "vmladav.s8 r6, q6, q0\n"
#define ONE                                                     \
    NEXT_PATCH "vmladav.s8 r0, q4, q0\n"                        \
    NEXT_PATCH "vmladav.s8 r2, q4, q0\n"                        \
    NEXT_PATCH "vmladav.s8 r4, q4, q0\n"                        \
    NEXT_PATCH "vmladav.s8 r6, q4, q0\n"

/* The kernel in place, and moved by a pixel along, across, and both. */
#define HERE "vldrb.u8 q4, [r1]\n"
#define AHEAD(q) "vldrb.u8 " q ", [r1, #-4]\n"
#define ASIDE "vldrb.u8 q6, [r1, #-1]\n"
#define BOTH "vldrb.u8 q7, [r1, #-5]\n"

#ifdef TS_ROUNDING_SINGLE
enum { PER_CHANNEL = 2 };
#define CONSTANTS "ldm r3!, {r8, r10}\n"
#else
enum { PER_CHANNEL = 3 };
#define CONSTANTS "ldm r3!, {r8, r10, r12}\n"
#endif

/* All channels of a strip. r1 weight, r3 constants, r5 out, r7 strip, r9 zero point, r11 step, r8, r10 and r12 the
 * channel's constants. */
#define CHANNELS(kernels, sums)                                                         \
    "push {r4-r11, lr}\n"                                                               \
    "vpush {d8-d15}\n"                                                                  \
    "mov r7, r0\n"                                                                      \
    "mov r9, r2\n"                                                                      \
    "1:\n"                                                                              \
    "ldrd r5, r0, [r7, #48]\n"                                                          \
    "vldrw.u32 q3, [r7, #16]\n"                                                         \
    "add r2, r5, #1\n"                                                                  \
    "add r4, r0, #4\n"                                                                  \
    "strd r2, r4, [r7, #48]\n"                                                          \
    "vadd.i32 q3, q3, r0\n"                                                             \
    "ldrd r2, r11, [r7, #40]\n"                                                         \
    kernels                                                                             \
    "add r1, #16\n"                                                                     \
    CONSTANTS                                                                           \
    "dls lr, r2\n"                                                                      \
    "2:\n"                                                                              \
    sums                                                                                \
    "vmov q1[2], q1[0], r0, r2\n"                                                       \
    "vmov q2[2], q2[0], r4, r6\n"                                                       \
    sums                                                                                \
    "vmov q1[3], q1[1], r0, r2\n"                                                       \
    "vmov q2[3], q2[1], r4, r6\n"                                                       \
    TS_MVE_NARROW("q0", "q1", "r8", "r10", "r12", "q1", "q2", "r8", "r10", "r12")       \
    "vldrh.u16 q2, [r7]\n"                                                              \
    "vqadd.s16 q0, q0, r9\n"                                                            \
    "vqmovnb.s16 q0, q0\n"                                                              \
    "vstrb.16 q0, [r5, q2]\n"                                                           \
    "add r5, r11\n"                                                                     \
    "le lr, 2b\n"                                                                       \
    "ldrd r0, r2, [r7, #32]\n"                                                          \
    "cmp r11, #0\n" /* the last outputs have been computed */                           \
    "it ne\n"                                                                           \
    "cmpne r0, #0\n" /* or there are none */                                            \
    "beq 3f\n"                                                                          \
    "sub r5, r0\n"                                                                      \
    "vsub.i32 q3, q3, r2\n"                                                             \
    "mov r11, #0\n"                                                                     \
    "mov lr, #1\n"                                                                      \
    "b 2b\n"                                                                            \
    "3:\n"                                                                              \
    "ldr r0, [r7, #56]\n"                                                               \
    "subs r0, #1\n"                                                                     \
    "str r0, [r7, #56]\n"                                                               \
    "bne 1b\n"                                                                          \
    "vpop {d8-d15}\n"                                                                   \
    "pop {r4-r11, pc}\n"

#define ARGUMENTS                                                                       \
    TS_MVE_ARGUMENT TsMveStrip* strip, TS_MVE_ARGUMENT const int8_t* weight,            \
    TS_MVE_ARGUMENT int32_t zero_point, TS_MVE_ARGUMENT const int32_t* constants

static TS_MVE_ASSEMBLY void run_both(ARGUMENTS) {
    __asm__(CHANNELS(HERE AHEAD("q5") ASIDE BOTH, TWO_BY_TWO));
}

static TS_MVE_ASSEMBLY void run_across(ARGUMENTS) {
    __asm__(CHANNELS(HERE ASIDE, TWO));
}

static TS_MVE_ASSEMBLY void run_along(ARGUMENTS) {
    __asm__(CHANNELS(HERE AHEAD("q6"), TWO));
}

static TS_MVE_ASSEMBLY void run_neither(ARGUMENTS) {
    __asm__(CHANNELS(HERE, ONE));
}

/* clang-format on */

/* All channels of a strip, beginning with `first`; by the axes of stride 1. */
static void channels_of(const TsMveDepthwise* layer, TsMveStrip* strip, int32_t first) {
    const int8_t* weight = TS_ARRAY(int8_t, layer, weight) + 8 + TS_MVE_LANES * first;
    const int32_t* constants = TS_ARRAY(int32_t, layer, constants) + PER_CHANNEL * first;
    const int32_t zero_point = layer->out.zero_point;
    if (layer->across.stride == 1 && layer->along.stride == 1) {
        run_both(strip, weight, zero_point, constants);
    } else if (layer->across.stride == 1) {
        run_across(strip, weight, zero_point, constants);
    } else if (layer->along.stride == 1) {
        run_along(strip, weight, zero_point, constants);
    } else {
        run_neither(strip, weight, zero_point, constants);
    }
}

/* Four lines to be interleaved; the assembly reads the members in order. */
typedef struct {
    const int8_t* from[4];
    int32_t pitch[4]; /* 16 */
    int8_t* words;    /* 32 */
    int32_t pixels, channels;
} Lines;

/* Words of up to sixteen channels of four lines, `at` bytes from the lines' start. */
static TS_MVE_APART void interleave(const TsMveDepthwise* layer, const int8_t* const lines[4], int32_t at,
                                    int32_t channels, int8_t* words) {
    int8_t outside[TS_MVE_LANES];
    Lines run;
    run.words = words;
    run.pixels = layer->along.in_size;
    run.channels = channels;
    vst1q_s8(outside, vdupq_n_s8((int8_t)layer->in_zero_point));
    for (int32_t i = 0; i < 4; ++i) {
        run.from[i] = lines[i] == NULL ? outside : lines[i] + at;
        run.pitch[i] = lines[i] == NULL ? 0 : layer->along.in_pitch;
    }
    __asm__ volatile("ldr lr, [%[run], #40]\n"
                     "vctp.8 lr\n"
                     "ldm %[run], {r0-r6, r8, r10, lr}\n"
                     "dls lr, lr\n"
                     "1: vpstttt\n"
                     "vldrbt.8 q0, [r0]\n"
                     "vldrbt.8 q1, [r1]\n"
                     "vldrbt.8 q2, [r2]\n"
                     "vldrbt.8 q3, [r3]\n"
                     "add r0, r4\n"
                     "add r1, r5\n"
                     "add r2, r6\n"
                     "add r3, r8\n"
                     "vst40.8 {q0, q1, q2, q3}, [r10]\n"
                     "vst41.8 {q0, q1, q2, q3}, [r10]\n"
                     "vst42.8 {q0, q1, q2, q3}, [r10]\n"
                     "vst43.8 {q0, q1, q2, q3}, [r10]!\n"
                     "le lr, 1b"
                     :
                     : [run] "r"(&run)
                     : TS_MVE_P0 "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r10", "lr", "q0", "q1", "q2", "q3",
                       "memory");
}

void ts_mve_begin_strips(const TsMveDepthwise* layer, TsMveStrip* strip, int8_t* scratch) {
    const TsMveAxis* along = &layer->along;
    const int32_t over = along->out_size % layer->step;
    const int32_t back = over == 0 ? 0 : layer->step - over;
    vst1q_u16(strip->lanes, vld1q_u16(TS_ARRAY(uint16_t, layer, lanes)));
    vst1q_u32(strip->patch, vmlaq_n_u32(vdupq_n_u32((uint32_t)(uintptr_t)scratch - 128), vidupq_n_u32(0, 1), WORDS));
    strip->back_out = back * along->out_pitch;
    strip->back_in = back * along->stride * WORDS;
    strip->steps = along->out_size / layer->step;
    strip->step = layer->step * along->out_pitch;
    strip->words = scratch + along->pad * WORDS;
    ts_mve_fill(scratch, (int8_t)layer->in_zero_point, layer->columns * WORDS);
}

void ts_mve_strip(const TsMveDepthwise* layer, TsMveStrip* strip, const int8_t* const lines[4], int8_t* out) {
    for (int32_t channel = 0; channel < layer->channels; channel += TS_MVE_LANES) {
        strip->channels = ts_min(TS_MVE_LANES, layer->channels - channel);
        strip->out = out + channel;
        strip->in = 0;
        interleave(layer, lines, channel, strip->channels, strip->words);
        channels_of(layer, strip, channel);
    }
}

void ts_mve_depthwise(const TsMveDepthwise* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsMveAxis* across = &layer->across;
    const int32_t wide = across->stride == 1 ? 2 : 1;
    TsMveStrip strip;
    ts_mve_begin_strips(layer, &strip, scratch);
    for (int32_t done = 0; done < across->out_size; done += wide) {
        const int32_t at = ts_min(done, across->out_size - wide);
        const int8_t* lines[4];
        for (int32_t i = 0; i < 4; ++i) {
            const int32_t line = at * across->stride - across->pad + i;
            lines[i] = line < 0 || line >= across->in_size ? NULL : x + line * across->in_pitch;
        }
        ts_mve_strip(layer, &strip, lines, out + at * across->out_pitch);
    }
    ts_mve_raise(out, &layer->out, across->out_size * layer->along.out_size * layer->channels);
}
