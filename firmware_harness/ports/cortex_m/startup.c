/* From reset to main on an Armv6-M, Armv7-M or Armv8-M mainline processor, and the handling of faults. */
#include "number.h"
#include "semihosting.h"
#include "start.h"
#include "systick.h"
#include "ts_port.h"

void ts_reset(void);
void ts_report_fault(const uint32_t* frame) __attribute__((noreturn, used));

#define CONFIGURATION (*(volatile uint32_t*)0xe000ed14u)
#define CONFIGURABLE_FAULT_STATUS (*(volatile uint32_t*)0xe000ed28u)
#define COPROCESSOR_ACCESS (*(volatile uint32_t*)0xe000ed88u)
enum { UNALIGNED_TRAP = 1 << 3, LOOP_AND_BRANCH = 1 << 19, FLOAT_AND_VECTOR = 0xf << 20, STACK_OVERFLOW = 1 << 20 };

#if __ARM_ARCH < 8
#define MPU_TYPE (*(volatile uint32_t*)0xe000ed90u)
#define MPU_CTRL (*(volatile uint32_t*)0xe000ed94u)
#define MPU_RNR (*(volatile uint32_t*)0xe000ed98u)
#define MPU_RBAR (*(volatile uint32_t*)0xe000ed9cu)
#define MPU_RASR (*(volatile uint32_t*)0xe000eda0u)

/* With a memory protection unit, forbid accesses just below the stack: absent memory does not always raise a fault.
 * Up to 64 KiB, as far as the stack's limit is aligned. */
static void guard_stack(void) {
    enum { REGIONS = 0xff00, ENABLE = 1, DEFAULT_MAP = 4, NO_ACCESS = 0, SMALLEST = 5, LARGEST = 16 };
    const uint32_t limit = (uint32_t)(uintptr_t)ts_stack_limit;
    uint32_t bits = SMALLEST;
    while (bits < LARGEST && (limit >> bits & 1) == 0) {
        ++bits;
    }
    if ((MPU_TYPE & REGIONS) != 0) {
        MPU_RNR = 0;
        MPU_RBAR = limit - (1u << bits);
        MPU_RASR = NO_ACCESS | (bits - 1) << 1 | ENABLE;
        MPU_CTRL = ENABLE | DEFAULT_MAP;
    }
}
#else
static void guard_stack(void) {
    __asm__ volatile("msr msplim, %0" ::"r"(ts_stack_limit));
}
#endif

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
    guard_stack();
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
