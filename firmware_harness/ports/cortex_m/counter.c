/* SysTick as a clock: 24 bits, the exception counts the wraps.
 *
 * Under QEMU with -icount shift=0 every instruction takes 1 ns, so that the clock counts instructions exactly:
 * clocks * (1 GHz / processor clock). It does not count cycles. */
#include "counter.h"

#include "systick.h"

#define SYST_CSR (*(volatile uint32_t*)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t*)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t*)0xe000e018u)

enum { ENABLE = 1, EXCEPTION = 2, PROCESSOR_CLOCK = 4, PERIOD = 1 << 24 };

static volatile uint32_t wraps;

void ts_systick_wrapped(void) {
    ++wraps;
}

void ts_counter_start(void) {
    wraps = 0;
    SYST_RVR = PERIOD - 1;
    SYST_CVR = 0;
    SYST_CSR = ENABLE | EXCEPTION | PROCESSOR_CLOCK;
    while (SYST_CVR == 0) { /* the first clock only loads the period; a stop before it would read a whole period */
    }
}

uint64_t ts_counter_stop(void) {
    SYST_CSR = PROCESSOR_CLOCK;
    const uint32_t left = SYST_CVR;
    __asm__ volatile("isb" ::: "memory"); /* a pending wrap is handled here */
    return (uint64_t)wraps * PERIOD + (PERIOD - 1 - left);
}
