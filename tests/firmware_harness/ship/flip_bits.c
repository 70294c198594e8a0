/* Test program for an exported product with the prefix `asc`: flips the bits of flips.bin in its constants, one at a
 * time, and writes to outcomes.bin how each was noticed, one byte a flip.
 *
 * flips.bin: pairs of uint32, an address and a bit. The memory must be writable: the flash of the emulated board is; on
 * this machine it is made so. There, what passes the checksum continues in a child process. */
#include <string.h>

#include "asc.h"
#include "ts_port.h"

#ifdef __linux__
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#else
#include "sealed.h"
#endif

enum { BY_CHECKSUM = 1, BY_GOLDEN = 2, BY_SEAL = 3, HARMLESS = 4, WRONG = 5, CRASHED = 6 };

static asc_state state, kept;
static int8_t arena[ASC_ARENA_BYTES] __attribute__((aligned(ASC_ARENA_ALIGNMENT), section(".bss.ts_arena")));
static int16_t samples[ASC_CLIP_SAMPLES];
static int8_t codes[ASC_OUTPUT_BYTES], expected[ASC_OUTPUT_BYTES];
static float scores[ASC_LABEL_COUNT], expected_scores[ASC_LABEL_COUNT];

static void on_report(void* context, const asc_report* report) {
    (void)context;
    if (report->event == ASC_HOP) {
        memcpy(codes, report->output, sizeof codes);
        memcpy(scores, report->scores, sizeof scores);
    }
}

/* ASC_OK, an error of the self-test, or 1 if the answer to a clip is another one than before. */
static int run(void) {
    const int status = asc_init(&state, arena, on_report, NULL);
    if (status != ASC_OK) {
        return status;
    }
    if (asc_process_pcm(&state, samples, ASC_CLIP_SAMPLES) != 1) {
        return 1;
    }
    return memcmp(codes, expected, sizeof codes) != 0 || memcmp(scores, expected_scores, sizeof scores) != 0;
}

static uint8_t outcome_of(int status) {
    return status == ASC_OK ? HARMLESS : status == ASC_ERROR_CONSTANTS ? BY_CHECKSUM : status < 0 ? BY_GOLDEN : WRONG;
}

#ifdef __linux__

static void make_writable(uint8_t* byte) {
    const uintptr_t page = 4096, first = (uintptr_t)byte / page * page;
    (void)mprotect((void*)first, page, PROT_READ | PROT_WRITE);
}

static uint8_t beyond_checksum(void) {
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        (void)alarm(10);
        _exit(outcome_of(run()));
    }
    (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? (uint8_t)WEXITSTATUS(status) : CRASHED;
}

#else

static void make_writable(uint8_t* byte) {
    (void)byte;
}

static uint8_t beyond_checksum(void) {
    return ts_sealed_image_holds() ? outcome_of(run()) : BY_SEAL;
}

#endif

static uint8_t outcome(void) {
    memcpy(&state, &kept, sizeof state);
    const int status = asc_check_step(&state, ASC_CONSTANT_BYTES);
    return status == ASC_CHECK_DONE ? beyond_checksum() : outcome_of(status);
}

int main(void) {
    static uint32_t flips[2 * 512];
    static uint8_t outcomes[512];
    uint32_t noise = 1;
    for (int i = 0; i < ASC_CLIP_SAMPLES; ++i) {
        noise = noise * 1103515245u + 12345u;
        samples[i] = (int16_t)((int32_t)(noise >> 20) - 2048);
    }
    if (asc_init(&state, arena, on_report, NULL) != ASC_OK || asc_process_pcm(&state, samples, ASC_CLIP_SAMPLES) != 1) {
        return TS_EXIT_INVOKE;
    }
    memcpy(expected, codes, sizeof codes);
    memcpy(expected_scores, scores, sizeof scores);
    memcpy(&kept, &state, sizeof state);
    const int file = ts_port_open("flips.bin", 0), result = ts_port_open("outcomes.bin", 1);
    size_t got;
    while ((got = ts_port_read(file, flips, sizeof flips)) > 0) {
        const size_t count = got / (2 * sizeof flips[0]);
        for (size_t i = 0; i < count; ++i) {
            uint8_t* const byte = (uint8_t*)(uintptr_t)flips[2 * i];
            make_writable(byte);
            *byte = (uint8_t)(*byte ^ 1u << flips[2 * i + 1]);
            outcomes[i] = outcome();
            *byte = (uint8_t)(*byte ^ 1u << flips[2 * i + 1]);
        }
        if (ts_port_write(result, outcomes, count) != 0) {
            return TS_EXIT_FILE;
        }
    }
    ts_port_close(result);
    return TS_EXIT_OK;
}
