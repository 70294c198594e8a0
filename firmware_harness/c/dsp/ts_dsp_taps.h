/* The inner loop of a 3x3 depthwise convolution: rows of one channel after another. */
#ifndef TS_DSP_TAPS_H
#define TS_DSP_TAPS_H

#include "ts_dsp_inner.h"

enum { TS_DSP_ROWS = 3, TS_DSP_COLUMNS = 3 };

/* What the outputs are. */
typedef enum {
    TS_DSP_TAPS_TO_TILES, /* one row after ReLU, counted from the zero point -128: 16-bit numbers in tiles */
    TS_DSP_TAPS_TO_CODES, /* rows of codes, the channels side by side */
    TS_DSP_TAPS_TO_RELU,  /* such codes after ReLU, with zero point -128 */
} TsDspTapsTo;

/* `channels` of one row or of several, with contiguous planes and constants. A plane has pairs of columns, each of as
 * many rows as `pitch` has words: three, for tiles. The assembly reads these members in order. */
typedef struct {
    int32_t pitch; /* bytes from one pair of columns to the next */
    const TsDspChannel* constants;
    const int8_t* plane;
    int32_t plane_bytes;
    void* out;
    int32_t out_bytes;     /* from one channel to the next */
    int32_t step;          /* bytes from one tile to the next, or of codes from one pixel to the next */
    int32_t pairs_bytes;   /* from the first pair of outputs to behind the last in the plane */
    int32_t rows;          /* of codes; of tiles there is one */
    uintptr_t entry, tail; /* code for a number of pairs, and for what follows them */
    int32_t channels;
    int32_t zero_term;          /* of ts_dsp_zero_term */
    int32_t order[TS_DSP_ROWS]; /* for each row of the plane, byte offset of its weights in TsDspChannel's */
    int32_t in_step,
        out_step; /* of codes: bytes from the end of a row to the next one, in the plane and in the output */
    int32_t down; /* of codes: bytes in the plane from one row to the next */
} TsDspTaps;

/* What depends on the width of a row; `pitch` is known. */
void ts_dsp_taps_width(TsDspTaps* taps, TsDspTapsTo to, int32_t width, int32_t stride);

void ts_dsp_taps_run(const TsDspTaps* taps);

#endif
