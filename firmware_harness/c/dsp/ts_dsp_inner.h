/* Instructions of Armv7E-M and Armv8-M with DSP that the kernels of this folder use, and their equivalents in C.
 *
 * With the equivalents any machine can run the same kernels, for example under sanitizers. The blocks of assembly
 * (ts_dsp_*.c) have equivalents as well; TS_DSP_ASSEMBLY selects which are compiled. Unaligned words may be loaded,
 * as on these processors. */
#ifndef TS_DSP_INNER_H
#define TS_DSP_INNER_H

#include <stddef.h>
#include <string.h>

#include "ts_dsp.h"
#include "ts_inner.h"

#if defined(__ARM_FEATURE_DSP) && (!defined(TS_ROUNDING_SINGLE) || defined(__ARM_FP))
#define TS_DSP_ASSEMBLY
#endif

/* In link-time optimisation Clang assembles what is outside of functions without the processor's flags. */
#ifdef __clang__
#define TS_DSP_PROCESSOR ".cpu cortex-m4\n"
#else
#define TS_DSP_PROCESSOR
#endif

enum { TS_DSP_QUAD_BYTES = 32 }; /* of widened weights: four inputs of four channels */

/* Place of the four inputs of a group in a pixel of a tile, in numbers of 16 bits; the other pixel's are 2 behind. */
static const int8_t ts_dsp_place[4] = {0, 4, 1, 5};

/* A rescale's input as a multiple of the accumulator. */
#ifdef TS_ROUNDING_SINGLE
enum { TS_DSP_TIMES = 1 };
#else
enum { TS_DSP_TIMES = 2 };
#endif

static inline uint32_t ts_dsp_load(const void* from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static inline void ts_dsp_store(void* to, uint32_t word) {
    memcpy(to, &word, sizeof word);
}

/* Bytes 0 and 2, or 1 and 3, of a word of codes as two 16-bit numbers. */
static inline uint32_t ts_dsp_even(uint32_t codes) {
#ifdef TS_DSP_ASSEMBLY
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(codes));
    return pair;
#else
    const uint32_t low = codes & 0xffu, high = codes >> 16 & 0xffu;
    return (((low ^ 0x80u) - 0x80u) & 0xffffu) | ((high ^ 0x80u) - 0x80u) << 16;
#endif
}

static inline uint32_t ts_dsp_odd(uint32_t codes) {
#ifdef TS_DSP_ASSEMBLY
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(codes));
    return pair;
#else
    return ts_dsp_even(codes >> 8);
#endif
}

/* The lower 16-bit numbers of two pairs, and the upper ones. */
static inline uint32_t ts_dsp_lower(uint32_t a, uint32_t b) {
#ifdef TS_DSP_ASSEMBLY
    uint32_t pair;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
#else
    return (a & 0xffffu) | b << 16;
#endif
}

static inline uint32_t ts_dsp_upper(uint32_t a, uint32_t b) {
#ifdef TS_DSP_ASSEMBLY
    uint32_t pair;
    __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(pair) : "r"(a), "r"(b));
    return pair;
#else
    return a >> 16 | (b & 0xffff0000u);
#endif
}

/* a + b, modulo 2^32. */
static inline int32_t ts_dsp_plus(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

static inline int32_t ts_dsp_low(uint32_t word) {
    return (int16_t)(word & 0xffffu);
}

static inline int32_t ts_dsp_high(uint32_t word) {
    return (int16_t)(word >> 16);
}

/* offset + value * multiplier / 2^32, the quotient rounded half up. */
static inline int32_t ts_dsp_high_product(int32_t value, int32_t multiplier, int32_t offset) {
#ifdef TS_DSP_ASSEMBLY
    int32_t sum;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(sum) : "r"(value), "r"(multiplier), "r"(offset));
    return sum;
#else
    const int64_t product = (int64_t)value * multiplier + INT64_C(0x80000000);
    return offset + (int32_t)(product >> 32);
#endif
}

static inline int32_t ts_dsp_saturate(int32_t value) {
#ifdef TS_DSP_ASSEMBLY
    int32_t code;
    __asm__("ssat %0, #8, %1" : "=r"(code) : "r"(value));
    return code;
#else
    return ts_min(ts_max(value, -128), 127);
#endif
}

/* The sum, saturated to int32. */
static inline int32_t ts_dsp_plus_saturating(int32_t a, int32_t b) {
#ifdef TS_DSP_ASSEMBLY
    int32_t sum;
    __asm__("qadd %0, %1, %2" : "=r"(sum) : "r"(a), "r"(b));
    return sum;
#else
    const int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
#endif
}

