/* From reset to main on an Armv6-M, Armv7-M or Armv8-M mainline processor, and the handling of faults. */
#include "number.h"
#include "semihosting.h"
#include "start.h"
#include "systick.h"
#include "ts_port.h"
#include "ts_stack_guard.h"

void ts_reset(void);
void ts_report_fault(const uint32_t* frame) __attribute__((noreturn, used));

#define CONFIGURATION (*(volatile uint32_t*)0xe000ed14u)
#define CONFIGURABLE_FAULT_STATUS (*(volatile uint32_t*)0xe000ed28u)
#define COPROCESSOR_ACCESS (*(volatile uint32_t*)0xe000ed88u)
enum { UNALIGNED_TRAP = 1 << 3, LOOP_AND_BRANCH = 1 << 19, FLOAT_AND_VECTOR = 0xf << 20, STACK_OVERFLOW = 1 << 20 };

void ts_reset(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    COPROCESSOR_ACCESS |= FLOAT_AND_VECTOR; /* before the compiler may have used those registers */
#endif
#ifdef __ARM_FEATURE_MVE
    CONFIGURATION |= LOOP_AND_BRANCH;
#endif
#if __ARM_ARCH == 6
    CONFIGURATION |= UNALIGNED_TRAP; /* as these processors always do, in case a larger one is emulated */
#endif
    (void)ts_limit_stack((uintptr_t)ts_stack_limit);
    __asm__ volatile("dsb\n isb" ::: "memory");
    ts_start();
}

/* `frame` is at the stack pointer, unless the stack had no room for it. */
void ts_report_fault(const uint32_t* frame) {
    enum { FRAME_LR = 5, FRAME_PC = 6 };
    const uint32_t status = CONFIGURABLE_FAULT_STATUS; /* reads as zero on Armv6-M */
    ts_print_hexadecimal("fault_status", status);
    if (frame <= ts_stack_limit || (__ARM_ARCH >= 8 && (status & STACK_OVERFLOW) != 0)) {
        ts_semihosting_exit(TS_EXIT_STACK);
    }
    ts_print_hexadecimal("fault_lr", frame[FRAME_LR]);
    ts_print_hexadecimal("fault_pc", frame[FRAME_PC]);
    ts_semihosting_exit(TS_EXIT_FAULT);
}

/* A nearly full stack is reset, because it may be the cause of the fault. */
__attribute__((naked)) static void fault(void) {
    __asm__ volatile("mrs r0, msp\n"
                     "ldr r1, =ts_stack_limit + 512\n"
                     "cmp r0, r1\n"
                     "bhs 1f\n"
                     "ldr r1, =ts_stack_top\n"
                     "msr msp, r1\n"
                     "1: ldr r1, =ts_report_fault\n"
                     "bx r1\n"
                     ".ltorg");
}

typedef union {
    const void* stack;
    void (*handler)(void);
} Vector;

__attribute__((section(".vectors"), used)) static const Vector vectors[16] = {
    {.stack = ts_stack_top},
    {.handler = ts_reset},
    {.handler = fault}, /* NMI */
    {.handler = fault}, /* HardFault */
    {.handler = fault}, /* MemManage */
    {.handler = fault}, /* BusFault */
    {.handler = fault}, /* UsageFault */
    {.handler = fault},
    {.handler = fault},
    {.handler = fault},
    {.handler = fault},
    {.handler = fault}, /* SVCall */
    {.handler = fault},
    {.handler = fault},
    {.handler = fault}, /* PendSV */
    {.handler = ts_systick_wrapped},
};
