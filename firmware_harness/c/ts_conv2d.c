/* 2-D convolution, any kernel, stride and padding. */
#include "ts_window.h"

/* One output element: per kernel row, the taps inside the input are contiguous, with all channels. */
static int32_t accumulate(const TsConv2D* layer, const int8_t* x, TsSpan rows, TsSpan columns, int32_t channel) {
    const TsWindow* window = &layer->window;
    const int32_t kernel_row = window->kernel_width * layer->in_channels;
    const int32_t in_row = window->in_width * layer->in_channels;
    const int8_t* weight = layer->weight + channel * window->kernel_height * kernel_row;
    const int32_t n = (columns.last - columns.first) * layer->in_channels;
    int32_t acc = layer->bias[channel];
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
    for (int32_t y = 0; y < layer->window.out_height; ++y) {
        const TsSpan rows = ts_rows(&layer->window, y);
        for (int32_t column = 0; column < layer->window.out_width; ++column) {
            const TsSpan columns = ts_columns(&layer->window, column);
            for (int32_t channel = 0; channel < layer->out_channels; ++channel) {
                const int32_t acc = accumulate(layer, x, rows, columns, channel);
                *out++ = ts_requantise(acc, &layer->rescale[channel], &layer->out);
            }
        }
    }
}
