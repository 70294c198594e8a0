/* Depthwise 2-D convolution, one output for each channel, any kernel, stride, padding and dilation. A window that is
 * not inside the input is gathered first, and so is one of several rows and columns, unless it is three by three. */
#include "ts_dot.h"
#include "ts_mve_outputs.h"
#include "ts_window.h"

enum { TS_SIDE = 3 };

static TsFilters filters_of(const TsDepthwiseConv2D* layer) {
    const TsFilters filters = {
        layer->taps.window.kernel_height * layer->taps.window.kernel_width,
        layer->taps.channels,
        TS_ARRAY(int8_t, layer, weight),
        TS_ARRAY(int32_t, layer, bias),
        TS_ARRAY(TsRescale, layer, rescale),
        layer->out,
    };
    return filters;
}

#ifdef TS_DOT_MVE

/* Four channels at a time, of fewer the last one repeatedly: lines of taps, `row_step` codes from one to the next. */
static void lines(const TsFilters* filters, const int8_t* x, int32_t rows, int32_t row_step, int32_t columns,
                  int32_t step, int8_t* out) {
    for (int32_t first = 0; first < filters->channels; first += TS_QUAD) {
        const uint32_t last = (uint32_t)(filters->channels - 1 - first);
        const uint32x4_t channel = vminq_u32(vidupq_n_u32(0, 1), vdupq_n_u32(last));
        const uint32x4_t weights = vmulq_n_u32(channel, (uint32_t)filters->taps);
        const int8_t* weight = filters->weight + first * filters->taps;
        int32x4_t sum = vdupq_n_s32(0);
        for (int32_t i = 0; i < rows; ++i) {
            const int8_t* at = x + first + i * row_step;
            for (int32_t j = columns; j > 0; --j) {
                const int32x4_t codes = vldrbq_gather_offset_s32(at, channel);
                sum = vaddq_s32(sum, vmulq_s32(codes, vldrbq_gather_offset_s32(weight, weights)));
                at += step;
                weight += 1;
            }
        }
        ts_store_outputs(filters, first, sum, out);
    }
}

static void nine_taps(TsFilters each, const int8_t* x, int32_t row_step, int32_t step, int8_t* out) {
    lines(&each, x, TS_SIDE, row_step, TS_SIDE, step, out);
}

static void any_taps(TsFilters each, const int8_t* x, int32_t step, int8_t* out) {
    lines(&each, x, 1, 0, each.taps, step, out);
}

#else

#define TS_TAP(x, w)                                                                                                   \
    acc = ts_wrapping_add(acc, (x) * (w));                                                                             \
    TS_IN_PLACE(acc)

/* All channels of an output of three by three taps. */
static void nine_taps(TsFilters each, const int8_t* x, int32_t row_step, int32_t step, int8_t* out) {
    const int8_t *middle = x + row_step, *below = middle + row_step, *w = each.weight;
    for (const int8_t* end = x + each.channels; x != end;) {
        int32_t acc = *each.bias++;
        TS_TAP(x[0], w[0])
        TS_TAP(x[step], w[1])
        TS_TAP(x[2 * step], w[2])
        TS_TAP(middle[0], w[3])
        TS_TAP(middle[step], w[4])
        TS_TAP(middle[2 * step], w[5])
        TS_TAP(below[0], w[6])
        TS_TAP(below[step], w[7])
        TS_TAP(below[2 * step], w[8])
        const TsRescale rescale = *each.rescale++;
        *out++ = ts_requantise(acc, &rescale, &each.out);
        ++x, ++middle, ++below, w += TS_SIDE * TS_SIDE;
    }
}

/* All channels of an output whose taps are `step` codes apart. */
static void any_taps(TsFilters each, const int8_t* x, int32_t step, int8_t* out) {
    const int8_t* w = each.weight;
    for (const int8_t* end = x + each.channels; x != end; ++x) {
        const int8_t* at = x;
        int32_t acc = *each.bias++;
        for (const int8_t* four = w + (each.taps & ~3); w != four; w += 4) {
            TS_TAP(*at, w[0])
            at += step;
            TS_TAP(*at, w[1])
            at += step;
            TS_TAP(*at, w[2])
            at += step;
            TS_TAP(*at, w[3])
            at += step;
        }
        for (int32_t i = each.taps & 3; i > 0; --i) {
            TS_TAP(*at, *w++)
            at += step;
        }
        const TsRescale rescale = *each.rescale++;
        *out++ = ts_requantise(acc, &rescale, &each.out);
    }
}

#endif

void ts_depthwise_conv2d(const TsDepthwiseConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsTaps* taps = &layer->taps;
    const TsWindow* window = &taps->window;
    const int32_t height = window->kernel_height, width = window->kernel_width, channels = taps->channels;
    const int32_t last_row = window->in_height - 1 - (height - 1) * taps->dilation_height;
    const int32_t last_column = window->in_width - 1 - (width - 1) * taps->dilation_width;
    const int is_small = height == TS_SIDE && width == TS_SIDE;
    const int in_place = is_small || height == 1 || width == 1;
    for (int32_t y = 0; y < window->out_height; ++y) {
        const int32_t row = y * window->stride_height - window->pad_top;
        for (int32_t column = 0; column < window->out_width; ++column) {
            const int32_t left = column * window->stride_width - window->pad_left;
            const int8_t* corner = scratch;
            int32_t row_step = width * channels, step = channels;
            if (in_place && row >= 0 && row <= last_row && left >= 0 && left <= last_column) {
                corner = x + (row * window->in_width + left) * channels;
                row_step = taps->dilation_height * window->in_width * channels;
                step = taps->dilation_width * channels;
            } else {
                ts_gather(taps, channels, x, y, column, scratch);
            }
            if (is_small) {
                nine_taps(filters_of(layer), corner, row_step, step, out);
            } else {
                any_taps(filters_of(layer), corner, width == 1 ? row_step : step, out);
            }
            out += channels;
        }
    }
}
