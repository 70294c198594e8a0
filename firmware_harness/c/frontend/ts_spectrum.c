/* Real Fourier transform by decimation in time: pairs of samples are complex points, taken from the window eight at
 * a time in strides, combined in steps of eight or four. The last step combines four from each end, which mirror
 * each other, directly to power. Every value is loaded and stored once per step. */
#include "ts_spectrum.h"

#include "ts_butterfly.h"
#include "ts_columns_mve.h"
#include "ts_step_arm.h"
#include "ts_step_mve.h"

/* Twiddle factors w, w^2, w^3 of one column of the last step, and two of its split: half of its angle, and that plus
 * an eighth turn. */
typedef struct {
    TsTurn turn[3], split[2];
} TsLastTurns;

#include "frontend_spectrum.h" /* tables that use the types above */

typedef char bytes_as_emitted[sizeof ts_spectrum_tables == TS_SPECTRUM_BYTES ? 1 : -1];

const void* ts_spectrum_data(void) {
    return &ts_spectrum_tables;
}

enum { GROUPS = TS_HALF_FFT / 8, QUARTER = TS_HALF_FFT / 4 };

/* Number of a group's eight points inside the window, and in its first half, which the second mirrors: this many,
 * and one more in the first groups, up to the remainder of the division. For the preprocessor. */
#define POINTS (TS_LOGMEL_WIN_LENGTH / 2)
#define STRIDE (TS_LOGMEL_N_FFT / 16)
#define TAPS (POINTS / STRIDE)
#define TAPS_REST (POINTS % STRIDE)
#define RISING ((POINTS + 1) / 2 / STRIDE)
#define RISING_REST ((POINTS + 1) / 2 % STRIDE)
#define LOW_REST (TAPS_REST < RISING_REST ? TAPS_REST : RISING_REST)
#define HIGH_REST (TAPS_REST < RISING_REST ? RISING_REST : TAPS_REST)

TS_STRAIGHT TsComplex windowed(const float* samples, int group, int tap, int taps, int rising) {
    TsComplex point = {0.0f, 0.0f};
    const int at = 2 * (group + tap * GROUPS);
    if (tap < rising) {
        point.re = samples[at] * ts_spectrum_tables.window[at];
        point.im = samples[at + 1] * ts_spectrum_tables.window[at + 1];
    } else if (tap < taps) {
        point.re = samples[at] * ts_spectrum_tables.window[TS_LOGMEL_WINDOW_MIRROR - at];
        point.im = samples[at + 1] * ts_spectrum_tables.window[TS_LOGMEL_WINDOW_MIRROR - at - 1];
    }
    return point;
}

/* Address at which the later steps read the transform of a group. */
TS_STRAIGHT TsComplex* place(TsComplex* bins, int group) {
    return bins + (group % 4) * QUARTER + (group / 4) % TS_FFT_SECOND * (8 * TS_FFT_FIRST) +
           group / (4 * TS_FFT_SECOND) * 8;
}

/* Eight-point transforms of groups [from, to). */
TS_STRAIGHT void single_groups(const float* samples, TsComplex* bins, int from, int to, int taps, int rising) {
    for (int group = from; group < to; ++group) {
        TsComplex* const out = place(bins, group);
#ifdef TS_STEP_ARM
        if (taps == 6 && rising == 3) {
            const float* const rises = ts_spectrum_tables.window + 2 * group;
            const float* const mirrored =
                ts_spectrum_tables.window + TS_LOGMEL_WINDOW_MIRROR - 1 - 2 * (group + 3 * GROUPS);
            ts_step_of_six(samples + 2 * group, rises, mirrored, out);
            continue;
        }
#endif
        TsComplex x[8];
        x[0] = windowed(samples, group, 0, taps, rising);
        x[1] = windowed(samples, group, 1, taps, rising);
        x[2] = windowed(samples, group, 2, taps, rising);
        x[3] = windowed(samples, group, 3, taps, rising);
        x[4] = windowed(samples, group, 4, taps, rising);
        x[5] = windowed(samples, group, 5, taps, rising);
        x[6] = windowed(samples, group, 6, taps, rising);
        x[7] = windowed(samples, group, 7, taps, rising);
        ts_eight_points(x, taps);
        out[0] = x[0], out[1] = x[1], out[2] = x[2], out[3] = x[3];
        out[4] = x[4], out[5] = x[5], out[6] = x[6], out[7] = x[7];
    }
}

