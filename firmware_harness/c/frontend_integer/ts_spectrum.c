/* Real Fourier transform in integers by decimation in time: pairs of samples are complex points, written from the
 * window to places with their bits reversed, combined in steps of eight or four points, then split into bins.
 *
 * Every step of four takes a quarter of its points, so that its sums are no larger; emit/integer_log_mel.py has the
 * bound of each sum. A factor cos(a) - i sin(a) is in 2^-30, and a high product is a quarter of the value. */
#include "ts_spectrum.h"

#include "ts_complex.h"
#include "ts_high.h"

#include "frontend_spectrum.h" /* tables */

typedef char bytes_as_emitted[sizeof ts_spectrum_tables == TS_SPECTRUM_BYTES ? 1 : -1];

const void* ts_spectrum_data(void) {
    return &ts_spectrum_tables;
}

typedef struct {
    int32_t cosine, sine;
} Turn;

enum { GROUPS = TS_HALF_FFT / TS_FFT_FIRST, QUARTER = TS_LOGMEL_N_FFT / 4 };

/* Index at which a mirrored signal is read. */
TS_STRAIGHT int32_t reflected(const TsLogmel* stream, int32_t i) {
    i = i > stream->last ? 2 * stream->last - i : i;
    return i < stream->first ? 2 * stream->first - i : i;
}

/* Sample i of the window, from 1, times its weight. */
TS_STRAIGHT int32_t windowed(const TsLogmel* stream, int32_t i, int32_t weight, int mirrored) {
    const int16_t* sample = stream->samples + (mirrored ? reflected(stream, i) : i);
#ifdef TS_LOGMEL_PRE_EMPHASIS
    const int32_t before = (int32_t)((uint32_t)sample[0] * (uint32_t)TS_LOGMEL_PRE_EMPHASIS);
    const int32_t value = (int32_t)(((uint32_t)sample[1] << 15) - (uint32_t)(before >> 1));
    return ts_high_of_factor(value, weight) >> (TS_LOGMEL_INPUT_SHIFT - 32);
#else
    return ts_high_short(sample[0], weight) >> (TS_LOGMEL_INPUT_SHIFT - 16);
#endif
}

#include "ts_spectrum_mve.h"
#include "ts_turn_armv6m.h"

/* The pair of samples from index `at` of the window on; zeros after its end. */
TS_STRAIGHT TsComplex pair_at(const TsLogmel* stream, int32_t at, int mirrored) {
    const int32_t* const weights = ts_spectrum_tables.window;
    if (at < TS_LOGMEL_WIN_LENGTH / 2) {
        return (TsComplex){windowed(stream, at + 1, weights[at], mirrored),
                           windowed(stream, at + 2, weights[at + 1], mirrored)};
    }
    if (at < TS_LOGMEL_WIN_LENGTH) {
        return (TsComplex){windowed(stream, at + 1, weights[TS_LOGMEL_WINDOW_MIRROR - at], mirrored),
                           windowed(stream, at + 2, weights[TS_LOGMEL_WINDOW_MIRROR - at - 1], mirrored)};
    }
    return (TsComplex){0, 0};
}

/* The points of the window, in the order of the first step. */
TS_STRAIGHT void place(const TsLogmel* stream, TsComplex* bins, int mirrored) {
#if TS_FFT_FIRST == 8
    static const uint8_t leg_places[8] = {0, 4, 2, 6, 1, 5, 3, 7};
#else
    static const uint8_t leg_places[4] = {0, 2, 1, 3};
#endif
    int32_t at = 0;
    for (int leg = 0; leg < TS_FFT_FIRST; ++leg) {
        TsComplex* const places = bins + leg_places[leg];
        for (int group = 0; group < GROUPS; ++group, at += 2) {
#ifdef TS_SPECTRUM_MVE
            const int falls = at >= TS_LOGMEL_WIN_LENGTH / 2;
            if (!mirrored && group % 4 == 0 && at + 8 <= (falls ? TS_LOGMEL_WIN_LENGTH : TS_LOGMEL_WIN_LENGTH / 2)) {
                place_four(stream, places, group, at, !falls);
                group += 3, at += 6;
                continue;
            }
#endif
            places[ts_spectrum_tables.places[group]] = pair_at(stream, at, mirrored);
        }
    }
}

