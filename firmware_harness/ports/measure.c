/* Test program: the model as in a product (no observer, input inside the arena), run twice on the first vector: once
 * over a painted stack, once under the counter. Prints the figures; the output is written to output.bin.
 *
 * The arena is painted with a different value each time, so that every written byte differs from at least one of
 * them. A canary follows it. */
#include <string.h>

#include "counter.h"
#include "model.h"
#include "number.h"
#include "ts_port.h"
#include "ts_port_model.h"

enum { CANARY_BYTES = 64, CANARY = 0x6b };

static struct {
    int8_t arena[TS_MODEL_ARENA_BYTES];
    uint8_t canary[CANARY_BYTES];
} memory __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT), section(".bss.ts_arena")));

static int8_t output[TS_PORT_OUTPUT_BYTES];

static void paint_arena(int8_t colour) {
    memset(memory.arena, colour, sizeof memory.arena);
    memset(memory.canary, CANARY, sizeof memory.canary);
}

/* Number of bytes up to the last one written in the arena. */
static uint32_t arena_reach(int8_t colour) {
    uint32_t reach = sizeof memory.arena;
    while (reach > 0 && memory.arena[reach - 1] == colour) {
        --reach;
    }
    return reach;
}

static int canary_lives(void) {
    for (int i = 0; i < CANARY_BYTES; ++i) {
        if (memory.canary[i] != CANARY) {
            return 0;
        }
    }
    return 1;
}

int main(void) {
    enum { FIRST_COLOUR = 0x5c, SECOND_COLOUR = -0x5d };
    const TsModelInput input = ts_port_inputs_in(memory.arena);
    const TsModelOutput outputs = ts_port_outputs(output);
    if (ts_model_check() != TS_OK) {
        return TS_EXIT_CONSTANTS;
    }
    uint32_t* top = ts_stack_pointer();
    paint_arena(FIRST_COLOUR);
    if (ts_port_load_inputs(memory.arena) != TS_EXIT_OK) {
        return TS_EXIT_FILE;
    }
    ts_stack_paint(top);
    if (ts_model_invoke(input, outputs, memory.arena) != TS_OK) {
        return TS_EXIT_INVOKE;
    }
    ts_print_decimal("stack_bytes", ts_stack_depth(top));
    const uint32_t reach = arena_reach(FIRST_COLOUR);
    int alive = canary_lives();
    paint_arena(SECOND_COLOUR);
    if (ts_port_load_inputs(memory.arena) != TS_EXIT_OK) {
        return TS_EXIT_FILE;
    }
    ts_counter_start();
    if (ts_model_invoke(input, outputs, memory.arena) != TS_OK) {
        return TS_EXIT_INVOKE;
    }
    ts_print_decimal("clocks", ts_counter_stop());
    const uint32_t reach_again = arena_reach(SECOND_COLOUR);
    ts_print_decimal("arena_bytes", reach > reach_again ? reach : reach_again);
    alive &= canary_lives();
    ts_port_take_states(memory.arena, output + TS_PORT_RESULT_BYTES);
    return alive ? ts_port_store("output.bin", output, sizeof output) : TS_EXIT_GUARD;
}
