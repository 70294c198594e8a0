/* Four sums of products at a time, which share their operands. Sums wrap around, as accumulators do. */
#ifndef TS_DOT_H
#define TS_DOT_H

#include "ts_inner.h"

/* The weights of some outputs, each with `taps` of them, and what follows their sums. */
typedef struct {
    int32_t taps, channels;
    const int8_t* weight;
    const int32_t* bias;
    const TsRescale* rescale;
    TsOutput out;
} TsFilters;

/* Outputs of one window of `taps` codes. */
void ts_outputs_of_one(const TsFilters* filters, const int8_t* x, int8_t* out);

/* Outputs of two windows. */
void ts_outputs_of_two(const TsFilters* filters, const int8_t* const x[2], int8_t* const out[2]);

#endif
