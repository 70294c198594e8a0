/* Range of a kernel's taps that are inside the input; the others are on the padding around it. */
#ifndef TS_WINDOW_H
#define TS_WINDOW_H

#include "ts_inner.h"

/* Taps [first, last) of one axis; `start` is the position of tap 0 on the input, which may be outside of it. */
typedef struct {
    int32_t start, first, last;
} TsSpan;

/* Taps `dilation` elements apart; none are inside if `last` is not above `first`. */
static inline TsSpan ts_span(int32_t start, int32_t dilation, int32_t kernel, int32_t size) {
    if (dilation == 1) { /* divisions are slow */
        const TsSpan span = {start, ts_max(0, -start), ts_min(kernel, size - start)};
        return span;
    }
    const int32_t before = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const int32_t inside = start < size ? (size - start + dilation - 1) / dilation : 0;
    const TsSpan span = {start, before, ts_min(kernel, inside)};
    return span;
}

static inline TsSpan ts_dilated_rows(const TsWindow* window, int32_t y, int32_t dilation) {
    return ts_span(y * window->stride_height - window->pad_top, dilation, window->kernel_height, window->in_height);
}

static inline TsSpan ts_dilated_columns(const TsWindow* window, int32_t x, int32_t dilation) {
    return ts_span(x * window->stride_width - window->pad_left, dilation, window->kernel_width, window->in_width);
}

static inline TsSpan ts_rows(const TsWindow* window, int32_t y) {
    return ts_dilated_rows(window, y, 1);
}

static inline TsSpan ts_columns(const TsWindow* window, int32_t x) {
    return ts_dilated_columns(window, x, 1);
}

/* Copy the window of an output: for each group of `n` channels its codes (kernel_height, kernel_width, n). */
void ts_gather(const TsTaps* taps, int32_t n, const int8_t* x, int32_t y, int32_t column, int8_t* to);

#endif
