/* Test program: one inference, and what the counter says after each call. clocks.bin gets TS_MODEL_LAYERS numbers of 32
 * bits, the clocks of each call in the order they run. */
#include "counter.h"
#include "model.h"
#include "ts_port.h"

static int8_t arena[TS_MODEL_ARENA_BYTES] __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT), section(".bss.ts_arena")));
static int8_t output[TS_MODEL_OUTPUT_BYTES];
static uint32_t clocks[TS_MODEL_LAYERS];

static void seen(void* context, int32_t layer, const int8_t* data, size_t size) {
    (void)context;
    (void)data;
    (void)size;
    clocks[layer] = (uint32_t)ts_counter_stop();
    ts_counter_start();
}

static int read_input(void) {
    const int file = ts_port_open("vectors.bin", 0);
    const size_t got = file < 0 ? 0 : ts_port_read(file, arena + TS_MODEL_INPUT_OFFSET, TS_MODEL_INPUT_BYTES);
    ts_port_close(file);
    return got == TS_MODEL_INPUT_BYTES ? TS_OK : TS_EXIT_FILE;
}

int main(void) {
    const TsObserver observer = {seen, 0};
    if (read_input() != TS_OK) {
        return TS_EXIT_FILE;
    }
    ts_counter_start();
    if (ts_model_observe(arena + TS_MODEL_INPUT_OFFSET, output, arena, &observer) != TS_OK) {
        return TS_EXIT_INVOKE;
    }
    const int file = ts_port_open("clocks.bin", 1);
    const int failed = file < 0 || ts_port_write(file, clocks, sizeof clocks) != 0;
    ts_port_close(file);
    return failed ? TS_EXIT_FILE : TS_EXIT_OK;
}
