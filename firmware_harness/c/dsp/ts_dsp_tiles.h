/* A row of tiles times the weights of two output channels: the inner loop of every convolution but depthwise ones. */
#ifndef TS_DSP_TILES_H
#define TS_DSP_TILES_H

#include "ts_dsp_inner.h"

enum { TS_DSP_TILE_BYTES = 16, TS_DSP_GROUP_BYTES = 16 }; /* of one group: four inputs, two pixels or two outputs */

/* Where two channels of a row go, and how. */
typedef enum {
    TS_DSP_TO_PLANES, /* with ReLU, counted from the zero point, as 16-bit numbers, one plane a channel */
    TS_DSP_TO_CODES,  /* codes, the channels of a pixel side by side */
    TS_DSP_TO_SUM_0,  /* codes plus codes: the product has the larger scale */
    TS_DSP_TO_SUM_1,  /* codes plus codes: what is added has the larger scale */
} TsDspDestination;

typedef struct {
    int32_t distance; /* from where a code is written to where its summand lies */
    TsDspSum sum;
} TsDspSummand;

/* What the assembly reads, in its order: one row for one pair of channels. */
typedef struct {
    const int16_t* x;
    const int16_t* weight;
    int8_t* out[2];       /* planes: first pixel of each channel; codes: first two pixels */
    const int16_t* x_end; /* after the last full tile */
    int32_t step;         /* planes: bytes from an even pixel to the next; codes: channels of a pixel */
    int32_t zero_point;
    const TsDspSummand* summand;
    int32_t left, passes;
    struct {
        uintptr_t entry, back, writer;
    } pair, last; /* last: a tile of one pixel, if entry is not 0 */
} TsDspTiles;

/* What is the same for all pairs of channels: tiles, their number, and the way of writing. */
void ts_dsp_tiles_row(TsDspTiles* tiles, const TsDspPointwise* layer, const int16_t* x, int32_t width,
                      TsDspDestination to);

void ts_dsp_tiles_run(const TsDspTiles* tiles, const TsDspPair* constants);

#endif
