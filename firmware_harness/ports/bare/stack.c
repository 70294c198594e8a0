/* A painted stack: bytes that a program has written no longer have the paint's value. */
#include "counter.h"
#include "start.h"

enum { PAINT = 0x5c5c5c5c, OWN_WORDS = 8 }; /* not painted: ts_stack_paint itself may use it */

void ts_stack_paint(uint32_t* top) {
    for (volatile uint32_t* at = ts_stack_limit; at < top - OWN_WORDS; ++at) {
        *at = PAINT;
    }
}

uint32_t ts_stack_depth(const uint32_t* top) {
    const volatile uint32_t* at = ts_stack_limit;
    while (at < top && *at == PAINT) {
        ++at;
    }
    return (uint32_t)((const char*)top - (const volatile char*)at);
}
