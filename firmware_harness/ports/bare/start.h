/* From a processor that can run C to main. */
#ifndef TS_START_H
#define TS_START_H

#include <stdint.h>

/* The ends of the stack, set by sections.ld; it grows from the top down to the limit. */
extern uint32_t ts_stack_limit[], ts_stack_top[];

/* Initialise variables, run main, and end the program with its return value. */
void ts_start(void) __attribute__((noreturn));

#endif
