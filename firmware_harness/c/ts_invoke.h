/* Running an emitted model. Include model.h, which says the sizes and includes this. */
#ifndef TS_INVOKE_H
#define TS_INVOKE_H

#include <stddef.h>
#include <stdint.h>

#include "ts_version.h"

enum {
    TS_OK = 0,
    TS_ERROR_NULL = -1,    /* a pointer is null */
    TS_ERROR_ALIGN = -2,   /* the arena does not begin on a multiple of TS_MODEL_ARENA_ALIGNMENT bytes */
    TS_ERROR_OVERLAP = -3, /* input or output lies inside the arena at a place where a layer would overwrite it */
};

/* Run the model once.
 *
 * input:  TS_MODEL_INPUT_BYTES codes, (height, width, channels). It may lie anywhere outside the arena, or at
 *         arena + TS_MODEL_INPUT_OFFSET, where room is kept for it; there it does not survive the run.
 * output: TS_MODEL_OUTPUT_BYTES codes, outside the arena.
 * arena:  TS_MODEL_ARENA_BYTES of working memory, aligned; its contents mean nothing before and after.
 *
 * Returns TS_OK or one of the errors above, and then nothing has been written. */
int ts_model_invoke(const int8_t* input, int8_t* output, void* arena);

#ifdef TS_OBSERVE
/* For tests: as above, and `seen` gets what each layer wrote as soon as it is there. */
typedef struct {
    void (*seen)(void* context, int32_t layer, const int8_t* data, size_t size);
    void* context;
} TsObserver;

int ts_model_observe(const int8_t* input, int8_t* output, void* arena, const TsObserver* observer);
#endif

#endif
