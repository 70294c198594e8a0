/* What product.c needs of a stream of audio, for a network alone: there is no stream, only the arena. */
#ifndef TS_SCENE_H
#define TS_SCENE_H

#include "model.h"
#include "ts_model.h"

#define TS_SCENE_ARENA_BYTES TS_MODEL_ARENA_BYTES

typedef struct {
    int8_t* arena;
} TsScene;

static inline int ts_scene_check(void) {
    return ts_model_check();
}

/* Between the steps of a check of one part, its progress is in this part, or damaged. */
static inline int ts_scene_check_step(TsCheck* check, size_t bytes) {
    return check->part == 0 ? ts_model_check_step(check, bytes) : TS_ERROR_CONSTANTS;
}

/* Returns TS_OK, TS_ERROR_NULL or TS_ERROR_ALIGN. */
static inline int ts_scene_begin(TsScene* scene, void* arena) {
    scene->arena = arena;
    return arena == NULL ? TS_ERROR_NULL : (uintptr_t)arena % TS_MODEL_ARENA_ALIGNMENT != 0 ? TS_ERROR_ALIGN : TS_OK;
}

/* There are no counters that could be damaged. */
static inline int ts_scene_holds(const TsScene* scene) {
    (void)scene;
    return 1;
}

#endif
