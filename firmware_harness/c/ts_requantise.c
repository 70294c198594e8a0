/* Rescaling on processors where it is too long to be part of each kernel. */
#include "ts_inner.h"

#if defined(TS_ROUNDING_SINGLE) && defined(TS_SOFT_FLOAT)

/* The product in fixed point, with 21 fractional bits, is within 2^-20 of the exact one. Below 2^8 the float32 one is
 * within 2^-15 of it, so that both round to the same code where neither is within 2^-13 of a tie. From 2^8 on, both
 * saturate, as codes are at most 255 from the zero point. */
int8_t ts_requantise(int32_t acc, const TsRescale* rescale, const TsOutput* out) {
    const union {
        float number;
        uint32_t bits;
    } factor = {rescale->factor};
    const int32_t left = (int32_t)(factor.bits >> 23) - 105; /* 2^-22 is the smallest factor that is not shifted */
    if (left >= 0 && left <= 30) {
        const int32_t largest = INT32_MAX >> left; /* at least 256 codes */
        const int32_t scaled = ts_wrapping_shift_left(ts_min(ts_max(acc, -largest), largest), left);
        const int32_t significand = (int32_t)((factor.bits << 7 & 0x3fffffffu) | 0x40000000u);
        const int32_t product = ts_high_product(scaled, significand);
        const uint32_t fraction = (uint32_t)product << 11;
        if (fraction - 0x7ff80000u > 0x00100000u) {
            return ts_code(((product >> 20) + 1) >> 1, out);
        }
    }
    return ts_requantise_float(acc, rescale->factor, out);
}

#endif

#ifdef TS_NARROW_MULTIPLY

int32_t ts_fixed_point(int32_t value, int32_t multiplier, int32_t shift) {
    const int32_t scaled = ts_high_product(ts_wrapping_shift_left(value, ts_max(shift, 0)), multiplier);
    return ts_shift_down(scaled, shift);
}

#endif
