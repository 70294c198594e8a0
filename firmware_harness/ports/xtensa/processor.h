/* Properties of the processor that C cannot express. */
#ifndef TS_PROCESSOR_H
#define TS_PROCESSOR_H

#include <stdint.h>

/* The caller's stack pointer. */
static inline uint32_t* ts_stack_pointer(void) {
    uint32_t* pointer;
    __asm__ volatile("mov %0, sp" : "=r"(pointer));
    return pointer;
}

/* Special registers by name. */
#define TS_SPECIAL_READ(name, into) __asm__ volatile("rsr." name " %0" : "=r"(into))
#define TS_SPECIAL_WRITE(name, value) __asm__ volatile("wsr." name " %0\n rsync" ::"r"(value) : "memory")

#endif