/* Sums and differences of four numbers 0..255, which end at 255 and at 0. */
static inline uint32_t ts_dsp_plus_bytes(uint32_t a, uint32_t b) {
#ifdef TS_DSP_ASSEMBLY
    uint32_t sums;
    __asm__("uqadd8 %0, %1, %2" : "=r"(sums) : "r"(a), "r"(b));
    return sums;
#else
    uint32_t sums = 0;
    for (int32_t shift = 0; shift < 32; shift += 8) {
        const uint32_t sum = (a >> shift & 0xffu) + (b >> shift & 0xffu);
        sums |= (sum > 0xffu ? 0xffu : sum) << shift;
    }
    return sums;
#endif
}

static inline uint32_t ts_dsp_minus_bytes(uint32_t a, uint32_t b) {
#ifdef TS_DSP_ASSEMBLY
    uint32_t differences;
    __asm__("uqsub8 %0, %1, %2" : "=r"(differences) : "r"(a), "r"(b));
    return differences;
#else
    return ~ts_dsp_plus_bytes(~a, b);
#endif
}

/* 0..255 */
static inline int32_t ts_dsp_saturate_positive(int32_t value) {
#ifdef TS_DSP_ASSEMBLY
    int32_t number;
    __asm__("usat %0, #8, %1" : "=r"(number) : "r"(value));
    return number;
#else
    return ts_min(ts_max(value, 0), 255);
#endif
}

#ifdef TS_ROUNDING_SINGLE

/* The nearest integer, half to even, saturated to int32. */
static inline int32_t ts_dsp_nearest(float value) {
#ifdef TS_DSP_ASSEMBLY
    int32_t nearest;
    __asm__("vcvtr.s32.f32 %1, %1\n\tvmov %0, %1" : "=r"(nearest), "+t"(value));
    return nearest;
#else
    return ts_round(value, -1000.0f, 1000.0f); /* larger than any sum with a code */
#endif
}

/* An accumulator to a code. */
static inline int32_t ts_dsp_code(int32_t acc, const TsDspRescale* rescale, int32_t zero_point) {
    return ts_dsp_saturate(ts_dsp_plus_saturating(ts_dsp_nearest((float)acc * rescale->factor), zero_point));
}

/* An accumulator to the code above -128 after ReLU with zero point -128. */
static inline int32_t ts_dsp_positive(int32_t acc, const TsDspRescale* rescale) {
    return ts_dsp_saturate_positive(ts_dsp_nearest((float)acc * rescale->factor));
}

/* What becomes the term of the zero point when shifted, see below; under this rule the zero point itself. */
static inline int32_t ts_dsp_zero_term(int32_t zero_point) {
    return zero_point;
}

/* Rescale of a channel of a quad. */
static inline TsDspRescale ts_dsp_rescale_of(const TsDspQuad* quad, int32_t i, int32_t zero_term) {
    (void)zero_term;
    const TsDspRescale rescale = {quad->factor[i]};
    return rescale;
}

#else

/* Twice an accumulator to a code; the rescale's offset includes the zero point. Halves round away from zero, so that
 * 1 is subtracted below zero; a negative sum whose product rounds to zero gives the same code either way. */
static inline int32_t ts_dsp_code(int32_t acc, const TsDspRescale* rescale, int32_t zero_point) {
    (void)zero_point;
    const int32_t offset = rescale->offset + (acc >> 31);
    return ts_dsp_saturate(ts_dsp_high_product(acc, rescale->multiplier, offset) >> rescale->shift);
}

/* The same after ReLU with zero point -128. Values below zero are irrelevant. */
static inline int32_t ts_dsp_positive(int32_t acc, const TsDspRescale* rescale) {
    return ts_dsp_saturate_positive(ts_dsp_high_product(acc, rescale->multiplier, rescale->offset) >> rescale->shift);
}

/* Twice the zero point plus one: shifted by a shift less one, the offset of a rescale. */
static inline int32_t ts_dsp_zero_term(int32_t zero_point) {
    return 2 * zero_point + 1;
}

/* Rescale of a channel of a quad. */
static inline TsDspRescale ts_dsp_rescale_of(const TsDspQuad* quad, int32_t i, int32_t zero_term) {
    const int32_t shift = (int32_t)(quad->shifts >> 8 * i & 0xffu);
    const TsDspRescale rescale = {quad->multiplier[i], zero_term * (1 << (shift - 1)), shift};
    return rescale;
}

#endif

#endif
