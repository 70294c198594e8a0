/* Writes what the compiler's arithmetic gives for each quadruple of words in vectors.bin: two floats or integers of 32
 * bits, and two integers of 64 bits. Divisors of 0 are not in the file. */
#include <string.h>

#include "ts_port.h"

typedef struct {
    uint32_t first, second;
    uint64_t wide_first, wide_second;
} Operands;

typedef struct {
    float sum, difference, product, quotient, of_signed, of_unsigned;
    uint32_t truncated, quotient_unsigned, remainder_unsigned;
    int32_t quotient_signed, remainder_signed;
    uint32_t pad;
    uint64_t wide_product, wide_quotient, wide_remainder;
    int64_t wide_quotient_signed;
} Results;

static float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static Results computed(const Operands* each) {
    const float a = as_float(each->first), b = as_float(each->second);
    const int32_t signed_first = (int32_t)each->first, signed_second = (int32_t)each->second;
    const Results results = {
        .sum = a + b,
        .difference = a - b,
        .product = a * b,
        .quotient = a / b,
        .of_signed = (float)signed_first,
        .of_unsigned = (float)each->first,
        .truncated = a >= 0.0f && a < 4294967296.0f ? (uint32_t)a : 0,
        .quotient_unsigned = each->first / each->second,
        .remainder_unsigned = each->first % each->second,
        .quotient_signed = signed_first / signed_second,
        .remainder_signed = signed_first % signed_second,
        .wide_product = each->wide_first * each->wide_second,
        .wide_quotient = each->wide_first / each->wide_second,
        .wide_remainder = each->wide_first % each->wide_second,
        .wide_quotient_signed = (int64_t)each->wide_first / (int64_t)each->wide_second,
    };
    return results;
}

int main(void) {
    const int operands = ts_port_open("vectors.bin", 0), results = ts_port_open("output.bin", 1);
    Operands each;
    while (ts_port_read(operands, &each, sizeof each) == sizeof each) {
        const Results of_each = computed(&each);
        if (ts_port_write(results, &of_each, sizeof of_each) != 0) {
            return TS_EXIT_FILE;
        }
    }
    ts_port_close(results);
    return TS_EXIT_OK;
}
