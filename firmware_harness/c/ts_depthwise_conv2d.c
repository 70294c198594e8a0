/* Depthwise 2-D convolution, multiplier 1, any kernel, stride and padding. */
#include "ts_window.h"

enum { TS_BLOCK = 16 }; /* channels summed side by side, because they are contiguous */

/* `n` channels of one output pixel, from channel `first` on. */
static void block(const TsDepthwiseConv2D* layer, const int8_t* x, TsSpan rows, TsSpan columns, int32_t first,
                  int32_t n, int8_t* out) {
    const TsWindow* window = &layer->window;
    const int8_t* const weight = TS_ARRAY(int8_t, layer, weight) + first;
    const int32_t* const bias = TS_ARRAY(int32_t, layer, bias) + first;
    const TsRescale* const rescale = TS_ARRAY(TsRescale, layer, rescale) + first;
    int32_t acc[TS_BLOCK];
    for (int32_t i = 0; i < n; ++i) {
        acc[i] = bias[i];
    }
    for (int32_t i = rows.first; i < rows.last; ++i) {
        for (int32_t j = columns.first; j < columns.last; ++j) {
            const int32_t pixel = (rows.start + i) * window->in_width + columns.start + j;
            const int32_t tap = i * window->kernel_width + j;
            ts_multiply_accumulate(x + pixel * layer->channels + first, weight + tap * layer->channels, n,
                                   layer->in_zero_point, acc);
        }
    }
    for (int32_t i = 0; i < n; ++i) {
        out[i] = ts_requantise(acc[i], &rescale[i], &layer->out);
    }
}

void ts_depthwise_conv2d(const TsDepthwiseConv2D* layer, const int8_t* x, int8_t* out) {
    for (int32_t y = 0; y < layer->window.out_height; ++y) {
        const TsSpan rows = ts_rows(&layer->window, y);
        for (int32_t column = 0; column < layer->window.out_width; ++column) {
            const TsSpan columns = ts_columns(&layer->window, column);
            for (int32_t first = 0; first < layer->channels; first += TS_BLOCK) {
                const int32_t n = ts_min(TS_BLOCK, layer->channels - first);
                block(layer, x, rows, columns, first, n, out + first);
            }
            out += layer->channels;
        }
    }
}
