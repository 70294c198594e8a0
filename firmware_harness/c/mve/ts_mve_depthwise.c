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
#define HERE "vldrb.u8 q4, [%[weight]]\n"
#define AHEAD(q) "vldrb.u8 " q ", [%[weight], #-4]\n"
#define ASIDE "vldrb.u8 q6, [%[weight], #-1]\n"
#define BOTH "vldrb.u8 q7, [%[weight], #-5]\n"

#ifdef TS_ROUNDING_SINGLE
enum { PER_CHANNEL = 2 };
#define CONSTANTS "ldm %[constants]!, {r8, r10}\n"
#else
enum { PER_CHANNEL = 3 };
#define CONSTANTS "ldm %[constants]!, {r8, r10, r12}\n"
#endif

#define CHANNELS(kernels, sums)                                                                         \
    __asm__ volatile(                                                                                   \
        "1:\n"                                                                                          \
        "ldrd %[out], r0, [%[strip], #48]\n"                                                            \
        "vldrw.u32 q3, [%[strip], #16]\n"                                                               \
        "add r2, %[out], #1\n"                                                                          \
        "add r4, r0, #4\n"                                                                              \
        "strd r2, r4, [%[strip], #48]\n"                                                                \
        "vadd.i32 q3, q3, r0\n"                                                                         \
        "ldrd r2, r11, [%[strip], #40]\n"                                                               \
        kernels                                                                                         \
        "add %[weight], #16\n"                                                                          \
        CONSTANTS                                                                                       \
        "dls lr, r2\n"                                                                                  \
        "2:\n"                                                                                          \
        sums                                                                                            \
        "vmov q1[2], q1[0], r0, r2\n"                                                                   \
        "vmov q2[2], q2[0], r4, r6\n"                                                                   \
        sums                                                                                            \
        "vmov q1[3], q1[1], r0, r2\n"                                                                   \
        "vmov q2[3], q2[1], r4, r6\n"                                                                   \
        "vadd.i32 q1, q1, r8\n"                                                                         \
        "vadd.i32 q2, q2, r8\n"                                                                         \
        TS_MVE_RESCALE("q0", "q1", "r10", "r12")                                                        \
        TS_MVE_RESCALE("q1", "q2", "r10", "r12")                                                        \
        "vldrh.u16 q2, [%[strip]]\n"                                                                    \
        "vqmovnb.s32 q0, q0\n"                                                                          \
        "vqmovnt.s32 q0, q1\n"                                                                          \
        "vqadd.s16 q0, q0, %[zero_point]\n"                                                             \
        "vqmovnb.s16 q0, q0\n"                                                                          \
        "vstrb.16 q0, [%[out], q2]\n"                                                                   \
        "add %[out], r11\n"                                                                             \
        "le lr, 2b\n"                                                                                   \
        "ldrd r0, r2, [%[strip], #32]\n"                                                                \
        "cmp r11, #0\n" /* the last outputs have been computed */                                           \
        "it ne\n"                                                                                       \
        "cmpne r0, #0\n" /* or there are none */                                                        \
        "beq 3f\n"                                                                                      \
        "sub %[out], r0\n"                                                                              \
        "vsub.i32 q3, q3, r2\n"                                                                         \
        "mov r11, #0\n"                                                                                 \
        "mov lr, #1\n"                                                                                  \
        "b 2b\n"                                                                                        \
        "3:\n"                                                                                          \
        "ldr r0, [%[strip], #56]\n"                                                                     \
        "subs r0, #1\n"                                                                                 \
        "str r0, [%[strip], #56]\n"                                                                     \
        "bne 1b\n"                                                                                      \
        : [weight] "+r"(weight), [constants] "+r"(constants), [out] "=&r"(out)                          \
        : [strip] "r"(strip), [zero_point] "r"(layer->out.zero_point)                                   \
        : "r0", "r2", "r4", "r6", "r8", "r10", "r11", "r12", "lr", "q0", "q1", "q2", "q3", "q4", "q5",  \
          "q6", "q7", "cc", "memory")

/* All channels of a strip, beginning with `first`. */
static TS_MVE_APART void channels_of(const TsMveDepthwise* layer, TsMveStrip* strip, int32_t first) {
    const int8_t* weight = TS_ARRAY(int8_t, layer, weight) + 8 + TS_MVE_LANES * first;
    const int32_t* constants = TS_ARRAY(int32_t, layer, constants) + PER_CHANNEL * first;
    int8_t* out;
    if (layer->across.stride == 1 && layer->along.stride == 1) {
        CHANNELS(HERE AHEAD("q5") ASIDE BOTH, TWO_BY_TWO);
    } else if (layer->across.stride == 1) {
        CHANNELS(HERE ASIDE, TWO);
    } else if (layer->along.stride == 1) {
        CHANNELS(HERE AHEAD("q6"), TWO);
    } else {
        CHANNELS(HERE, ONE);
    }
}

/* clang-format on */

/* Words of up to sixteen channels of four lines, `at` bytes from the lines' start. */
static TS_MVE_APART void interleave(const TsMveDepthwise* layer, const int8_t* const lines[4], int32_t at,
                                    int32_t channels, int8_t* words) {
    int8_t outside[TS_MVE_LANES];
    const int8_t* from[4];
    int32_t pitch[4];
    vst1q_s8(outside, vdupq_n_s8((int8_t)layer->in_zero_point));
    for (int32_t i = 0; i < 4; ++i) {
        from[i] = lines[i] == NULL ? outside : lines[i] + at;
        pitch[i] = lines[i] == NULL ? 0 : layer->along.in_pitch;
    }
    __asm__ volatile("vctp.8 %[channels]\n"
                     "dls lr, %[pixels]\n"
                     "1: vpstttt\n"
                     "vldrbt.8 q0, [%[from0]]\n"
                     "vldrbt.8 q1, [%[from1]]\n"
                     "vldrbt.8 q2, [%[from2]]\n"
                     "vldrbt.8 q3, [%[from3]]\n"
                     "add %[from0], %[pitch0]\n"
                     "add %[from1], %[pitch1]\n"
                     "add %[from2], %[pitch2]\n"
                     "add %[from3], %[pitch3]\n"
                     "vst40.8 {q0, q1, q2, q3}, [%[words]]\n"
                     "vst41.8 {q0, q1, q2, q3}, [%[words]]\n"
                     "vst42.8 {q0, q1, q2, q3}, [%[words]]\n"
                     "vst43.8 {q0, q1, q2, q3}, [%[words]]!\n"
                     "le lr, 1b"
                     : [from0] "+r"(from[0]), [from1] "+r"(from[1]), [from2] "+r"(from[2]), [from3] "+r"(from[3]),
                       [words] "+r"(words)
                     : [pitch0] "r"(pitch[0]), [pitch1] "r"(pitch[1]), [pitch2] "r"(pitch[2]), [pitch3] "r"(pitch[3]),
                       [channels] "r"(channels), [pixels] "r"(layer->along.in_size)
                     : "lr", "p0", "q0", "q1", "q2", "q3", "memory");
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
