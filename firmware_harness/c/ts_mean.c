/* Mean over space or over channels. */
#include "ts_inner.h"

static int32_t sum(const TsMean* layer, const int8_t* x) {
    int32_t total = 0;
    for (int32_t j = 0; j < layer->count; ++j) {
        total += x[j * layer->step];
    }
    return total;
}

#ifdef TS_ROUNDING_SINGLE

static int8_t code(const TsMean* layer, int32_t total) {
    const float low = (float)(layer->out.low + layer->out.zero_point);
    const float high = (float)(layer->out.high + layer->out.zero_point);
    return (int8_t)ts_round((float)total * layer->factor + layer->offset, low, high);
}

#else

static int8_t code(const TsMean* layer, int32_t total) {
    return ts_requantise(total - layer->count * layer->in_zero_point, &layer->rescale, &layer->out);
}

#endif

void ts_mean(const TsMean* layer, const int8_t* x, int8_t* out) {
    for (int32_t i = 0; i < layer->size; ++i) {
        out[i] = code(layer, sum(layer, x + i * layer->stride));
    }
}
