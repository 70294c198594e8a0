/* Division of rows by the root of the sum of their squares, in fixed point under both rules. */
#include "ts_inner.h"

/* 1 / sqrt(value) with 31 and *shift fractional bits: five steps of y <- (3 y - v y^3) / 2 with 28 fractional bits, for
 * the value scaled by a power of 4 into 1/4..1. */
static int32_t inverse_root(int32_t value, int32_t* shift) {
    *shift = 0;
    if (value <= 1) {
        return INT32_MAX;
    }
    *shift = 11;
    for (; value >= 1 << 29; value /= 4) {
        ++*shift;
    }
    for (; value < 1 << 27; value *= 4) {
        --*shift;
    }
    const int32_t half = value >> 2;
    const int32_t three_halves = 3 << 27;
    int32_t root = 1 << 28;
    for (int32_t step = 0; step < 5; ++step) {
        const int32_t cube = ts_high_product(ts_high_product(root, root), root) * 64;
        root = (ts_high_product(three_halves, root) - ts_high_product(half, cube)) * 8;
    }
    return ts_high_product(root, 1518500250); /* sqrt(1/2) */
}

void ts_l2_norm(const TsL2Norm* layer, const int8_t* x, int8_t* out) {
    for (int32_t row = 0; row < layer->rows; ++row) {
        const int8_t* const end = x + layer->size;
        int32_t total = 0, shift;
        for (int32_t i = 0; i < layer->size; ++i) {
            total += (x[i] - layer->in_zero_point) * (x[i] - layer->in_zero_point);
        }
        const int32_t root = inverse_root(total, &shift);
        for (; x < end; ++x) {
            const int32_t code = ts_fixed_point(*x - layer->in_zero_point, root, 7 - shift);
            *out++ = (int8_t)ts_min(ts_max(code, INT8_MIN), INT8_MAX);
        }
    }
}
