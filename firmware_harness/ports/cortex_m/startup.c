/* From reset to main on an Armv7-M or Armv8-M processor, and what becomes of a fault. */
#include <stdint.h>
#include <string.h>

#include "counter.h"
#include "number.h"
#include "semihosting.h"
#include "ts_port.h"

extern uint32_t ts_stack_top[], ts_data_begin[], ts_data_end[], ts_data_load[], ts_bss_begin[], ts_bss_end[];

int main(void);
void ts_reset(void);

#define CPACR (*(volatile uint32_t*)0xe000ed88u)
#define CONFIGURABLE_FAULT_STATUS (*(volatile uint32_t*)0xe000ed28u)
enum { CPACR_FPU = 0xf << 20 };

void ts_reset(void) {
    CPACR |= CPACR_FPU; /* before anything that the compiler may have put into float registers */
    __asm__ volatile("dsb\n isb" ::: "memory");
    memcpy(ts_data_begin, ts_data_load, (size_t)((char*)ts_data_end - (char*)ts_data_begin));
    memset(ts_bss_begin, 0, (size_t)((char*)ts_bss_end - (char*)ts_bss_begin));
    ts_semihosting_exit(main());
}

__attribute__((noreturn, used)) void ts_report_fault(const uint32_t* frame);

void ts_report_fault(const uint32_t* frame) {
    enum { FRAME_LR = 5, FRAME_PC = 6 };
    ts_print_hexadecimal("fault_status", CONFIGURABLE_FAULT_STATUS);
    ts_print_hexadecimal("fault_lr", frame[FRAME_LR]);
    ts_print_hexadecimal("fault_pc", frame[FRAME_PC]);
    ts_semihosting_exit(TS_EXIT_FAULT);
}

/* The frame with the faulting address lies where the stack pointer was. */
__attribute__((naked)) static void fault(void) {
    __asm__ volatile("mrs r0, msp\n b ts_report_fault");
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
    {.handler = ts_counter_wrapped},
};
