/* From a processor that can run C to main. */
#ifndef TS_START_H
#define TS_START_H

#include <stdint.h>

/* The stack's ends, set by sections.ld; it grows from the top down to the limit. */
extern uint32_t ts_stack_limit[], ts_stack_top[];

/* Variables get their first values, main runs, and the program ends with what it returns. */
void ts_start(void) __attribute__((noreturn));

#endif
