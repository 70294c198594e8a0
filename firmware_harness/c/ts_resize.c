/* Another height and width; places and weights are computed when the model is emitted. */
#include <string.h>

#include "ts_inner.h"

void ts_resize_nearest(const TsResize* layer, const int8_t* x, int8_t* out) {
    const int32_t* rows = TS_ARRAY(int32_t, layer, rows);
    const int32_t* columns = TS_ARRAY(int32_t, layer, columns);
    for (int32_t i = 0; i < layer->out_height; ++i) {
        const int8_t* row = x + rows[i] * layer->in_width * layer->channels;
        for (int32_t j = 0; j < layer->out_width; ++j) {
            memcpy(out, row + columns[j] * layer->channels, (size_t)layer->channels);
            out += layer->channels;
        }
    }
}

#ifdef TS_ROUNDING_SINGLE

enum { TS_WEIGHTS = 1 << 11 };

static int32_t rounded(int32_t total) { /* half up */
    return (total + (1 << 21)) >> 22;
}

#else

enum { TS_WEIGHTS = 1 << 10 };

static int32_t rounded(int32_t total) { /* half away from zero */
    return ts_rounding_shift_right(total, 20);
}

#endif

static int32_t between(int32_t first, int32_t second, int32_t weight) {
    return first * (TS_WEIGHTS - weight) + second * weight;
}

void ts_resize_bilinear(const TsResize* layer, const int8_t* x, int8_t* out) {
    const int32_t* rows = TS_ARRAY(int32_t, layer, rows);
    for (int32_t i = 0; i < layer->out_height; ++i, rows += 3) {
        const int8_t* top = x + rows[0] * layer->in_width * layer->channels;
        const int8_t* bottom = x + rows[1] * layer->in_width * layer->channels;
        const int32_t* columns = TS_ARRAY(int32_t, layer, columns);
        for (int32_t j = 0; j < layer->out_width; ++j, columns += 3) {
            const int32_t left = columns[0] * layer->channels;
            const int32_t right = columns[1] * layer->channels;
            for (int32_t channel = 0; channel < layer->channels; ++channel) {
                const int32_t above = between(top[left + channel], top[right + channel], columns[2]);
                const int32_t below = between(bottom[left + channel], bottom[right + channel], columns[2]);
                *out++ = (int8_t)rounded(between(above, below, rows[2]));
            }
        }
    }
}
