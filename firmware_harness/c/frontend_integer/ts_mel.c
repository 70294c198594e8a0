/* Triangles, logarithm, normalisation and quantisation in integers, band by band.
 *
 * Neighbouring triangles overlap and add up to one, so that a bin between two centres needs one weight: the rising
 * side's; the falling side's is the rest to one. The bins between two centres share one exponent, so that the sum of
 * their squares has less than 32 bits. Normalisation and the network's input scale are affine in the
 * logarithm: one product and one sum. */
#include "ts_mel.h"

#include "ts_high.h"

#include "frontend_mel.h" /* tables */

typedef char bytes_as_emitted[sizeof ts_mel_tables == TS_MEL_BYTES ? 1 : -1];

const void* ts_mel_data(void) {
    return &ts_mel_tables;
}

enum { FRACTION = 16, KEPT = 7 + FRACTION }; /* bits of a mantissa after its leading one */

/* Logarithm to base 2 in 2^-22, linear between the entries of a table of one octave. */
static int32_t log2_of(uint64_t power) {
    const uint32_t upper = (uint32_t)(power >> 32);
    const int32_t exponent = (upper != 0 ? 32 + ts_bits(upper) : ts_bits((uint32_t)power)) - 1;
    const uint32_t mantissa = (uint32_t)(exponent > KEPT ? power >> (exponent - KEPT) : power << (KEPT - exponent));
    const uint32_t* const entry = ts_mel_tables.logs + ((mantissa >> FRACTION) - (1u << (KEPT - FRACTION)));
    const uint32_t part = ((entry[1] - entry[0]) * (mantissa & 0xffffu)) >> FRACTION;
    return (int32_t)(((uint32_t)exponent << TS_LOG_BITS) + entry[0] + part);
}

/* The code of a band's power. */
static int8_t code_of(uint64_t power) {
    const int32_t log = power == 0 ? TS_LOG_FLOOR : log2_of(power + TS_LOGMEL_LOG_OFFSET);
    const int32_t code = (ts_high(log, TS_CODE_FACTOR) + TS_CODE_OFFSET) >> TS_CODE_SHIFT;
    return (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
}

#ifdef __ARM_FEATURE_MVE
#include "ts_mel_mve.h"
#else

/* All bits of a number, or of its complement if it is negative. */
static inline uint32_t magnitude(int32_t value) {
    return (uint32_t)(value ^ (value >> 31));
}

/* A number with as many bits as the largest magnitude. */
static inline uint32_t ts_largest(const TsComplex* bin, const TsComplex* end) {
    uint32_t any = 0;
    for (; bin < end; ++bin) {
        any |= magnitude(bin->re) | magnitude(bin->im);
    }
    return any;
}

/* Add the powers of the shifted bins to `sum`, and their shares by weight to `rising`. */
static inline void ts_add_powers(const TsComplex* bin, const TsComplex* end, const uint16_t* weight, int32_t shift,
                                 uint32_t* sum, uint32_t* rising) {
    for (; bin < end; ++bin) {
        const int32_t re = bin->re >> shift, im = bin->im >> shift;
        const uint32_t power = (uint32_t)(re * re) + (uint32_t)(im * im);
        *sum += power;
        *rising += ts_share(power, *weight++);
    }
}

#endif

void ts_mel_codes(const TsComplex bins[TS_HALF_FFT], int8_t* codes, int32_t stride) {
    const TsComplex* bin = bins + TS_MEL_FIRST_BIN;
    const uint16_t* weight = ts_mel_tables.weight;
    uint64_t band = 0; /* power so far: that of its rising side */
    for (int segment = 0; segment <= TS_LOGMEL_N_MELS; ++segment) {
        const int32_t count = ts_mel_tables.count[segment];
        const int32_t excess = ts_bits(ts_largest(bin, bin + count)) - ts_mel_tables.mantissa_bits[segment];
        const int32_t shift = excess > 0 ? excess : 0;
        uint32_t sum = 0, rising = 0;
        ts_add_powers(bin, bin + count, weight, shift, &sum, &rising);
        bin += count, weight += count;
        if (segment > 0) {
            *codes = code_of(band + ((uint64_t)(sum - rising) << (2 * shift)));
            codes += stride;
        }
        band = (uint64_t)rising << (2 * shift);
    }
}
