/* The public interface on top of ts_scene: the self-test, the guarded state and the callback. */
#include "product.h"

#include <string.h>

#include "product_self_test.h"
#include "ts_scene.h"
#include "ts_stack_guard.h"

#if PRODUCT_TINYSCENE_VERSION_MAJOR != TINYSCENE_VERSION_MAJOR ||                                                      \
    PRODUCT_TINYSCENE_VERSION_MINOR != TINYSCENE_VERSION_MINOR ||                                                      \
    PRODUCT_TINYSCENE_VERSION_PATCH != TINYSCENE_VERSION_PATCH
#error "product.h and product.c come from different versions of tinyscene: export both again"
#endif

/* `magic` and `guard` at both ends, so that a write beyond memory on either side is noticed. */
typedef struct {
    uint32_t magic;
    TsScene scene;
    TsCheck check, image_check;
    uint32_t checks_image; /* whether the constants are done, and the sealed image is next */
    product_callback callback;
    void* context;
    uintptr_t guard;
} State;

typedef char results_agree[(int)PRODUCT_CHECK_DONE == (int)TS_CHECK_DONE &&
                                   (int)PRODUCT_CHECK_MORE == (int)TS_CHECK_MORE &&
                                   (int)PRODUCT_ERROR_CONSTANTS == (int)TS_ERROR_CONSTANTS
                               ? 1
                               : -1];
typedef char state_has_room[sizeof(State) <= sizeof(product_state) ? 1 : -1];
typedef char arena_has_room[PRODUCT_ARENA_BYTES >= TS_SCENE_ARENA_BYTES ? 1 : -1];

#ifdef PRODUCT_AUDIO
/* Model, constants, version and hop: a state of anything else is refused. */
#define MAGIC                                                                                                          \
    (TS_MODEL_DIGEST_WORD ^ TS_MODEL_CRC32 ^ TS_SPECTRUM_CRC32 ^ TS_MEL_CRC32 ^ TS_SCENE_HOP_SAMPLES ^                 \
     (TINYSCENE_VERSION_MAJOR << 24 | TINYSCENE_VERSION_MINOR << 16 | TINYSCENE_VERSION_PATCH))
#else
/* Model, constants and version: a state of anything else is refused. */
#define MAGIC                                                                                                          \
    (TS_MODEL_DIGEST_WORD ^ TS_MODEL_CRC32 ^                                                                           \
     (TINYSCENE_VERSION_MAJOR << 24 | TINYSCENE_VERSION_MINOR << 16 | TINYSCENE_VERSION_PATCH))
#endif

/* Of the members that do not change, and the state's address. */
static uintptr_t guard_of(const State* state) {
    const uintptr_t values[] = {(uintptr_t)state, (uintptr_t)state->scene.arena, (uintptr_t)state->callback,
                                (uintptr_t)state->context};
    uintptr_t guard = (uintptr_t)MAGIC;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; ++i) {
        guard = 31 * guard + values[i];
    }
    return guard;
}

/* The state behind the caller's memory, or null if it is not valid. */
static State* valid(product_state* memory) {
    State* state = (State*)(void*)memory;
    const int holds = state->magic == MAGIC && state->guard == guard_of(state) && ts_scene_holds(&state->scene);
    return holds ? state : NULL;
}

__attribute__((weak)) void product_alive(void) {}

int product_guard_stack(const void* lowest) {
    return ts_limit_stack((uintptr_t)lowest) ? PRODUCT_OK : PRODUCT_ERROR_NO_GUARD;
}

#ifdef PRODUCT_AUDIO
/* The test input is noise from a generator, so that it needs no flash. */
static int golden_holds(int8_t* arena) {
    int8_t* input = arena + TS_MODEL_INPUT_OFFSET;
    int8_t output[TS_MODEL_OUTPUT_BYTES];
    uint32_t noise = GOLDEN_SEED;
    for (size_t i = 0; i < TS_MODEL_INPUT_BYTES; ++i) {
        noise = noise * 1664525u + 1013904223u;
        input[i] = (int8_t)((int32_t)(noise >> 24) - 128);
    }
    return ts_model_invoke(input, output, arena) == TS_OK && memcmp(output, golden_output, sizeof output) == 0;
}

static void report_hop(const State* state, const TsSceneAnswer* answer) {
    const product_report report = {
        .event = PRODUCT_HOP,
        .status = PRODUCT_OK,
        .hops = answer->hops,
        .label = answer->label,
        .smoothed_label = answer->smoothed_label,
        .scores = answer->scores,
        .smoothed = answer->smoothed,
        .output = answer->codes,
    };
    state->callback(state->context, &report);
}

