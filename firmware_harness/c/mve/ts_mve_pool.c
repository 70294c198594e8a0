/* Pools, sixteen channels at a time; windows exclude padding. */
#include "ts_mve_inner.h"
#include "ts_window.h"

enum { AT_ONCE = 255 }; /* number of codes whose sum fits into 16 bits */

/* The part of a window that is inside the input, at one pixel. */
typedef struct {
    const int8_t* x; /* its corner */
    int32_t rows, columns, pitch, row_pitch;
} Inside;

static Inside inside_of(const TsPool* layer, const int8_t* x, int32_t y, int32_t column) {
    const TsWindow* window = &layer->window;
    const TsSpan rows = ts_rows(window, y), columns = ts_columns(window, column);
    const int32_t row_pitch = window->in_width * layer->channels;
    const Inside inside = {
        x + (rows.start + rows.first) * row_pitch + (columns.start + columns.first) * layer->channels,
        rows.last - rows.first,
        columns.last - columns.first,
        layer->channels,
        row_pitch,
    };
    return inside;
}

static int8x16_t largest(const Inside* inside, const int8_t* corner, mve_pred16_t channels) {
    int8x16_t most = vdupq_n_s8(INT8_MIN);
    for (int32_t i = 0; i < inside->rows; ++i) {
        const int8_t* x = corner + i * inside->row_pitch;
        for (int32_t left = inside->columns; left > 0; --left) {
            most = vmaxq_s8(most, vldrbq_z_s8(x, channels));
            x += inside->pitch;
        }
    }
    return most;
}

void ts_mve_max_pool(const TsPool* layer, const int8_t* x, int8_t* out) {
    for (int32_t y = 0; y < layer->window.out_height; ++y) {
        for (int32_t column = 0; column < layer->window.out_width; ++column) {
            const Inside inside = inside_of(layer, x, y, column);
            for (int32_t channel = 0; channel < layer->channels; channel += TS_MVE_LANES) {
                const mve_pred16_t channels = vctp8q((uint32_t)(layer->channels - channel));
                vstrbq_p_s8(out + channel, largest(&inside, inside.x + channel, channels), channels);
            }
            out += layer->channels;
        }
    }
}

/* Sums of even and odd channels. */
typedef struct {
    int32x4_t of[4];
} Totals;

static Totals totals_of(const Inside* inside, const int8_t* corner, mve_pred16_t channels) {
    Totals totals = {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}};
    for (int32_t i = 0; i < inside->rows; ++i) {
        const int8_t* x = corner + i * inside->row_pitch;
        for (int32_t left = inside->columns; left > 0; left -= AT_ONCE) {
            int16x8_t even = vdupq_n_s16(0), odd = vdupq_n_s16(0);
            for (int32_t n = ts_min(left, AT_ONCE); n > 0; --n) {
                const int8x16_t codes = vldrbq_z_s8(x, channels);
                even = vaddq_s16(even, vmovlbq_s8(codes));
                odd = vaddq_s16(odd, vmovltq_s8(codes));
                x += inside->pitch;
            }
            totals.of[0] = vaddq_s32(totals.of[0], vmovlbq_s16(even));
            totals.of[1] = vaddq_s32(totals.of[1], vmovltq_s16(even));
            totals.of[2] = vaddq_s32(totals.of[2], vmovlbq_s16(odd));
            totals.of[3] = vaddq_s32(totals.of[3], vmovltq_s16(odd));
        }
    }
    return totals;
}

/* total / count, half away from zero: the high half of a product with 2^32 / count, which is exact for counts up to
 * 5,000 of codes. */
static int32x4_t quotient(int32x4_t total, int32_t count) {
    if (count == 1) {
        return total;
    }
    const uint32_t reciprocal = UINT32_MAX / (uint32_t)count + 1;
    const int32x4_t sign = vshrq_n_s32(total, 31);
    const uint32x4_t rounded = vreinterpretq_u32_s32(vaddq_n_s32(vabsq_s32(total), count / 2));
    const int32x4_t magnitude = vreinterpretq_s32_u32(vmulhq_u32(rounded, vdupq_n_u32(reciprocal)));
    return vsubq_s32(veorq_s32(magnitude, sign), sign);
}

void ts_mve_average_pool(const TsPool* layer, const int8_t* x, int8_t* out) {
    for (int32_t y = 0; y < layer->window.out_height; ++y) {
        for (int32_t column = 0; column < layer->window.out_width; ++column) {
            const Inside inside = inside_of(layer, x, y, column);
            const int32_t count = inside.rows * inside.columns;
            for (int32_t channel = 0; channel < layer->channels; channel += TS_MVE_LANES) {
                const mve_pred16_t channels = vctp8q((uint32_t)(layer->channels - channel));
                const Totals totals = totals_of(&inside, inside.x + channel, channels);
                const int16x8_t even = ts_mve_halves(quotient(totals.of[0], count), quotient(totals.of[1], count));
                const int16x8_t odd = ts_mve_halves(quotient(totals.of[2], count), quotient(totals.of[3], count));
                vstrbq_p_s8(out + channel, ts_mve_codes(even, odd), channels);
            }
            out += layer->channels;
        }
    }
}
