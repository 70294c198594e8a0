/* Layer records and kernels for processors with two 16-bit products an instruction; internal, see ts_kernels.h.
 *
 * A tile is two neighbouring pixels of a row as 16-bit numbers, their channels in groups of four: (group, pair, pixel,
 * channel of the pair), the pairs being channels 0 and 2, then 1 and 3, as SXTB16 extracts them from a word of codes. A
 * plane is one channel of some rows, its columns in pairs: (pair, row, column of the pair); see ts_dsp_taps.h.
 *
 * All kernels get `scratch`, working memory from the arena. Records are trusted as in ts_kernels.h: the emitter has
 * checked that twice an accumulator fits into int32 and that shifts are in 1..22. */
#ifndef TS_DSP_H
#define TS_DSP_H

#include "ts_kernels.h"

/* Accumulator to output code. Under the fixed-point rule its input is twice the accumulator, so that one instruction
 * multiplies. */
#ifdef TS_ROUNDING_SINGLE
typedef struct {
    float factor;
} TsDspRescale;
#define TS_DSP_RESCALE(multiplier, offset, shift, factor)                                                              \
    { (factor) }
#else
typedef struct {
    int32_t multiplier;
    int32_t offset; /* half of 2^shift, and the zero point times 2^shift */
    int32_t shift;  /* 1..22, to the right */
} TsDspRescale;
#define TS_DSP_RESCALE(multiplier, offset, shift, factor)                                                              \
    { (multiplier), (offset), (shift) }
#endif

/* Constants of four output channels besides the weights; the bias includes the input's zero point. */
#ifdef TS_ROUNDING_SINGLE
typedef struct {
    float factor[4];
    int32_t bias[4];
} TsDspQuad;
#define TS_DSP_QUAD(m, m_1, m_2, m_3, s, s_1, s_2, s_3, factor, factor_1, factor_2, factor_3, b, b_1, b_2, b_3)        \
    {                                                                                                                  \
        {(factor), (factor_1), (factor_2), (factor_3)}, {                                                              \
            (b), (b_1), (b_2), (b_3)                                                                                   \
        }                                                                                                              \
    }
#else
typedef struct {
    int32_t multiplier[4];
    int32_t bias[4]; /* twice */
    uint32_t shifts; /* 1..22, to the right; a byte each */
} TsDspQuad;
#define TS_DSP_QUAD(m, m_1, m_2, m_3, s, s_1, s_2, s_3, factor, factor_1, factor_2, factor_3, b, b_1, b_2, b_3)        \
    {                                                                                                                  \
        {(m), (m_1), (m_2), (m_3)}, {2 * (b), 2 * (b_1), 2 * (b_2), 2 * (b_3)},                                        \
            (uint32_t)(s) | (uint32_t)(s_1) << 8 | (uint32_t)(s_2) << 16 | (uint32_t)(s_3) << 24                       \
    }
#endif

/* A 1x1 convolution over tiles. Output channels come in quads, the last one padded with channels of zeros. */
typedef struct {
    int32_t groups;     /* of four inputs */
    int32_t channels;   /* output channels */
    int32_t kept;       /* 1: scratch has room for all widened weights, 0: for those of one quad */
    int32_t zero_point; /* of the output */
    TsOffset weight;    /* int8_t (quad, group, output of the quad, input of the group) */
    TsOffset quads;     /* TsDspQuad (quad) */
} TsDspPointwise;

/* Any convolution: windows are gathered into tiles, which a 1x1 convolution reads. */
typedef struct {
    TsWindow window;
    int32_t in_channels;
    int32_t in_zero_point;
    int32_t run_groups; /* groups of four inputs in one row of a window */
    int32_t low;        /* lowest code of the output */
    int32_t weight_at;  /* bytes into the scratch memory; tiles begin at 0 */
    int32_t padded_at;  /* likewise: a row of the output with whole quads, if the channels are no multiple of four */
    TsDspPointwise pointwise;
} TsDspConv2D;

/* A matrix times few vectors. Outputs come in quads; those behind the last one are not written. */
typedef struct {
    int32_t rows; /* of inputs and outputs */
    int32_t inputs, outputs;
    int32_t zero_point; /* of the output */
    int32_t low;        /* lowest code of the output */
    TsOffset weight;    /* int8_t (quad, group of four inputs, output of the quad, input of the group) */
    TsOffset quads;     /* TsDspQuad (quad) */
} TsDspDense;

/* One channel of a 3x3 depthwise convolution: the weights w0, w1, w1, w2 of each row, from which SXTB16 extracts the
 * pairs (w0, w1) and (w1, w2). */
#define TS_DSP_BYTE(weight, place) (((uint32_t)(weight)&0xffu) << 8 * (place))
#define TS_DSP_ROW(a, b, c) (TS_DSP_BYTE(a, 0) | TS_DSP_BYTE(b, 1) | TS_DSP_BYTE(b, 2) | TS_DSP_BYTE(c, 3))
#ifdef TS_ROUNDING_SINGLE
typedef struct {
    float factor;
    int32_t bias;
    uint32_t weight[3];
} TsDspChannel;
#define TS_DSP_CHANNEL(multiplier, shift, factor, bias, a, b, c, d, e, f, g, h, i)                                     \
    {                                                                                                                  \
        (factor), (bias), {                                                                                            \
            TS_DSP_ROW(a, b, c), TS_DSP_ROW(d, e, f), TS_DSP_ROW(g, h, i)                                              \
        }                                                                                                              \
    }