#ifdef TS_STEP_MVE
TS_STRAIGHT TsTwo two_windowed(const float* samples, int group, int tap, int taps, int rising) {
    const int at = 2 * (group + tap * GROUPS);
    if (tap < rising) {
        return vmulq_f32(vldrwq_f32(samples + at), vldrwq_f32(ts_spectrum_tables.window + at));
    }
    if (tap < taps) {
        return vmulq_f32(vldrwq_f32(samples + at),
                         ts_reversed(ts_spectrum_tables.window + TS_LOGMEL_WINDOW_MIRROR - at - 3));
    }
    return vdupq_n_f32(0.0f);
}

/* The same of an even group and the next, in the window to the same extent. */
TS_STRAIGHT void two_groups(const float* samples, TsComplex* bins, int group, int taps, int rising) {
    if (taps == 6 && rising == 3) {
        const float* const window = ts_spectrum_tables.window;
        const int fourth = 2 * (group + 3 * GROUPS);
        ts_mve_six(samples + 2 * group, window + 2 * group, window + TS_LOGMEL_WINDOW_MIRROR - 1 - fourth,
                   place(bins, group));
        return;
    }
    const uint64x2_t out = ts_two_addresses(place(bins, group), QUARTER * (int)sizeof(TsComplex));
    TsTwo x[8];
    x[0] = two_windowed(samples, group, 0, taps, rising);
    x[1] = two_windowed(samples, group, 1, taps, rising);
    x[2] = two_windowed(samples, group, 2, taps, rising);
    x[3] = two_windowed(samples, group, 3, taps, rising);
    x[4] = two_windowed(samples, group, 4, taps, rising);
    x[5] = two_windowed(samples, group, 5, taps, rising);
    x[6] = two_windowed(samples, group, 6, taps, rising);
    x[7] = two_windowed(samples, group, 7, taps, rising);
    ts_eight_twos(x, taps);
    TS_TWO_TO(out, 0, x[0]);
    TS_TWO_TO(out, 1, x[1]);
    TS_TWO_TO(out, 2, x[2]);
    TS_TWO_TO(out, 3, x[3]);
    TS_TWO_TO(out, 4, x[4]);
    TS_TWO_TO(out, 5, x[5]);
    TS_TWO_TO(out, 6, x[6]);
    TS_TWO_TO(out, 7, x[7]);
}
#endif

/* The same, by two groups where that is possible. */
TS_STRAIGHT void first_step(const float* samples, TsComplex* bins, int from, int to, int taps, int rising) {
#ifdef TS_STEP_MVE
    single_groups(samples, bins, from, from + from % 2, taps, rising);
    for (from += from % 2; from + 1 < to; from += 2) {
        two_groups(samples, bins, from, taps, rising);
    }
#endif
    single_groups(samples, bins, from, to, taps, rising);
}

