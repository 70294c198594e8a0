/* Expand, depthwise, project and sum as one call, one to four rows of outputs at a time. */
#include <stddef.h>

#include "ts_mve_inner.h"
#include "ts_mve_parts.h"

enum { RING = 4, NOTHING = 0, INPUT = 1, SIDE = 2 }; /* rows of the expanded tensor; the summand */

/* Row `row` of the expanded tensor is at (row + pad) % RING, so that rows computed together are contiguous in the
 * ring. */
static int8_t* in_ring(const TsMveBlock* layer, int8_t* ring, int32_t row) {
    const int32_t row_bytes = layer->depthwise.along.in_size * layer->depthwise.channels;
    return ring + (row + layer->depthwise.across.pad) % RING * row_bytes;
}

/* Expand rows [from, to) of the input. */
static void widen(const TsMveBlock* layer, const int8_t* x, int32_t from, int32_t to, int8_t* scratch) {
    const int32_t width = layer->depthwise.along.in_size;
    while (from < to) {
        const int32_t n = ts_min(to - from, RING - (from + layer->depthwise.across.pad) % RING);
        ts_mve_pointwise(&layer->expand, x + from * width * layer->expand.windows.in_channels, n * width,
                         in_ring(layer, scratch, from), scratch + layer->windows_at);
        from += n;
    }
}

/* A strip of the expanded tensor's rows from `first` on. */
static void depthwise(const TsMveBlock* layer, TsMveStrip* strip, int32_t first, int8_t* ring, int8_t* out) {
    const int8_t* lines[4];
    for (int32_t i = 0; i < 4; ++i) {
        const int32_t row = first + i;
        lines[i] = row < 0 || row >= layer->depthwise.across.in_size ? NULL : in_ring(layer, ring, row);
    }
    ts_mve_strip(&layer->depthwise, strip, lines, out);
}

/* The rows of the side branch, from the input. */
static void beside(const TsMveBlock* layer, TsMveStrip* strip, const int8_t* x, int32_t first, int8_t* out) {
    const TsMveAxis* rows = &layer->side.across;
    const int8_t* lines[4];
    for (int32_t i = 0; i < 4; ++i) {
        const int32_t row = first - rows->pad + i;
        lines[i] = row < 0 || row >= rows->in_size ? NULL : x + row * rows->in_pitch;
    }
    ts_mve_strip(&layer->side, strip, lines, out);
}

void ts_mve_block(const TsMveBlock* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsMveAxis* rows = &layer->depthwise.across;
    const int32_t width = layer->depthwise.along.out_size;
    const int32_t out_row = width * layer->project.out_channels;
    const int32_t wide = rows->stride == 1 ? 2 : 1;
    int8_t* const middle = scratch + layer->middle_at;
    int8_t* const projected = scratch + layer->projected_at;
    int8_t* const windows = scratch + layer->windows_at;
    int8_t* const side = scratch + layer->beside_at;
    int32_t widened = 0;
    TsMveStrip strip;
    TsMveStrip side_strip;
    ts_mve_begin_strips(&layer->depthwise, &strip, scratch + layer->strip_at);
    if (layer->summed == SIDE) {
        ts_mve_begin_strips(&layer->side, &side_strip, scratch + layer->side_strip_at);
    }
    for (int32_t at = 0; at < rows->out_size; at += layer->rows) {
        const int32_t n = ts_min(layer->rows, rows->out_size - at);
        for (int32_t i = 0; i < n; i += wide) {
            const int32_t first = (at + i) * rows->stride - rows->pad;
            const int32_t last = ts_min(first + 2 + wide, rows->in_size);
            widen(layer, x, widened, last, scratch);
            widened = ts_max(widened, last);
            depthwise(layer, &strip, first, scratch, middle + i * rows->out_pitch);
            if (layer->summed == SIDE) {
                beside(layer, &side_strip, x, (at + i) * layer->side.across.stride, side + i * out_row);
            }
        }
        ts_mve_raise(middle, &layer->depthwise.out, n * rows->out_pitch);
        int8_t* const to = out + at * out_row;
        ts_mve_pointwise(&layer->project, middle, n * width, layer->summed == NOTHING ? to : projected, windows);
        if (layer->summed != NOTHING) {
            const int8_t* other = x + at * out_row;
            if (layer->summed == SIDE) {
                ts_mve_raise(side, &layer->side.out, n * out_row);
                other = side;
            }
            ts_mve_add_some(&layer->sum, layer->project_first ? projected : other,
                            layer->project_first ? other : projected, n * out_row, to);
        }
    }
}
