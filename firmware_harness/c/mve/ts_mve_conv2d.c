/* Convolution: four pixels' windows side by side in scratch, then the dot products of all channels with them; or the
 * product of each window alone. */
#include <stddef.h>

#include "ts_mve_pairs.h"
#include "ts_mve_parts.h"
#include "ts_mve_windows.h"

/* Offsets of a window's codes from its first; codes beyond it are multiplied by weights of zero. */
static uint8x16_t offsets_of(const TsMveWindows* layer) {
    const int32_t row_bytes = layer->window.kernel_width * layer->in_channels;
    uint8_t offsets[TS_MVE_LANES] = {0};
    for (int32_t i = 0; i < layer->window.kernel_height * row_bytes; ++i) {
        offsets[i] = (uint8_t)(i / row_bytes * layer->window.in_width * layer->in_channels + i % row_bytes);
    }
    return vld1q_u8(offsets);
}

/* Neighbouring windows without padding whose codes fit into one vector and are less than 256 bytes apart. */
static void gathered(const int8_t* from, int32_t step, uint8x16_t offsets, int32_t n, int8_t* to) {
    for (int32_t i = 0; i < n; ++i) {
        vst1q_s8(to, vldrbq_gather_offset_s8(from, offsets));
        from += step;
        to += TS_MVE_PITCH;
    }
}

/* Pixels in order, four at a time: how many windows are complete, and where the next four codes go. */
typedef struct {
    TsMveChannels channels;
    int8_t *windows, *out;
    int32_t pitch, held;
} Pixels;

static void finish(Pixels* pixels) {
    ts_mve_pixels(&pixels->channels, pixels->held, pixels->out);
    pixels->out += pixels->held * pixels->channels.pitch;
    pixels->held = 0;
}

/* All pixels of one group; x and out point to its first channels. */
static void any_window(const TsMveConv2D* layer, const int8_t* x, Pixels* pixels) {
    const TsMveWindows* windows = &layer->windows;
    const TsWindow* window = &windows->window;
    const int contiguous = ts_mve_is_contiguous(windows);
    const TsSpan inside = ts_mve_columns_inside(windows);
    const int32_t step = window->stride_width * windows->in_channels;
    const int32_t in_row = window->in_width * windows->in_channels;
    const int32_t row_reach = (window->kernel_height - 1) * windows->dilation_height;
    const int32_t reach = row_reach * in_row + window->kernel_width * windows->in_channels;
    const int gather = contiguous && windows->dilation_height == 1 && layer->pieces == 1 && reach <= 256;
    const uint8x16_t offsets = gather ? offsets_of(windows) : vdupq_n_u8(0);
    for (int32_t y = 0; y < window->out_height; ++y) {
        const int32_t row = y * window->stride_height - window->pad_top;
        const int whole = contiguous && row >= 0 && row + row_reach < window->in_height;
        int32_t n;
        for (int32_t column = 0; column < window->out_width; column += n) {
            int8_t* to = pixels->windows + pixels->held * pixels->pitch;
            if (whole && column >= inside.first && column < inside.last) {
                const int8_t* from = x + row * in_row + column * step - window->pad_left * windows->in_channels;
                n = ts_min(TS_MVE_PIXELS - pixels->held, inside.last - column);
                if (gather) {
                    gathered(from, step, offsets, n, to);
                } else {
                    ts_mve_copy_windows(windows, from, step, n, pixels->pitch, to);
                }
            } else {
                n = 1;
                ts_mve_window(windows, x, y, column, to);
            }
            pixels->held += n;
            if (pixels->held == TS_MVE_PIXELS) {
                finish(pixels);
            }
        }
    }
    if (pixels->held != 0) {
        finish(pixels);
    }
}

