/* LSTM: int8 inputs, weights and hidden state, gates and cell state of 16 bits.
 *
 * Gates are logistic and tanh of numbers with 12 fractional bits; they have 15. Under the fixed-point rule they come
 * from a table of the logistic function, with straight lines between; under the other from exponentials and
 * reciprocals in 16-bit fixed point. */
#include "ts_inner.h"

enum { TS_ONE = 32767, TS_GATES = 4, TS_INPUT_GATE = 0, TS_FORGET_GATE, TS_CELL_GATE, TS_OUTPUT_GATE };

static int32_t saturate(int32_t value) {
    return ts_min(ts_max(value, -TS_ONE - 1), TS_ONE);
}

static int32_t magnitude(int32_t value) {
    return value < 0 ? -value : value;
}

#ifdef TS_ROUNDING_SINGLE

/* a * b / 2^15, half away from zero but for negative ties, which go up. */
static int32_t high_product(int32_t a, int32_t b) {
    const int32_t product = a * b;
    const int32_t nudge = product >= 0 ? 1 << 14 : 1 - (1 << 14);
    return ts_min((product + nudge) / (1 << 15), TS_ONE);
}

/* a * 2^bits, saturated; a is below 2^16, bits are at most 7. */
static int32_t shift_left(int32_t a, int32_t bits) {
    return saturate(a * (1 << bits));
}

/* exp(a) for a in [-1/4, 0), both with 15 fractional bits: four terms of the series around -1/8. */
static int32_t exp_of_less_than_quarter(int32_t a) {
    const int32_t eighth = 28918; /* exp(-1/8) */
    const int32_t x = a + (1 << 12);
    const int32_t x2 = high_product(x, x);
    const int32_t x3 = high_product(x2, x);
    const int32_t x4 = high_product(x2, x2);
    const int32_t third = high_product(ts_rounding_shift_right(x4, 2) + x3, 10923);
    return saturate(eighth + high_product(x + ts_rounding_shift_right(third + x2, 1), eighth));
}

/* exp(a) with 15 fractional bits for a <= 0 with 1 to 7 integer bits. */
static int32_t exp_of_negative(int32_t a, int32_t integer_bits) {
    static const int16_t powers[] = {25520, 19875, 12055, 4435, 600, 11, 0}; /* exp(-2^i), i from -2 on */
    const int32_t fraction_bits = 15 - integer_bits;
    const int32_t quarter = 1 << (fraction_bits - 2);
    const int32_t inside = (a & (quarter - 1)) - quarter;
    if (a == 0) {
        return TS_ONE;
    }
    if (integer_bits > 5 && a < -(1 << (fraction_bits + 5))) {
        return 0;
    }
    int32_t result = exp_of_less_than_quarter(shift_left(inside, integer_bits));
    for (int32_t i = 0; i < 7 && i - 2 < integer_bits; ++i) {
        if (((inside - a) & (1 << (fraction_bits + i - 2))) != 0) {
            result = high_product(result, powers[i]);
        }
    }
    return result;
}

/* 2 / (1 + a) with 13 fractional bits for a in 0..1 with 15: three Newton steps. */
static int32_t two_over_one_plus(int32_t a) {
    const int32_t half_denominator = (a + TS_ONE + 1) / 2;
    int32_t x = 23130 + high_product(half_denominator, -15420); /* 48/17, -32/17 */
    for (int32_t step = 0; step < 3; ++step) {
        x += shift_left(high_product(x, (1 << 13) - high_product(half_denominator, x)), 2);
    }
    return x;
}

static int32_t logistic(const TsLstm* layer, int32_t x) {
    (void)layer;
    if (x == 0) {
        return 1 << 14;
    }
    const int32_t positive = shift_left(two_over_one_plus(exp_of_negative(-magnitude(x), 3)), 1);
    return x > 0 ? positive : TS_ONE - positive;
}

/* (1 - e) / (1 + e) for e = exp(-2 |x|), whose exponent is x with one more integer bit. */
static int32_t hyperbolic_tangent(const TsLstm* layer, int32_t x, int32_t fraction_bits) {
    (void)layer;
    if (x == 0) {
        return 0;
    }
    const int32_t e = exp_of_negative(-magnitude(x), 16 - fraction_bits);
    const int32_t positive = shift_left(two_over_one_plus(e) - (1 << 13), 2);
    return x > 0 ? positive : -positive;
}

/* The sum of a saturated summand and another is saturated. */
static int32_t gate_input(int32_t of_input, int32_t of_hidden) {
    return saturate(saturate(of_input) + ts_min(ts_max(of_hidden, -(1 << 17)), 1 << 17));
}

static int32_t next_cell(const TsLstm* layer, const int32_t* gates, int32_t cell) {
    const int32_t kept = ts_rounding_shift_right(gates[TS_FORGET_GATE] * cell, layer->keep_bits);
    return kept + ts_rounding_shift_right(gates[TS_INPUT_GATE] * gates[TS_CELL_GATE], layer->add_bits);
}

