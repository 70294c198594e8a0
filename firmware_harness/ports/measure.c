/* Test program: the image as a product would have it (no observer, input inside the arena), run twice on the first
 * vector: once over a painted stack, once under the counter. Prints what it found; the output goes to output.bin. */
#include <string.h>

#include "counter.h"
#include "model.h"
#include "number.h"
#include "ts_port.h"

static int8_t arena[TS_MODEL_ARENA_BYTES] __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT), section(".bss.ts_arena")));
static int8_t output[TS_MODEL_OUTPUT_BYTES];

static int read_input(void) {
    const int file = ts_port_open("vectors.bin", 0);
    const size_t got = file < 0 ? 0 : ts_port_read(file, arena + TS_MODEL_INPUT_OFFSET, TS_MODEL_INPUT_BYTES);
    ts_port_close(file);
    return got == TS_MODEL_INPUT_BYTES ? TS_OK : TS_EXIT_FILE;
}

static int write_output(void) {
    const int file = ts_port_open("output.bin", 1);
    const int failed = file < 0 || ts_port_write(file, output, sizeof output) != 0;
    ts_port_close(file);
    return failed ? TS_EXIT_FILE : TS_EXIT_OK;
}

int main(void) {
    uint32_t* top = ts_stack_pointer();
    if (read_input() != TS_OK) {
        return TS_EXIT_FILE;
    }
    ts_stack_paint(top);
    if (ts_model_invoke(arena + TS_MODEL_INPUT_OFFSET, output, arena) != TS_OK) {
        return TS_EXIT_INVOKE;
    }
    ts_print_decimal("stack_bytes", ts_stack_depth(top));
    if (read_input() != TS_OK) {
        return TS_EXIT_FILE;
    }
    ts_counter_start();
    if (ts_model_invoke(arena + TS_MODEL_INPUT_OFFSET, output, arena) != TS_OK) {
        return TS_EXIT_INVOKE;
    }
    ts_print_decimal("clocks", ts_counter_stop());
    return write_output();
}
