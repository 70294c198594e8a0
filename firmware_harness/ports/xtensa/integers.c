/* Products of 64 bits and quotients of 32 and 64 bits, from products and shifts of 32 bits. */
#include "arithmetic.h"

uint64_t __udivmoddi4(uint64_t dividend, uint64_t divisor, uint64_t* remainder); /* libgcc's */

uint64_t __umulsidi3(uint32_t a, uint32_t b) {
    const uint32_t a_low = a & 0xffffu, a_high = a >> 16, b_low = b & 0xffffu, b_high = b >> 16;
    const uint32_t low = a_low * b_low, cross = a_high * b_low + (low >> 16); /* at most (2^16 - 1) * 2^16 */
    const uint32_t other = a_low * b_high + (cross & 0xffffu);
    const uint32_t high = a_high * b_high + (cross >> 16) + (other >> 16);
    return (uint64_t)high << 32 | (other << 16 | (low & 0xffffu));
}

int64_t __muldi3(int64_t a, int64_t b) {
    const uint32_t a_low = (uint32_t)a, b_low = (uint32_t)b;
    const uint32_t a_high = (uint32_t)((uint64_t)a >> 32), b_high = (uint32_t)((uint64_t)b >> 32);
    const uint64_t product = __umulsidi3(a_low, b_low);
    return (int64_t)(product + ((uint64_t)(a_low * b_high + a_high * b_low) << 32));
}

/* The quotient bit by bit, from the highest one that can be set; of a divisor of 0 it is the largest number. */
static uint32_t divided(uint32_t dividend, uint32_t divisor, uint32_t* remainder) {
    uint32_t quotient = 0;
    if (divisor == 0) {
        *remainder = dividend;
        return UINT32_MAX;
    }
    if (divisor <= dividend) {
        int shift = __builtin_clz(divisor) - __builtin_clz(dividend);
        for (divisor <<= shift; shift >= 0; --shift, divisor >>= 1) {
            const uint32_t bit = dividend >= divisor;
            quotient = quotient << 1 | bit;
            dividend -= divisor & (0u - bit);
        }
    }
    *remainder = dividend;
    return quotient;
}

uint32_t __udivsi3(uint32_t dividend, uint32_t divisor) {
    uint32_t remainder;
    return divided(dividend, divisor, &remainder);
}

uint32_t __umodsi3(uint32_t dividend, uint32_t divisor) {
    uint32_t remainder;
    (void)divided(dividend, divisor, &remainder);
    return remainder;
}

int32_t __divsi3(int32_t dividend, int32_t divisor) {
    const uint32_t a = dividend < 0 ? 0u - (uint32_t)dividend : (uint32_t)dividend;
    const uint32_t b = divisor < 0 ? 0u - (uint32_t)divisor : (uint32_t)divisor;
    const uint32_t quotient = __udivsi3(a, b);
    return (int32_t)((dividend ^ divisor) < 0 ? 0u - quotient : quotient);
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor) {
    return __udivmoddi4(dividend, divisor, 0);
}

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor) {
    uint64_t remainder;
    (void)__udivmoddi4(dividend, divisor, &remainder);
    return remainder;
}

int64_t __divdi3(int64_t dividend, int64_t divisor) {
    const uint64_t a = dividend < 0 ? 0u - (uint64_t)dividend : (uint64_t)dividend;
    const uint64_t b = divisor < 0 ? 0u - (uint64_t)divisor : (uint64_t)divisor;
    const uint64_t quotient = __udivdi3(a, b);
    return (int64_t)((dividend ^ divisor) < 0 ? 0u - quotient : quotient);
}
