/* Sums, products and conversions of IEEE single precision, rounded to nearest, ties to even. */
#include <string.h>

#include "arithmetic.h"

enum { FRACTION_BITS = 23, BIAS = 127, SPECIAL = 0xff }; /* SPECIAL: exponent of infinity and NaN */
enum { GUARD_BITS = 7, HALF = 1 << (GUARD_BITS - 1), GUARD_MASK = (1 << GUARD_BITS) - 1 };
#define SIGN 0x80000000u
#define INFINITE 0x7f800000u
#define HIDDEN 0x00800000u
#define NOT_A_NUMBER 0x7fc00000u

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int exponent_of(uint32_t bits) {
    return (int)(bits >> FRACTION_BITS & SPECIAL);
}

/* Shift right; a lost bit stays visible as the lowest one. */
static uint32_t shifted(uint32_t value, int shift) {
    return shift > 31 ? value != 0 : shift == 0 ? value : value >> shift | ((value << (32 - shift)) != 0);
}

/* significand * 2^(exponent - BIAS - 29), rounded. */
static float rounded(uint32_t sign, int exponent, uint32_t significand) {
    if (significand == 0) {
        return float_of(sign);
    }
    const int left = __builtin_clz(significand) - 1;
    exponent -= left;
    significand = left < 0 ? shifted(significand, 1) : significand << left;
    if (exponent < 0) { /* below the normal numbers */
        significand = shifted(significand, -exponent);
        exponent = 0;
    }
    const uint32_t guard = significand & GUARD_MASK;
    significand = (significand + HALF) >> GUARD_BITS;
    significand &= guard == HALF ? ~1u : ~0u; /* a tie goes to the even one */
    /* The leading bit of the significand adds 1 to the exponent. */
    const uint32_t magnitude = ((uint32_t)exponent << FRACTION_BITS) + significand;
    return float_of(sign | (exponent >= SPECIAL || magnitude > INFINITE ? INFINITE : magnitude));
}

/* Significand of a finite number with its leading bit, and the exponent that goes with it. */
static uint32_t significand_of(uint32_t bits, int* exponent) {
    const uint32_t fraction = bits & (HIDDEN - 1);
    *exponent = exponent_of(bits);
    if (*exponent != 0) {
        return fraction | HIDDEN;
    }
    *exponent = 1;
    return fraction;
}

float __addsf3(float first, float second) {
    uint32_t a = bits_of(first), b = bits_of(second);
    if ((a & ~SIGN) < (b & ~SIGN)) {
        const uint32_t larger = b;
        b = a;
        a = larger;
    }
    if (exponent_of(a) == SPECIAL) {
        const int opposite = (a ^ b) == SIGN;
        return float_of((a & ~SIGN) > INFINITE || opposite ? NOT_A_NUMBER : a);
    }
    int exponent, lower;
    const uint32_t large = significand_of(a, &exponent) << (GUARD_BITS - 1);
    const uint32_t small = significand_of(b, &lower) << (GUARD_BITS - 1);
    const uint32_t aligned = shifted(small, exponent - lower);
    if (((a ^ b) & SIGN) == 0) {
        return rounded(a & SIGN, exponent, large + aligned);
    }
    return large == aligned ? 0.0f : rounded(a & SIGN, exponent, large - aligned);
}

float __subsf3(float a, float b) {
    return __addsf3(a, float_of(bits_of(b) ^ SIGN));
}

float __mulsf3(float first, float second) {
    const uint32_t a = bits_of(first), b = bits_of(second), sign = (a ^ b) & SIGN;
    if (exponent_of(a) == SPECIAL || exponent_of(b) == SPECIAL) {
        const uint32_t a_size = a & ~SIGN, b_size = b & ~SIGN;
        const int undefined = a_size > INFINITE || b_size > INFINITE || a_size == 0 || b_size == 0;
        return float_of(undefined ? NOT_A_NUMBER : sign | INFINITE);
    }
    int a_exponent, b_exponent;
    const uint32_t a_significand = significand_of(a, &a_exponent), b_significand = significand_of(b, &b_exponent);
    if (a_significand == 0 || b_significand == 0) {
        return float_of(sign);
    }
    /* Subnormal numbers too begin at the leading bit, so that the upper half of the product has all that is needed. */
    const int a_left = __builtin_clz(a_significand), b_left = __builtin_clz(b_significand);
    const uint64_t product = __umulsidi3(a_significand << a_left, b_significand << b_left);
    const uint32_t significand = (uint32_t)(product >> 32) | ((uint32_t)product != 0);
    return rounded(sign, a_exponent - a_left + b_exponent - b_left - BIAS + 15, significand);
}

float __floatunsisf(uint32_t value) {
    return rounded(0, BIAS + 29, value);
}

float __floatsisf(int32_t value) {
    const uint32_t size = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
    return rounded(value < 0 ? SIGN : 0, BIAS + 29, size);
}

uint32_t __fixunssfsi(float value) {
    const uint32_t bits = bits_of(value);
    const int exponent = exponent_of(bits) - BIAS;
    if ((bits & SIGN) != 0 || exponent < 0) {
        return 0;
    }
    if (exponent > 31) {
        return UINT32_MAX;
    }
    const uint32_t significand = ((bits & (HIDDEN - 1)) | HIDDEN) << 8; /* the leading bit in bit 31 */
    return significand >> (31 - exponent);
}
