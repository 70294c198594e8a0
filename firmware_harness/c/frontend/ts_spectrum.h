/* Power spectrum of one window of audio; internal to the log-mel front end. */
#ifndef TS_SPECTRUM_H
#define TS_SPECTRUM_H

#include <stdint.h>

#include "frontend.h"

typedef struct {
    float re, im;
} TsComplex;

enum { TS_HALF_FFT = TS_LOGMEL_N_FFT / 2 };

/* Power of TS_LOGMEL_WIN_LENGTH samples (in units of an int16 step) under the emitted window, zero-padded to
 * TS_LOGMEL_N_FFT; full scale is 1. Bin k is written to bins[k].re; the last, at half the sample rate, has no weight
 * in any mel band and is left out. */
void ts_power_spectrum(const float* samples, TsComplex bins[TS_HALF_FFT]);

/* TS_SPECTRUM_BYTES of tables. */
const void* ts_spectrum_data(void);

#endif
