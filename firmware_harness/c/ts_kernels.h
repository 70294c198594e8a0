/* Layer records and kernels of the int8 graph; internal, the user's header is model.h.
 *
 * A record is constant data defined in the emitted model.c; a kernel reads it and its inputs and writes an output, all
 * NHWC with batch 1. Nothing is allocated, and there is no state between calls. Records are trusted: the emitter has
 * checked shapes and ranges, the kernels check nothing. Input and output may not overlap.
 *
 * Records contain no addresses. They and their constant arrays are members of one structure, and a record has the
 * distance to each of its arrays, so that all bytes of the structure are known when it is emitted (see ts_check.h).
 *
 * The rounding rule is chosen for a whole build: by default the fixed-point rule (`double`: TFLite Micro, CMSIS-NN),
 * with TS_ROUNDING_SINGLE the float one (`single`: XNNPACK, ONNX Runtime). model.c carries the constants of both. */
#ifndef TS_KERNELS_H
#define TS_KERNELS_H

#include <stdint.h>

/* Bytes from the record to a constant array; a comment has the array's type and shape. */
typedef int32_t TsOffset;
#define TS_ARRAY(type, record, member) ((const type*)(const void*)((const char*)(record) + (record)->member))

/* Accumulator to output code: one for each output channel, or one for a layer. */
#ifdef TS_ROUNDING_SINGLE
typedef struct {
    float factor;
} TsRescale;
#define TS_RESCALE(multiplier, shift, factor)                                                                          \
    { (factor) }
#else
typedef struct {
    int32_t multiplier; /* below 2^31 */
    int32_t shift;      /* -31..8; the factor is multiplier * 2^(shift - 31) */
} TsRescale;
#define TS_RESCALE(multiplier, shift, factor)                                                                          \
    { (multiplier), (shift) }
#endif

/* Output codes: the lowest and the highest are counted from the zero point, so that ReLU is only another lower
 * bound. */
typedef struct {
    int32_t zero_point;
    int32_t low;
    int32_t high;
} TsOutput;

/* Window of a convolution or a pool. Bottom and right padding follow from the output's size. */
typedef struct {
    int32_t in_height, in_width;
    int32_t out_height, out_width;
    int32_t kernel_height, kernel_width;
    int32_t stride_height, stride_width;
    int32_t pad_top, pad_left;
} TsWindow;

/* Outputs of `pixels` windows of `taps` contiguous codes each, which begin `step` codes apart: a matrix product, or a
 * convolution whose windows need no padding. A bias includes the zero point of the input: minus its product with the
 * sum of the weights. */
typedef struct {
    int32_t pixels, step;
    int32_t taps, channels;
    TsOffset weight;  /* int8_t (channels, taps) */
    TsOffset bias;    /* int32_t (channels) */
    TsOffset rescale; /* TsRescale (channels) */
    TsOutput out;
} TsDense;

/* Where the taps of a convolution are in the input, and the code that stands for what is outside of it. */
typedef struct {
    TsWindow window;
    int32_t dilation_height, dilation_width;
    int32_t channels;
    int32_t zero_point;
} TsTaps;

/* Each run of `group_outputs` channels reads its run of `group_inputs`; biases as in TsDense. */
typedef struct {
    TsTaps taps;
    int32_t out_channels;
    int32_t group_inputs, group_outputs;
    TsOffset weight;  /* int8_t (out_channels, kernel_height, kernel_width, group_inputs) */
    TsOffset bias;    /* int32_t (out_channels) */
    TsOffset rescale; /* TsRescale (out_channels) */
    TsOutput out;
} TsConv2D;

/* An output for each channel; biases as in TsDense. */
typedef struct {
    TsTaps taps;
    TsOffset weight;  /* int8_t (channels, kernel_height, kernel_width) */
    TsOffset bias;    /* int32_t (channels) */
    TsOffset rescale; /* TsRescale (channels) */
    TsOutput out;
} TsDepthwiseConv2D;

/* The pads of the window are what is cropped. The outputs of each phase, a remainder of their row and column by the
 * strides, have the taps of the same remainder; a phase may have none. Biases as in TsDense, for the phase's taps. */
typedef struct {
    TsWindow window;
    int32_t in_channels, out_channels;
    int32_t in_zero_point;
    TsOffset weight;  /* int8_t, for each phase (out_channels, its tap rows, its tap columns, in_channels) */
    TsOffset bias;    /* int32_t (stride_height, stride_width, out_channels) */
    TsOffset rescale; /* TsRescale (out_channels) */
    TsOutput out;
} TsTransposeConv2D;

typedef struct {
    TsWindow window;
    int32_t channels;
} TsPool;

