/* Records and kernels for Helium, the vector extension of Armv8.1-M; internal like ts_kernels.h.
 *
 * No kernel subtracts the input's zero point: the bias includes it. Constant arrays are padded to whole vectors, so
 * that only activations need predicated loads and stores. */
#ifndef TS_MVE_H
#define TS_MVE_H

#include "ts_kernels.h"

enum {
    TS_MVE_LANES = 16,       /* codes in a vector */
    TS_MVE_MOST_PIECES = 15, /* largest number of vectors with the weights of one output */
    TS_MVE_PIXELS = 4,       /* computed side by side */
    TS_MVE_WINDOWS_BYTES = TS_MVE_PIXELS * TS_MVE_MOST_PIECES * TS_MVE_LANES,
};

/* Windows of a convolution, copied to be contiguous: kernel rows, taps, and of each tap the `group_inputs` channels
 * that the outputs of a group read, with the zero point outside of the input. */
typedef struct {
    TsWindow window;
    int32_t dilation_height, dilation_width;
    int32_t in_channels, group_inputs;
    int32_t in_zero_point;
} TsMveWindows;

/* Convolution. A channel's weights are `pieces` vectors, padded with zeros. Those of pairs of channels of a group are
 * side by side, piece by piece; up to TS_MVE_MOST_PIECES they are stored in the order of reading: piece 0, then the
 * others from the last to the first. A pair's constants are two biases, then by rounding rule two multipliers and two
 * shifts (below 0), or two factors as the bits of a float. Another vector is loaded behind the weights and not used. */
typedef struct {
    TsMveWindows windows;
    int32_t out_channels, group_outputs;
    int32_t pieces;
    TsOffset weight;    /* int8_t */
    TsOffset constants; /* int32_t */
    TsOutput out;
} TsMveConv2D;

/* Matrix product of `rows` rows of inputs. The weights of an output are whole vectors, padded with zeros; those of
 * eight outputs are side by side, vector by vector, those of the last outputs follow one another. Constants of four
 * outputs, each a vector: biases, then by rounding rule multipliers and shifts, or factors as the bits of a float. */
typedef struct {
    int32_t rows, inputs, outputs;
    TsOffset weight;    /* int8_t */
    TsOffset constants; /* int32_t */
    TsOutput out;
} TsMveFullyConnected;

/* Convolution as a matrix product of each window alone: with any shift, and for few pixels. */
typedef struct {
    TsMveWindows windows;
    TsMveFullyConnected product; /* rows is 1 */
} TsMveConvRows;

/* One axis of a depthwise convolution's input and output. Pitches: bytes from one pixel to the next along the axis. */
typedef struct {
    int32_t in_size, out_size;
    int32_t in_pitch, out_pitch;
    int32_t stride, pad;
} TsMveAxis;

/* Depthwise convolution, kernels up to 3x3, strides up to 2. A patch is 4x4 codes of one channel and contains the
 * windows of two outputs along each axis of stride 1, of one along others. A strip of patches runs along the axis
 * `along`; strips follow each other along `across`.
 *
 * Weights: 16 bytes a channel, the tap (i across, j along) at 4 * j + i, zeros elsewhere, and 8 zeros before the
 * first, so that a load from 1 or 4 bytes lower moves the kernel by one pixel across or along. Each step computes
 * eight outputs, at the offsets `lanes`, and advances by `step` pixels. Constants of a channel: its bias, then by
 * rounding rule its multiplier and shift (below 0), or its factor as the bits of a float. */
typedef struct {
    TsMveAxis across, along;
    int32_t channels;
    int32_t in_zero_point;
    int32_t step, columns; /* pixels of a strip, including padding */
    TsOffset weight;       /* int8_t */
    TsOffset lanes;        /* int16_t */
    TsOffset constants;    /* int32_t */
    TsOutput out;
} TsMveDepthwise;

/* Depthwise convolution of any kernel, stride, dilation and multiplier. Lines of eight channels are copied to planes of
 * one channel, with the zero point around them; `interleaved` (1, 2 or 4) lines are one line of twice or four times the
 * bytes. An output is the sum of `pieces` dot products of a vector of a plane and one of the kernel, which begin
 * `piece_step` bytes apart: lines of a kernel, or the vectors of one that is a line. Taps along a line are dilated in
 * the weights. An input channel has `multiplier` outputs; weights and constants of eight input channels are in the
 * order: first outputs, second outputs. Constants of an output: its bias, then by rounding rule its multiplier and
 * shift, or its factor as the bits of a float. */