static void report_self_test(const State* state, int status) {
    const product_report report = {.event = PRODUCT_SELF_TEST, .status = status, .label = -1, .smoothed_label = -1};
    state->callback(state->context, &report);
}
#else
/* The test inputs are noise from a generator, so that they need no flash, and the outputs stay in the arena: they may
 * be too large for the stack, and their checksum takes less flash. */
static uint32_t noise_in(int8_t* input, size_t size, uint32_t noise) {
    for (size_t i = 0; i < size; ++i) {
        noise = noise * 1664525u + 1013904223u;
        input[i] = (int8_t)((int32_t)(noise >> 24) - 128);
    }
    return noise;
}

#ifdef TS_MODEL_STATES
/* Noise is also what the run begins with, and its states follow the outputs in the checksum. */
static void noise_in_states(int8_t* arena, uint32_t noise) {
    static const TsModelState states[] = TS_MODEL_STATE_PLACES;
    for (size_t i = 0; i < TS_MODEL_STATES; ++i) {
        noise = noise_in(arena + states[i].offset, states[i].bytes, noise);
    }
}

static uint32_t crc_of_states(int8_t* arena, uint32_t crc) {
    static const TsModelState states[] = TS_MODEL_STATE_PLACES;
    ts_model_keep(arena);
    for (size_t i = 0; i < TS_MODEL_STATES; ++i) {
        crc = ts_crc32(crc, arena + states[i].offset, states[i].bytes);
    }
    return crc;
}
#else
static void noise_in_states(int8_t* arena, uint32_t noise) {
    (void)arena;
    (void)noise;
}

static uint32_t crc_of_states(int8_t* arena, uint32_t crc) {
    (void)arena;
    return crc;
}
#endif

#ifdef TS_MODEL_INPUTS
static int golden_holds(int8_t* arena) {
    static const TsModelPlace sources[] = TS_MODEL_INPUT_PLACES, results[] = TS_MODEL_OUTPUT_PLACES;
    const int8_t* inputs[TS_MODEL_INPUTS];
    uint32_t noise = GOLDEN_SEED, crc = 0;
    for (size_t i = 0; i < TS_MODEL_INPUTS; ++i) {
        noise = noise_in(arena + sources[i].offset, sources[i].bytes, noise);
        inputs[i] = arena + sources[i].offset;
    }
    noise_in_states(arena, noise);
    (void)ts_run_layers(inputs, arena);
    for (size_t i = 0; i < TS_MODEL_OUTPUTS; ++i) {
        crc = ts_crc32(crc, arena + results[i].offset, results[i].bytes);
    }
    return crc_of_states(arena, crc) == GOLDEN_CRC32;
}
#else
static int golden_holds(int8_t* arena) {
    int8_t* input = arena + TS_MODEL_INPUT_OFFSET;
    noise_in_states(arena, noise_in(input, TS_MODEL_INPUT_BYTES, GOLDEN_SEED));
    const uint32_t crc = ts_crc32(0, ts_run_layers(input, arena), TS_MODEL_OUTPUT_BYTES);
    return crc_of_states(arena, crc) == GOLDEN_CRC32;
}
#endif

static void report_self_test(const State* state, int status) {
    const product_report report = {.event = PRODUCT_SELF_TEST, .status = status};
    state->callback(state->context, &report);
}
#endif

/* Code and constants of the whole image. A script writes them into the image after it is linked, see seal.cmake. */
typedef struct {
    uint32_t address, size, crc32;
} Sealed;

enum { SEALED_SECTIONS = 2 };
#define NOT_SEALED 0xffffffffu

#ifdef __ELF__
__attribute__((section(".product_seal"), used))
#endif
static const Sealed seal[SEALED_SECTIONS] = {{NOT_SEALED, NOT_SEALED, NOT_SEALED},
                                             {NOT_SEALED, NOT_SEALED, NOT_SEALED}};

/* volatile: the compiler knows only the values above. */
static int is_sealed(void) {
    const volatile Sealed* first = seal;
    return first->address != NOT_SEALED || first->size != NOT_SEALED || first->crc32 != NOT_SEALED;
}

static int check_image_step(TsCheck* check, size_t bytes) {
    if (check->part >= SEALED_SECTIONS) { /* damaged progress */
        return PRODUCT_ERROR_IMAGE;
    }
    for (uint32_t i = 0; i < SEALED_SECTIONS; ++i) {
        const volatile Sealed* section = &seal[i];
        const TsChecked part = {(const void*)(uintptr_t)section->address, section->size, section->crc32};
        if (!ts_check_part(check, i, &part, &bytes)) {
            return PRODUCT_ERROR_IMAGE;
        }
    }
    if (check->part < SEALED_SECTIONS) {
        return PRODUCT_CHECK_MORE;
    }
    check->part = 0;
    return PRODUCT_CHECK_DONE;
}

