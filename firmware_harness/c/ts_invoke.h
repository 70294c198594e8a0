/* Running an emitted model. Include model.h, which defines the sizes and includes this header. */
#ifndef TS_INVOKE_H
#define TS_INVOKE_H

#include <stddef.h>
#include <stdint.h>

#include "ts_check.h"
#include "ts_version.h"

enum {
    TS_OK = 0,
    TS_ERROR_NULL = -1,      /* a pointer is null */
    TS_ERROR_ALIGN = -2,     /* the arena does not begin on a multiple of TS_MODEL_ARENA_ALIGNMENT bytes */
    TS_ERROR_OVERLAP = -3,   /* input or output overlaps the arena where a layer would overwrite it */
    TS_ERROR_CONSTANTS = -4, /* the constants in memory are not those that were emitted */
};

/* Compare the checksum of the model's constants, layer records included, with the emitted one. Returns TS_OK or
 * TS_ERROR_CONSTANTS, after which the model must not run. */
int ts_model_check(void);

/* The same for at most `bytes` bytes of them, from where the last step ended. Returns TS_CHECK_MORE, TS_CHECK_DONE, or
 * TS_ERROR_CONSTANTS. */
int ts_model_check_step(TsCheck* check, size_t bytes);

#ifndef TS_MODEL_INPUTS /* a model with one input and one output */
/* Run the model once.
 *
 * input:  TS_MODEL_INPUT_BYTES codes, (height, width, channels). It may lie anywhere outside the arena, or at
 *         arena + TS_MODEL_INPUT_OFFSET, where room is reserved for it; there the run overwrites it.
 * output: TS_MODEL_OUTPUT_BYTES codes, outside the arena.
 * arena:  TS_MODEL_ARENA_BYTES of working memory, aligned. It keeps nothing between runs, except the states of a model
 *         with TS_MODEL_STATES: it belongs to the model then, from ts_model_reset on.
 *
 * Returns TS_OK, or one of the errors above without having written anything. */
int ts_model_invoke(const int8_t* input, int8_t* output, void* arena);
typedef const int8_t* TsModelInput;
typedef int8_t* TsModelOutput;
#else
/* Run the model once. Input and output i have the sizes and scales TS_MODEL_INPUT_<i>_... and TS_MODEL_OUTPUT_<i>_...
 *
 * inputs:  TS_MODEL_INPUTS pointers to the codes of each input, (height, width, channels). Each may lie anywhere
 * outside the arena, or at arena + TS_MODEL_INPUT_<i>_OFFSET, as above. outputs: TS_MODEL_OUTPUTS pointers to where the
 * codes of each output go, outside the arena. arena and result: as above. */
int ts_model_invoke(const int8_t* const* inputs, int8_t* const* outputs, void* arena);
typedef const int8_t* const* TsModelInput;
typedef int8_t* const* TsModelOutput;

#endif

#ifdef TS_MODEL_STATES /* a model that keeps states between runs */
/* Begin anew: give every state in the arena its initial codes. Call it before the first run. Returns TS_OK,
 * TS_ERROR_NULL or TS_ERROR_ALIGN. */
int ts_model_reset(void* arena);

/* Size of a state, and where the arena has it between runs. TS_MODEL_STATE_PLACES is an initialiser of an array. */
typedef struct {
    size_t bytes;
    size_t offset;
} TsModelState;
#endif

#ifdef TS_MODEL_INPUTS
/* Size of an input or output, and where it lies in the arena: TS_MODEL_INPUT_PLACES and TS_MODEL_OUTPUT_PLACES are
 * initialisers of such arrays. */
typedef struct {
    size_t bytes;
    size_t offset;
} TsModelPlace;
#endif

#ifdef TS_OBSERVE
/* For tests: as above, and `seen` is called with the output of each layer after it has run. */
typedef struct {
    void (*seen)(void* context, int32_t layer, const int8_t* data, size_t size);
    void* context;
} TsObserver;

int ts_model_observe(TsModelInput input, TsModelOutput output, void* arena, const TsObserver* observer);
#endif

#endif
