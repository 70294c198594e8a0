/* Any convolution, row by row: windows are gathered into tiles, which a 1x1 convolution reads. */
#include "ts_dsp_pointwise.h"
#include "ts_window.h"

/* One row of a window that is partly or fully outside of the input. */
static void gather_edge(const TsDspConv2D* layer, const int8_t* row, int32_t column, int16_t* to) {
    const int32_t n = layer->window.kernel_width * layer->in_channels;
    const int32_t begin = column * layer->in_channels, zero = layer->in_zero_point;
    const uint32_t n_inside = row == NULL ? 0 : (uint32_t)(layer->window.in_width * layer->in_channels);
    for (int32_t i = 0; i < n; ++i) {
        const int32_t at = begin + i;
        to[(i >> 2) * 8 + ts_dsp_place[i & 3]] = (int16_t)((uint32_t)at < n_inside ? row[at] : zero);
    }
}

/* One row of all windows; `row` is NULL in the padding. Pixels whose words are inside the row are copied by words;
 * bytes beyond the window are multiplied by weights of zero. */
static void gather_row(const TsDspConv2D* layer, const int8_t* row, int16_t* to) {
    const TsWindow* window = &layer->window;
    const int32_t codes = layer->run_groups * 4, width = window->out_width;
    const int32_t step = window->stride_width * layer->in_channels, before = window->pad_left * layer->in_channels;
    const int32_t reach = window->in_width * layer->in_channels + before - codes; /* last address at which a run may
                                                                                   * begin */
    const int32_t tile = layer->pointwise.groups * TS_DSP_GROUP_BYTES;
    const int32_t first = row == NULL ? width : ts_min(width, (before + step - 1) / step);
    const int32_t last = row == NULL || reach < 0 ? first : ts_max(first, ts_min(width, reach / step + 1));
    for (int32_t at = 0; at < width; ++at) {
        if (at == first && first < last) {
            ts_dsp_widen_row(row + first * step - before, last - first, step, codes, first, tile, to);
            at = last;
            if (at == width) {
                return;
            }
        }
        gather_edge(layer, row, at * window->stride_width - window->pad_left,
                    to + (at >> 1) * (tile / 2) + (at & 1) * 2);
    }
}

static void gather(const TsDspConv2D* layer, const int8_t* x, int32_t y, int16_t* tiles) {
    const TsWindow* window = &layer->window;
    const TsSpan rows = ts_rows(window, y);
    for (int32_t i = 0; i < window->kernel_height; ++i) {
        const int inside = i >= rows.first && i < rows.last;
        const int8_t* row = inside ? x + (rows.start + i) * window->in_width * layer->in_channels : NULL;
        gather_row(layer, row, tiles + i * layer->run_groups * (TS_DSP_GROUP_BYTES / 2));
    }
}

void ts_dsp_conv2d(const TsDspConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    int16_t *tiles = (int16_t*)scratch, *weight = (int16_t*)(scratch + layer->weight_at);
    const int32_t width = layer->window.out_width, row_bytes = width * layer->pointwise.channels;
    ts_dsp_pointwise_prepare(&layer->pointwise, weight);
    for (int32_t y = 0; y < layer->window.out_height; ++y) {
        gather(layer, x, y, tiles);
        ts_dsp_pointwise_codes(&layer->pointwise, tiles, width, weight, TS_DSP_TO_CODES, NULL,
                               scratch + layer->padded_at, out);
        if (layer->low > -128) {
            ts_dsp_raise(out, row_bytes, layer->low);
        }
        out += row_bytes;
    }
}
