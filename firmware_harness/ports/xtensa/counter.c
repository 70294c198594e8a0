/* The cycle counter, whose clock QEMU advances with the executed instructions under -icount. */
#include "counter.h"

static uint32_t first;

void ts_counter_start(void) {
    TS_SPECIAL_READ("ccount", first);
}

uint64_t ts_counter_stop(void) {
    uint32_t now;
    TS_SPECIAL_READ("ccount", now);
    return now - first;
}
