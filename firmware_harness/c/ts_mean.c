/* Mean over space or over channels. */
#include "ts_inner.h"

void ts_mean(const TsMean* layer, const int8_t* x, int8_t* out) {
    for (int32_t i = 0; i < layer->size; ++i) {
        const int8_t* from = x + i * layer->stride;
        int32_t total = 0;
        for (int32_t j = 0; j < layer->count; ++j) {
            total += from[j * layer->step] - layer->in_zero_point;
        }
        out[i] = ts_requantise(total, &layer->rescale, &layer->out);
    }
}
