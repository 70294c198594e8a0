/* 3x3 depthwise convolution as a single layer: rows of the input to planes, rows of the output from tiles to codes. */
#include "ts_dsp_pointwise.h"

void ts_dsp_depthwise(const TsDspDepthwise* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsWindow* window = &layer->window;
    const int32_t in_row = window->in_width * layer->planes.channels;
    const int32_t out_row = window->out_width * layer->planes.channels;
    int16_t* tiles = (int16_t*)(scratch + layer->tiles_at);
    int32_t next = -window->pad_top; /* input row to be read */
    int32_t slot = 0;                /* row of the planes to write */
    for (int32_t i = 0; i < TS_DSP_ROWS; ++i) {
        ts_dsp_planes_clear(&layer->planes, scratch, i);
    }
    for (int32_t y = 0; y < window->out_height; ++y) {
        const int32_t first = y * window->stride_height;
        for (; next < first - window->pad_top + TS_DSP_ROWS; ++next) {
            if (next >= 0 && next < window->in_height) {
                ts_dsp_planes_fill(&layer->planes, x + next * in_row, window->in_width, window->pad_left, slot,
                                   scratch);
            } else if (next >= 0) {
                ts_dsp_planes_clear(&layer->planes, scratch, slot);
            }
            slot = slot == TS_DSP_ROWS - 1 ? 0 : slot + 1;
        }
        ts_dsp_planes_row(&layer->planes, scratch, first % TS_DSP_ROWS, window->stride_width, window->out_width, tiles);
        ts_dsp_tiles_to_codes(&layer->planes, tiles, window->out_width, out);
        if (layer->low > -128) {
            ts_dsp_raise(out, out_row, layer->low);
        }
        out += out_row;
    }
}