/* Copy contiguous codes side by side; the last vector may contain codes of no window, which have weights of zero. */
static TS_MVE_APART void copy_four(const int8_t* x, int32_t n, int8_t* windows) {
    const int8_t* x1 = x + n;
    const int8_t* x2 = x1 + n;
    const int8_t* x3 = x2 + n;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
                     "1: vldrb.8 q0, [%[x0]], #16\n"
                     "vldrb.8 q1, [%[x1]], #16\n"
                     "vldrb.8 q2, [%[x2]], #16\n"
                     "vldrb.8 q3, [%[x3]], #16\n"
                     "vstrw.32 q0, [%[to], #-480]\n"
                     "vstrw.32 q1, [%[to], #-240]\n"
                     "vstrw.32 q3, [%[to], #240]\n"
                     "vstrw.32 q2, [%[to]], #16\n"
                     "letp lr, 1b"
                     : [x0] "+r"(x), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3), [to] "+r"(windows)
                     : [n] "r"(n)
                     : "lr", "q0", "q1", "q2", "q3", "memory");
}

/* Pixels whose channels are whole vectors are their own windows, if there are more vectors than short windows have. */
static int are_windows(const TsMveConv2D* layer) {
    return layer->pieces > TS_MVE_MOST_PIECES && layer->windows.in_channels % TS_MVE_LANES == 0;
}

static int8_t* spare_of(const TsMveConv2D* layer, int8_t* scratch) {
    return scratch + TS_MVE_PIXELS * ts_mve_pitch(layer);
}

void ts_mve_pointwise(const TsMveConv2D* layer, const int8_t* x, int32_t n, int8_t* out, int8_t* scratch) {
    const int32_t channels = layer->windows.in_channels, pitch = ts_mve_pitch(layer);
    const int direct = are_windows(layer);
    TsMveChannels all;
    int8_t* to = out;
    int32_t left = n;
    ts_mve_begin_channels(layer, 0, scratch, spare_of(layer, scratch), &all);
    for (; left >= TS_MVE_PIXELS; left -= TS_MVE_PIXELS) {
        if (direct) {
            all.whole.windows = all.last.windows = x;
        } else if (layer->pieces <= TS_MVE_MOST_PIECES) {
            copy_four(x, channels, scratch + 2 * TS_MVE_PITCH);
        } else {
            for (int32_t pixel = 0; pixel < TS_MVE_PIXELS; ++pixel) {
                ts_mve_copy(scratch + pixel * pitch, x + pixel * channels, channels);
            }
        }
        ts_mve_pixels(&all, TS_MVE_PIXELS, to);
        x += TS_MVE_PIXELS * channels;
        to += TS_MVE_PIXELS * layer->out_channels;
    }
    for (int32_t pixel = 0; pixel < left; ++pixel) {
        ts_mve_copy(scratch + pixel * pitch, x + pixel * channels, channels);
    }
    if (left != 0) {
        if (direct) {
            all.whole.windows = all.last.windows = scratch;
        }
        ts_mve_pixels(&all, left, to);
    }
    ts_mve_raise(out, &layer->out, n * layer->out_channels);
}

void ts_mve_conv2d(const TsMveConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsMveWindows* windows = &layer->windows;
    const TsWindow* window = &windows->window;
    const int32_t n = window->out_height * window->out_width;
    if (window->kernel_height * window->kernel_width == 1 && window->stride_height * window->stride_width == 1 &&
        window->out_height == window->in_height && window->out_width == window->in_width &&
        windows->group_inputs == windows->in_channels) {
        ts_mve_pointwise(layer, x, n, out, scratch);
        return;
    }
    for (int32_t group = 0; group * layer->group_outputs < layer->out_channels; ++group) {
        Pixels pixels;
        pixels.windows = scratch;
        pixels.out = out + group * layer->group_outputs;
        pixels.pitch = ts_mve_pitch(layer);
        pixels.held = 0;
        ts_mve_begin_channels(layer, group, scratch, spare_of(layer, scratch), &pixels.channels);
        any_window(layer, x + group * windows->group_inputs, &pixels);
    }
    ts_mve_raise(out, &layer->out, n * layer->out_channels);
}

void ts_mve_conv_rows(const TsMveConvRows* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsWindow* window = &layer->windows.window;
    for (int32_t y = 0; y < window->out_height; ++y) {
        for (int32_t column = 0; column < window->out_width; ++column) {
            ts_mve_window(&layer->windows, x, y, column, scratch);
            ts_mve_row(&layer->product, scratch, out);
            out += layer->product.outputs;
        }
    }
}
