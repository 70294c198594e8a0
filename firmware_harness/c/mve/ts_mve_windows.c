/* Windows of a convolution, copied side by side: any kernel, stride, padding, dilation and number of groups. */
#include "ts_mve_windows.h"

/* Taps of one axis that are inside the input, `dilation` elements apart. */
static TsSpan spread(int32_t at, int32_t stride, int32_t pad, int32_t dilation, int32_t kernel, int32_t size) {
    const int32_t start = at * stride - pad;
    if (dilation == 1) {
        return ts_span(at, stride, pad, kernel, size);
    }
    const int32_t before = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const int32_t inside = start < size ? (size - start + dilation - 1) / dilation : 0;
    const TsSpan span = {start, before, ts_min(kernel, inside)};
    return span;
}

static TsSpan rows_of(const TsMveWindows* layer, int32_t y) {
    const TsWindow* window = &layer->window;
    return spread(y, window->stride_height, window->pad_top, layer->dilation_height, window->kernel_height,
                  window->in_height);
}

static TsSpan columns_of(const TsMveWindows* layer, int32_t column) {
    const TsWindow* window = &layer->window;
    return spread(column, window->stride_width, window->pad_left, layer->dilation_width, window->kernel_width,
                  window->in_width);
}

/* `n` taps of a kernel row that are not contiguous. */
static void taps(const TsMveWindows* layer, const int8_t* from, int32_t n, int8_t* to) {
    const int32_t channels = layer->group_inputs;
    for (int32_t j = 0; j < n; ++j) {
        ts_mve_copy(to, from, channels);
        from += layer->dilation_width * layer->in_channels;
        to += channels;
    }
}

void ts_mve_window(const TsMveWindows* layer, const int8_t* x, int32_t y, int32_t column, int8_t* to) {
    const TsWindow* window = &layer->window;
    const TsSpan rows = rows_of(layer, y), columns = columns_of(layer, column);
    const int32_t in_row = window->in_width * layer->in_channels;
    const int32_t row_bytes = window->kernel_width * layer->group_inputs;
    const int32_t n = columns.last - columns.first;
    if (n < window->kernel_width || rows.last - rows.first < window->kernel_height) {
        ts_mve_fill(to, (int8_t)layer->in_zero_point, window->kernel_height * row_bytes);
    }
    if (n <= 0 || rows.last <= rows.first) { /* padding only: computing its address would be undefined */
        return;
    }
    const int8_t* from = x + (rows.start + rows.first * layer->dilation_height) * in_row +
                         (columns.start + columns.first * layer->dilation_width) * layer->in_channels;
    to += rows.first * row_bytes + columns.first * layer->group_inputs;
    const int contiguous = ts_mve_is_contiguous(layer);
    const int32_t next = layer->dilation_height * in_row, n_bytes = n * layer->group_inputs;
    for (int32_t i = rows.first; i < rows.last; ++i) {
        if (contiguous) {
            ts_mve_copy(to, from, n_bytes);
        } else {
            taps(layer, from, n, to);
        }
        from += next;
        to += row_bytes;
    }
}

TsSpan ts_mve_columns_inside(const TsMveWindows* layer) {
    const TsWindow* window = &layer->window;
    const int32_t stride = window->stride_width;
    const int32_t reach = (window->kernel_width - 1) * layer->dilation_width + 1;
    const int32_t room = window->in_width + window->pad_left - reach;
    const TsSpan span = {0, (window->pad_left + stride - 1) / stride,
                         room < 0 ? 0 : ts_min(window->out_width, room / stride + 1)};
    return span;
}

TS_MVE_APART void ts_mve_copy_windows(const TsMveWindows* layer, const int8_t* from, int32_t step, int32_t n,
                                      int32_t pitch, int8_t* to) {
    const int32_t row_bytes = layer->window.kernel_width * layer->in_channels;
    const int32_t in_row = layer->dilation_height * layer->window.in_width * layer->in_channels;
    for (int32_t i = 0; i < n; ++i) {
        const int8_t* row = from + i * step;
        int8_t* to_row = to + i * pitch;
        int32_t rows = layer->window.kernel_height;
        __asm__ volatile("1: mov r2, %[row]\n"
                         "mov r4, %[to_row]\n"
                         "dlstp.8 lr, %[row_bytes]\n"
                         "2: vldrb.8 q0, [r2], #16\n"
                         "vstrb.8 q0, [r4], #16\n"
                         "letp lr, 2b\n"
                         "add %[row], %[in_row]\n"
                         "add %[to_row], %[row_bytes]\n"
                         "subs %[rows], #1\n"
                         "bne 1b"
                         : [row] "+r"(row), [to_row] "+r"(to_row), [rows] "+r"(rows)
                         : [row_bytes] "r"(row_bytes), [in_row] "r"(in_row)
                         : "r2", "r4", "lr", "q0", "cc", "memory");
    }
}
