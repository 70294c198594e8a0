/* Power spectrum to int8 log-mel codes; internal to the log-mel front end. */
#ifndef TS_MEL_H
#define TS_MEL_H

#include "ts_spectrum.h"

enum { TS_ROOT_HALF = 0x3f3504f3, TS_HALF_TO_EVEN = 0x4b400000 }; /* bits of sqrt(1/2) and 1.5 * 2^23 */

/* One column of the network's input: code i is written to codes[i * stride]. */
void ts_mel_codes(const TsComplex bins[TS_HALF_FFT], int8_t* codes, int32_t stride);

/* TS_MEL_BYTES of tables. */
const void* ts_mel_data(void);

#endif
