/* From reset to main on an Xtensa processor without register windows (ABI call0), and the handling of exceptions. */
#include "number.h"
#include "processor.h"
#include "semihosting.h"
#include "start.h"
#include "ts_port.h"

void ts_reset_in_c(void) __attribute__((noreturn, used));
void ts_report_exception(const uint32_t* stack) __attribute__((noreturn, used));

extern const char ts_exceptions[];

/* The processor starts at the beginning of the section. Exceptions go to fixed distances from VECBASE: 0x30 in kernel
 * mode, 0x50 in user mode, 0x70 within another exception. The registers that describe one keep their values; the
 * stack is reset, because it may be the cause. */
__asm__(".section .vectors, \"ax\", @progbits\n"
        ".global ts_reset\n"
        "ts_reset: j 1f\n"
        ".balign 4\n"
        "stack_top: .word ts_stack_top\n"
        "reset_in_c: .word ts_reset_in_c\n"
        "report_exception: .word ts_report_exception\n"
        "1: l32r sp, stack_top\n"
        "l32r a0, reset_in_c\n"
        "jx a0\n"
        "exception: mov a2, sp\n"
        "l32r sp, stack_top\n"
        "l32r a0, report_exception\n"
        "jx a0\n"
        ".balign 1024\n"
        ".global ts_exceptions\n"
        "ts_exceptions:\n"
        ".org ts_exceptions - ts_reset + 0x30\n j exception\n"
        ".org ts_exceptions - ts_reset + 0x50\n j exception\n"
        ".org ts_exceptions - ts_reset + 0x70\n j exception\n"
        ".previous");

void ts_reset_in_c(void) {
    TS_SPECIAL_WRITE("intenable", 0);
    TS_SPECIAL_WRITE("vecbase", ts_exceptions);
    TS_SPECIAL_WRITE("ps", 0); /* exceptions are handled from here on */
    ts_start();
}

void ts_report_exception(const uint32_t* stack) {
    uint32_t cause, pc, address;
    TS_SPECIAL_READ("exccause", cause);
    TS_SPECIAL_READ("epc1", pc);
    TS_SPECIAL_READ("excvaddr", address);
    ts_print_hexadecimal("fault_status", cause);
    ts_print_hexadecimal("fault_address", address);
    ts_print_hexadecimal("fault_pc", pc);
    ts_semihosting_exit(stack < ts_stack_limit ? TS_EXIT_STACK : TS_EXIT_FAULT);
}
