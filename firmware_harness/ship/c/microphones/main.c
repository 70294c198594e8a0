/* Example: label and level of a microphone's sound, a line for each hop. The board's part is in its own file. */
#include <stdio.h>

#include "level.h"
#include "microphone.h"
#include "product.h"

enum { BLOCK_SAMPLES = 256, CHECKED_BYTES = 256 };

static product_state state;
static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
static Level level;
static Ring ring;

static void on_report(void* context, const product_report* report) {
    static const char* const labels[] = PRODUCT_LABELS;
    static uint32_t lost_before;
    (void)context;
    if (report->event == PRODUCT_SELF_TEST) {
        printf("self-test %d\n", report->status);
        return;
    }
    const int percent = (int)(100.0f * report->smoothed[report->smoothed_label] + 0.5f);
    printf("%s %d %%, level %d / 1000\n", labels[report->smoothed_label], percent, level_permille(&level));
    const char* problem = level_problem(&level);
    if (problem != NULL) {
        printf("%s\n", problem);
    }
    const uint32_t lost = ring.lost;
    if (lost != lost_before) {
        printf("%lu samples lost: the processor is too slow\n", (unsigned long)(lost - lost_before));
        lost_before = lost;
    }
    level_clear(&level);
}

int main(void) {
    static int16_t block[BLOCK_SAMPLES];
    const int problem = microphone_start(&ring);
    level_clear(&level);
    if (problem != 0) {
        printf("the microphone cannot be started: %d\n", problem);
        return 1;
    }
    if (product_init(&state, arena, on_report, NULL) != PRODUCT_OK) {
        return 1; /* on_report was called with the error */
    }
    for (;;) {
        const size_t count = ring_take(&ring, block, BLOCK_SAMPLES);
        if (count == 0) {
            microphone_wait();
            continue;
        }
        level_add(&level, block, count);
        (void)product_process_pcm(&state, block, count);
        if (product_check_step(&state, CHECKED_BYTES) < 0) {
            return 1;
        }
    }
}
