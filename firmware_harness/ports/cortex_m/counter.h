/* Time in processor clocks of SysTick, and the depth the stack has reached. */
#ifndef TS_COUNTER_H
#define TS_COUNTER_H

#include <stdint.h>

void ts_counter_start(void);
uint64_t ts_counter_stop(void); /* SysTick clocks since the start */
void ts_counter_wrapped(void);  /* the SysTick exception */

/* Where the caller's stack stands. */
static inline uint32_t* ts_stack_pointer(void) {
    uint32_t* pointer;
    __asm__ volatile("mov %0, sp" : "=r"(pointer));
    return pointer;
}

/* Paint the free stack below `top`, and later say how many bytes below it have been written. */
void ts_stack_paint(uint32_t* top);
uint32_t ts_stack_depth(const uint32_t* top);

#endif
