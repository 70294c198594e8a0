/* Ops that only move elements. */
#include <string.h>

#include "ts_kernels.h"

void ts_reshape(const TsReshape* layer, const int8_t* x, int8_t* out) {
    if (out != x) { /* the arena plan may give both the same address */
        memcpy(out, x, (size_t)layer->size);
    }
}

static void copy_axis(int32_t size, int32_t x_step, int32_t out_step, const int8_t* x, int8_t* out) {
    if (x_step == 1 && out_step == 1) {
        memcpy(out, x, (size_t)size);
        return;
    }
    for (int32_t i = 0; i < size; ++i) {
        out[i * out_step] = x[i * x_step];
    }
}

void ts_copy(const TsCopy* layer, const int8_t* x, int8_t* out) {
    const int32_t* axes = TS_ARRAY(int32_t, layer, axes);
    const int32_t* last = axes + 3 * (layer->n_axes - 1);
    int32_t at[TS_MOST_AXES] = {0};
    int32_t axis = 0;
    x += layer->x_begin;
    out += layer->out_begin;
    while (axis >= 0) {
        copy_axis(last[0], last[1], last[2], x, out);
        for (axis = layer->n_axes - 2; axis >= 0; --axis) { /* the next place, and back to 0 on axes that are done */
            const int32_t* each = axes + 3 * axis;
            const int32_t steps = ++at[axis] < each[0] ? 1 : 1 - each[0];
            x += steps * each[1];
            out += steps * each[2];
            if (steps == 1) {
                break;
            }
            at[axis] = 0;
        }
    }
}

void ts_pad(const TsPad* layer, const int8_t* x, int8_t* out) {
    memset(out, layer->code, (size_t)layer->size);
    ts_copy(&layer->inside, x, out);
}

void ts_concat(const TsConcat* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t i = 0; i < layer->repeats; ++i) {
        memcpy(out, a, (size_t)layer->a_size);
        memcpy(out + layer->a_size, b, (size_t)layer->b_size);
        a += layer->a_size;
        b += layer->b_size;
        out += layer->a_size + layer->b_size;
    }
}

void ts_concat_parts(const TsConcatParts* layer, const int8_t* const* parts, int8_t* out) {
    const int32_t* sizes = TS_ARRAY(int32_t, layer, sizes);
    for (int32_t repeat = 0; repeat < layer->repeats; ++repeat) {
        for (int32_t part = 0; part < layer->n_parts; ++part) {
            memcpy(out, parts[part] + repeat * sizes[part], (size_t)sizes[part]);
            out += sizes[part];
        }
    }
}
