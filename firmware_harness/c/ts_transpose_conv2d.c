/* Transposed 2-D convolution: each output gathers the inputs whose windows cover it. The pads are what is cropped. */
#include "ts_inner.h"

/* One output element: of `size` inputs `stride` apart, those that a tap of the kernel leads to. */
static int32_t accumulate(const TsConv2D* layer, const int8_t* x, int32_t row, int32_t column, const int8_t* weight,
                          int32_t acc) {
    const TsWindow* window = &layer->window;
    for (int32_t i = row % window->stride_height; i < window->kernel_height && i <= row; i += window->stride_height) {
        const int32_t y = (row - i) / window->stride_height;
        if (y >= window->in_height) {
            continue;
        }
        for (int32_t j = column % window->stride_width; j < window->kernel_width && j <= column;
             j += window->stride_width) {
            const int32_t from = (column - j) / window->stride_width;
            if (from < window->in_width) {
                acc = ts_dot(x + (y * window->in_width + from) * layer->in_channels,
                             weight + (i * window->kernel_width + j) * layer->in_channels, layer->in_channels,
                             layer->in_zero_point, acc);
            }
        }
    }
    return acc;
}

void ts_transpose_conv2d(const TsConv2D* layer, const int8_t* x, int8_t* out) {
    const TsWindow* window = &layer->window;
    const int32_t* const bias = TS_ARRAY(int32_t, layer, bias);
    const TsRescale* const rescale = TS_ARRAY(TsRescale, layer, rescale);
    const int32_t per_channel = window->kernel_height * window->kernel_width * layer->in_channels;
    for (int32_t y = 0; y < window->out_height; ++y) {
        for (int32_t column = 0; column < window->out_width; ++column) {
            const int8_t* weight = TS_ARRAY(int8_t, layer, weight);
            for (int32_t channel = 0; channel < layer->out_channels; ++channel) {
                const int32_t acc =
                    accumulate(layer, x, y + window->pad_top, column + window->pad_left, weight, bias[channel]);
                *out++ = ts_requantise(acc, &rescale[channel], &layer->out);
                weight += per_channel;
            }
        }
    }
}
