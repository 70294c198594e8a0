/* The serial harness on Arm's MPS2 and MPS3 boards and their emulations: first UART (CMSDK) and the counter of the
 * FPGA's I/O block. The build sets the addresses and the counter's clock. */
#include "product_serial.h"

#define REGISTER(address) (*(volatile uint32_t*)(address))
#define UART_DATA REGISTER(BOARD_UART + 0x00u)
#define UART_STATE REGISTER(BOARD_UART + 0x04u)
#define UART_CONTROL REGISTER(BOARD_UART + 0x08u)
#define UART_DIVIDER REGISTER(BOARD_UART + 0x10u)
#define COUNTER REGISTER(BOARD_FPGAIO + 0x18u)
#define PRESCALE REGISTER(BOARD_FPGAIO + 0x1cu)
enum { SEND_FULL = 1, RECEIVED = 2, SEND = 1, RECEIVE = 2, BAUD = 115200 };

static product_state state;
static product_serial serial;
static int8_t arena[TS_MODEL_ARENA_BYTES] __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT), section(".bss.ts_arena")));

static int read_byte(void* context) {
    (void)context;
    while ((UART_STATE & RECEIVED) == 0) {
    }
    return (int)(UART_DATA & 0xffu);
}

static void write_text(void* context, const char* text, size_t size) {
    (void)context;
    for (; size > 0; --size) {
        while ((UART_STATE & SEND_FULL) != 0) {
        }
        UART_DATA = (uint8_t)*text++;
    }
}

static uint32_t microseconds(void* context) {
    (void)context;
    return COUNTER;
}

int main(void) {
    static const product_serial_port port = {read_byte, write_text, microseconds, NULL};
    UART_DIVIDER = BOARD_CLOCK_HZ / BAUD;
    UART_CONTROL = SEND | RECEIVE;
    PRESCALE = BOARD_CLOCK_HZ / 1000000u - 1u;
    product_begin(&state, arena);
    product_serial_serve(&serial, &port, &state);
    return 0;
}