#ifndef TS_STEP_ARM
/* z[0], z[length], ... z[7 * length] become the transform of their products with w[0..6]. */
TS_STRAIGHT void ts_step_of_eight(TsComplex* z, int length, const TsTurn* w) {
    TsComplex x[8];
    x[0] = z[0];
    x[1] = ts_turned(z[length], w[0].cosine, w[0].sine);
    x[2] = ts_turned(z[2 * length], w[1].cosine, w[1].sine);
    x[3] = ts_turned(z[3 * length], w[2].cosine, w[2].sine);
    x[4] = ts_turned(z[4 * length], w[3].cosine, w[3].sine);
    x[5] = ts_turned(z[5 * length], w[4].cosine, w[4].sine);
    x[6] = ts_turned(z[6 * length], w[5].cosine, w[5].sine);
    x[7] = ts_turned(z[7 * length], w[6].cosine, w[6].sine);
    ts_eight_points(x, 8);
    z[0] = x[0], z[length] = x[1], z[2 * length] = x[2], z[3 * length] = x[3];
    z[4 * length] = x[4], z[5 * length] = x[5], z[6 * length] = x[6], z[7 * length] = x[7];
}
#endif

/* Combine eight transforms of `length` points each, everywhere. */
TS_STRAIGHT void eight(TsComplex* bins, int length, const TsTurn* w) {
#ifdef TS_STEP_MVE
    ts_mve_eight(bins, length, w);
#else
    for (int j = 0; j < length; ++j, w += 7) {
        for (TsComplex* z = bins + j; z < bins + TS_HALF_FFT; z += 8 * length) {
            ts_step_of_eight(z, length, w);
        }
    }
#endif
}

/* Combine four transforms of `length` points each, everywhere. */
TS_STRAIGHT void four(TsComplex* bins, int length, const TsTurn* w) {
#ifdef TS_STEP_MVE
    ts_mve_four(bins, length, w);
#else
    for (int j = 0; j < length; ++j, w += 3) {
        for (TsComplex* z = bins + j; z < bins + TS_HALF_FFT; z += 4 * length) {
            TsComplex x[4];
            x[0] = z[0];
            x[1] = ts_turned(z[length], w[0].cosine, w[0].sine);
            x[2] = ts_turned(z[2 * length], w[1].cosine, w[1].sine);
            x[3] = ts_turned(z[3 * length], w[2].cosine, w[2].sine);
            ts_four_points(x, 1);
            z[0] = x[0], z[length] = x[1], z[2 * length] = x[2], z[3 * length] = x[3];
        }
    }
#endif
}

TS_STRAIGHT float power(TsComplex v) {
    return ts_fused(v.re, v.re, v.im * v.im);
}

/* Points k and TS_HALF_FFT - k of the transform of pairs become four times the powers of these bins. */
TS_STRAIGHT void split(TsComplex* low, TsComplex* high, TsComplex a, TsComplex b, float cosine, float sine) {
    const TsComplex even = {a.re + b.re, a.im - b.im};
    const TsComplex odd = ts_turned((TsComplex){a.im + b.im, b.re - a.re}, cosine, sine);
    low->re = power(ts_sum(even, odd));
    high->re = power(ts_difference(even, odd));
}

#ifdef TS_STEP_ARM
TS_STRAIGHT void last_columns(TsComplex* up, TsComplex* down, const TsLastTurns* w) {
    ts_step_of_columns(up, down, QUARTER, (const TsTurn*)w);
}
#else
/* The last step for columns j and QUARTER - j. The twiddle factors of the second mirror those of the first: w
 * becomes -i w*, w^2 becomes -w*^2 and w^3 becomes i w*^3. */
TS_STRAIGHT void last_columns(TsComplex* up, TsComplex* down, const TsLastTurns* w) {
    TsComplex x[4], y[4];
    x[0] = up[0];
    x[1] = ts_turned(up[QUARTER], w->turn[0].cosine, w->turn[0].sine);
    x[2] = ts_turned(up[2 * QUARTER], w->turn[1].cosine, w->turn[1].sine);
    x[3] = ts_turned(up[3 * QUARTER], w->turn[2].cosine, w->turn[2].sine);
    ts_four_points(x, 1);
    y[0] = down[0];
    y[1] = ts_turned(down[QUARTER], w->turn[0].sine, w->turn[0].cosine);
    y[2] = ts_turned(down[2 * QUARTER], -w->turn[1].cosine, w->turn[1].sine);
    y[3] = ts_turned(down[3 * QUARTER], -w->turn[2].sine, -w->turn[2].cosine);
    ts_four_points(y, 1);
    const TsTurn near = w->split[0], far = w->split[1]; /* by an eighth of a turn */
    split(&up[0], &down[3 * QUARTER], x[0], y[3], near.cosine, near.sine);
    split(&up[QUARTER], &down[2 * QUARTER], x[1], y[2], far.cosine, far.sine);
    split(&up[2 * QUARTER], &down[QUARTER], x[2], y[1], -near.sine, near.cosine);
    split(&up[3 * QUARTER], &down[0], x[3], y[0], -far.sine, far.cosine);
}
#endif

