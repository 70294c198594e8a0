/* The network as a WebAssembly module without imports, in the module's own memory.
 *
 * Exported functions take and return numbers. Those whose name ends in _at return an address in the exported memory,
 * where the caller writes codes and reads results; an address never changes. */
#include "product.c"

#define EXPORTED(name) __attribute__((export_name(#name), visibility("default")))

static product_state state;
static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
#ifdef PRODUCT_INPUTS
static int8_t given_codes[PRODUCT_INPUTS_BYTES], returned_codes[PRODUCT_OUTPUTS_BYTES];
#else
static int8_t given_codes[PRODUCT_INPUT_BYTES], returned_codes[PRODUCT_OUTPUT_BYTES];
#endif

/* Test constants and arithmetic, and begin a sequence of runs: PRODUCT_OK or an error of the header. */
EXPORTED(begin) int32_t module_begin(void);
int32_t module_begin(void) {
    return product_init(&state, arena, NULL, NULL);
}

#ifdef PRODUCT_INPUTS
/* Run the network once, from the given codes to the returned ones, inputs and outputs side by side: PRODUCT_OK or an
 * error. */
EXPORTED(invoke) int32_t module_invoke(void);
int32_t module_invoke(void) {
    static const size_t input_sizes[] = PRODUCT_INPUT_SIZES, output_sizes[] = PRODUCT_OUTPUT_SIZES;
    const int8_t* inputs[PRODUCT_INPUTS];
    int8_t* outputs[PRODUCT_OUTPUTS];
    size_t at = 0;
    for (size_t i = 0; i < PRODUCT_INPUTS; ++i) {
        inputs[i] = given_codes + at;
        at += input_sizes[i];
    }
    at = 0;
    for (size_t i = 0; i < PRODUCT_OUTPUTS; ++i) {
        outputs[i] = returned_codes + at;
        at += output_sizes[i];
    }
    return product_invoke(&state, inputs, outputs);
}
#else
/* Run the network once, from the given codes to the returned ones: PRODUCT_OK or an error. */
EXPORTED(invoke) int32_t module_invoke(void);
int32_t module_invoke(void) {
    return product_invoke(&state, given_codes, returned_codes);
}
#endif

/* Begin another sequence: PRODUCT_OK or an error. */
EXPORTED(reset) int32_t module_reset(void);
#ifdef PRODUCT_KEPT_BYTES
int32_t module_reset(void) {
    return product_reset(&state);
}
#else
int32_t module_reset(void) {
    return PRODUCT_OK;
}
#endif

/* Test at most `bytes` bytes of the constants: see the header. */
EXPORTED(check_step) int32_t module_check_step(uint32_t bytes);
int32_t module_check_step(uint32_t bytes) {
    return product_check_step(&state, bytes);
}

EXPORTED(input_at) int8_t* module_input_at(void);
int8_t* module_input_at(void) {
    return given_codes;
}

EXPORTED(output_at) const int8_t* module_output_at(void);
const int8_t* module_output_at(void) {
    return returned_codes;
}

/* The digest of the model, which the wrapper compares with its own. */
EXPORTED(digest_at) const char* module_digest_at(void);
const char* module_digest_at(void) {
    return PRODUCT_DIGEST;
}
