/* The stored checksum, and its comparison with the sections. The CRC is computed without a table, bit by bit: the code
 * is all that it depends on. */
#include "sealed.h"

#include <stddef.h>
#include <stdint.h>

extern const uint8_t ts_vectors_begin[], ts_vectors_end[], ts_text_begin[], ts_text_end[], ts_rodata_begin[],
    ts_rodata_end[];

__attribute__((section(".sealed"), used)) static const uint32_t sealed_crc32 = 0xffffffffu;

static uint32_t checksum(uint32_t crc, const uint8_t* byte, const uint8_t* end) {
    for (; byte < end; ++byte) {
        crc ^= *byte;
        for (int bit = 0; bit < 8; ++bit) {
            crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1u)));
        }
    }
    return crc;
}

int ts_sealed_image_holds(void) {
    uint32_t crc = 0xffffffffu;
    crc = checksum(crc, ts_vectors_begin, ts_vectors_end);
    crc = checksum(crc, ts_text_begin, ts_text_end);
    crc = checksum(crc, ts_rodata_begin, ts_rodata_end);
    return ~crc == *(const volatile uint32_t*)&sealed_crc32; /* volatile: the compiler knows only the value above */
}
