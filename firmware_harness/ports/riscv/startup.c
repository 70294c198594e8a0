/* From reset to main on a 32-bit RISC-V processor in machine mode, and the handling of traps. */
#include "number.h"
#include "processor.h"
#include "semihosting.h"
#include "start.h"
#include "ts_port.h"

extern char ts_flash_begin[], ts_flash_bytes[];

void ts_reset(void);
void ts_reset_in_c(void) __attribute__((noreturn, used));
void ts_report_trap(const uint32_t* stack) __attribute__((noreturn, used));

__attribute__((naked, section(".vectors"), used)) void ts_reset(void) {
    __asm__ volatile("la sp, ts_stack_top\n j ts_reset_in_c");
}

/* The registers that describe a trap keep their values. The stack is reset, because it may be the cause. */
__attribute__((naked, aligned(4))) static void trap(void) {
    __asm__ volatile("mv a0, sp\n la sp, ts_stack_top\n j ts_report_trap");
}

/* Make flash read-only in machine mode too: the stack is above it and would otherwise overflow into it unnoticed. */
static void protect_flash(void) {
    enum { READ = 1, EXECUTE = 4, NATURALLY_ALIGNED = 3 << 3, LOCKED = 0x80 };
    const uint32_t size_mask = ((uint32_t)(uintptr_t)ts_flash_bytes >> 3) - 1;
    TS_CSR_WRITE("pmpaddr0", (uint32_t)(uintptr_t)ts_flash_begin >> 2 | size_mask);
    TS_CSR_WRITE("pmpcfg0", READ | EXECUTE | NATURALLY_ALIGNED | LOCKED);
}

void ts_reset_in_c(void) {
    TS_CSR_WRITE("mtvec", trap);
    protect_flash();
    ts_start();
}

void ts_report_trap(const uint32_t* stack) {
    uint32_t cause, pc, address;
    TS_CSR_READ("mcause", cause);
    TS_CSR_READ("mepc", pc);
    TS_CSR_READ("mtval", address);
    ts_print_hexadecimal("fault_status", cause);
    ts_print_hexadecimal("fault_address", address);
    ts_print_hexadecimal("fault_pc", pc);
    ts_semihosting_exit(stack < ts_stack_limit ? TS_EXIT_STACK : TS_EXIT_FAULT);
}
