/* Ops that only move elements. */
#include <string.h>

#include "ts_kernels.h"

void ts_reshape(const TsReshape* layer, const int8_t* x, int8_t* out) {
    if (out != x) { /* the arena plan may give both the same address */
        memcpy(out, x, (size_t)layer->size);
    }
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
