/* 2-D convolution with dilation and groups; a depthwise one has a group for each input channel. */
#include "ts_window.h"

/* Taps of one axis that are inside the input, `dilation` elements apart from `start` on. */
static TsSpan spread(int32_t start, int32_t dilation, int32_t kernel, int32_t size) {
    const int32_t before = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const int32_t inside = start < size ? (size - start + dilation - 1) / dilation : 0;
    const TsSpan span = {start, before, ts_min(kernel, inside)};
    return span;
}

/* One output element: the taps of a group's channels; x points to the first of them. */
static int32_t accumulate(const TsGroupedConv2D* layer, const int8_t* x, TsSpan rows, TsSpan columns,
                          const int8_t* weight, int32_t acc) {
    const TsWindow* window = &layer->window;
    for (int32_t i = rows.first; i < rows.last; ++i) {
        const int32_t row = (rows.start + i * layer->dilation_height) * window->in_width;
        for (int32_t j = columns.first; j < columns.last; ++j) {
            const int32_t pixel = row + columns.start + j * layer->dilation_width;
            const int32_t tap = i * window->kernel_width + j;
            acc = ts_dot(x + pixel * layer->in_channels, weight + tap * layer->group_inputs, layer->group_inputs,
                         layer->in_zero_point, acc);
        }
    }
    return acc;
}

void ts_grouped_conv2d(const TsGroupedConv2D* layer, const int8_t* x, int8_t* out) {
    const TsWindow* window = &layer->window;
    const int32_t* const bias = TS_ARRAY(int32_t, layer, bias);
    const TsRescale* const rescale = TS_ARRAY(TsRescale, layer, rescale);
    const int32_t per_channel = window->kernel_height * window->kernel_width * layer->group_inputs;
    for (int32_t y = 0; y < window->out_height; ++y) {
        const int32_t top = y * window->stride_height - window->pad_top;
        const TsSpan rows = spread(top, layer->dilation_height, window->kernel_height, window->in_height);
        for (int32_t column = 0; column < window->out_width; ++column) {
            const int32_t left = column * window->stride_width - window->pad_left;
            const TsSpan columns = spread(left, layer->dilation_width, window->kernel_width, window->in_width);
            const int8_t* weight = TS_ARRAY(int8_t, layer, weight);
            for (int32_t channel = 0; channel < layer->out_channels; ++channel) {
                const int32_t first = channel / layer->group_outputs * layer->group_inputs;
                const int32_t acc = accumulate(layer, x + first, rows, columns, weight, bias[channel]);
                *out++ = ts_requantise(acc, &rescale[channel], &layer->out);
                weight += per_channel;
            }
        }
    }
}
