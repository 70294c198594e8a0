/* The public interface on top of ts_scene: the self-test and the callback. */
#include "product.h"

#include <string.h>

#include "product_self_test.h"
#include "ts_scene.h"

#if PRODUCT_TINYSCENE_VERSION_MAJOR != TINYSCENE_VERSION_MAJOR ||                                                      \
    PRODUCT_TINYSCENE_VERSION_MINOR != TINYSCENE_VERSION_MINOR ||                                                      \
    PRODUCT_TINYSCENE_VERSION_PATCH != TINYSCENE_VERSION_PATCH
#error "product.h and product.c come from different versions of tinyscene: export both again"
#endif

typedef struct {
    TsScene scene;
    product_callback callback;
    void* context;
} State;

typedef char state_has_room[sizeof(State) <= sizeof(product_state) ? 1 : -1];
typedef char arena_has_room[PRODUCT_ARENA_BYTES >= TS_SCENE_ARENA_BYTES ? 1 : -1];

/* CRC-32 as in zlib, four bits per step: a table of 64 bytes instead of 1 kB. */
static uint32_t checksum(uint32_t crc, const void* data, size_t size) {
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    const uint8_t* byte = data;
    crc = ~crc;
    for (; size > 0; --size) {
        crc ^= *byte++;
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return ~crc;
}

static int constants_hold(void) {
    uint32_t crc = 0;
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; ++i) {
        crc = checksum(crc, constants[i].data, constants[i].size);
    }
    return crc == PRODUCT_CONSTANTS_CRC32;
}

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

int product_init(product_state* memory, void* arena, product_callback callback, void* context) {
    State* state = (State*)(void*)memory;
    if (memory == NULL) {
        return PRODUCT_ERROR_NULL;
    }
    const int begun = ts_scene_begin(&state->scene, arena);
    if (begun != TS_OK) {
        state->scene.arena = NULL;
        return begun;
    }
    state->callback = callback;
    state->context = context;
    int status = PRODUCT_OK;
    if (!constants_hold()) {
        status = PRODUCT_ERROR_CONSTANTS;
    } else if (!golden_holds(arena)) {
        status = PRODUCT_ERROR_GOLDEN;
    }
    if (status != PRODUCT_OK) {
        state->scene.arena = NULL;
    }
    if (callback != NULL) {
        report_self_test(state, status);
    }
    return status;
}

int product_invoke(product_state* memory, const int8_t* input, int8_t* output) {
    State* state = (State*)(void*)memory;
    if (memory == NULL || state->scene.arena == NULL) {
        return PRODUCT_ERROR_NULL;
    }
    int8_t* arena = state->scene.arena;
    const int status = ts_model_invoke(input, output, arena);
    if (status == TS_OK) {
        (void)ts_scene_begin(&state->scene, arena);
    }
    return status;
}

int product_process_pcm(product_state* memory, const int16_t* samples, size_t count) {
    State* state = (State*)(void*)memory;
    int hops = 0;
    if (memory == NULL || state->scene.arena == NULL || (samples == NULL && count > 0)) {
        return PRODUCT_ERROR_NULL;
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