/* Sum or difference of two tensors of `size` elements; the rounding rules differ in more than the rounding here. */
typedef struct {
    int32_t size;
#ifdef TS_ROUNDING_SINGLE
    int32_t multiplier_a, multiplier_b;
    int32_t bias;  /* rounding and zero points of the inputs */
    int32_t shift; /* 13..30, to the right */
#else
    int32_t a_zero_point, b_zero_point;
    TsRescale rescale_a, rescale_b, rescale_sum;
#endif
    TsOutput out;
} TsAdd;

/* Product of `repeats` runs of `size` elements with one run of `size`: (1, n) for equal shapes, (height * width,
 * channels) for a factor per channel, (n, 1) for a single factor. */
typedef struct {
    int32_t repeats, size;
    int32_t a_zero_point, b_zero_point;
    TsRescale rescale;
    TsOutput out;
} TsMul;

/* Shape of an output whose operands are broadcast: `n_axes` axes, the last one first. A step of 0 repeats an operand
 * along the axis. */
enum { TS_MOST_AXES = 5 };
typedef struct {
    int32_t n_axes; /* 1..TS_MOST_AXES */
    TsOffset axes;  /* int32_t (n_axes, 3): size, step of a, step of b, in elements */
} TsBroadcast;

/* Sum or difference of operands of different shapes; the size in `add` is that of the last axis. */
typedef struct {
    TsBroadcast broadcast;
    TsAdd add;
} TsAddBroadcast;

/* Product of operands of different shapes; `repeats` in `mul` is 1, its size that of the last axis. */
typedef struct {
    TsBroadcast broadcast;
    TsMul mul;
} TsMulBroadcast;

/* Multiplier and shift of a factor that both rounding rules apply in fixed point. */
typedef struct {
    int32_t multiplier; /* below 2^31 */
    int32_t shift;      /* -31..14; the factor is multiplier * 2^(shift - 31) */
} TsFixedPoint;

/* a from 0 on, a times b below; the size is that of the last axis. */
typedef struct {
    TsBroadcast broadcast;
    int32_t size;
    int32_t a_zero_point, b_zero_point;
    TsFixedPoint above, below;
    TsOutput out;
} TsPRelu;

/* Square of a difference; the size is that of the last axis. */
typedef struct {
    TsBroadcast broadcast;
    int32_t size;
    int32_t a_zero_point, b_zero_point;
    TsFixedPoint rescale_a, rescale_b, rescale_square;
    TsOutput out;
} TsSquaredDifference;

/* The larger of two codes, the smaller where flip is -1, not 0; the size is that of the last axis. */
typedef struct {
    TsBroadcast broadcast;
    int32_t size, flip;
} TsExtremum;

/* Mean or sum of `count` elements that lie `step` apart, for `size` outputs whose elements begin `stride` apart. */
typedef struct {
    int32_t size, stride;
    int32_t count, step;
#ifdef TS_ROUNDING_SINGLE
    float factor, offset; /* the offset includes both zero points */
#else
    int32_t in_zero_point;
    TsRescale rescale;
#endif
    TsOutput out;
} TsMean;

enum { TS_AXES = 3 };

/* Any axes of x: first three that the output has, then three that are reduced, each outermost first. */
typedef struct {
    TsOffset sizes; /* int32_t (2, TS_AXES) */
    TsOffset steps; /* int32_t (2, TS_AXES), in elements of x */
} TsAxes;

/* As TsMean, of elements whose places the axes give; stride and step are 0. */
typedef struct {
    TsMean mean;
    TsAxes axes;
} TsReduce;

/* Largest of `count` codes for each of `size` outputs; the smallest where flip is -1, not 0. */
typedef struct {
    int32_t size, count;
    int32_t flip;
    TsAxes axes;
} TsExtreme;

/* `matrices` products of a (rows, depth) and b (depth, columns), which are `a_steps` and `b_steps` apart along three
 * axes; the steps of a row, of a column and of the depth tell whether a matrix is stored transposed. */
typedef struct {
    int32_t matrices, rows, columns, depth;
    TsOffset sizes, a_steps, b_steps; /* int32_t (TS_AXES), outermost first; a step of 0 repeats an operand */
    int32_t a_row, a_depth, b_depth, b_column;
    int32_t a_zero_point, b_zero_point;
    TsRescale rescale;
    TsOutput out;
} TsBatchMatMul;

typedef struct {
    int32_t size;
    TsOffset table; /* int8_t (256), the output code of each input code from -128 on */
} TsLookup;

/* Softmax of each of `rows` runs of `size` elements. */
typedef struct {
    int32_t rows, size;
    TsOffset exponentials; /* (256), of the distance from the largest code of the row: float under the float rule,
                            * int32_t with 31 fractional bits under the fixed-point one */
} TsSoftmax;

/* Logarithm of the softmax of each of `rows` runs of `size` elements, the same under both rules. */
typedef struct {
    int32_t rows, size;
    TsOffset exponentials; /* int32_t (256), of the distance from the largest code of the row, 31 fractional bits */
    TsOffset differences;  /* int32_t (256), of the distance, 26 fractional bits */
    int32_t reverse_multiplier, reverse_shift; /* from such a difference to a distance; the shift is to the right */
    int32_t farthest;                          /* distance that has a difference */
} TsLogSoftmax;

