#ifdef PRODUCT_BOARD
/* Example: one inference on codes of 0, and its output codes. Call your sensor's driver in read_codes. */
#else
/* Example: a line of output codes for each inference on codes from standard input. On a board, call the sensor's driver
 * in read_codes.
 *
 *     ./product_example < codes.bin       int8 codes, the inputs of an inference side by side
 */
#endif
#include <stdio.h>

#include "product.h"

enum { CHECKED_BYTES = 256 };

static product_state state;
static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));

#ifdef PRODUCT_INPUTS
static int8_t input[PRODUCT_INPUTS_BYTES], output[PRODUCT_OUTPUTS_BYTES]; /* of all ends, side by side */

static int invoke(void) {
    static const size_t input_sizes[] = PRODUCT_INPUT_SIZES, output_sizes[] = PRODUCT_OUTPUT_SIZES;
    const int8_t* inputs[PRODUCT_INPUTS];
    int8_t* outputs[PRODUCT_OUTPUTS];
    size_t at = 0;
    for (size_t i = 0; i < PRODUCT_INPUTS; at += input_sizes[i++]) {
        inputs[i] = input + at;
    }
    at = 0;
    for (size_t i = 0; i < PRODUCT_OUTPUTS; at += output_sizes[i++]) {
        outputs[i] = output + at;
    }
    return product_invoke(&state, inputs, outputs);
}
#else
static int8_t input[PRODUCT_INPUT_BYTES], output[PRODUCT_OUTPUT_BYTES];

static int invoke(void) {
    return product_invoke(&state, input, output);
}
#endif

#ifdef PRODUCT_BOARD
/* Wait for an input and store its codes; 0 ends the program. */
static int read_codes(void) {
    static int inferences;
    return inferences++ == 0;
}
#else
/* Wait for an input and store its codes; 0 ends the program. */
static int read_codes(void) {
    return fread(input, 1, sizeof input, stdin) == sizeof input;
}
#endif

int main(void) {
    const int status = product_init(&state, arena, NULL, NULL);
    printf("self-test %d\n", status);
    if (status != PRODUCT_OK) {
        return 1;
    }
    while (read_codes()) {
        if (invoke() != PRODUCT_OK || product_check_step(&state, CHECKED_BYTES) < 0) {
            return 1;
        }
        for (size_t i = 0; i < sizeof output; ++i) {
            printf(i + 1 < sizeof output ? "%d " : "%d\n", output[i]);
        }
    }
    return 0;
}