#else
typedef struct {
    int32_t multiplier, shift;
    int32_t bias; /* twice */
    uint32_t weight[3];
} TsDspChannel;
#define TS_DSP_CHANNEL(multiplier, shift, factor, bias, a, b, c, d, e, f, g, h, i)                                     \
    {                                                                                                                  \
        (multiplier), (shift), 2 * (bias), {                                                                           \
            TS_DSP_ROW(a, b, c), TS_DSP_ROW(d, e, f), TS_DSP_ROW(g, h, i)                                              \
        }                                                                                                              \
    }
#endif

/* 3x3 depthwise convolution over planes, of codes counted from -128 to such codes after ReLU. Its channels and planes
 * are sorted by their index in a group of four: 0, 4, 8, ..., 1, 5, .... Each of the four has as many planes as the
 * first, even if it has a channel less. */
typedef struct {
    int32_t channels;
    int32_t groups;      /* groups of four channels of the output tiles */
    int32_t plane_bytes; /* one channel: 12 per pair of columns, including padding */
    TsOffset constants;  /* TsDspChannel (channel) */
} TsDspPlanes;

/* 3x3 depthwise convolution of codes, in strips of rows. */
typedef struct {
    int32_t channels;
    int32_t rows;       /* of the output in a strip */
    int32_t pairs;      /* of columns of a plane, including padding */
    int32_t fill;       /* code of zero, for the padding */
    int32_t relu;       /* with zero point -128 */
    int32_t zero_point; /* of the output */
    TsOffset constants; /* TsDspChannel (channel) */
} TsDspStrips;

typedef struct {
    TsWindow window;
    int32_t low; /* lowest code of the output */
    TsDspStrips strips;
} TsDspDepthwise;

/* Sum of two codes; one operand has the larger scale, or both the same. */
typedef struct {
#ifdef TS_ROUNDING_SINGLE
    int32_t multiplier_a, multiplier_b;
    int32_t bias; /* rounding and all zero points */
    int32_t shift;
#else
    TsOffset table; /* int32_t (256), summand of the operand with the smaller scale, by code from -128 on; the other's
                     * is 2^20 times its code */
    int32_t multiplier, offset, shift;
#endif
} TsDspSum;

typedef struct {
    int32_t size;
    int32_t larger; /* 0: the first operand has the larger scale, 1: the second */
    int32_t low;
    TsDspSum sum;
} TsDspAdd;

/* Codes between two bounds, such as a RELU6. */
typedef struct {
    int32_t size;
    int32_t low, high;
} TsDspClip;

/* Product of `repeats` runs of `size` elements with one run of `size`, as TsMul. */
typedef struct {
    int32_t repeats, size;
    int32_t a_zero_point, b_zero_point;
    TsDspRescale rescale;
    int32_t out_zero_point; /* included in the rescale under the fixed-point rule */
    int32_t low;            /* lowest code of the output */
} TsDspMul;

/* An inverted residual, row by row: 1x1 convolution with ReLU, 3x3 depthwise convolution with ReLU, 1x1 convolution,
 * then optionally the sum with the input or with a 3x3 depthwise convolution of it. The outputs of both ReLUs have
 * zero point -128. */
enum { TS_DSP_ADD_NOTHING, TS_DSP_ADD_INPUT, TS_DSP_ADD_SIDE };

typedef struct {
    TsWindow window; /* of the depthwise convolutions */
    int32_t in_channels;
    int32_t low;    /* lowest code of the output */
    int32_t added;  /* one of the three above */
    int32_t larger; /* 0: the projection has the larger scale, 1: the other summand */
    int32_t part;   /* pixels of an output row that are tiles at a time; an even number, or all */
    /* Bytes into scratch; planes begin at 0. */
    int32_t tiles_at, expand_at, project_at, side_planes_at, side_row_at, padded_at;
    TsDspPointwise expand, project;
    TsDspPlanes planes;
    TsDspStrips side; /* of one row */
    TsDspSum sum;
} TsDspBlock;

/* Mean over space of a function of the codes, in one pass. */
typedef struct {
    TsMean mean;
    TsOffset table; /* int8_t (256), from code -128 on */
} TsDspTableMean;

/* Product with a factor for each channel, then a 1x1 depthwise convolution, in one pass: the end of GRN. */
typedef struct {
    int32_t pixels, channels;
    int32_t x_zero_point, factor_zero_point;
    int32_t product_zero_point; /* included in the rescale under the fixed-point rule */
    TsDspRescale rescale;       /* of the product */
    TsOffset weight;            /* int8_t (channels) */
    TsOffset bias;              /* int32_t (channels), including the product's zero point */
    TsOffset rescales;          /* TsDspRescale (channels) */
    int32_t out_zero_point;
    int32_t relu;
    int32_t low; /* lowest code of the output */
} TsDspGain;

void ts_dsp_conv2d(const TsDspConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch);
void ts_dsp_dense(const TsDspDense* layer, const int8_t* x, int8_t* out);
void ts_dsp_depthwise(const TsDspDepthwise* layer, const int8_t* x, int8_t* out, int8_t* scratch);
void ts_dsp_add(const TsDspAdd* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_dsp_clip_codes(const TsDspClip* layer, const int8_t* x, int8_t* out);
void ts_dsp_mul(const TsDspMul* layer, const int8_t* a, const int8_t* b, int8_t* out);
void ts_dsp_table_mean(const TsDspTableMean* layer, const int8_t* x, int8_t* out);
void ts_dsp_gain(const TsDspGain* layer, const int8_t* x, const int8_t* factor, int8_t* out, int8_t* scratch);
void ts_dsp_block(const TsDspBlock* layer, const int8_t* x, int8_t* out, int8_t* scratch);

#endif
