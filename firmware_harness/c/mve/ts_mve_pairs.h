/* Pairs of channels at four pixels, the inner loop of dense convolutions. */
#ifndef TS_MVE_PAIRS_H
#define TS_MVE_PAIRS_H

#include "ts_mve_inner.h"

enum {
    TS_MVE_PITCH = TS_MVE_MOST_PIECES * TS_MVE_LANES, /* from window to window, unless they are longer */
};

/* The assembly reads the members in order. */
typedef struct {
    const int8_t* weight;
    const int32_t* constants;
    int32_t pairs;
    const int8_t* windows; /* the first; for short ones their middle */
    int32_t pieces, zero_point;
    uint16_t at[8]; /* 24: bytes from the first code to those of two channels at four pixels */
    int32_t pitch;  /* 40: of windows that are not short */
} TsMvePairs;

/* All channels of a group: whole pairs, and the last one if their number is odd. */
typedef struct {
    TsMvePairs whole, last;
    int32_t channels, pitch; /* pitch: from pixel to pixel of the output */
    int8_t* spare;           /* codes of four pixels */
} TsMveChannels;

static inline int32_t ts_mve_pitch(const TsMveConv2D* layer) {
    return layer->pieces <= TS_MVE_MOST_PIECES ? TS_MVE_PITCH : layer->pieces * TS_MVE_LANES;
}

void ts_mve_begin_channels(const TsMveConv2D* layer, int32_t group, const int8_t* windows, int8_t* spare,
                           TsMveChannels* all);

/* All channels of n <= 4 pixels, whose windows are side by side: whole pairs directly to the output, the rest through
 * `spare`. */
void ts_mve_pixels(const TsMveChannels* all, int32_t n, int8_t* out);

#endif
