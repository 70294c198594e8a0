/* Properties of the processor that C cannot express. */
#ifndef TS_PROCESSOR_H
#define TS_PROCESSOR_H

#include <stdint.h>

/* The caller's stack pointer. */
static inline uint32_t* ts_stack_pointer(void) {
    uint32_t* pointer;
    __asm__ volatile("mv %0, sp" : "=r"(pointer));
    return pointer;
}

/* Two shifts without effect mark this breakpoint as semihosting; the three instructions may not cross a page
 * boundary. */
static inline int32_t ts_semihosting_call(uint32_t operation, const void* arguments) {
    register uint32_t a0 __asm__("a0") = operation;
    register const void* a1 __asm__("a1") = arguments;
    __asm__ volatile(".option push\n .option norvc\n .balign 16\n"
                     "slli x0, x0, 0x1f\n ebreak\n srai x0, x0, 7\n"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return (int32_t)a0;
}

/* Control registers by name. The extension is named here, not in the compiler's flags, because no compiled library
 * has it in its name. */
#define TS_CSR_READ(name, into)                                                                                        \
    __asm__ volatile(".option push\n .option arch, +zicsr\n csrr %0, " name "\n .option pop" : "=r"(into))
#define TS_CSR_WRITE(name, value)                                                                                      \
    __asm__ volatile(".option push\n .option arch, +zicsr\n csrw " name ", %0\n .option pop" ::"r"(value) : "memory")

#endif
