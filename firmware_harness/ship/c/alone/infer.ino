// Output codes of one inference on codes of 0 on the serial monitor. Call your sensor's library in read_codes.
#include <product.h>

static product_state state;
static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
static bool ready = false;

#ifdef PRODUCT_INPUTS
static int8_t input[PRODUCT_INPUTS_BYTES], output[PRODUCT_OUTPUTS_BYTES]; // of all ends, side by side

static int invoke() {
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

static int invoke() {
    return product_invoke(&state, input, output);
}
#endif

// Store the codes of an input and return true, or return false while there is none.
static bool read_codes() {
    static bool first = true;
    const bool now = first;
    first = false;
    return now;
}

void setup() {
    Serial.begin(115200);
    ready = product_init(&state, arena, NULL, NULL) == PRODUCT_OK;
    if (!ready) {
        Serial.println("the self-test failed");
    }
}

void loop() {
    if (!ready || !read_codes()) {
        return;
    }
    ready = invoke() == PRODUCT_OK && product_check_step(&state, 256) >= 0;
    for (size_t i = 0; ready && i < sizeof output; ++i) {
        Serial.println((int)output[i]);
    }
}
