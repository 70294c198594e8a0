/* States that are refused, inputs in the arena, checks in steps, the watchdog hook, and damage to a state. Returns 0,
 * or the line modulo 256 of the first wrong result; 255 for a line that is a multiple of it. */
#include "alone.h"

#define REQUIRE(condition)                                                                                             \
    if (!(condition))                                                                                                  \
    return __LINE__ % 256 != 0 ? __LINE__ % 256 : 255

static asc_state kept, other;
static int8_t expected[RESULT_BYTES];
static unsigned alive, reports;
static int reported;

void asc_alive(void) {
    ++alive;
}

static void on_report(void* context, const asc_report* report) {
    *(unsigned*)context += report->event == ASC_SELF_TEST;
    reported = report->status;
}

static int every_call_refuses(asc_state* given) {
    return asc_check_step(given, 10) == ASC_ERROR_STATE && invoke(given) == ASC_ERROR_STATE;
}

static int refuses_invalid_states(void) {
    REQUIRE(every_call_refuses(&state)); /* zeros: not initialised */
    memset(&other, 0xa5, sizeof other);
    REQUIRE(every_call_refuses(&other));
    REQUIRE(asc_check_step(NULL, 10) == ASC_ERROR_NULL && invoke(NULL) == ASC_ERROR_NULL);
    REQUIRE(asc_init(NULL, arena, NULL, NULL) == ASC_ERROR_NULL);
    REQUIRE(asc_init(&state, NULL, NULL, NULL) == ASC_ERROR_NULL && every_call_refuses(&state));
    REQUIRE(asc_init(&state, arena, on_report, &reports) == ASC_OK && reports == 1 && reported == ASC_OK);
    memcpy(&other, &state, sizeof state);
    REQUIRE(every_call_refuses(&other)); /* a copy */
    REQUIRE(asc_init(&state, arena + 1, NULL, NULL) == ASC_ERROR_ALIGN);
    REQUIRE(every_call_refuses(&state)); /* not initialised again */
    return 0;
}

static int takes_inputs_in_the_arena(void) {
    for (size_t i = 0; i < ROW_BYTES; ++i) {
        row[i] = (int8_t)(i * 37 % 251);
    }
    REQUIRE(asc_init(&state, arena, NULL, NULL) == ASC_OK && invoke(&state) == ASC_OK);
    memcpy(expected, result, sizeof expected);
    memset(arena, 0x5a, sizeof arena); /* other code may use it between calls */
    REQUIRE(invoke_in_place(&state, result) == ASC_OK && memcmp(result, expected, sizeof expected) == 0);
    memset(arena, 0x5a, sizeof arena);
    REQUIRE(invoke_in_place(&state, arena) == ASC_ERROR_OVERLAP);
    REQUIRE(invoke_in_place(&state, NULL) == ASC_ERROR_NULL);
    return 0;
}

static int checks_in_steps(size_t bytes) {
    size_t steps = 1;
    REQUIRE(asc_init(&state, arena, NULL, NULL) == ASC_OK);
    REQUIRE(asc_check_step(&state, 0) == ASC_CHECK_MORE);
    for (int status; (status = asc_check_step(&state, bytes)) != ASC_CHECK_DONE; ++steps) {
        REQUIRE(status == ASC_CHECK_MORE && steps < ASC_CONSTANT_BYTES);
        REQUIRE(invoke(&state) == ASC_OK);
    }
    REQUIRE(steps == (ASC_CONSTANT_BYTES + bytes - 1) / bytes);
    REQUIRE(asc_check_step(&state, 2 * ASC_CONSTANT_BYTES) == ASC_CHECK_DONE);
    return 0;
}

static int calls_the_watchdog_hook(void) {
    alive = 0;
    REQUIRE(invoke(&state) == ASC_OK);
    REQUIRE(alive > 1);
    return 0;
}

/* A flip is refused, is found by the next check, or changes nothing but how far the check has come; the sanitizers stop
 * at the first access outside memory. */
static int survives_damage(void) {
    unsigned refused = 0;
    REQUIRE(asc_init(&state, arena, on_report, &reports) == ASC_OK && asc_check_step(&state, 20) == ASC_CHECK_MORE);
    memcpy(&kept, &state, sizeof state);
    for (size_t bit = 0; bit < 8 * sizeof state; ++bit) {
        memcpy(&state, &kept, sizeof state);
        ((uint8_t*)&state)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const int status = invoke(&state);
        REQUIRE(status == ASC_ERROR_STATE || (status == ASC_OK && memcmp(result, expected, sizeof expected) == 0));
        const int checked = asc_check_step(&state, 20);
        REQUIRE(checked == ASC_CHECK_MORE || checked < 0);
        refused += status == ASC_ERROR_STATE || checked < 0;
    }
    REQUIRE(refused > 8 * (4 + 4 * sizeof(void*))); /* magic, arena, callback, context, guard, most of the progress */
    memcpy(&state, &kept, sizeof state);
    REQUIRE(invoke(&state) == ASC_OK);
    return 0;
}

int main(void) {
    int status = refuses_invalid_states();
    status = status != 0 ? status : takes_inputs_in_the_arena();
    status = status != 0 ? status : checks_in_steps(100);
    status = status != 0 ? status : checks_in_steps(ASC_CONSTANT_BYTES);
    status = status != 0 ? status : calls_the_watchdog_hook();
    return status != 0 ? status : survives_damage();
}
