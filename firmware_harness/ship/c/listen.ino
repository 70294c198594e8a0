// Labels of the microphone's sound on the serial monitor. Call your microphone's library in pcm_read.
#include <product.h>

static const size_t BLOCK_SAMPLES = 256;
static const char* const labels[] = PRODUCT_LABELS;

static product_state state;
static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
static int16_t block[BLOCK_SAMPLES];
static bool ready = false;

// Store at most `count` samples at PRODUCT_SAMPLE_RATE_HZ and return their number.
static size_t pcm_read(int16_t* samples, size_t count) {
    (void)samples;
    (void)count;
    return 0;
}

static void on_report(void* context, const product_report* report) {
    (void)context;
    if (report->event == PRODUCT_HOP) {
        Serial.println(labels[report->smoothed_label]);
    } else if (report->status != PRODUCT_OK) {
        Serial.println("the self-test failed");
    }
}

void setup() {
    Serial.begin(115200);
    ready = product_init(&state, arena, on_report, NULL) == PRODUCT_OK;
}

void loop() {
    const size_t count = pcm_read(block, BLOCK_SAMPLES);
    if (ready && count > 0) {
        product_process_pcm(&state, block, count);
        ready = product_check_step(&state, 256) >= 0;
    }
}
