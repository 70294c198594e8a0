/* Sums and means, and the largest or the smallest code, over any axes. */
#include "ts_inner.h"

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
        int32_t total = 0;
        for (int32_t j = 0; j < layer->count; ++j) {
            total += x[i * layer->stride + j * layer->step];
        }
        out[i] = code(layer, total);
    }
}

void ts_reduce(const TsReduce* layer, const int8_t* x, int8_t* out) {
    const int32_t* sizes = TS_ARRAY(int32_t, &layer->axes, sizes);
    const int32_t* steps = TS_ARRAY(int32_t, &layer->axes, steps);
    for (int32_t i = 0; i < layer->mean.size; ++i) {
        const int8_t* from = x + ts_place(sizes, steps, i);
        int32_t total = 0;
        for (int32_t j = 0; j < layer->mean.count; ++j) {
            total += from[ts_place(sizes + TS_AXES, steps + TS_AXES, j)];
        }
        out[i] = code(&layer->mean, total);
    }
}

/* ~code reverses the order of the codes, so that the smallest is found as the largest. */
void ts_extreme(const TsExtreme* layer, const int8_t* x, int8_t* out) {
    const int32_t* sizes = TS_ARRAY(int32_t, &layer->axes, sizes);
    const int32_t* steps = TS_ARRAY(int32_t, &layer->axes, steps);
    for (int32_t i = 0; i < layer->size; ++i) {
        const int8_t* from = x + ts_place(sizes, steps, i);
        int32_t largest = INT8_MIN;
        for (int32_t j = 0; j < layer->count; ++j) {
            largest = ts_max(largest, from[ts_place(sizes + TS_AXES, steps + TS_AXES, j)] ^ layer->flip);
        }
        out[i] = (int8_t)(largest ^ layer->flip);
    }
}
