/* Softmax over rows: float under one rounding rule, 32-bit fixed point under the other. */
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
