/* Four sums of products at a time on Armv6-M, whose products and loads have eight registers: the sums are in others,
 * which can be added to. Compilers store them at each tap. The same functions in C are in ts_dot.c. */
#ifndef TS_DOT_ARMV6M_H
#define TS_DOT_ARMV6M_H

#if defined(__GNUC__) && (defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__))
#define TS_DOT_ARMV6M

#include "ts_inner.h"

/* From index r4 = -n up to 0, four taps at a time where it is a multiple; the pointers are those of the ends. Flags may
 * reserve r9, and r7 as the frame pointer, which is restored. */
#define TS_TAPS(tap)                                                                                                   \
    ".syntax unified\n mov lr, r7\n movs r7, #0\n mov r8, r7\n mov r10, r7\n mov r11, r7\n mov r12, r7\n"              \
    "1: lsls r7, r4, #30\n beq 2f\n" tap "b 1b\n"                                                                      \
    "2: cmp r4, #0\n beq 4f\n"                                                                                         \
    "3:" tap tap tap tap "bne 3b\n"                                                                                    \
    "4: mov r0, r8\n mov r1, r10\n mov r2, r11\n mov r3, r12\n mov r7, lr\n"
#define TS_TWO_BY_TWO                                                                                                  \
    "ldrsb r5, [r0, r4]\n ldrsb r6, [r2, r4]\n mov r7, r6\n muls r7, r5, r7\n add r8, r7\n"                            \
    "ldrsb r7, [r1, r4]\n muls r6, r7, r6\n add r10, r6\n"                                                             \
    "ldrsb r6, [r3, r4]\n muls r5, r6, r5\n add r11, r5\n muls r6, r7, r6\n add r12, r6\n adds r4, #1\n"
#define TS_ONE_BY_FOUR                                                                                                 \
    "ldrsb r6, [r0, r4]\n ldrsb r7, [r1, r4]\n muls r7, r6, r7\n add r8, r7\n"                                         \
    "ldrsb r7, [r2, r4]\n muls r7, r6, r7\n add r10, r7\n ldrsb r7, [r3, r4]\n muls r7, r6, r7\n add r11, r7\n"        \
    "ldrsb r7, [r5, r4]\n muls r7, r6, r7\n add r12, r7\n adds r4, #1\n"

enum { TS_OUTPUTS = 2 };

/* In r0 to r3 the ends of four arrays, then the sums. Compiled alone, so that no value is moved out of the way. */
__attribute__((noinline)) static void sums_of_two(const int8_t* x0, const int8_t* x1, const int8_t* w, int32_t n,
                                                  int32_t left, uint32_t sum[4]) {
    register uintptr_t r0 __asm__("r0") = (uintptr_t)(x0 + n);
    register uintptr_t r1 __asm__("r1") = (uintptr_t)(x1 + n);
    register uintptr_t r2 __asm__("r2") = (uintptr_t)(w + n);
    register uintptr_t r3 __asm__("r3") = r2 + (uintptr_t)(left > 1 ? n : 0);
    register int32_t r4 __asm__("r4") = -n;
    __asm__(TS_TAPS(TS_TWO_BY_TWO)
            : "+l"(r0), "+l"(r1), "+l"(r2), "+l"(r3), "+l"(r4)
            :
            : "r5", "r6", "r8", "r10", "r11", "r12", "lr", "cc", "memory");
    sum[0] = r0, sum[1] = r1, sum[2] = r2, sum[3] = r3;
}

__attribute__((noinline)) static void sums_of_one(const int8_t* x, const int8_t* w, int32_t n, int32_t left,
                                                  uint32_t sum[4]) {
    register uintptr_t r0 __asm__("r0") = (uintptr_t)(x + n);
    register uintptr_t r1 __asm__("r1") = (uintptr_t)(w + n);
    register uintptr_t r2 __asm__("r2") = r1 + (uintptr_t)(left > 1 ? n : 0);
    register uintptr_t r3 __asm__("r3") = r2 + (uintptr_t)(left > 2 ? n : 0);
    register int32_t r4 __asm__("r4") = -n;
    register uintptr_t r5 __asm__("r5") = r3 + (uintptr_t)(left > 3 ? n : 0);
    __asm__(TS_TAPS(TS_ONE_BY_FOUR)
            : "+l"(r0), "+l"(r1), "+l"(r2), "+l"(r3), "+l"(r4)
            : "l"(r5)
            : "r6", "r8", "r10", "r11", "r12", "lr", "cc", "memory");
    sum[0] = r0, sum[1] = r1, sum[2] = r2, sum[3] = r3;
}

#endif

#endif
