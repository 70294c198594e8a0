/* A 1x1 convolution of a row of tiles, and how a row becomes tiles. */
#ifndef TS_DSP_POINTWISE_H
#define TS_DSP_POINTWISE_H

#include "ts_dsp_planes.h"
#include "ts_dsp_tiles.h"

/* Copy `pixels` pixels of `codes` codes, `step` apart, into tiles from pixel `at` on. */
void ts_dsp_widen_row(const int8_t* x, int32_t pixels, int32_t step, int32_t codes, int32_t at, int32_t tile_bytes,
                      int16_t* tiles);

/* Widen all weights to 16 bits if there is room; called once before the rows. */
void ts_dsp_pointwise_prepare(const TsDspPointwise* layer, int16_t* weight);

/* Write the row as codes, NHWC. `summand`: of the sums, with a distance relative to `out`. `padded`: room for the row
 * with whole quads, if the channels are no multiple of four. */
void ts_dsp_pointwise_codes(const TsDspPointwise* layer, const int16_t* tiles, int32_t width, int16_t* weight,
                            TsDspDestination to, const TsDspSummand* summand, int8_t* padded, int8_t* out);

/* Write the row after ReLU into one row of planes, from column `pad_left` on. */
void ts_dsp_pointwise_planes(const TsDspPointwise* layer, const int16_t* tiles, int32_t width, int16_t* weight,
                             const TsDspPlanes* to, int32_t pad_left, int32_t row, int8_t* planes);

/* Raise codes below `low` to it, for a ReLU whose zero point is not the lowest code. */
void ts_dsp_raise(int8_t* codes, int32_t n, int32_t low);

/* Codes between `low` and `high`; `out` may be `x`. */
void ts_dsp_clip(const int8_t* x, int32_t n, int32_t low, int32_t high, int8_t* out);

#endif
