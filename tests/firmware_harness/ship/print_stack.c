/* Test program for an exported product with the prefix `asc`: prints the painted depth of the stack in each of its three
 * functions, without a callback. Exits with the negated status of the self-test. */
#include "asc.h"
#include "counter.h"
#include "number.h"
#include "processor.h"
#include "start.h"

static asc_state state;
static int8_t arena[ASC_ARENA_BYTES] __attribute__((aligned(ASC_ARENA_ALIGNMENT), section(".bss.ts_arena")));
static int16_t samples[ASC_CLIP_SAMPLES];
static int8_t input[ASC_INPUT_BYTES];
static int8_t output[ASC_OUTPUT_BYTES];

int main(void) {
    uint32_t* top = ts_stack_pointer();
    ts_stack_paint(top);
    const int status = asc_init(&state, arena, NULL, NULL);
    ts_print_decimal("init", ts_stack_depth(top));
    ts_stack_paint(top);
    const int invoked = asc_invoke(&state, input, output);
    ts_print_decimal("invoke", ts_stack_depth(top));
    ts_stack_paint(top);
    const int hops = asc_process_pcm(&state, samples, ASC_CLIP_SAMPLES);
    ts_print_decimal("process_pcm", ts_stack_depth(top));
    return invoked != ASC_OK || hops != 1 ? 1 : -status;
}
