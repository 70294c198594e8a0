#ifndef PICO_STDLIB_H
#define PICO_STDLIB_H
#include "pico/types.h"
bool stdio_init_all(void);
static inline void tight_loop_contents(void) {}
#endif
