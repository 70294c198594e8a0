/* The window of an output in contiguous memory, with zero points for what is outside the input. */
#include "ts_window.h"

#include <string.h>

static void copy(const int8_t* from, size_t n, int8_t* to) {
    if (n >= 8) {
        memcpy(to, from, n);
        return;
    }
    for (; n > 0; --n) { /* calling a function takes longer */
        *to++ = *from++;
    }
}

void ts_gather(const TsTaps* taps, int32_t n, const int8_t* x, int32_t y, int32_t column, int8_t* to) {
    const TsWindow* window = &taps->window;
    const TsSpan rows = ts_dilated_rows(window, y, taps->dilation_height);
    const TsSpan columns = ts_dilated_columns(window, column, taps->dilation_width);
    const size_t tap = (size_t)n, row = tap * (size_t)window->kernel_width;
    const size_t whole = row * (size_t)window->kernel_height;
    const int32_t inside = columns.last - columns.first, groups = taps->channels / n;
    if (inside < window->kernel_width || rows.last - rows.first < window->kernel_height) {
        memset(to, taps->zero_point, whole * (size_t)groups);
    }
    if (inside <= 0) { /* computing an address would be undefined */
        return;
    }
    const int32_t apart = taps->dilation_width * taps->channels;
    for (int32_t i = rows.first; i < rows.last; ++i) {
        const int32_t pixel = (rows.start + i * taps->dilation_height) * window->in_width + columns.start;
        const int8_t* from = x + (pixel + columns.first * taps->dilation_width) * taps->channels;
        int8_t* at = to + row * (size_t)i + tap * (size_t)columns.first;
        if (apart == n) {
            copy(from, tap * (size_t)inside, at);
            continue;
        }
        for (int32_t j = 0; j < inside; ++j) {
            for (int32_t group = 0; group < groups; ++group) {
                copy(from + group * n, tap, at + whole * (size_t)group);
            }
            from += apart;
            at += tap;
        }
    }
}
