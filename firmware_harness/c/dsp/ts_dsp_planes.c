/* 3x3 depthwise convolution from planes to tiles, a row at a time. */
#include "ts_dsp_planes.h"

void ts_dsp_planes_clear(const TsDspPlanes* layer, int8_t* planes, int32_t row) {
    const int8_t* end = planes + 4 * ts_dsp_planes_of_four(layer) * layer->plane_bytes;
    for (int8_t* at = planes + row * TS_DSP_ROW_BYTES; at < end; at += TS_DSP_COLUMNS_BYTES) {
        ts_dsp_store(at, 0);
    }
}

void ts_dsp_planes_row(const TsDspPlanes* layer, const int8_t* planes, int32_t first, int32_t stride, int32_t width,
                       int16_t* tiles) {
    TsDspTaps taps;
    taps.pitch = TS_DSP_COLUMNS_BYTES;
    taps.constants = TS_ARRAY(TsDspChannel, layer, constants);
    taps.plane = planes;
    taps.plane_bytes = layer->plane_bytes;
    taps.out_bytes = 16;
    taps.step = layer->groups * 16;
    taps.rows = 1;
    taps.in_step = taps.out_step = taps.down = 0;
    taps.zero_term = ts_dsp_zero_term(0);
    ts_dsp_taps_width(&taps, TS_DSP_TAPS_TO_TILES, width, stride);
    for (int32_t i = 0; i < TS_DSP_ROWS; ++i) {
        taps.order[(first + i) % TS_DSP_ROWS] = 4 * i;
    }
    for (int32_t i = 0; i < ts_min(4, layer->channels); ++i) {
        taps.channels = (layer->channels - i + 3) >> 2;
        taps.out = tiles + ts_dsp_place[i];
        ts_dsp_taps_run(&taps);
        taps.constants += taps.channels;
        taps.plane += ts_dsp_planes_of_four(layer) * layer->plane_bytes;
    }
}
