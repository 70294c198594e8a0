/* Sum, product and reciprocal square root, element by element. */
#include "ts_inner.h"

#ifdef TS_ROUNDING_SINGLE

void ts_add(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t i = 0; i < layer->size; ++i) {
        const int32_t sum = layer->bias + a[i] * layer->multiplier_a + b[i] * layer->multiplier_b;
        out[i] = ts_code(sum >> layer->shift, &layer->out);
    }
}

#else

enum { TS_ADD_HEADROOM = 1 << 20 }; /* the sum is formed with 20 fractional bits */

void ts_add(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t i = 0; i < layer->size; ++i) {
        const int32_t scaled_a = ts_rescale((a[i] - layer->a_zero_point) * TS_ADD_HEADROOM, &layer->rescale_a);
        const int32_t scaled_b = ts_rescale((b[i] - layer->b_zero_point) * TS_ADD_HEADROOM, &layer->rescale_b);
        out[i] = ts_requantise(scaled_a + scaled_b, &layer->rescale_sum, &layer->out);
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

void ts_rsqrt(const TsRsqrt* layer, const int8_t* x, int8_t* out) {
    for (int32_t i = 0; i < layer->size; ++i) {
        out[i] = layer->table[x[i] + 128];
    }
}
