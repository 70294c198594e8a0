/* Around an exported network without a front end, prefix `asc`: codes of all inputs in one row, of all outputs in
 * another, whatever their number. */
#include <string.h>

#include "asc.h"

static asc_state state;
static int8_t arena[ASC_ARENA_BYTES] __attribute__((aligned(ASC_ARENA_ALIGNMENT), section(".bss.ts_arena")));

#ifdef ASC_INPUTS
enum { ROW_BYTES = ASC_INPUTS_BYTES, RESULT_BYTES = ASC_OUTPUTS_BYTES, ENDS = ASC_INPUTS };
static const size_t places[ENDS] = {ASC_INPUT_0_OFFSET, ASC_INPUT_1_OFFSET};
static const size_t input_sizes[] = ASC_INPUT_SIZES, output_sizes[] = ASC_OUTPUT_SIZES;

static int invoke_with(asc_state* given, const int8_t* const* inputs, int8_t* result) {
    int8_t* outputs[ASC_OUTPUTS];
    for (size_t i = 0; i < ASC_OUTPUTS; ++i) {
        outputs[i] = result;
        result += output_sizes[i];
    }
    return asc_invoke(given, inputs, outputs);
}
#else
enum { ROW_BYTES = ASC_INPUT_BYTES, RESULT_BYTES = ASC_OUTPUT_BYTES, ENDS = 1 };
static const size_t places[ENDS] = {ASC_INPUT_OFFSET};
static const size_t input_sizes[] = {ASC_INPUT_BYTES};

static int invoke_with(asc_state* given, const int8_t* const* inputs, int8_t* result) {
    return asc_invoke(given, inputs[0], result);
}
#endif

static int8_t row[ROW_BYTES], result[RESULT_BYTES];

static int invoke(asc_state* given) {
    const int8_t* inputs[ENDS];
    const int8_t* at = row;
    for (size_t i = 0; i < ENDS; at += input_sizes[i++]) {
        inputs[i] = at;
    }
    return invoke_with(given, inputs, result);
}

/* The inputs where the arena has room for them. */
static inline int invoke_in_place(asc_state* given, int8_t* to) {
    const int8_t* inputs[ENDS];
    const int8_t* at = row;
    for (size_t i = 0; i < ENDS; at += input_sizes[i++]) {
        memcpy(arena + places[i], at, input_sizes[i]);
        inputs[i] = arena + places[i];
    }
    return invoke_with(given, inputs, to);
}
