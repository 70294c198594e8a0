/* Test program: one inference, and the counter after each call. clocks.bin gets TS_MODEL_LAYERS numbers of 32 bits,
 * the clocks of each call in the order they run. */
#include "counter.h"
#include "model.h"
#include "ts_port.h"
#include "ts_port_model.h"

static int8_t arena[TS_MODEL_ARENA_BYTES] __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT), section(".bss.ts_arena")));
static int8_t output[TS_PORT_OUTPUT_BYTES];
static uint32_t clocks[TS_MODEL_LAYERS];

static void seen(void* context, int32_t layer, const int8_t* data, size_t size) {
    (void)context;
    (void)data;
    (void)size;
    clocks[layer] = (uint32_t)ts_counter_stop();
    ts_counter_start();
}

int main(void) {
    const TsObserver observer = {seen, 0};
    const TsModelInput input = ts_port_inputs_in(arena);
    const TsModelOutput outputs = ts_port_outputs(output);
    if (ts_port_load_inputs(arena) != TS_EXIT_OK) {
        return TS_EXIT_FILE;
    }
    ts_counter_start();
    if (ts_model_observe(input, outputs, arena, &observer) != TS_OK) {
        return TS_EXIT_INVOKE;
    }
    return ts_port_store("clocks.bin", clocks, sizeof clocks);
}
