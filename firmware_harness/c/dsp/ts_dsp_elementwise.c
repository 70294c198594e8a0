/* Sum and product of two tensors, and bounds of one. Under the fixed-point rule one summand is looked up in a table,
 * the other is only shifted. */
#include "ts_dsp_pointwise.h"

void ts_dsp_add(const TsDspAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const TsDspSummand summand = ts_dsp_summand(&layer->sum);
#ifndef TS_ROUNDING_SINGLE
    if (layer->larger == 1) {
        const int8_t* larger = b;
        b = a;
        a = larger;
    }
#endif
    for (int32_t i = 0; i < layer->size; ++i) {
        out[i] = (int8_t)ts_dsp_sum_of(a[i], b[i], &summand, TS_DSP_TO_SUM_0);
    }
    if (layer->low > -128) {
        ts_dsp_raise(out, layer->size, layer->low);
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
