/* Sums of complex numbers, in both arithmetics of the log-mel front end; internal to it. */
#ifndef TS_COMPLEX_H
#define TS_COMPLEX_H

#include "ts_spectrum.h"

/* Always inlined: the arrays of points below are kept in registers only within one function. Not instrumented: calls
 * between the points would store them all. */
#ifdef __GNUC__
#define TS_STRAIGHT static inline __attribute__((always_inline, no_instrument_function, unused))
#else
#define TS_STRAIGHT static inline
#endif

TS_STRAIGHT TsComplex ts_sum(TsComplex a, TsComplex b) {
    return (TsComplex){a.re + b.re, a.im + b.im};
}

TS_STRAIGHT TsComplex ts_difference(TsComplex a, TsComplex b) {
    return (TsComplex){a.re - b.re, a.im - b.im};
}

/* a - i b */
TS_STRAIGHT TsComplex ts_sum_right(TsComplex a, TsComplex b) {
    return (TsComplex){a.re + b.im, a.im - b.re};
}

/* a + i b */
TS_STRAIGHT TsComplex ts_sum_left(TsComplex a, TsComplex b) {
    return (TsComplex){a.re - b.im, a.im + b.re};
}

#endif
