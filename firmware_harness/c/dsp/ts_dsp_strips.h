/* 3x3 depthwise convolution from codes to codes, some rows and four channels at a time. */
#ifndef TS_DSP_STRIPS_H
#define TS_DSP_STRIPS_H

#include "ts_dsp_taps.h"

/* Rows of an output. */
typedef struct {
    int32_t first, last;
} TsDspSpan;

/* Set the planes to the code of zero, once before any rows. */
void ts_dsp_strips_clear(const TsDspStrips* layer, const TsWindow* window, int8_t* planes);

/* Rows [first, last) of the output, which begin at `out`. All rows of an output may be written over an input of its
 * shape. */
void ts_dsp_strips(const TsDspStrips* layer, const TsWindow* window, const int8_t* x, TsDspSpan span, int8_t* out,
                   int8_t* planes);

#endif
