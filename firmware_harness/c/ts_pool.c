/* Pools: windows exclude padding; scale and zero point of input and output are the same. */
#include "ts_window.h"

enum { TS_LANES = 4 };

/* Channels at a time, of fewer the last one repeatedly, and the taps of a window that are inside the input. */
typedef struct {
    int32_t lanes[TS_LANES];
    int32_t rows, columns;
    int32_t row_step, column_step;
    uint32_t reciprocal; /* 2^24 / (rows * columns), rounded up */
} TsInside;

typedef void (*Reduce)(const TsInside* inside, const int8_t* x, int8_t* out);

/* The largest codes of the channels; x points to the first of them at the first tap. */
static void largest(const TsInside* inside, const int8_t* x, int8_t* out) {
    const int32_t second = inside->lanes[1], third = inside->lanes[2], fourth = inside->lanes[3];
    int32_t m0 = INT8_MIN, m1 = INT8_MIN, m2 = INT8_MIN, m3 = INT8_MIN;
    for (int32_t i = 0; i < inside->rows; ++i) {
        const int8_t* at = x;
        for (int32_t j = 0; j < inside->columns; ++j) {
            m0 = ts_max(m0, at[0]);
            m1 = ts_max(m1, at[second]);
            m2 = ts_max(m2, at[third]);
            m3 = ts_max(m3, at[fourth]);
            at += inside->column_step;
        }
        x += inside->row_step;
    }
    out[0] = (int8_t)m0;
    out[second] = (int8_t)m1;
    out[third] = (int8_t)m2;
    out[fourth] = (int8_t)m3;
}

/* total / (rows * columns), half away from zero. The product with the reciprocal is the quotient, or one more up
 * to 2^17 taps. */
static int8_t divided(const TsInside* inside, int32_t total) {
    const uint32_t count = (uint32_t)(inside->rows * inside->columns);
    const uint32_t magnitude = (uint32_t)(total < 0 ? -total : total) + count / 2;
    uint32_t quotient = magnitude * inside->reciprocal >> 24; /* of at most 128.5 * 2^24, and one for each code */
    while (quotient * count > magnitude) {
        quotient -= 1;
    }
    return (int8_t)(total < 0 ? -(int32_t)quotient : (int32_t)quotient);
}

/* The average codes of the channels. */
static void average(const TsInside* inside, const int8_t* x, int8_t* out) {
    const int32_t second = inside->lanes[1], third = inside->lanes[2], fourth = inside->lanes[3];
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (int32_t i = 0; i < inside->rows; ++i) {
        const int8_t* at = x;
        for (int32_t j = 0; j < inside->columns; ++j) {
            s0 += at[0];
            s1 += at[second];
            s2 += at[third];
            s3 += at[fourth];
            at += inside->column_step;
        }
        x += inside->row_step;
    }
    out[0] = divided(inside, s0);
    out[second] = divided(inside, s1);
    out[third] = divided(inside, s2);
    out[fourth] = divided(inside, s3);
}

static void pool(const TsPool* layer, const int8_t* x, int8_t* out, Reduce reduce) {
    const TsWindow* window = &layer->window;
    const int32_t channels = layer->channels, last = ts_max(channels - TS_LANES, 0);
    TsInside inside = {.row_step = window->in_width * channels, .column_step = channels};
    for (int32_t i = 0; i < TS_LANES; ++i) {
        inside.lanes[i] = ts_min(i, channels - 1);
    }
    for (int32_t y = 0; y < window->out_height; ++y) {
        const TsSpan rows = ts_rows(window, y);
        for (int32_t column = 0; column < window->out_width; ++column) {
            const TsSpan columns = ts_columns(window, column);
            const int32_t corner = (rows.start + rows.first) * window->in_width + columns.start + columns.first;
            inside.rows = rows.last - rows.first;
            inside.columns = columns.last - columns.first;
            inside.reciprocal = ((1u << 24) - 1) / (uint32_t)ts_max(inside.rows * inside.columns, 1) + 1;
            for (int32_t at = 0; at < channels; at += TS_LANES) {
                const int32_t first = ts_min(at, last);
                reduce(&inside, x + corner * channels + first, out + first);
            }
            out += channels;
        }
    }
}

void ts_max_pool(const TsPool* layer, const int8_t* x, int8_t* out) {
    pool(layer, x, out, largest);
}

void ts_average_pool(const TsPool* layer, const int8_t* x, int8_t* out) {
    pool(layer, x, out, average);
}
