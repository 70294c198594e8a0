/* 3x3 depthwise convolution from planes to tiles, a row at a time. */
#ifndef TS_DSP_PLANES_H
#define TS_DSP_PLANES_H

#include "ts_dsp_inner.h"

enum { TS_DSP_ROWS = 3, TS_DSP_COLUMNS_BYTES = 12, TS_DSP_ROW_BYTES = 4 }; /* in a plane: rows, a pair of columns */

/* Byte offset of a column in a plane. */
static inline int32_t ts_dsp_column(int32_t column) {
    return (column >> 1) * TS_DSP_COLUMNS_BYTES + (column & 1) * 2;
}

/* Number of planes of channels 0, 4, ...; as many belong to 1, 5, ... and so on. */
static inline int32_t ts_dsp_planes_of_four(const TsDspPlanes* layer) {
    return (layer->channels + 3) >> 2;
}

/* The planes of channels 0, 1, 2 and 3; planes are sorted as described at TsDspPlanes, those of 4, 5, ... follow
 * each. */
static inline void ts_dsp_plane_places(const TsDspPlanes* layer, int8_t* planes, int8_t* place[4]) {
    for (int32_t i = 0; i < 4; ++i) {
        place[i] = planes + i * ts_dsp_planes_of_four(layer) * layer->plane_bytes;
    }
}

/* Set one row of all planes, including padding, to the code of zero. */
void ts_dsp_planes_clear(const TsDspPlanes* layer, int8_t* planes, int32_t row);

/* A row of `width` pixels of codes into one row of the planes, from column `pad_left` on. */
void ts_dsp_planes_fill(const TsDspPlanes* layer, const int8_t* x, int32_t width, int32_t pad_left, int32_t row,
                        int8_t* planes);

/* A row of output as tiles. `first`: the row of the planes under the kernel's upper row; the others follow
 * cyclically. With an odd width, up to 12 bytes behind the planes are read, and an unused pixel is written. */
void ts_dsp_planes_row(const TsDspPlanes* layer, const int8_t* planes, int32_t first, int32_t stride, int32_t width,
                       int16_t* tiles);

/* The same row as codes. */
void ts_dsp_tiles_to_codes(const TsDspPlanes* layer, const int16_t* tiles, int32_t width, int8_t* out);

#endif
