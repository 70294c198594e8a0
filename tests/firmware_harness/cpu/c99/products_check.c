/* The arithmetic of ts_inner.h compared with what defines it, at extremes, near ties and at random. Returns the number
 * of the first check that fails. */
#include "../../../../firmware_harness/c/ts_elementwise.c"

#include <stddef.h>

enum { EXTREMES = 14, RANDOM = 2000000, TIES = 400000 };

static const int32_t extremes[EXTREMES] = {
    INT32_MIN, INT32_MIN + 1, -(1 << 30) - 1, -(1 << 30), -65537, -65536, -1, 0, 1, 65535, 65536, 1 << 30, INT32_MAX - 1, INT32_MAX,
};
static uint64_t state = 88172645463325252u;

static uint32_t random_bits(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static int32_t random_number(void) {
    return (int32_t)random_bits() >> (random_bits() & 31);
}

#ifdef TS_ROUNDING_SINGLE

static int is_float(int32_t acc, float factor) {
    static const TsOutput outputs[3] = {{0, -128, 127}, {-128, 0, 255}, {127, -255, 0}};
    for (size_t i = 0; i < 3; ++i) {
        const TsRescale rescale = {factor};
        if (ts_requantise(acc, &rescale, &outputs[i]) != ts_requantise_float(acc, factor, &outputs[i])) {
            return 0;
        }
    }
    return 1;
}

static float random_factor(void) {
    const union {
        uint32_t bits;
        float number;
    } factor = {random_bits() % (0x46800000u)}; /* from 0 to 2^14, below the smallest normal number too */
    return factor.number;
}

int main(void) {
    for (size_t i = 0; i < EXTREMES; ++i) {
        for (int32_t j = 0; j < 2000; ++j) {
            if (!is_float(extremes[i], random_factor())) {
                return 1;
            }
        }
    }
    for (int32_t i = 0; i < RANDOM; ++i) {
        if (!is_float(random_number(), random_factor())) {
            return 2;
        }
    }
    for (int32_t i = 0; i < TIES; ++i) { /* of all sizes of accumulators, those next to a tie */
        const double tie = (double)(int32_t)(random_bits() % 600) - 300.5;
        const int32_t acc = random_number() | 1;
        const float factor = (float)(tie / acc);
        const int32_t near = (int32_t)(random_bits() % 5) - 2;
        if (factor > 0 && acc < INT32_MAX - 2 && acc > INT32_MIN + 2 && !is_float(acc + near, factor)) {
            return 3;
        }
    }
    return 0;
}

#else

static int32_t by_division(int32_t value, int32_t multiplier) {
    const int64_t product = (int64_t)value * multiplier;
    const int64_t nudge = product >= 0 ? INT64_C(1) << 30 : 1 - (INT64_C(1) << 30);
    return (int32_t)((product + nudge) / (INT64_C(1) << 31));
}

static int is_defined(int32_t value, int32_t multiplier, int32_t shift) {
    if (!(value == INT32_MIN && multiplier == INT32_MIN) &&
        ts_high_product(value, multiplier) != by_division(value, multiplier)) {
        return 0;
    }
    if (multiplier < 0) {
        return 1;
    }
    const int32_t right = ts_rounding_shift_right(by_division(value, multiplier), shift);
    const int32_t left = by_division((int32_t)((uint32_t)value << shift), multiplier);
    return ts_fixed_point(value, multiplier, -shift) == right && ts_fixed_point(value, multiplier, shift) == left;
}

int main(void) {
    for (size_t i = 0; i < EXTREMES * EXTREMES; ++i) {
        for (int32_t shift = 0; shift < 32; ++shift) {
            if (!is_defined(extremes[i / EXTREMES], extremes[i % EXTREMES], shift)) {
                return 1;
            }
        }
    }
    for (int32_t i = 0; i < RANDOM; ++i) {
        if (!is_defined(random_number(), random_number(), (int32_t)(random_bits() & 31))) {
            return 2;
        }
    }
    for (int32_t i = 0; i < RANDOM; ++i) { /* an operand of a sum; its factor is at most one half */
        const TsRescale rescale = {(int32_t)(random_bits() >> 2 | 1u << 30), -(int32_t)(random_bits() & 31)};
        const int32_t steps = (int32_t)(random_bits() % 511) - 255;
        if (scaled(steps, &rescale) != ts_fixed_point(steps * (1 << 20), rescale.multiplier, rescale.shift)) {
            return 3;
        }
    }
    return 0;
}

#endif
