/* A row of tiles times the weights of two output channels: the inner loop of all convolutions except depthwise ones. */
#ifndef TS_DSP_TILES_H
#define TS_DSP_TILES_H

#include "ts_dsp_inner.h"

enum { TS_DSP_TILE_BYTES = 16, TS_DSP_GROUP_BYTES = 16 }; /* of one group: four inputs, two pixels or two outputs */

/* How two channels of a row are written. */
typedef enum {
    TS_DSP_TO_PLANES, /* with ReLU, counted from the zero point, as 16-bit numbers, one plane per channel */
    TS_DSP_TO_CODES,  /* codes, the channels of a pixel side by side */
    TS_DSP_TO_SUM_0,  /* codes plus codes: the product has the larger scale */
    TS_DSP_TO_SUM_1,  /* codes plus codes: the other summand has the larger scale */
} TsDspDestination;

typedef struct {
    int32_t distance; /* offset from the address of a code to that of its summand */
#ifdef TS_ROUNDING_SINGLE
    TsDspSum sum;
#else
    const int32_t* table; /* of TsDspSum, its element of code 0 */
    TsDspRescale rescale;
#endif
} TsDspSummand;

static inline TsDspSummand ts_dsp_summand(const TsDspSum* sum) {
#ifdef TS_ROUNDING_SINGLE
    const TsDspSummand summand = {0, *sum};
#else
    const int32_t* table = TS_ARRAY(int32_t, sum, table) + 128;
    const TsDspSummand summand = {0, table, {sum->multiplier, sum->offset, sum->shift}};
#endif
    return summand;
}

/* The assembly reads these members in order: one row for one pair of channels. */
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

/* Common to all pairs of channels: tiles, their number, and how results are written. */
void ts_dsp_tiles_row(TsDspTiles* tiles, const TsDspPointwise* layer, const int16_t* x, int32_t width,
                      TsDspDestination to);

void ts_dsp_tiles_run(const TsDspTiles* tiles, const TsDspPair* constants);

#endif