static int check_step(State* state, size_t bytes) {
    int status;
    if (state->checks_image && is_sealed()) {
        status = check_image_step(&state->image_check, bytes);
        state->checks_image = status == PRODUCT_CHECK_MORE;
        return status;
    }
    status = ts_scene_check_step(&state->check, bytes);
    if (status == TS_CHECK_DONE && is_sealed()) {
        state->checks_image = 1;
        return PRODUCT_CHECK_MORE;
    }
    return status;
}

/* The constants come first: a damaged record could make the network read and write anywhere. */
static int self_test(int8_t* arena) {
    if (ts_scene_check() != TS_OK) {
        return PRODUCT_ERROR_CONSTANTS;
    }
    TsCheck check = {0, 0, 0};
    if (is_sealed() && check_image_step(&check, SIZE_MAX) != PRODUCT_CHECK_DONE) {
        return PRODUCT_ERROR_IMAGE;
    }
    return golden_holds(arena) ? PRODUCT_OK : PRODUCT_ERROR_GOLDEN;
}

int product_init(product_state* memory, void* arena, product_callback callback, void* context) {
    State* state = (State*)(void*)memory;
    if (memory == NULL) {
        return PRODUCT_ERROR_NULL;
    }
    memset(state, 0, sizeof *state);
    const int begun = ts_scene_begin(&state->scene, arena);
    if (begun != TS_OK) {
        return begun;
    }
    state->callback = callback;
    state->context = context;
    const int status = self_test(arena);
#ifdef TS_MODEL_STATES
    ts_model_begin(arena);
#endif
    if (status == PRODUCT_OK) {
        state->magic = MAGIC;
        state->guard = guard_of(state);
    }
    if (callback != NULL) {
        report_self_test(state, status);
    }
    return status;
}

int product_check_step(product_state* memory, size_t bytes) {
    State* state = memory == NULL ? NULL : valid(memory);
    if (state == NULL) {
        return memory == NULL ? PRODUCT_ERROR_NULL : PRODUCT_ERROR_STATE;
    }
    const int status = check_step(state, bytes);
    if (status < 0) {
        state->magic = 0;
        if (state->callback != NULL) {
            report_self_test(state, status);
        }
    }
    return status;
}

#ifdef PRODUCT_AUDIO
int product_invoke(product_state* memory, const int8_t* input, int8_t* output) {
    State* state = memory == NULL ? NULL : valid(memory);
    if (state == NULL) {
        return memory == NULL ? PRODUCT_ERROR_NULL : PRODUCT_ERROR_STATE;
    }
    int8_t* arena = state->scene.arena;
    const int status = ts_model_invoke(input, output, arena);
    if (status == TS_OK) {
        (void)ts_scene_begin(&state->scene, arena);
    }
    return status;
}

int product_process_pcm(product_state* memory, const int16_t* samples, size_t count) {
    State* state = memory == NULL ? NULL : valid(memory);
    int hops = 0;
    if (memory == NULL || (samples == NULL && count > 0)) {
        return PRODUCT_ERROR_NULL;
    }
    if (state == NULL) {
        return PRODUCT_ERROR_STATE;
    }
    for (size_t taken = 0; taken < count;) {
        taken += ts_scene_push(&state->scene, samples + taken, count - taken);
        const TsSceneAnswer* answer = ts_scene_answer(&state->scene);
        if (answer != NULL) {
            ++hops;
            if (state->callback != NULL) {
                report_hop(state, answer);
            }
        }
    }
    return hops;
}
#else
int product_invoke(product_state* memory, TsModelInput input, TsModelOutput output) {
    State* state = memory == NULL ? NULL : valid(memory);
    if (state == NULL) {
        return memory == NULL ? PRODUCT_ERROR_NULL : PRODUCT_ERROR_STATE;
    }
    return ts_model_invoke(input, output, state->scene.arena);
}

#ifdef PRODUCT_KEPT_BYTES
int product_reset(product_state* memory) {
    State* state = memory == NULL ? NULL : valid(memory);
    if (state == NULL) {
        return memory == NULL ? PRODUCT_ERROR_NULL : PRODUCT_ERROR_STATE;
    }
    return ts_model_reset(state->scene.arena);
}
#endif
#endif
