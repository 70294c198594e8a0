/* Records and kernels for Helium, the vector extension of Armv8.1-M; internal like ts_kernels.h.
 *
 * No kernel subtracts the input's zero point: the emitter has put it into the bias. Arrays are padded to whole vectors,
 * so that only what the network owns is handled with care.
 */
#ifndef TS_MVE_H
#define TS_MVE_H

#include "ts_kernels.h"

enum {
    TS_MVE_LANES = 16,       /* codes in a vector */
    TS_MVE_MOST_PIECES = 15, /* vectors that the weights of one output may take */
    TS_MVE_PIXELS = 4,       /* computed side by side */
    TS_MVE_WINDOWS_BYTES = TS_MVE_PIXELS * TS_MVE_MOST_PIECES * TS_MVE_LANES,
};

/* Dense convolution. A channel's weights are `pieces` vectors, padded with zeros. They are stored in the order in which
 * they are read, by pairs of channels: piece 0, then the others from the last to the first, each of both channels.
 * A pair's constants are two biases, then by rounding rule two multipliers and two shifts (below 0), or two factors as
 * the bits of a float. */
typedef struct {
    TsWindow window;
    int32_t in_channels, out_channels;
    int32_t in_zero_point;
    int32_t pieces;
    const int8_t* weight;
    const int32_t* constants;
    TsOutput out;
} TsMveConv2D;

/* One direction of a depthwise convolution's map. Pitches are bytes from one pixel to the next that way. */
typedef struct {
    int32_t in_size, out_size;
    int32_t in_pitch, out_pitch;
    int32_t stride, pad; /* stride 1 or 2 */
} TsMveAxis;

/* Depthwise convolution, kernels up to 3x3. A patch is 4x4 codes of one channel, and holds the windows of two outputs
 * along each axis of stride 1, of one along others. Patches go along `along`, and `across` is done from strip to strip.
 *
 * Weights: 16 bytes a channel, the tap (i across, j along) at 4 * j + i, zeros elsewhere, and 8 zeros before the first,
 * so that a load from 1 or 4 bytes lower moves the kernel by one pixel across or along. Each step gives the outputs of
 * eight lanes, that lie at `lanes`, and goes on by `step` pixels. Constants of a channel: its bias, then by rounding
 * rule its multiplier and shift (below 0), or its factor as the bits of a float. */
typedef struct {
    TsMveAxis across, along;
    int32_t channels;
    int32_t in_zero_point;
    int32_t step, columns; /* pixels of a strip with everything around it */
    const int8_t* weight;
    const int16_t* lanes;
    const int32_t* constants;
    TsOutput out;
} TsMveDepthwise;

/* Sum of two tensors of `size` elements, as TsAdd. `other` is scaled as the input that is coarser, or as fine. */
typedef struct {
    int32_t size;
    int32_t swapped; /* the second input is the coarser */
#ifdef TS_ROUNDING_SINGLE
    int32_t multiplier, other_multiplier;
    int32_t bias;
    int32_t shift;
#else
    /* With 20 fractional bits, the coarser input times one half is `offset + x * 2^19`, without rounding. The other
     * input is first `other_offset + x * other_factor`; all shifts go to the right. */
    int32_t offset;
    int32_t other_factor, other_offset;
    TsRescale other_rescale, rescale;
#endif
    TsOutput out;
} TsMveAdd;

/* Depthwise convolution of kernel 1x1 and stride 1. Constants of four channels, each a vector: biases, weights, then by
 * rounding rule multipliers and shifts (below 0), or factors as the bits of a float. */
typedef struct {
    int32_t pixels, channels;
    const int32_t* constants;
    TsOutput out;
} TsMveAffine;

/* A product and a function of it; the table begins with the code 0, and the negative ones follow 127. */
typedef struct {
    TsMul mul;
    const int8_t* table;
} TsMveMulLookup;

/* A product and then weight * code + bias, rescaled. Biases are padded to a multiple of 16, and of each 16 channels
 * come the first, fifth, ninth and thirteenth, then those from the third, the second and the fourth on. Shifts below 0.
 */
typedef struct {
    TsMul mul;
    int32_t weight;
    TsRescale rescale;
    const int32_t* bias;
    TsOutput out;
} TsMveMulAffine;

/* The mean of a function over space; the table as above. */
typedef struct {
    TsMean mean;
    const int8_t* table;
} TsMveLookupMean;

/* An inverted residual row by row: only four rows of the widened tensor exist at a time. A sum's other summand is the
 * block's input, or a depthwise convolution of it. Strips go along rows; `.._at` is where parts of the scratch begin.
 */
typedef struct {
    TsMveConv2D expand, project;
    TsMveDepthwise depthwise, side;
    TsMveAdd sum;
    int32_t rows;          /* projected at once, a multiple of what a strip gives */
    int32_t summed;        /* 0: nothing, 1: the input, 2: the side */
    int32_t project_first; /* in the sum */
    int32_t middle_at, projected_at, beside_at, strip_at, side_strip_at, windows_at;
} TsMveBlock;

/* scratch: TS_MVE_WINDOWS_BYTES and 4 * out_channels. */
void ts_mve_conv2d(const TsMveConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch);
/* scratch: 64 * columns. */
void ts_mve_depthwise(const TsMveDepthwise* layer, const int8_t* x, int8_t* out, int8_t* scratch);
void ts_mve_add(const TsMveAdd* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mve_affine(const TsMveAffine* layer, const int8_t* x, int8_t* out);
void ts_mve_mul(const TsMul* layer, const int8_t* a, const int8_t* b, int8_t* out); /* shift below 0 */
void ts_mve_mul_lookup(const TsMveMulLookup* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mve_mul_affine(const TsMveMulAffine* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mve_lookup(const TsLookup* layer, const int8_t* x, int8_t* out);
void ts_mve_mean(const TsMean* layer, const int8_t* x, int8_t* out); /* over space; shift below 0 */
void ts_mve_mean_of_channels(const TsMean* layer, const int8_t* x, int8_t* out);
void ts_mve_block(const TsMveBlock* layer, const int8_t* x, int8_t* out, int8_t* scratch);
void ts_mve_lookup_mean(const TsMveLookupMean* layer, const int8_t* x, int8_t* out);

#endif
