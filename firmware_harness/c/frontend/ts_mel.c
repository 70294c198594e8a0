/* Triangles, logarithm, normalisation and quantisation, band by band.
 *
 * Neighbouring triangles overlap and add up to one, so that a bin between two centres needs one weight: the rising
 * side's; the falling side's is the rest to one. Normalisation and the network's input scale are affine in the
 * logarithm, so that the coefficients of its polynomial include them. */
#include "ts_mel.h"

#include <string.h>

#include "ts_butterfly.h"

#include "frontend_mel.h" /* tables that use the types above */

#include "ts_mel_mve.h" /* uses the tables */

typedef char bytes_as_emitted[sizeof ts_mel_tables == TS_MEL_BYTES ? 1 : -1];

const void* ts_mel_data(void) {
    return &ts_mel_tables;
}

#ifdef TS_MEL_MVE
void ts_mel_codes(const TsComplex bins[TS_HALF_FFT], int8_t* codes, int32_t stride) {
    ts_mel_by_fours(bins, codes, stride);
}
#else
/* scale * ln(power) + offset, rounded half to even, as an int8 code. Power is a normal float above 0. */
static inline int8_t code_of(float power) {
    int32_t bits, rounded;
    float fraction;
    memcpy(&bits, &power, sizeof bits);
    const int32_t exponent = (bits - TS_ROOT_HALF) >> 23;
    bits -= (int32_t)((uint32_t)exponent << 23);
    memcpy(&fraction, &bits, sizeof fraction); /* in [sqrt(1/2), sqrt(2)) */
    fraction -= 1.0f;
    float line = TS_LOG_6;
    line = ts_fused(line, fraction, TS_LOG_5);
    line = ts_fused(line, fraction, TS_LOG_4);
    line = ts_fused(line, fraction, TS_LOG_3);
    line = ts_fused(line, fraction, TS_LOG_2);
    line = ts_fused(line, fraction, TS_LOG_1);
    line = ts_fused(line, fraction, TS_LOG_0);
    line = ts_fused((float)exponent, TS_LOG_OCTAVE, line) + 0x1.8p23f;
    memcpy(&rounded, &line, sizeof rounded);
    const int32_t code = rounded - TS_HALF_TO_EVEN + TS_LOGMEL_ZERO_POINT;
#if defined(__GNUC__) && defined(__ARM_FEATURE_SAT)
    int32_t saturated;
    __asm__("ssat %0, #8, %1" : "=r"(saturated) : "r"(code));
    return (int8_t)saturated;
#else
    return (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
#endif
}

#define ADD_BIN(i) (sum += bin[i].re, rising = ts_fused(weight[i], bin[i].re, rising))

void ts_mel_codes(const TsComplex bins[TS_HALF_FFT], int8_t* codes, int32_t stride) {
    const TsComplex* bin = bins + TS_MEL_FIRST_BIN;
    const float* weight = ts_mel_tables.weight;
    float band = 0.0f; /* power so far: that of its rising side and the offset of the logarithm */
    for (int segment = 0; segment <= TS_LOGMEL_N_MELS; ++segment) {
        float sum = band, rising = TS_LOGMEL_LOG_OFFSET;
        int left = ts_mel_tables.count[segment];
        for (; left >= 8; left -= 8, bin += 8, weight += 8) {
            ADD_BIN(7), ADD_BIN(6), ADD_BIN(5), ADD_BIN(4), ADD_BIN(3), ADD_BIN(2), ADD_BIN(1), ADD_BIN(0);
        }
        switch (left) {
        case 7:
            ADD_BIN(6); /* fall through */
        case 6:
            ADD_BIN(5); /* fall through */
        case 5:
            ADD_BIN(4); /* fall through */
        case 4:
            ADD_BIN(3); /* fall through */
        case 3:
            ADD_BIN(2); /* fall through */
        case 2:
            ADD_BIN(1); /* fall through */
        case 1:
            ADD_BIN(0); /* fall through */
        default:
            bin += left;
            weight += left;
        }
        if (segment > 0) {
            *codes = code_of(sum - rising + TS_LOGMEL_LOG_OFFSET);
            codes += stride;
        }
        band = rising;
    }
}
#endif
