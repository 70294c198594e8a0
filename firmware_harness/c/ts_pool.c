/* Pools: windows exclude padding; scale and zero point of input and output are the same. */
#include "ts_window.h"

typedef int8_t (*Reduce)(const int8_t* x, int32_t channels, int32_t in_width, TsSpan rows, TsSpan columns);

/* The largest code of one channel inside the window; x points to its corner. */
static int8_t largest(const int8_t* x, int32_t channels, int32_t in_width, TsSpan rows, TsSpan columns) {
    int8_t found = INT8_MIN;
    for (int32_t i = 0; i < rows.last - rows.first; ++i) {
        for (int32_t j = 0; j < columns.last - columns.first; ++j) {
            const int8_t code = x[(i * in_width + j) * channels];
            found = code > found ? code : found;
        }
    }
    return found;
}

/* The average code, half away from zero. */
static int8_t average(const int8_t* x, int32_t channels, int32_t in_width, TsSpan rows, TsSpan columns) {
    const int32_t count = (rows.last - rows.first) * (columns.last - columns.first);
    int32_t total = 0;
    for (int32_t i = 0; i < rows.last - rows.first; ++i) {
        for (int32_t j = 0; j < columns.last - columns.first; ++j) {
            total += x[(i * in_width + j) * channels];
        }
    }
    return (int8_t)((total > 0 ? total + count / 2 : total - count / 2) / count);
}

static void pool(const TsPool* layer, const int8_t* x, int8_t* out, Reduce reduce) {
    const TsWindow* window = &layer->window;
    for (int32_t y = 0; y < window->out_height; ++y) {
        const TsSpan rows = ts_rows(window, y);
        for (int32_t column = 0; column < window->out_width; ++column) {
            const TsSpan columns = ts_columns(window, column);
            const int32_t corner = (rows.start + rows.first) * window->in_width + columns.start + columns.first;
            const int8_t* from = x + corner * layer->channels;
            for (int32_t channel = 0; channel < layer->channels; ++channel) {
                *out++ = reduce(from + channel, layer->channels, window->in_width, rows, columns);
            }
        }
    }
}

void ts_max_pool(const TsPool* layer, const int8_t* x, int8_t* out) {
    pool(layer, x, out, largest);
}

void ts_average_pool(const TsPool* layer, const int8_t* x, int8_t* out) {
    pool(layer, x, out, average);
}
