/* Sum and product of two tensors, and bounds of one. Under the fixed-point rule one summand is looked up in a table,
 * the other is only shifted. */
#include "ts_dsp_pointwise.h"

/* The sums of four codes each of `a` and `b`, side by side. */
static inline uint32_t sum_four(uint32_t a, uint32_t b, const TsDspSummand* summand) {
    uint32_t sums = 0;
#pragma GCC unroll 4
    for (int32_t shift = 0; shift < 32; shift += 8) {
        const int32_t one = (int8_t)(a >> shift & 0xffu), other = (int8_t)(b >> shift & 0xffu);
        sums |= ((uint32_t)ts_dsp_sum_of(one, other, summand, TS_DSP_TO_SUM_0) & 0xffu) << shift;
    }
    return sums;
}

void ts_dsp_add(const TsDspAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const TsDspSummand summand = ts_dsp_summand(&layer->sum);
#ifndef TS_ROUNDING_SINGLE
    if (layer->larger == 1) {
        const int8_t* larger = b;
        b = a;
        a = larger;
    }
#endif
    const int32_t size = layer->size;
    int32_t i = 0;
    for (; i + 4 <= size; i += 4) {
        ts_dsp_store(out + i, sum_four(ts_dsp_load(a + i), ts_dsp_load(b + i), &summand));
    }
    for (; i < size; ++i) {
        out[i] = (int8_t)ts_dsp_sum_of(a[i], b[i], &summand, TS_DSP_TO_SUM_0);
    }
    if (layer->low > -128) {
        ts_dsp_raise(out, size, layer->low);
    }
}

void ts_dsp_clip_codes(const TsDspClip* layer, const int8_t* x, int8_t* out) {
    ts_dsp_clip(x, layer->size, layer->low, layer->high, out);
}

void ts_dsp_mul(const TsDspMul* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const TsDspRescale rescale = layer->rescale;
    const int32_t a_zero = layer->a_zero_point, b_zero = layer->b_zero_point, out_zero = layer->out_zero_point;
    const int32_t size = layer->size;
    int8_t* to = out;
    for (int32_t repeat = 0; repeat < layer->repeats; ++repeat) {
        for (int32_t i = 0; i < size; ++i) {
            const int32_t product = (*a++ - a_zero) * (b[i] - b_zero);
            *to++ = (int8_t)ts_dsp_code(product * TS_DSP_TIMES, &rescale, out_zero);
        }
    }
    if (layer->low > -128) {
        ts_dsp_raise(out, layer->repeats * size, layer->low);
    }
}