#else

/* The table's value at a place with `bits` fractional bits, with these bits below it. */
static int32_t interpolated(const TsLstm* layer, int32_t place, int32_t bits, int32_t beyond) {
    const uint16_t* const table = TS_ARRAY(uint16_t, layer, table);
    const int32_t i = place >> bits;
    if (i >= 255) {
        return beyond;
    }
    const int32_t low = (int32_t)table[i];
    return low * (1 << bits) + (place & ((1 << bits) - 1)) * ((int32_t)table[i + 1] - low);
}

static int32_t logistic(const TsLstm* layer, int32_t x) {
    const int32_t share = interpolated(layer, magnitude(3 * x), 9, TS_ONE * (1 << 10));
    return (x >= 0 ? share + 512 : (1 << 25) - share + 511) >> 10;
}

/* tanh(x) is 2 logistic(2 x) - 1. */
static int32_t hyperbolic_tangent(const TsLstm* layer, int32_t x, int32_t fraction_bits) {
    const int32_t bits = fraction_bits - 12;
    const int32_t scaled = bits > 0 ? (3 * x + (1 << (bits - 1))) >> bits : 3 * x * (1 << -bits);
    const int32_t share = interpolated(layer, magnitude(scaled), 8, 0xFFFF * (1 << 8)) - (1 << 23);
    return (scaled >= 0 ? share + 128 : 127 - share) >> 8;
}

/* Both summands are saturated, and their sum. */
static int32_t gate_input(int32_t of_input, int32_t of_hidden) {
    return saturate(saturate(of_input) + saturate(of_hidden));
}

static int32_t next_cell(const TsLstm* layer, const int32_t* gates, int32_t cell) {
    const int32_t added = gates[TS_INPUT_GATE] * gates[TS_CELL_GATE];
    const int32_t kept = ts_fixed_point(gates[TS_FORGET_GATE] * cell, layer->keep.multiplier, layer->keep.shift);
    return saturate(kept) + saturate(ts_fixed_point(added, layer->add.multiplier, layer->add.shift));
}

#endif

/* The gates of one unit; `hidden` is the hidden state before this step, or NULL before the first. */
static void compute_gates(const TsLstm* layer, const int8_t* x, const int8_t* hidden, int32_t unit, int32_t* gates) {
    const int32_t units = layer->units;
    const int32_t* const factors = TS_ARRAY(int32_t, layer, factors);
    for (int32_t gate = 0; gate < TS_GATES; ++gate) {
        const int32_t row = gate * units + unit;
        const int8_t* const weight = TS_ARRAY(int8_t, layer, weight) + row * layer->inputs;
        const int8_t* const recurrent = TS_ARRAY(int8_t, layer, recurrent) + row * units;
        const int32_t* const factor = factors + 4 * gate;
        const int32_t bias = TS_ARRAY(int32_t, layer, bias)[row];
        const int32_t of_input = ts_dot(x, weight, layer->inputs, layer->in_zero_point, bias);
        const int32_t of_hidden = hidden == 0 ? 0 : ts_dot(hidden, recurrent, units, layer->out.zero_point, 0);
        const int32_t sum =
            gate_input(ts_fixed_point(of_input, factor[0], factor[1]), ts_fixed_point(of_hidden, factor[2], factor[3]));
        gates[gate] = gate == TS_CELL_GATE ? hyperbolic_tangent(layer, sum, 12) : logistic(layer, sum);
    }
}

/* The cell states are in `scratch`, two bytes each: the arena is of bytes. */
static int32_t load_cell(const int8_t* scratch, int32_t unit) {
    return scratch[2 * unit] * 256 + (uint8_t)scratch[2 * unit + 1];
}

static void store_cell(int8_t* scratch, int32_t unit, int32_t cell) {
    scratch[2 * unit] = (int8_t)(cell >> 8);
    scratch[2 * unit + 1] = (int8_t)(uint8_t)(cell & 255);
}

void ts_lstm(const TsLstm* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    int32_t gates[TS_GATES];
    for (int32_t unit = 0; unit < layer->units; ++unit) {
        store_cell(scratch, unit, 0);
    }
    for (int32_t step = 0; step < layer->steps; ++step) {
        const int8_t* const hidden = step == 0 ? 0 : out - layer->units;
        for (int32_t unit = 0; unit < layer->units; ++unit) {
            compute_gates(layer, x, hidden, unit, gates);
            int32_t cell = saturate(next_cell(layer, gates, load_cell(scratch, unit)));
            cell = ts_min(ts_max(cell, layer->cell_low), layer->cell_high);
            store_cell(scratch, unit, cell);
            const int32_t product = gates[TS_OUTPUT_GATE] * hyperbolic_tangent(layer, cell, layer->cell_bits);
            out[unit] = ts_code(ts_fixed_point(product, layer->hidden.multiplier, layer->hidden.shift), &layer->out);
        }
        x += layer->inputs;
        out += layer->units;
    }
}
