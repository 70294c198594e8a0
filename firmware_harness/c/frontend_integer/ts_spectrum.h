/* Spectrum of one window of audio in integers; internal to the log-mel front end. */
#ifndef TS_SPECTRUM_H
#define TS_SPECTRUM_H

#include "ts_logmel.h"

typedef struct {
    int32_t re, im;
} TsComplex;

enum { TS_HALF_FFT = TS_LOGMEL_N_FFT / 2 };

/* Bins 1 to TS_HALF_FFT - 1 of the window's samples in `stream`, in units of 2^-TS_LOGMEL_BIN_BITS of that of samples
 * in [-1, 1]; the sign of the imaginary part has no meaning. The first and the last bin have no weight in any mel band
 * and are left out. */
void ts_spectrum(const TsLogmel* stream, TsComplex bins[TS_HALF_FFT]);

/* TS_SPECTRUM_BYTES of tables. */
const void* ts_spectrum_data(void);

#endif
