/* The window of an output in contiguous memory, with zero points for what is outside the input. */
#include "ts_window.h"

#include <string.h>

static void copy(const int8_t* from, int32_t n, int8_t* to) {
    if (n >= 8) {
        memcpy(to, from, (size_t)n);
        return;
    }
    for (; n > 0; --n) { /* calling a function takes longer */
        *to++ = *from++;
    }
}

void ts_gather(const TsTaps* taps, int32_t n, const int8_t* x, int32_t y, int32_t column, int8_t* to) {
    const TsWindow* window = &taps->window;
    const int32_t left = column * window->stride_width - window->pad_left, width = window->kernel_width;
    const int32_t channels = taps->channels, whole = window->kernel_height * width * n;
    const int whole_rows =
        taps->dilation_width * channels == n && left >= 0 && left + width <= window->in_width; /* contiguous */
    int32_t row = y * window->stride_height - window->pad_top;
    for (int32_t i = 0; i < window->kernel_height; ++i) {
        const int row_inside = row >= 0 && row < window->in_height;
        if (row_inside && whole_rows) {
            copy(x + (row * window->in_width + left) * channels, width * n, to);
            to += width * n;
        }
        for (int32_t j = row_inside && whole_rows ? width : 0; j < width; ++j) {
            const int32_t at = left + j * taps->dilation_width;
            const int inside = row_inside && at >= 0 && at < window->in_width;
            const int8_t* from = inside ? x + (row * window->in_width + at) * channels : x;
            int8_t* place = to;
            for (int32_t group = 0; group < channels; group += n) {
                if (inside) {
                    copy(from + group, n, place);
                } else {
                    memset(place, taps->zero_point, (size_t)n);
                }
                place += whole;
            }
            to += n;
        }
        row += taps->dilation_height;
    }
}