/* Each of `rows` runs of `size` elements, divided by the root of the sum of its squares, times 128. */
typedef struct {
    int32_t rows, size;
    int32_t in_zero_point;
} TsL2Norm;

/* A layer of LSTM cells. A cell state has 16 bits, `cell_bits` of them fractional. */
typedef struct {
    int32_t steps, inputs, units;
    int32_t in_zero_point;
    int32_t cell_bits, cell_low, cell_high;
    TsOffset weight;    /* int8_t (4, units, inputs): input, forget, cell and output gate */
    TsOffset recurrent; /* int8_t (4, units, units) */
    TsOffset bias;      /* int32_t (4, units) */
    TsOffset factors;   /* int32_t (4, 2, 2): multiplier and shift of the products with inputs and hidden states */
#ifdef TS_ROUNDING_SINGLE
    int32_t keep_bits, add_bits; /* to the right, of forget gate * cell state and input gate * cell gate */
#else
    TsFixedPoint keep, add;
    TsOffset table; /* uint16_t (256), 65536 / (1 + exp(-i / 24)) */
#endif
    TsFixedPoint hidden; /* of output gate * tanh */
    TsOutput out;
} TsLstm;

typedef struct {
    int32_t size;
} TsReshape;

/* Elements of x at places of out: a loop over each axis, the last one innermost. */
typedef struct {
    int32_t n_axes;             /* 1..TS_MOST_AXES */
    int32_t x_begin, out_begin; /* place of the first element */
    TsOffset axes;              /* int32_t (n_axes, 3): size, and elements from one to the next in x and in out */
} TsCopy;

/* `size` elements of one code, and x inside of them. */
typedef struct {
    int32_t size, code;
    TsCopy inside;
} TsPad;

/* `repeats` times a run of a and then a run of b. */
typedef struct {
    int32_t repeats, a_size, b_size;
} TsConcat;

/* Rows and columns of x for those of out: places, or pairs of places with the weight of the second. */
typedef struct {
    int32_t out_height, out_width, channels;
    int32_t in_width;
    TsOffset rows;    /* int32_t (out_height), for bilinear (out_height, 3) */
    TsOffset columns; /* int32_t (out_width), for bilinear (out_width, 3) */
} TsResize;

/* `repeats` times a run of each part. */
typedef struct {
    int32_t repeats, n_parts;
    TsOffset sizes; /* int32_t (n_parts), of one run */
} TsConcatParts;

void ts_dense(const TsDense* layer, const int8_t* x, int8_t* out);
/* scratch: two windows, 2 * kernel_height * kernel_width * channels */
void ts_conv2d(const TsConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch);
/* scratch: a window, kernel_height * kernel_width * channels */
void ts_depthwise_conv2d(const TsDepthwiseConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch);
/* scratch: two windows of the phase with the most taps */
void ts_transpose_conv2d(const TsTransposeConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch);
void ts_add(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_sub(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mul(const TsMul* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_add_broadcast(const TsAddBroadcast* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_sub_broadcast(const TsAddBroadcast* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mul_broadcast(const TsMulBroadcast* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_prelu(const TsPRelu* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_squared_difference(const TsSquaredDifference* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_extremum(const TsExtremum* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_mean(const TsMean* layer, const int8_t* x, int8_t* out);
void ts_reduce(const TsReduce* layer, const int8_t* x, int8_t* out);
void ts_extreme(const TsExtreme* layer, const int8_t* x, int8_t* out);
void ts_lookup(const TsLookup* layer, const int8_t* x, int8_t* out);
void ts_max_pool(const TsPool* layer, const int8_t* x, int8_t* out);
void ts_average_pool(const TsPool* layer, const int8_t* x, int8_t* out);
void ts_batch_matmul(const TsBatchMatMul* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_softmax(const TsSoftmax* layer, const int8_t* x, int8_t* out);
void ts_log_softmax(const TsLogSoftmax* layer, const int8_t* x, int8_t* out);
void ts_l2_norm(const TsL2Norm* layer, const int8_t* x, int8_t* out);
void ts_lstm(const TsLstm* layer, const int8_t* x, int8_t* out, int8_t* scratch); /* scratch: 2 * units */
void ts_reshape(const TsReshape* layer, const int8_t* x, int8_t* out);
void ts_copy(const TsCopy* layer, const int8_t* x, int8_t* out);
void ts_pad(const TsPad* layer, const int8_t* x, int8_t* out);
void ts_resize_nearest(const TsResize* layer, const int8_t* x, int8_t* out);
void ts_resize_bilinear(const TsResize* layer, const int8_t* x, int8_t* out);
void ts_concat(const TsConcat* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_concat_parts(const TsConcatParts* layer, const int8_t* const* parts, int8_t* out);

#endif
