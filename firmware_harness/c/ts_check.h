/* Damage to constants in memory, found by CRC-32: at once, or in steps of bounded time.
 *
 * The expected values are emitted in model.h and frontend.h with the constants. A check reads the constants as bytes
 * only and follows nothing in them, so that it is safe on damaged ones: check before the first inference. */
#ifndef TS_CHECK_H
#define TS_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* Called after each layer, each column of the front end, and each TS_CHECK_BLOCK bytes of a check. Define it for the
 * whole build to reset a watchdog timer. */
#ifndef TS_ALIVE
#define TS_ALIVE() ((void)0)
#endif

enum {
    TS_CHECK_MORE = 0, /* no damage so far */
    TS_CHECK_DONE = 1, /* all constants are as emitted; the next step begins anew */

    TS_CHECK_BLOCK = 1024,
};

/* Progress of a check in steps. Set it to zeros to begin. */
typedef struct {
    uint32_t part; /* the first part that is not finished */
    uint32_t at;   /* bytes of it that have been read */
    uint32_t crc;  /* of these */
} TsCheck;

/* Constants in contiguous memory. */
typedef struct {
    const void* data;
    uint32_t size;
    uint32_t crc32; /* expected */
} TsChecked;

/* CRC-32 as zlib's crc32: 0 to begin. */
uint32_t ts_crc32(uint32_t crc, const void* data, size_t size);

/* Read at most `*bytes` of `part`, unless the check is at another one, and subtract them from `*bytes`. Returns 0 if
 * the checksum of the whole part is wrong. */
int ts_check_part(TsCheck* check, uint32_t number, const TsChecked* part, size_t* bytes);

#endif
