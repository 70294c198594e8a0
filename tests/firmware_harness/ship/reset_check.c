/* Around an exported network with states, prefix `asc`: codes of consecutive inputs from standard input, twice, with
 * asc_reset between. Prints the outputs of each run; the second half must equal the first. */
#include <stdio.h>

#include "asc.h"

enum { MOST_RUNS = 64 };

static asc_state state;
static int8_t arena[ASC_ARENA_BYTES] __attribute__((aligned(ASC_ARENA_ALIGNMENT), section(".bss.ts_arena")));
static int8_t input[MOST_RUNS][ASC_INPUT_BYTES], output[ASC_OUTPUT_BYTES];

static int print_runs(size_t runs) {
    for (size_t run = 0; run < runs; ++run) {
        const int status = asc_invoke(&state, input[run], output);
        if (status != ASC_OK) {
            return status;
        }
        for (size_t i = 0; i < ASC_OUTPUT_BYTES; ++i) {
            printf(i + 1 < ASC_OUTPUT_BYTES ? "%d " : "%d\n", output[i]);
        }
    }
    return ASC_OK;
}

int main(void) {
    const size_t runs = fread(input, ASC_INPUT_BYTES, MOST_RUNS, stdin);
    if (asc_reset(&state) != ASC_ERROR_STATE || asc_reset(NULL) != ASC_ERROR_NULL) {
        return 1;
    }
    if (asc_init(&state, arena, NULL, NULL) != ASC_OK || print_runs(runs) != ASC_OK) {
        return 2;
    }
    return asc_reset(&state) == ASC_OK && print_runs(runs) == ASC_OK ? 0 : 3;
}
