/* A stack overflow becomes a fault, on Cortex-M. Used by the start-up code of the emulated machines and by products. */
#ifndef TS_STACK_GUARD_H
#define TS_STACK_GUARD_H

#include <stdint.h>

#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)

/* The processor compares the stack pointer with a limit, a multiple of 8. */
static inline int ts_limit_stack(uintptr_t lowest) {
    __asm__ volatile("msr msplim, %0" ::"r"((lowest + 7u) & ~(uintptr_t)7u) : "memory");
    return 1;
}

#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH < 8

/* The memory protection unit forbids accesses just below the stack, up to 64 KiB as far as `lowest` is aligned, in its
 * last region, which overrules all others. Absent memory does not always raise a fault, and other variables may lie
 * there. */
static inline int ts_limit_stack(uintptr_t lowest) {
    enum { ENABLE = 1, DEFAULT_MAP = 4, NO_ACCESS = 0, SMALLEST = 5, LARGEST = 16 };
    volatile uint32_t* const mpu = (volatile uint32_t*)0xe000ed90u;
    enum { TYPE, CONTROL, REGION, BASE, ATTRIBUTES };
    const uint32_t regions = mpu[TYPE] >> 8 & 0xffu;
    const uint32_t limit = ((uint32_t)lowest + 31u) & ~31u;
    uint32_t bits = SMALLEST;
    while (bits < LARGEST && (limit >> bits & 1) == 0) {
        ++bits;
    }
    if (regions == 0) {
        return 0;
    }
    mpu[REGION] = regions - 1;
    mpu[BASE] = limit - (1u << bits);
    mpu[ATTRIBUTES] = NO_ACCESS | (bits - 1) << 1 | ENABLE;
    mpu[CONTROL] |= ENABLE | DEFAULT_MAP;
    __asm__ volatile("dsb\n isb" ::: "memory");
    return 1;
}

#else

static inline int ts_limit_stack(uintptr_t lowest) {
    (void)lowest;
    return 0;
}

#endif

#endif
