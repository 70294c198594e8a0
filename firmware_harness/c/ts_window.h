/* Range of a kernel's taps that are inside the input; the others are on the padding around it. */
#ifndef TS_WINDOW_H
#define TS_WINDOW_H

#include "ts_inner.h"

/* Taps [first, last) of one axis; `start` is the position of tap 0 on the input, which may be outside of it. */
typedef struct {
    int32_t start, first, last;
} TsSpan;

static inline TsSpan ts_span(int32_t at, int32_t stride, int32_t pad, int32_t kernel, int32_t size) {
    const int32_t start = at * stride - pad;
    const TsSpan span = {start, ts_max(0, -start), ts_min(kernel, size - start)};
    return span;
}

static inline TsSpan ts_rows(const TsWindow* window, int32_t y) {
    return ts_span(y, window->stride_height, window->pad_top, window->kernel_height, window->in_height);
}

static inline TsSpan ts_columns(const TsWindow* window, int32_t x) {
    return ts_span(x, window->stride_width, window->pad_left, window->kernel_width, window->in_width);
}

/* Copy the window of an output: for each group of `n` channels its codes (kernel_height, kernel_width, n). */
void ts_gather(const TsTaps* taps, int32_t n, const int8_t* x, int32_t y, int32_t column, int8_t* to);

#endif
