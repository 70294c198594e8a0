/* The serial protocol of a network on this machine: commands from standard input, responses to standard output. */
#include <stdio.h>

#include "product_serial.h"

static product_state state;
static product_serial serial;
static int8_t arena[TS_MODEL_ARENA_BYTES] __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT)));

static int read_byte(void* context) {
    (void)context;
    return getchar();
}

static void write_text(void* context, const char* text, size_t size) {
    (void)context;
    (void)fwrite(text, 1, size, stdout);
}

static uint32_t microseconds(void* context) {
    (void)context;
    return 0;
}

int main(void) {
    static const product_serial_port port = {read_byte, write_text, microseconds, NULL};
    product_begin(&state, arena);
    product_serial_serve(&serial, &port, &state);
    return 0;
}
