/* Transposed 2-D convolution. An output is reached by the taps whose places equal its own modulo the strides, so that
 * the outputs of each phase, one for each such remainder of rows and columns, are a convolution. */
#include <string.h>

#include "ts_dot.h"

/* One axis of a phase: its remainder, and the taps it has. */
typedef struct {
    int32_t first, taps;
} TsPhase;

static TsPhase phase_of(int32_t first, int32_t kernel, int32_t stride) {
    const TsPhase phase = {first, first < kernel ? (kernel - first + stride - 1) / stride : 0};
    return phase;
}

/* The window of the output at a row and column, counted with what is cropped: later taps lead to earlier inputs. */
static void gather(const TsTransposeConv2D* layer, const int8_t* x, int32_t row, int32_t column, TsPhase rows,
                   TsPhase columns, int8_t* to) {
    const TsWindow* window = &layer->window;
    const size_t n = (size_t)layer->in_channels;
    for (int32_t i = 0; i < rows.taps; ++i) {
        const int32_t y = row / window->stride_height - i;
        for (int32_t j = 0; j < columns.taps; ++j) {
            const int32_t at = column / window->stride_width - j;
            if (y < 0 || y >= window->in_height || at < 0 || at >= window->in_width) {
                memset(to, layer->in_zero_point, n);
            } else {
                memcpy(to, x + (y * window->in_width + at) * layer->in_channels, n);
            }
            to += n;
        }
    }
}

/* The outputs of one phase. */
static void convolve(const TsTransposeConv2D* layer, const TsFilters* filters, TsPhase rows, TsPhase columns,
                     const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsWindow* window = &layer->window;
    const int32_t bottom = window->pad_top + window->out_height, right = window->pad_left + window->out_width;
    int8_t* const windows[2] = {scratch, scratch + filters->taps};
    const int8_t* const gathered[2] = {windows[0], windows[1]};
    int8_t* outputs[2];
    int32_t pending = 0;
    for (int32_t y = rows.first; y < bottom; y += window->stride_height) {
        for (int32_t column = columns.first; column < right; column += window->stride_width) {
            if (y < window->pad_top || column < window->pad_left) {
                continue;
            }
            const int32_t at = (y - window->pad_top) * window->out_width + column - window->pad_left;
            outputs[pending] = out + at * layer->out_channels;
            gather(layer, x, y, column, rows, columns, windows[pending]);
            pending += 1;
            if (pending == 2) {
                ts_outputs_of_two(filters, gathered, outputs);
                pending = 0;
            }
        }
    }
    if (pending == 1) {
        ts_outputs_of_one(filters, windows[0], outputs[0]);
    }
}

void ts_transpose_conv2d(const TsTransposeConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsWindow* window = &layer->window;
    TsFilters filters = {.channels = layer->out_channels,
                         .weight = TS_ARRAY(int8_t, layer, weight),
                         .bias = TS_ARRAY(int32_t, layer, bias),
                         .rescale = TS_ARRAY(TsRescale, layer, rescale),
                         .out = layer->out};
    for (int32_t i = 0; i < window->stride_height; ++i) {
        const TsPhase rows = phase_of(i, window->kernel_height, window->stride_height);
        for (int32_t j = 0; j < window->stride_width; ++j) {
            const TsPhase columns = phase_of(j, window->kernel_width, window->stride_width);
            filters.taps = rows.taps * columns.taps * layer->in_channels;
            convolve(layer, &filters, rows, columns, x, out, scratch);
            filters.weight += filters.taps * filters.channels;
            filters.bias += filters.channels;
        }
    }
}
