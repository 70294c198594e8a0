/* SysTick as a clock (24 bits, the exception counts the wraps), and a painted stack.
 *
 * Under QEMU with -icount shift=0 every instruction takes 1 ns, so that the clock counts instructions exactly:
 * clocks * (1 GHz / processor clock). Cycles it cannot count. */
#include "counter.h"

#include <stdint.h>

#define SYST_CSR (*(volatile uint32_t*)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t*)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t*)0xe000e018u)
#define ICSR (*(volatile uint32_t*)0xe000ed04u)

enum { ENABLE = 1, EXCEPTION = 2, PROCESSOR_CLOCK = 4, PERIOD = 1 << 24, PENDING = 1 << 26 };
enum { PAINT = 0x5c5c5c5c, OWN_WORDS = 8 }; /* what ts_stack_paint itself may stand on stays bare */

extern uint32_t ts_stack_limit[];

static volatile uint32_t wraps;

void ts_counter_wrapped(void) {
    ++wraps;
}

void ts_counter_start(void) {
    wraps = 0;
    SYST_RVR = PERIOD - 1;
    SYST_CVR = 0;
    SYST_CSR = ENABLE | EXCEPTION | PROCESSOR_CLOCK;
}

uint64_t ts_counter_stop(void) {
    SYST_CSR = PROCESSOR_CLOCK;
    const uint32_t left = SYST_CVR;
    __asm__ volatile("isb" ::: "memory");              /* a wrap that is pending is taken here */
    return (uint64_t)wraps * PERIOD + (PERIOD - left); /* the first clock only loads the period */
}

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
