/* Counts a loop of known length, two instructions per iteration and long enough for SysTick to wrap; prints the
 * clocks. */
#include "counter.h"
#include "number.h"
#include "ts_port.h"

enum { TURNS = 450 * 1000 * 1000 };

#if defined __riscv
#define COUNT_DOWN "1: addi %0, %0, -1\n bnez %0, 1b"
#elif defined __xtensa__
#define COUNT_DOWN "1: addi %0, %0, -1\n bnez %0, 1b"
#else
#define COUNT_DOWN "1: subs %0, #1\n bne 1b"
#endif

int main(void) {
    ts_counter_start();
    uint32_t turns = TURNS;
    __asm__ volatile(COUNT_DOWN : "+r"(turns)::"cc");
    ts_print_decimal("clocks", ts_counter_stop());

    uint32_t* top = ts_stack_pointer();
    ts_stack_paint(top);
    *(volatile uint32_t*)(top - 500) = 1; /* as deep as 2000 bytes */
    ts_print_decimal("stack_bytes", ts_stack_depth(top));
    ts_port_close(ts_port_open("output.bin", 1)); /* the result that every run leaves */
    return 0;
}
