/* Two properties of the processor that C cannot express. */
#ifndef TS_PROCESSOR_H
#define TS_PROCESSOR_H

#include <stdint.h>

/* The caller's stack pointer. */
static inline uint32_t* ts_stack_pointer(void) {
    uint32_t* pointer;
    __asm__ volatile("mov %0, sp" : "=r"(pointer));
    return pointer;
}

static inline int32_t ts_semihosting_call(uint32_t operation, const void* arguments) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void* r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

#endif