/* A quarter of the product. The difference of two that are rounded down has no bias. */
TS_STRAIGHT TsComplex turned(TsComplex v, Turn w) {
    return (TsComplex){ts_high_of_factor(v.re, w.cosine) - ts_high_of_factor(v.im, -w.sine),
                       ts_high_of_factor(v.im, w.cosine) - ts_high_of_factor(v.re, w.sine)};
}

TS_STRAIGHT TsComplex quarter_of(TsComplex v) {
    return (TsComplex){(v.re + 2) >> 2, (v.im + 2) >> 2};
}

/* Four points, given as 0, 2, 1, 3, become their transform in order. */
TS_STRAIGHT void four_points(TsComplex x[4]) {
    const TsComplex a = ts_sum(x[0], x[1]), b = ts_difference(x[0], x[1]), c = ts_sum(x[2], x[3]),
                    d = ts_difference(x[2], x[3]);
    x[0] = ts_sum(a, c), x[1] = ts_sum_right(b, d), x[2] = ts_difference(a, c), x[3] = ts_sum_left(b, d);
}

#ifndef TS_SPECTRUM_MVE

#if TS_FFT_FIRST == 8
/* The product with sqrt(1/2). */
TS_STRAIGHT TsComplex half_root(int32_t re, int32_t im) {
    return (TsComplex){2 * ts_high(re, TS_FFT_HALF_ROOT), 2 * ts_high(im, TS_FFT_HALF_ROOT)};
}
#endif

static void first_step(TsComplex* bins) {
    for (TsComplex* z = bins; z < bins + TS_HALF_FFT; z += TS_FFT_FIRST) {
        TsComplex low[4] = {z[0], z[1], z[2], z[3]};
        four_points(low);
#if TS_FFT_FIRST == 8
        TsComplex high[4] = {z[4], z[5], z[6], z[7]};
        four_points(high);
        high[1] = half_root(high[1].re + high[1].im, high[1].im - high[1].re);
        high[3] = half_root(high[3].im - high[3].re, -high[3].re - high[3].im);
        z[0] = ts_sum(low[0], high[0]), z[4] = ts_difference(low[0], high[0]);
        z[1] = ts_sum(low[1], high[1]), z[5] = ts_difference(low[1], high[1]);
        z[2] = ts_sum_right(low[2], high[2]), z[6] = ts_sum_left(low[2], high[2]);
        z[3] = ts_sum(low[3], high[3]), z[7] = ts_difference(low[3], high[3]);
#else
        z[0] = low[0], z[1] = low[1], z[2] = low[2], z[3] = low[3];
#endif
    }
}

/* Cosine and sine of an angle below three quarters of a turn, in parts of TS_LOGMEL_N_FFT of a turn. */
TS_STRAIGHT Turn turn(int32_t angle) {
    const int32_t* const quarter = ts_spectrum_tables.quarter;
    if (angle <= QUARTER) {
        return (Turn){quarter[angle], quarter[QUARTER - angle]};
    }
    if (angle <= 2 * QUARTER) {
        return (Turn){-quarter[2 * QUARTER - angle], quarter[angle - QUARTER]};
    }
    return (Turn){-quarter[angle - 2 * QUARTER], -quarter[3 * QUARTER - angle]};
}

