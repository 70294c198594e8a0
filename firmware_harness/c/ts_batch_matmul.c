/* Products of the matrices of two activations. */
#include "ts_inner.h"

static int32_t dot(const TsBatchMatMul* layer, const int8_t* a, const int8_t* b) {
    int32_t acc = 0;
    for (int32_t i = 0; i < layer->depth; ++i) {
        acc += (a[i * layer->a_depth] - layer->a_zero_point) * (b[i * layer->b_depth] - layer->b_zero_point);
    }
    return acc;
}

void ts_batch_matmul(const TsBatchMatMul* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const int32_t* sizes = TS_ARRAY(int32_t, layer, sizes);
    const int32_t* a_steps = TS_ARRAY(int32_t, layer, a_steps);
    const int32_t* b_steps = TS_ARRAY(int32_t, layer, b_steps);
    for (int32_t i = 0; i < layer->matrices; ++i) {
        const int8_t* left = a + ts_place(sizes, a_steps, i);
        const int8_t* right = b + ts_place(sizes, b_steps, i);
        for (int32_t row = 0; row < layer->rows; ++row) {
            for (int32_t column = 0; column < layer->columns; ++column) {
                const int32_t acc = dot(layer, left + row * layer->a_row, right + column * layer->b_column);
                *out++ = ts_requantise(acc, &layer->rescale, &layer->out);
            }
        }
    }
}
