/* CRC-32, four bits per step: a table of 64 bytes instead of 1 kB. */
#include "ts_check.h"

uint32_t ts_crc32(uint32_t crc, const void* data, size_t size) {
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    const uint8_t* byte = data;
    crc = ~crc;
    for (; size > 0; --size) {
        crc ^= *byte++;
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

int ts_check_part(TsCheck* check, uint32_t number, const TsChecked* part, size_t* bytes) {
    while (check->part == number && *bytes > 0) {
        if (check->at > part->size) { /* damaged progress */
            return 0;
        }
        const uint32_t left = part->size - check->at;
        const uint32_t most = *bytes < TS_CHECK_BLOCK ? (uint32_t)*bytes : TS_CHECK_BLOCK;
        const uint32_t taken = left < most ? left : most;
        check->crc = ts_crc32(check->crc, (const uint8_t*)part->data + check->at, taken);
        check->at += taken;
        *bytes -= taken;
        TS_ALIVE();
        if (check->at == part->size) {
            const int holds = check->crc == part->crc32;
            check->part += 1;
            check->at = check->crc = 0;
            return holds;
        }
    }
    return 1;
}
