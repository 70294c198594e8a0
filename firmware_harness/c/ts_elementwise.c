/* Sum, difference and its square, product, PReLU and the larger of two codes, and functions of one code by table. */
#include "ts_inner.h"

#ifdef TS_ROUNDING_SINGLE

/* The operands of n elements lie a_step and b_step apart. A difference has a negative second factor. */
static inline void add_run(const TsAdd* layer, const int8_t* a, int32_t a_step, const int8_t* b, int32_t b_step,
                           int8_t* out, int32_t n) {
    for (int32_t i = 0; i < n; ++i) {
        const int32_t sum = layer->bias + a[i * a_step] * layer->multiplier_a + b[i * b_step] * layer->multiplier_b;
        out[i] = ts_code(sum >> layer->shift, &layer->out);
    }
}

static inline void sub_run(const TsAdd* layer, const int8_t* a, int32_t a_step, const int8_t* b, int32_t b_step,
                           int8_t* out, int32_t n) {
    add_run(layer, a, a_step, b, b_step, out, n);
}

#else

/* A step of an operand in units of the common scale, of which the sum has 20 fractional bits. As a code has few bits,
 * its product with a multiplier of 31 needs no more than 32, the multiplier in two parts. */
enum { TS_ADD_BITS = 20, TS_LOW_BITS = 31 - TS_ADD_BITS };

static inline int32_t scaled(int32_t steps, const TsRescale* rescale) {
    const int32_t high = rescale->multiplier >> TS_LOW_BITS, low = rescale->multiplier & ((1 << TS_LOW_BITS) - 1);
    const int32_t product = steps * high + ((steps * low + (1 << (TS_LOW_BITS - 1))) >> TS_LOW_BITS);
    return ts_shift_down(product, rescale->shift); /* the factor is at most one half */
}

/* The operands of n elements lie a_step and b_step apart; `sign` is 1, or -1 for a difference. */
static inline void sum_run(const TsAdd* layer, const int8_t* a, int32_t a_step, const int8_t* b, int32_t b_step,
                           int8_t* out, int32_t n, int32_t sign) {
    const TsAdd constants = *layer; /* which the compiler knows not to be written through `out` */
    for (int32_t i = 0; i < n; ++i) {
        const int32_t scaled_a = scaled(*a - constants.a_zero_point, &constants.rescale_a);
        const int32_t scaled_b = scaled(*b - constants.b_zero_point, &constants.rescale_b);
        out[i] = ts_requantise(scaled_a + sign * scaled_b, &constants.rescale_sum, &constants.out);
        a += a_step;
        b += b_step;
    }
}

static inline void add_run(const TsAdd* layer, const int8_t* a, int32_t a_step, const int8_t* b, int32_t b_step,
                           int8_t* out, int32_t n) {
    sum_run(layer, a, a_step, b, b_step, out, n, 1);
}

static inline void sub_run(const TsAdd* layer, const int8_t* a, int32_t a_step, const int8_t* b, int32_t b_step,
                           int8_t* out, int32_t n) {
    sum_run(layer, a, a_step, b, b_step, out, n, -1);
}

#endif

void ts_add(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    add_run(layer, a, 1, b, 1, out, layer->size);
}

void ts_sub(const TsAdd* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    sub_run(layer, a, 1, b, 1, out, layer->size);
}

/* The operands of n elements lie a_step and b_step apart. */
static inline void mul_run(const TsMul* layer, const int8_t* a, int32_t a_step, const int8_t* b, int32_t b_step,
                           int8_t* out, int32_t n) {
    const TsMul constants = *layer;
    for (int32_t i = 0; i < n; ++i) {
        const int32_t product = (*a - constants.a_zero_point) * (*b - constants.b_zero_point);
        out[i] = ts_requantise(product, &constants.rescale, &constants.out);
        a += a_step;
        b += b_step;
    }
}

void ts_mul(const TsMul* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    for (int32_t repeat = 0; repeat < layer->repeats; ++repeat) {
        mul_run(layer, a, 1, b, 1, out, layer->size);
        a += layer->size;
        out += layer->size;
    }
}

void ts_lookup(const TsLookup* layer, const int8_t* x, int8_t* out) {
    const int8_t* const table = TS_ARRAY(int8_t, layer, table) + 128;
    for (const int8_t* end = x + layer->size; x != end;) {
        *out++ = table[*x++];
    }
}

