/* A row of tiles times the weights of output channels, four at a time: the inner loop of all convolutions except
 * depthwise ones. */
#ifndef TS_DSP_TILES_H
#define TS_DSP_TILES_H

#include "ts_dsp_inner.h"

enum { TS_DSP_GROUP_BYTES = 16 }; /* of a tile: four inputs of two pixels, as 16-bit numbers */

/* How the four channels of a quad are written. */
typedef enum {
    TS_DSP_TO_PLANES, /* with ReLU, counted from the zero point, as 16-bit numbers, one plane per channel */
    TS_DSP_TO_CODES,  /* codes, the channels of a pixel side by side */
    TS_DSP_TO_SUM_0,  /* codes plus codes: the product has the larger scale */
    TS_DSP_TO_SUM_1,  /* codes plus codes: the other summand has the larger scale */
} TsDspDestination;

/* The assembly reads these members in order. */
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

/* The code of a product's code plus that of its summand. */
static inline int32_t ts_dsp_sum_of(int32_t product, int32_t other, const TsDspSummand* summand, TsDspDestination to) {
#ifdef TS_ROUNDING_SINGLE
    const TsDspSum* sum = &summand->sum;
    (void)to;
    return ts_dsp_saturate((sum->bias + product * sum->multiplier_a + other * sum->multiplier_b) >> sum->shift);
#else
    const int32_t smaller = to == TS_DSP_TO_SUM_0 ? other : product;
    const int32_t larger = to == TS_DSP_TO_SUM_0 ? product : other;
    return ts_dsp_code(summand->table[smaller] + larger * (1 << 20), &summand->rescale, 0);
#endif
}

/* The assembly reads these members in order: one row for `count` quads of channels. */
typedef struct {
    int32_t pixel;         /* bytes from the first pixel of a tile to the second; of codes, the channels of a pixel */
    int32_t plane;         /* bytes from the plane of a channel of a quad to that of the next */
    const int16_t* weight; /* of the first quad */
    const int16_t* x_end;  /* after the last full tile */
    uintptr_t entry, writer;
    uintptr_t last_entry;
    const int16_t* x_stop; /* after the tile of a last pixel without a neighbour, if there is one */
    const TsDspSummand* summand;
    int32_t zero_term; /* of ts_dsp_zero_term */
    const int16_t* x;
    const TsDspQuad* quads;
    int32_t count;
    int8_t* out;          /* first pixel of the first channel */
    int32_t out_bytes;    /* from one quad to the next */
    int32_t weight_bytes; /* of a quad */
} TsDspTiles;

/* Everything but `weight`, `quads`, `count` and the addresses to write to. */
void ts_dsp_tiles_row(TsDspTiles* tiles, const TsDspPointwise* layer, const int16_t* x, int32_t width,
                      TsDspDestination to);

void ts_dsp_tiles_run(const TsDspTiles* tiles);

#endif
