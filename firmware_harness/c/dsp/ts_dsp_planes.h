/* 3x3 depthwise convolution from planes to tiles, a row at a time. */
#ifndef TS_DSP_PLANES_H
#define TS_DSP_PLANES_H

#include "ts_dsp_taps.h"

enum { TS_DSP_ROW_BYTES = 4, TS_DSP_COLUMNS_BYTES = 12 }; /* in a plane: a row and three rows of a pair of columns */

/* Byte offset of a column in a plane. */
static inline int32_t ts_dsp_column(int32_t column) {
    return (column >> 1) * TS_DSP_COLUMNS_BYTES + (column & 1) * 2;
}

/* Number of planes of channels 0, 4, ...; as many belong to 1, 5, ... and so on. */
static inline int32_t ts_dsp_planes_of_four(const TsDspPlanes* layer) {
    return (layer->channels + 3) >> 2;
}

/* Set one row of all planes, including padding, to zero. */
void ts_dsp_planes_clear(const TsDspPlanes* layer, int8_t* planes, int32_t row);

/* A row of output as tiles. `first`: the row of the planes under the kernel's upper row; the others follow
 * cyclically. */
void ts_dsp_planes_row(const TsDspPlanes* layer, const int8_t* planes, int32_t first, int32_t stride, int32_t width,
                       int16_t* tiles);

#endif
