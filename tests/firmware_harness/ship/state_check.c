/* States that are refused, checks in steps, the watchdog hook, and damage to a state: an exported product with the
 * prefix `asc`. Returns 0, or the line modulo 256 of the first wrong result; 255 for a line that is a multiple of it.
 */
#include <string.h>

#include "asc.h"

#define REQUIRE(condition)                                                                                             \
    if (!(condition))                                                                                                  \
    return __LINE__ % 256 != 0 ? __LINE__ % 256 : 255

static asc_state state, kept, other;
static int8_t arena[ASC_ARENA_BYTES] __attribute__((aligned(ASC_ARENA_ALIGNMENT)));
static int16_t samples[ASC_CLIP_SAMPLES];
static int8_t codes[ASC_INPUT_BYTES], output[ASC_OUTPUT_BYTES];
static unsigned alive;

void asc_alive(void) {
    ++alive;
}

static int every_call_refuses(asc_state* given) {
    return asc_process_pcm(given, samples, 10) == ASC_ERROR_STATE && asc_check_step(given, 10) == ASC_ERROR_STATE &&
           asc_invoke(given, codes, output) == ASC_ERROR_STATE;
}

static int refuses_invalid_states(void) {
    REQUIRE(every_call_refuses(&state)); /* zeros: not initialised */
    memset(&other, 0xa5, sizeof other);
    REQUIRE(every_call_refuses(&other));
    REQUIRE(asc_check_step(NULL, 10) == ASC_ERROR_NULL);
    REQUIRE(asc_init(&state, arena, NULL, NULL) == ASC_OK);
    REQUIRE(asc_process_pcm(&state, samples, 10) == 0);
    memcpy(&other, &state, sizeof state);
    REQUIRE(every_call_refuses(&other)); /* a copy */
    REQUIRE(asc_init(&state, arena + 1, NULL, NULL) == ASC_ERROR_ALIGN);
    REQUIRE(every_call_refuses(&state)); /* not initialised again */
    return 0;
}

static int checks_in_steps(size_t bytes) {
    size_t steps = 1;
    REQUIRE(asc_init(&state, arena, NULL, NULL) == ASC_OK);
    REQUIRE(asc_check_step(&state, 0) == ASC_CHECK_MORE);
    for (int status; (status = asc_check_step(&state, bytes)) != ASC_CHECK_DONE; ++steps) {
        REQUIRE(status == ASC_CHECK_MORE && steps < ASC_CONSTANT_BYTES);
        REQUIRE(asc_process_pcm(&state, samples, 1) == 0); /* independent of the audio */
    }
    REQUIRE(steps == (ASC_CONSTANT_BYTES + bytes - 1) / bytes);
    REQUIRE(asc_check_step(&state, 2 * ASC_CONSTANT_BYTES) == ASC_CHECK_DONE);
    return 0;
}

static int calls_the_watchdog_hook(void) {
    alive = 0;
    REQUIRE(asc_init(&state, arena, NULL, NULL) == ASC_OK);
    REQUIRE(alive > ASC_CONSTANT_BYTES / 1024); /* and after each layer */
    alive = 0;
    REQUIRE(asc_invoke(&state, codes, output) == ASC_OK);
    const unsigned layers = alive;
    REQUIRE(layers > 1);
    alive = 0;
    REQUIRE(asc_process_pcm(&state, samples, ASC_CLIP_SAMPLES - 1) >= 0);
    REQUIRE(alive > 5); /* columns of the front end */
    return 0;
}

/* Bits of the counters and pointers behind the samples: the sanitizers stop at the first access outside memory. A
 * flip is refused, unless it only changes what a report has. */
static int survives_damage(void) {
    const size_t step = ASC_CLIP_SAMPLES / 10;
    unsigned refused = 0;
    REQUIRE(asc_init(&state, arena, NULL, NULL) == ASC_OK);
    REQUIRE(asc_process_pcm(&state, samples, step) >= 0);
    memcpy(&kept, &state, sizeof state);
    uint8_t* const bytes = (uint8_t*)&state;
    for (size_t at = sizeof state - 400; at < sizeof state; ++at) {
        for (int bit = 0; bit < 8; bit += 3) {
            memcpy(&state, &kept, sizeof state);
            bytes[at] = (uint8_t)(bytes[at] ^ 1u << bit);
            refused += asc_process_pcm(&state, samples, step) == ASC_ERROR_STATE;
            (void)asc_check_step(&state, 10); /* of an image without a seal, whose addresses are none */
        }
    }
    memcpy(&state, &kept, sizeof state);
    REQUIRE(asc_process_pcm(&state, samples, step) >= 0);
    REQUIRE(refused > 100); /* magic, guard, callback, context, arena, counters */
    return 0;
}

int main(void) {
    int status = refuses_invalid_states();
    status = status != 0 ? status : checks_in_steps(100);
    status = status != 0 ? status : checks_in_steps(ASC_CONSTANT_BYTES);
    status = status != 0 ? status : calls_the_watchdog_hook();
    return status != 0 ? status : survives_damage();
}
