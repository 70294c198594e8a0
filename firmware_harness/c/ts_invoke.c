/* Checks the constants and the caller's arguments, runs the emitted layers, copies the outputs. */
#include <string.h>

#include "model.h"
#include "ts_model.h"

#if TS_MODEL_TINYSCENE_VERSION_MAJOR != TINYSCENE_VERSION_MAJOR ||                                                     \
    TS_MODEL_TINYSCENE_VERSION_MINOR != TINYSCENE_VERSION_MINOR ||                                                     \
    TS_MODEL_TINYSCENE_VERSION_PATCH != TINYSCENE_VERSION_PATCH
#error "model.h and the ts_ files come from different versions of tinyscene: emit the model again, with its kernels"
#endif

static TsChecked model_constants(void) {
    const TsChecked constants = {ts_model_data(), TS_MODEL_CONSTANT_BYTES, TS_MODEL_CRC32};
    return constants;
}

int ts_model_check_step(TsCheck* check, size_t bytes) {
    const TsChecked constants = model_constants();
    if (!ts_check_part(check, 0, &constants, &bytes)) {
        return TS_ERROR_CONSTANTS;
    }
    const int done = check->part > 0;
    check->part = 0;
    return done ? TS_CHECK_DONE : TS_CHECK_MORE;
}

int ts_model_check(void) {
    TsCheck check = {0, 0, 0};
    const int status = ts_model_check_step(&check, TS_MODEL_CONSTANT_BYTES);
    return status == TS_CHECK_DONE ? TS_OK : TS_ERROR_CONSTANTS;
}

static int overlaps(const void* data, size_t size, const void* arena) {
    const uintptr_t begin = (uintptr_t)data;
    const uintptr_t arena_begin = (uintptr_t)arena;
    return begin < arena_begin + TS_MODEL_ARENA_BYTES && arena_begin < begin + size;
}

#ifndef TS_MODEL_INPUTS

static int check(const int8_t* input, const int8_t* output, const int8_t* arena) {
    if (input == NULL || output == NULL || arena == NULL) {
        return TS_ERROR_NULL;
    }
    if ((uintptr_t)arena % TS_MODEL_ARENA_ALIGNMENT != 0) {
        return TS_ERROR_ALIGN;
    }
    if (overlaps(output, TS_MODEL_OUTPUT_BYTES, arena) ||
        (input != arena + TS_MODEL_INPUT_OFFSET && overlaps(input, TS_MODEL_INPUT_BYTES, arena))) {
        return TS_ERROR_OVERLAP;
    }
    return TS_OK;
}

static void give(int8_t* output, const int8_t* codes) {
    memcpy(output, codes, TS_MODEL_OUTPUT_BYTES);
}

#else

static const TsModelPlace input_places[] = TS_MODEL_INPUT_PLACES;
static const TsModelPlace output_places[] = TS_MODEL_OUTPUT_PLACES;

static int check_pointers(const int8_t* const* inputs, int8_t* const* outputs, const int8_t* arena) {
    int present = inputs != NULL && outputs != NULL && arena != NULL;
    for (int i = 0; present && i < TS_MODEL_INPUTS; ++i) {
        present = inputs[i] != NULL;
    }
    for (int i = 0; present && i < TS_MODEL_OUTPUTS; ++i) {
        present = outputs[i] != NULL;
    }
    return present ? TS_OK : TS_ERROR_NULL;
}

static int check(const int8_t* const* inputs, int8_t* const* outputs, const int8_t* arena) {
    const int status = check_pointers(inputs, outputs, arena);
    if (status != TS_OK) {
        return status;
    }
    if ((uintptr_t)arena % TS_MODEL_ARENA_ALIGNMENT != 0) {
        return TS_ERROR_ALIGN;
    }
    for (int i = 0; i < TS_MODEL_INPUTS; ++i) {
        if (inputs[i] != arena + input_places[i].offset && overlaps(inputs[i], input_places[i].bytes, arena)) {
            return TS_ERROR_OVERLAP;
        }
    }
    for (int i = 0; i < TS_MODEL_OUTPUTS; ++i) {
        if (overlaps(outputs[i], output_places[i].bytes, arena)) {
            return TS_ERROR_OVERLAP;
        }
    }
    return TS_OK;
}

static void give(int8_t* const* outputs, const int8_t* arena) {
    for (int i = 0; i < TS_MODEL_OUTPUTS; ++i) {
        memcpy(outputs[i], arena + output_places[i].offset, output_places[i].bytes);
    }
}

#endif

#ifdef TS_MODEL_STATES

int ts_model_reset(void* arena) {
    if (arena == NULL) {
        return TS_ERROR_NULL;
    }
    if ((uintptr_t)arena % TS_MODEL_ARENA_ALIGNMENT != 0) {
        return TS_ERROR_ALIGN;
    }
    ts_model_begin(arena);
    return TS_OK;
}

#define KEEP_STATES(arena) ts_model_keep(arena)
#else
#define KEEP_STATES(arena) ((void)0)
#endif

#ifdef TS_OBSERVE

int ts_model_observe(TsModelInput input, TsModelOutput output, void* arena, const TsObserver* observer) {
    const int status = check(input, output, arena);
    if (status == TS_OK) {
        give(output, ts_run_layers(input, arena, observer));
        KEEP_STATES(arena);
    }
    return status;
}

static void ignore(void* context, int32_t layer, const int8_t* data, size_t size) {
    (void)context;
    (void)layer;
    (void)data;
    (void)size;
}

int ts_model_invoke(TsModelInput input, TsModelOutput output, void* arena) {
    static const TsObserver no_observer = {ignore, NULL};
    return ts_model_observe(input, output, arena, &no_observer);
}

#else

int ts_model_invoke(TsModelInput input, TsModelOutput output, void* arena) {
    const int status = check(input, output, arena);
    if (status == TS_OK) {
        give(output, ts_run_layers(input, arena));
        KEEP_STATES(arena);
    }
    return status;
}

#endif
