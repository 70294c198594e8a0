/* Sum, difference and product, and functions of one code by table. */
#include "ts_inner.h"

#ifdef TS_ROUNDING_SINGLE

void ts_add(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t i = 0; i < layer->size; ++i) {
        const int32_t sum = layer->bias + a[i] * layer->multiplier_a + b[i] * layer->multiplier_b;
        out[i] = ts_code(sum >> layer->shift, &layer->out);
    }
}

void ts_sub(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    ts_add(layer, a, b, out); /* the second factor is negative */
}

#else

enum { TS_ADD_HEADROOM = 1 << 20 }; /* the sum is formed with 20 fractional bits */

static int32_t scaled(int8_t code, int32_t zero_point, const TsRescale* rescale) {
    return ts_rescale((code - zero_point) * TS_ADD_HEADROOM, rescale);
}

void ts_add(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t i = 0; i < layer->size; ++i) {
        const int32_t scaled_a = scaled(a[i], layer->a_zero_point, &layer->rescale_a);
        const int32_t scaled_b = scaled(b[i], layer->b_zero_point, &layer->rescale_b);
        out[i] = ts_requantise(scaled_a + scaled_b, &layer->rescale_sum, &layer->out);
    }
}

void ts_sub(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t i = 0; i < layer->size; ++i) {
        const int32_t scaled_a = scaled(a[i], layer->a_zero_point, &layer->rescale_a);
        const int32_t scaled_b = scaled(b[i], layer->b_zero_point, &layer->rescale_b);
        out[i] = ts_requantise(scaled_a - scaled_b, &layer->rescale_sum, &layer->out);
    }
}

#endif

void ts_mul(const TsMul* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t repeat = 0; repeat < layer->repeats; ++repeat) {
        for (int32_t i = 0; i < layer->size; ++i) {
            const int32_t product = (*a++ - layer->a_zero_point) * (b[i] - layer->b_zero_point);
            *out++ = ts_requantise(product, &layer->rescale, &layer->out);
        }
    }
}

void ts_lookup(const TsLookup* layer, const int8_t* x, int8_t* out) {
    const int8_t* table = TS_ARRAY(int8_t, layer, table) + 128;
    for (int32_t i = 0; i < layer->size; ++i) {
        out[i] = table[x[i]];
    }
}
