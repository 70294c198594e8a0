/* Test program for an exported product with the prefix `asc`: prints the callback's reports for noise in pieces of
 * uneven length, then runs the network once on codes. Exits with the negated status of the self-test. */
#include "asc.h"
#include "put.h"

enum { PIECES = 3 };

static asc_state state;
static int8_t arena[ASC_ARENA_BYTES] __attribute__((aligned(ASC_ARENA_ALIGNMENT), section(".bss.ts_arena")));
static int16_t samples[ASC_CLIP_SAMPLES];
static int8_t input[ASC_INPUT_BYTES];
static int8_t output[ASC_OUTPUT_BYTES];

static void on_report(void* context, const asc_report* report) {
    (void)context;
    put(report->event == ASC_SELF_TEST ? "self-test" : "hop", report->status);
    if (report->event == ASC_HOP) {
        put("label", report->label);
        put("smoothed", report->smoothed_label);
        put("permille", (int32_t)(report->smoothed[report->smoothed_label] * 1000.0f + 0.5f));
        for (int i = 0; i < ASC_OUTPUT_BYTES; ++i) {
            put("code", report->output[i]);
        }
    }
}

int main(void) {
    uint32_t noise = 1;
    const int status = asc_init(&state, arena, on_report, NULL);
    for (int clip = 0; clip < 2 && status == ASC_OK; ++clip) {
        for (int i = 0; i < ASC_CLIP_SAMPLES; ++i) {
            noise = noise * 1103515245u + 12345u;
            samples[i] = (int16_t)((int32_t)(noise >> 20) - 2048);
        }
        const int cut = ASC_CLIP_SAMPLES / PIECES + clip;
        int hops = asc_process_pcm(&state, samples, (size_t)cut);
        hops += asc_process_pcm(&state, samples + cut, (size_t)(ASC_CLIP_SAMPLES - cut));
        put("hops", hops);
    }
    for (int i = 0; i < ASC_INPUT_BYTES; ++i) {
        input[i] = (int8_t)(i % 251 - 125);
    }
    put("invoked", asc_invoke(&state, input, output));
    for (int i = 0; i < ASC_OUTPUT_BYTES && status == ASC_OK; ++i) {
        put("code", output[i]);
    }
    put("null", asc_process_pcm(&state, NULL, 1));
    put("unaligned", asc_init(&state, arena + 1, NULL, NULL));
    put("refused", asc_process_pcm(&state, samples, 1));
    return -status;
}
