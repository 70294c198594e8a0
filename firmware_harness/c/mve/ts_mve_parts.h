/* Parts of the kernels that a block of several layers uses. */
#ifndef TS_MVE_PARTS_H
#define TS_MVE_PARTS_H

#include "ts_mve.h"

/* Operands and state of the loops of a depthwise convolution; the assembly depends on the order. */
typedef struct {
    uint16_t lanes[8];
    uint32_t patch[4];         /* 16: the words of the first patch of channel 0, less one step */
    int32_t back_out, back_in; /* 32: bytes from the end of the last whole step to the start of the last eight
                                * outputs */
    int32_t steps, step;       /* 40: bytes per step in the output */
    int8_t* out;               /* 48: of the current channel */
    int32_t in;                /* 52: likewise, from patch[] on */
    int32_t channels;          /* 56: remaining */
    int8_t* words;             /* of the strip */
} TsMveStrip;

/* Begin a depthwise convolution; it uses 64 * columns bytes of working memory until the end. */
void ts_mve_begin_strips(const TsMveDepthwise* layer, TsMveStrip* strip, int8_t* scratch);

/* One strip, with two lines of outputs if the stride across is 1. `lines`: the input under a patch, NULL for
 * padding. */
void ts_mve_strip(const TsMveDepthwise* layer, TsMveStrip* strip, const int8_t* const lines[4], int8_t* out);

/* A 1x1 convolution of n contiguous pixels; scratch as ts_mve_conv2d. */
void ts_mve_pointwise(const TsMveConv2D* layer, const int8_t* x, int32_t n, int8_t* out, int8_t* scratch);

/* One row of a matrix product, whose last vector is readable to its end. */
void ts_mve_row(const TsMveFullyConnected* layer, const int8_t* x, int8_t* out);

/* The first n elements of a sum. */
void ts_mve_add_some(const TsMveAdd* layer, const int8_t* a, const int8_t* b, int32_t n, int8_t* out);

#endif
