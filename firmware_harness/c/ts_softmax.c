/* Softmax over rows: float under one rounding rule, 32-bit fixed point under the other. Its logarithm: fixed point. */
#include "ts_inner.h"

static int32_t largest(const int8_t* x, int32_t n) {
    int32_t found = x[0];
    for (int32_t i = 1; i < n; ++i) {
        found = ts_max(found, x[i]);
    }
    return found;
}

static int8_t code(int32_t share) { /* of 256 */
    return (int8_t)(ts_min(share, 255) - 128);
}

enum { TS_SUM_BITS = 12 }; /* integer bits of a sum of exponentials */

/* 1 / (1 + a) with 31 fractional bits, for a in 0..1: three Newton steps with 29 fractional bits. */
static int32_t inverse_of_one_plus(int32_t a) {
    const int32_t half_denominator = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2);
    int32_t x = 1515870810 + ts_high_product(half_denominator, -1010580540); /* 48/17, -32/17 */
    for (int32_t step = 0; step < 3; ++step) {
        const int32_t error = (1 << 29) - ts_high_product(half_denominator, x);
        x += ts_shift_left(ts_high_product(x, error), 2);
    }
    return ts_shift_left(x, 1);
}

#ifdef TS_ROUNDING_SINGLE

static void row(const TsSoftmax* layer, const int8_t* x, int8_t* out) {
    const float* exponentials = TS_ARRAY(float, layer, exponentials);
    const int32_t top = largest(x, layer->size);
    float total = 0.0f;
    for (int32_t i = 0; i < layer->size; ++i) {
        total += exponentials[top - x[i]];
    }
    const float inverse = 1.0f / (total * 0.00390625f);
    for (int32_t i = 0; i < layer->size; ++i) {
        const float share = exponentials[top - x[i]] * inverse;
        const int32_t whole = (int32_t)share; /* the rest is exact, half goes up */
        out[i] = code(whole + (share - (float)whole >= 0.5f ? 1 : 0));
    }
}

#else

static void row(const TsSoftmax* layer, const int8_t* x, int8_t* out) {
    const int32_t* exponentials = TS_ARRAY(int32_t, layer, exponentials);
    const int32_t top = largest(x, layer->size);
    uint64_t total = 0;
    for (int32_t i = 0; i < layer->size; ++i) {
        total += (uint64_t)ts_rounding_shift_right(exponentials[top - x[i]], TS_SUM_BITS);
    }
    int32_t bits = TS_SUM_BITS + 23; /* of a share, to the right */
    for (; total >> 32 != 0; total >>= 1) {
        ++bits;
    }
    for (; total >> 31 == 0; total <<= 1) {
        --bits;
    }
    const int32_t inverse = inverse_of_one_plus((int32_t)(total - 0x80000000u));
    for (int32_t i = 0; i < layer->size; ++i) {
        const int32_t share = ts_high_product(exponentials[top - x[i]], inverse);
        out[i] = code(bits > 31 ? 0 : ts_rounding_shift_right(share, bits));
    }
}

#endif

void ts_softmax(const TsSoftmax* layer, const int8_t* x, int8_t* out) {
    for (int32_t i = 0; i < layer->rows; ++i) {
        row(layer, x + i * layer->size, out + i * layer->size);
    }
}

static int32_t leading_zeros(int32_t value) {
    int32_t count = 0;
    for (uint32_t bits = (uint32_t)value; bits >> 31 == 0; bits <<= 1) {
        ++count;
    }
    return count;
}

/* log(a) with 26 fractional bits for a >= 1 with 19: a quotient of polynomials around a power of 2, or of 2 and its
 * root. */
static int32_t logarithm(int32_t a) {
    const int32_t root_half = 1518500250; /* with 31 fractional bits, as the other constants: 2^(-1/2) */
    const int32_t fourth_root_half = 1805811301;
    const int32_t log_2 = 1488522236;
    const int32_t bits = leading_zeros(a);
    const int32_t root_bits = leading_zeros(ts_high_product(a, root_half)) - 1;
    const int32_t down = ts_shift_left(ts_high_product(ts_shift_left(a, bits - 1), root_half), 1);
    const int32_t r = ts_min(down, ts_shift_left(a, root_bits));
    const int32_t quarter = 1 << 23;
    const int32_t whole = ts_max((12 - bits) * (1 << 25) + quarter, (12 - root_bits) * (1 << 25) - quarter);
    const int32_t half_sum = (int32_t)(((int64_t)r + fourth_root_half + 1) >> 1);
    const int32_t q = 2 * (r - fourth_root_half);
    const int32_t square = ts_high_product(q, q);
    const int32_t numerator = ts_high_product(q, r) + ts_high_product(ts_high_product(q, square), 117049297);
    const int32_t sum = 1057819769 + q + ts_high_product(127690142, square);
    const int32_t inverse = inverse_of_one_plus(ts_high_product(half_sum, sum) + ts_high_product(638450708, q));
    const int32_t rest = ts_high_product(ts_rounding_shift_right(numerator, 6), inverse);
    return ts_shift_left(ts_high_product(whole, log_2) + rest, 1);
}

static void log_row(const TsLogSoftmax* layer, const int8_t* x, int8_t* out) {
    const int32_t* exponentials = TS_ARRAY(int32_t, layer, exponentials);
    const int32_t* differences = TS_ARRAY(int32_t, layer, differences);
    const int32_t top = largest(x, layer->size);
    int32_t total = 0;
    for (int32_t i = 0; i < layer->size; ++i) {
        total += ts_rounding_shift_right(exponentials[top - x[i]], TS_SUM_BITS);
    }
    const int32_t log_total = logarithm(total);
    const int32_t beyond = ts_high_product(INT32_MIN + log_total, layer->reverse_multiplier);
    const int32_t end = ts_min(layer->farthest + 1, -ts_rounding_shift_right(beyond, layer->reverse_shift));
    for (int32_t i = 0; i < layer->size; ++i) {
        const int32_t distance = top - x[i];
        int32_t share = INT8_MIN;
        if (distance < end) { /* otherwise the difference does not fit */
            share = ts_rounding_shift_right(differences[distance] - log_total, 22) + INT8_MAX;
        }
        out[i] = (int8_t)ts_max(share, INT8_MIN);
    }
}

void ts_log_softmax(const TsLogSoftmax* layer, const int8_t* x, int8_t* out) {
    for (int32_t i = 0; i < layer->rows; ++i) {
        log_row(layer, x + i * layer->size, out + i * layer->size);
    }
}
