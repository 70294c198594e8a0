/* Products of integers, rounded down, and numbers of bits; internal to the log-mel front end in integer arithmetic. */
#ifndef TS_HIGH_H
#define TS_HIGH_H

#include <stdint.h>

/* Processors whose multiplication has 32 bits combine products of halves. */
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__) ||                                                       \
    (defined(__XTENSA__) && !defined(__XTENSA_MUL32_HIGH__))
#define TS_HIGH_BY_HALVES
#endif

/* High 32 bits of a product. */
static inline int32_t ts_high(int32_t a, int32_t b) {
#ifdef TS_HIGH_BY_HALVES
    const uint32_t a_low = (uint32_t)a & 0xffffu, b_low = (uint32_t)b & 0xffffu;
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const int32_t first = a_high * (int32_t)b_low + (int32_t)((a_low * b_low) >> 16);
    const int32_t second = (int32_t)a_low * b_high + (int32_t)((uint32_t)first & 0xffffu);
    return a_high * b_high + (first >> 16) + (second >> 16);
#else
    return (int32_t)(((int64_t)a * b) >> 32);
#endif
}

/* High 32 bits of the product with a factor of at most 2^30, whose lower half is signed: the sum of the products in the
 * middle has 32 bits. */
static inline int32_t ts_high_of_factor(int32_t a, int32_t factor) {
#ifdef TS_HIGH_BY_HALVES
    const int32_t low = (int16_t)factor, high = (factor - low) >> 16;
    const int32_t a_low = (int32_t)((uint32_t)a & 0xffffu), a_high = a >> 16;
    return a_high * high + ((a_high * low + a_low * high + ((a_low * low) >> 16)) >> 16);
#else
    return ts_high(a, factor);
#endif
}

/* A product of 16 and 32 bits without its low 16. */
static inline int32_t ts_high_short(int16_t a, int32_t b) {
#ifdef TS_HIGH_BY_HALVES
    return a * (b >> 16) + ((a * (int32_t)((uint32_t)b & 0xffffu)) >> 16);
#else
    return ts_high((int32_t)((uint32_t)(int32_t)a << 16), b);
#endif
}

/* A product of 31 bits and a fraction of 16 bits, without the fraction. */
static inline uint32_t ts_share(uint32_t a, uint16_t fraction) {
#ifdef TS_HIGH_BY_HALVES
    return (a >> 16) * fraction + (((a & 0xffffu) * fraction) >> 16);
#else
    return (uint32_t)(((uint64_t)a * ((uint32_t)fraction << 16)) >> 32);
#endif
}

/* Bits of a number, 0 for 0. */
static inline int32_t ts_bits(uint32_t value) {
#ifdef __GNUC__
    return value == 0 ? 0 : 32 - __builtin_clz(value);
#else
    int32_t bits = 0;
    for (; value != 0; value >>= 1) {
        ++bits;
    }
    return bits;
#endif
}

#endif
