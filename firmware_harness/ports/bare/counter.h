/* Time in clocks of the machine's counter, and the depth the stack has reached. */
#ifndef TS_COUNTER_H
#define TS_COUNTER_H

#include <stdint.h>

#include "processor.h"

/* The machine's record in build/targets.py has the number of instructions per clock. */
void ts_counter_start(void);
uint64_t ts_counter_stop(void); /* clocks since the start */

/* Paint the free stack below `top`, a caller's ts_stack_pointer(), and later return how many bytes below it were
 * written. */
void ts_stack_paint(uint32_t* top);
uint32_t ts_stack_depth(const uint32_t* top);

#endif