typedef struct {
    TsMveAxis across, along;
    int32_t channels, multiplier;
    int32_t in_zero_point;
    int32_t lines, dilation; /* of a kernel, and from one to the next in the input */
    int32_t interleaved;
    int32_t at_once; /* lines of outputs from one copy; 1 with dilation and with interleaved lines */
    int32_t columns; /* pixels of a line in a plane */
    int32_t plane_bytes;
    int32_t pieces, piece_step; /* vectors of a kernel */
    TsOffset weight;            /* int8_t */
    TsOffset constants;         /* int32_t */
    TsOutput out;
} TsMvePlanes;

/* Sum of two tensors of `size` elements, as TsAdd. `other` is the input whose scale is smaller or equal. */
typedef struct {
    int32_t size;
    int32_t swapped; /* 1: the second input has the larger scale */
#ifdef TS_ROUNDING_SINGLE
    int32_t multiplier, other_multiplier;
    int32_t bias;
    int32_t shift;
#else
    /* With 20 fractional bits, one half of the input with the larger scale is `offset + x * 2^19`, without rounding.
     * The other input is first `other_offset + x * other_factor`; all shifts are to the right. */
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
    TsOffset constants; /* int32_t */
    TsOutput out;
} TsMveAffine;

/* A product and a function of it; the table begins with code 0, negative codes follow 127. */
typedef struct {
    TsMul mul;
    TsOffset table; /* int8_t */
} TsMveMulLookup;

/* A product and then weight * code + bias, rescaled. Biases are padded to a multiple of 16. The order of each 16
 * channels is 0, 4, 8, 12, then those beginning with 2, 1 and 3. Shifts below 0. */
typedef struct {
    TsMul mul;
    int32_t weight;
    TsRescale rescale;
    TsOffset bias; /* int32_t */
    TsOutput out;
} TsMveMulAffine;

/* The mean of a function over space, with a table as above. */
typedef struct {
    TsMean mean;
    TsOffset table; /* int8_t */
} TsMveLookupMean;

/* An inverted residual row by row: only four rows of the expanded tensor exist at a time. The shortcut is the
 * block's input, or a depthwise convolution of it. Strips run along rows; `.._at` are offsets into scratch. */
typedef struct {
    TsMveConv2D expand, project;
    TsMveDepthwise depthwise, side;
    TsMveAdd sum;
    int32_t rows;          /* rows projected at once, a multiple of a strip's */
    int32_t summed;        /* 0: nothing, 1: the input, 2: the side */
    int32_t project_first; /* in the sum */
    int32_t middle_at, projected_at, beside_at, strip_at, side_strip_at, windows_at;
} TsMveBlock;

/* scratch: four windows, of TS_MVE_WINDOWS_BYTES together or as many vectors as they have, and 4 * out_channels. */
void ts_mve_conv2d(const TsMveConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch);
/* scratch: a window, rounded up to whole vectors. */
void ts_mve_conv_rows(const TsMveConvRows* layer, const int8_t* x, int8_t* out, int8_t* scratch);
/* inputs: a multiple of TS_MVE_LANES */
void ts_mve_fully_connected(const TsMveFullyConnected* layer, const int8_t* x, int8_t* out);
/* Any number of inputs; scratch: a row of them, rounded up to whole vectors. */
void ts_mve_fully_connected_padded(const TsMveFullyConnected* layer, const int8_t* x, int8_t* out, int8_t* scratch);
/* scratch: 64 * columns. */
void ts_mve_depthwise(const TsMveDepthwise* layer, const int8_t* x, int8_t* out, int8_t* scratch);
/* scratch: eight planes, and the vectors that begin in the last one. */
void ts_mve_depthwise_planes(const TsMvePlanes* layer, const int8_t* x, int8_t* out, int8_t* scratch);
void ts_mve_add(const TsMveAdd* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mve_affine(const TsMveAffine* layer, const int8_t* x, int8_t* out);
void ts_mve_mul(const TsMul* layer, const int8_t* a, const int8_t* b, int8_t* out); /* shift below 0 */
void ts_mve_mul_lookup(const TsMveMulLookup* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mve_mul_affine(const TsMveMulAffine* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mve_max_pool(const TsPool* layer, const int8_t* x, int8_t* out);
void ts_mve_average_pool(const TsPool* layer, const int8_t* x, int8_t* out); /* windows of at most 5,000 */
void ts_mve_lookup(const TsLookup* layer, const int8_t* x, int8_t* out);
void ts_mve_mean(const TsMean* layer, const int8_t* x, int8_t* out); /* over space */
void ts_mve_mean_of_channels(const TsMean* layer, const int8_t* x, int8_t* out);
void ts_mve_block(const TsMveBlock* layer, const int8_t* x, int8_t* out, int8_t* scratch);
void ts_mve_lookup_mean(const TsMveLookupMean* layer, const int8_t* x, int8_t* out);

#endif
