/* Example: call your microphone's driver in pcm_read. */
#include <stdio.h>

#include "product.h"

enum { BLOCK_SAMPLES = 256, CHECKED_BYTES = 256 };

static product_state state;
static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));

/* Wait for at most `count` samples at PRODUCT_SAMPLE_RATE_HZ and return their number; 0 ends the program. */
static size_t pcm_read(int16_t* samples, size_t count) {
    (void)samples;
    (void)count;
    return 0;
}

static void on_report(void* context, const product_report* report) {
    static const char* const labels[] = PRODUCT_LABELS;
    (void)context;
    if (report->event == PRODUCT_SELF_TEST) {
        printf("self-test %d\n", report->status);
    } else {
        printf("%s\n", labels[report->smoothed_label]);
    }
}

int main(void) {
    static int16_t block[BLOCK_SAMPLES];
    size_t count;
    if (product_init(&state, arena, on_report, NULL) != PRODUCT_OK) {
        return 1;
    }
    while ((count = pcm_read(block, BLOCK_SAMPLES)) > 0) {
        (void)product_process_pcm(&state, block, count);
        if (product_check_step(&state, CHECKED_BYTES) < 0) {
            return 1; /* on_report was called with the error */
        }
    }
    return 0;
}
