/* 2-D convolution, any kernel, stride and padding. */
#include "ts_window.h"

/* One output element: per kernel row, the taps inside the input are contiguous, with all channels. */
static int32_t accumulate(const TsConv2D* layer, const int8_t* x, TsSpan rows, TsSpan columns, const int8_t* weight,
                          int32_t acc) {
    const TsWindow* window = &layer->window;
    const int32_t kernel_row = window->kernel_width * layer->in_channels;
    const int32_t in_row = window->in_width * layer->in_channels;
    const int32_t n = (columns.last - columns.first) * layer->in_channels;
    if (n <= 0) { /* padding only: computing its address would be undefined */
        return acc;
    }
    for (int32_t i = rows.first; i < rows.last; ++i) {
        const int8_t* from = x + (rows.start + i) * in_row + (columns.start + columns.first) * layer->in_channels;
        acc = ts_dot(from, weight + i * kernel_row + columns.first * layer->in_channels, n, layer->in_zero_point, acc);
    }
    return acc;
}

void ts_conv2d(const TsConv2D* layer, const int8_t* x, int8_t* out) {
    const int8_t* const weights = TS_ARRAY(int8_t, layer, weight);
    const int32_t* const bias = TS_ARRAY(int32_t, layer, bias);
    const TsRescale* const rescale = TS_ARRAY(TsRescale, layer, rescale);
    const int32_t per_channel = layer->window.kernel_height * layer->window.kernel_width * layer->in_channels;
    for (int32_t y = 0; y < layer->window.out_height; ++y) {
        const TsSpan rows = ts_rows(&layer->window, y);
        for (int32_t column = 0; column < layer->window.out_width; ++column) {
            const TsSpan columns = ts_columns(&layer->window, column);
            const int8_t* weight = weights;
            for (int32_t channel = 0; channel < layer->out_channels; ++channel) {
                const int32_t acc = accumulate(layer, x, rows, columns, weight, bias[channel]);
                *out++ = ts_requantise(acc, &rescale[channel], &layer->out);
                weight += per_channel;
            }
        }
    }
}