/* The last step at both ends of its range, where a column mirrors itself. */
static void last_ends(TsComplex* bins) {
    TsComplex x[4] = {bins[0], bins[QUARTER], bins[2 * QUARTER], bins[3 * QUARTER]};
    ts_four_points(x, 1);
    const float sum = 2.0f * (x[0].re + x[0].im);
    const TsTurn eighth = ts_spectrum_tables.last_turns[0].split[1];
    bins[0].re = sum * sum;
    split(&bins[QUARTER], &bins[3 * QUARTER], x[1], x[3], eighth.cosine, eighth.sine);
    bins[2 * QUARTER].re = 4.0f * power(x[2]);

    TsComplex* middle = bins + QUARTER / 2;
    const TsLastTurns* w = &ts_spectrum_tables.last_turns[QUARTER / 2];
    x[0] = middle[0];
    x[1] = ts_turned(middle[QUARTER], w->turn[0].cosine, w->turn[0].sine);
    x[2] = ts_turned(middle[2 * QUARTER], w->turn[1].cosine, w->turn[1].sine);
    x[3] = ts_turned(middle[3 * QUARTER], w->turn[2].cosine, w->turn[2].sine);
    ts_four_points(x, 1);
    split(&middle[0], &middle[3 * QUARTER], x[0], x[3], w->split[0].cosine, w->split[0].sine);
    split(&middle[QUARTER], &middle[2 * QUARTER], x[1], x[2], w->split[1].cosine, w->split[1].sine);
}

/* Combine four transforms of QUARTER points, and each result with its mirror image. */
static void last_step(TsComplex* bins) {
    const TsLastTurns* w = &ts_spectrum_tables.last_turns[1];
    last_ends(bins);
    TsComplex *up = bins + 1, *down = bins + QUARTER - 1;
#ifdef TS_STEP_MVE
    enum { PAIRED = QUARTER / 2 - 2 };
    ts_mve_columns(up, down, QUARTER, (const TsTurn*)w, PAIRED / 2);
    up += PAIRED, down -= PAIRED, w += PAIRED;
#endif
    for (; up < down; ++up, --down, ++w) {
        last_columns(up, down, w);
    }
}

void ts_power_spectrum(const float* samples, TsComplex bins[TS_HALF_FFT]) {
#if LOW_REST > 0
    first_step(samples, bins, 0, LOW_REST, TAPS + 1, RISING + 1);
#endif
#if HIGH_REST > LOW_REST
    first_step(samples, bins, LOW_REST, HIGH_REST, TAPS + (TAPS_REST > LOW_REST), RISING + (RISING_REST > LOW_REST));
#endif
    first_step(samples, bins, HIGH_REST, GROUPS, TAPS, RISING);
#if TS_FFT_FIRST == 8
    eight(bins, 8, ts_spectrum_tables.first_turns);
#elif TS_FFT_FIRST == 4
    four(bins, 8, ts_spectrum_tables.first_turns);
#endif
#if TS_FFT_SECOND == 8
    eight(bins, 8 * TS_FFT_FIRST, ts_spectrum_tables.second_turns);
#elif TS_FFT_SECOND == 4
    four(bins, 8 * TS_FFT_FIRST, ts_spectrum_tables.second_turns);
#endif
    last_step(bins);
}