#ifdef TS_TURN_ARMV6M
/* As below. Points are turned first: columns where they are long, otherwise rows. */
static void step_of_four(TsComplex* bins, int32_t length) {
    static const uint8_t times[4] = {0, 2, 1, 3};
    const int32_t unit = TS_LOGMEL_N_FFT / 4 / length;
    for (int leg = 1; leg < 4; ++leg) {
        TsComplex* const first = bins + leg * length;
        if (length < 8 * TS_FFT_FIRST) {
            for (int32_t k = 0; k < length; ++k) {
                turn_column(first + k, 4 * length, first + k + TS_HALF_FFT, turn(times[leg] * k * unit));
            }
        } else {
            for (TsComplex* z = first; z < bins + TS_HALF_FFT; z += 4 * length) {
                turn_row(z, length, times[leg] * unit);
            }
        }
    }
    for (TsComplex* z = bins; z < bins + TS_HALF_FFT; z += 4 * length) {
        combine_row(z, length);
    }
}
#else
/* Combine four transforms of `length` points each, everywhere. */
static void step_of_four(TsComplex* bins, int32_t length) {
    const int32_t unit = TS_LOGMEL_N_FFT / 4 / length;
    for (int32_t k = 0; k < length; ++k) {
        const Turn one = turn(k * unit), two = turn(2 * k * unit), three = turn(3 * k * unit);
        for (TsComplex* z = bins + k; z < bins + TS_HALF_FFT; z += 4 * length) {
            TsComplex x[4];
            x[0] = quarter_of(z[0]);
            x[1] = turned(z[length], two);
            x[2] = turned(z[2 * length], one);
            x[3] = turned(z[3 * length], three);
            four_points(x);
            z[0] = x[0], z[length] = x[1], z[2 * length] = x[2], z[3 * length] = x[3];
        }
    }
}
#endif

#endif

/* The parts of a pair of points of the transform of pairs; the odd one still to be turned. */
TS_STRAIGHT TsComplex even_part(TsComplex a, TsComplex b) {
    return quarter_of((TsComplex){a.re + b.re, a.im - b.im});
}

TS_STRAIGHT TsComplex odd_part(TsComplex a, TsComplex b) {
    return (TsComplex){a.im + b.im, b.re - a.re};
}

/* Points k and TS_HALF_FFT - k of the transform of pairs become these bins, halved. */
static void split(TsComplex* bins) {
#ifdef TS_SPECTRUM_MVE
    int32_t k = split_fours(bins);
#else
    int32_t k = 1;
#endif
#ifdef TS_TURN_ARMV6M
    for (TsComplex *low = bins + 1, *high = bins + TS_HALF_FFT - 1; low < high; ++low, --high) {
        const TsComplex a = *low, b = *high;
        *low = odd_part(a, b), *high = even_part(a, b);
    }
    turn_row(bins, TS_HALF_FFT / 2, 1);
    for (TsComplex *low = bins + 1, *high = bins + TS_HALF_FFT - 1; low < high; ++low, --high) {
        const TsComplex odd = *low, even = *high;
        *low = ts_sum(even, odd), *high = ts_difference(even, odd);
    }
    k = TS_HALF_FFT / 2;
#endif
    for (TsComplex *low = bins + k, *high = bins + TS_HALF_FFT - k; low <= high; ++k, ++low, --high) {
        const TsComplex even = even_part(*low, *high);
        const TsComplex odd = turned(odd_part(*low, *high),
                                     (Turn){ts_spectrum_tables.quarter[k], ts_spectrum_tables.quarter[QUARTER - k]});
        *high = ts_difference(even, odd);
        *low = ts_sum(even, odd);
    }
}

void ts_spectrum(const TsLogmel* stream, TsComplex bins[TS_HALF_FFT]) {
    if (stream->first > 1 || stream->last < TS_LOGMEL_WIN_LENGTH) {
        place(stream, bins, 1);
    } else {
        place(stream, bins, 0);
    }
#ifdef TS_SPECTRUM_MVE
    first_step_of_groups(bins);
    for (int32_t length = TS_FFT_FIRST; length < TS_HALF_FFT; length *= 4) {
        step_of_four_columns(bins, length);
    }
#else
    first_step(bins);
    for (int32_t length = TS_FFT_FIRST; length < TS_HALF_FFT; length *= 4) {
        step_of_four(bins, length);
    }
#endif
    split(bins);
}