/* Move the operands to the next run of the last axis; 0 after the last one. `at` counts along the other axes. */
static int next_run(const TsBroadcast* broadcast, int32_t* at, const int8_t** a, const int8_t** b) {
    const int32_t* axis = TS_ARRAY(int32_t, broadcast, axes);
    for (int32_t i = 1; i < broadcast->n_axes; ++i) {
        axis += 3;
        *a += axis[1];
        *b += axis[2];
        if (++at[i] < axis[0]) {
            return 1;
        }
        *a -= axis[0] * axis[1];
        *b -= axis[0] * axis[2];
        at[i] = 0;
    }
    return 0;
}

void ts_add_broadcast(const TsAddBroadcast* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const int32_t* last = TS_ARRAY(int32_t, &layer->broadcast, axes);
    int32_t at[TS_MOST_AXES] = {0};
    do {
        add_run(&layer->add, a, last[1], b, last[2], out, layer->add.size);
        out += layer->add.size;
    } while (next_run(&layer->broadcast, at, &a, &b));
}

void ts_sub_broadcast(const TsAddBroadcast* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const int32_t* last = TS_ARRAY(int32_t, &layer->broadcast, axes);
    int32_t at[TS_MOST_AXES] = {0};
    do {
        sub_run(&layer->add, a, last[1], b, last[2], out, layer->add.size);
        out += layer->add.size;
    } while (next_run(&layer->broadcast, at, &a, &b));
}

void ts_mul_broadcast(const TsMulBroadcast* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const int32_t* last = TS_ARRAY(int32_t, &layer->broadcast, axes);
    int32_t at[TS_MOST_AXES] = {0};
    do {
        mul_run(&layer->mul, a, last[1], b, last[2], out, layer->mul.size);
        out += layer->mul.size;
    } while (next_run(&layer->broadcast, at, &a, &b));
}

/* The product has the rounding of the fixed-point rule under both rules. */
void ts_prelu(const TsPRelu* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const int32_t* last = TS_ARRAY(int32_t, &layer->broadcast, axes);
    int32_t at[TS_MOST_AXES] = {0};
    do {
        for (int32_t i = 0; i < layer->size; ++i) {
            const int32_t x = a[i * last[1]] - layer->a_zero_point;
            const int32_t scaled = x < 0 ? x * (b[i * last[2]] - layer->b_zero_point) : x;
            const TsFixedPoint* factor = x < 0 ? &layer->below : &layer->above;
            *out++ = ts_code(ts_fixed_point(scaled, factor->multiplier, factor->shift), &layer->out);
        }
    } while (next_run(&layer->broadcast, at, &a, &b));
}

enum { TS_SQUARE_HEADROOM = 1 << 7 }; /* operands of a squared difference have 7 fractional bits */

static int32_t operand(int8_t code, int32_t zero_point, const TsFixedPoint* factor) {
    return ts_fixed_point((code - zero_point) * TS_SQUARE_HEADROOM, factor->multiplier, factor->shift);
}

/* In fixed point under both rules. */
void ts_squared_difference(const TsSquaredDifference* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const int32_t* last = TS_ARRAY(int32_t, &layer->broadcast, axes);
    const TsFixedPoint* square = &layer->rescale_square;
    int32_t at[TS_MOST_AXES] = {0};
    do {
        for (int32_t i = 0; i < layer->size; ++i) {
            const int32_t difference = operand(a[i * last[1]], layer->a_zero_point, &layer->rescale_a) -
                                       operand(b[i * last[2]], layer->b_zero_point, &layer->rescale_b);
            *out++ = ts_code(ts_fixed_point(difference * difference, square->multiplier, square->shift), &layer->out);
        }
    } while (next_run(&layer->broadcast, at, &a, &b));
}

void ts_extremum(const TsExtremum* layer, const int8_t* a, const int8_t* b, int8_t* out) {
    const int32_t* last = TS_ARRAY(int32_t, &layer->broadcast, axes);
    int32_t at[TS_MOST_AXES] = {0};
    do {
        for (int32_t i = 0; i < layer->size; ++i) {
            const int32_t larger = ts_max(a[i * last[1]] ^ layer->flip, b[i * last[2]] ^ layer->flip);
            *out++ = (int8_t)(larger ^ layer->flip);
        }
    } while (next_run(&layer->broadcast, at, &a, &b));
}
