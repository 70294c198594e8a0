/* The exception that SysTick takes when it wraps. */
#ifndef TS_SYSTICK_H
#define TS_SYSTICK_H

void ts_systick_wrapped(void);

#endif
