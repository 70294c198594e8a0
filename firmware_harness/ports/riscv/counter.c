/* The count of retired instructions; QEMU keeps it exactly with -icount. */
#include "counter.h"

static uint64_t first;

static uint64_t retired(void) {
    uint32_t high, low, again;
    do {
        TS_CSR_READ("minstreth", high);
        TS_CSR_READ("minstret", low);
        TS_CSR_READ("minstreth", again);
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

void ts_counter_start(void) {
    first = retired();
}

uint64_t ts_counter_stop(void) {
    return retired() - first;
}
