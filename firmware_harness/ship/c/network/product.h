/* The part of a product's interface that the serial protocol needs, around a network alone: codes in, codes out. */
#ifndef PRODUCT_H
#define PRODUCT_H

#include "model.h"

#define PRODUCT_INPUT_BYTES TS_MODEL_INPUT_BYTES
#define PRODUCT_INPUT_SCALE TS_MODEL_INPUT_SCALE
#define PRODUCT_INPUT_ZERO_POINT TS_MODEL_INPUT_ZERO_POINT
#define PRODUCT_OUTPUT_BYTES TS_MODEL_OUTPUT_BYTES
#define PRODUCT_OUTPUT_SCALE TS_MODEL_OUTPUT_SCALE
#define PRODUCT_OUTPUT_ZERO_POINT TS_MODEL_OUTPUT_ZERO_POINT

enum { PRODUCT_OK = TS_OK };

typedef struct {
    int8_t* arena;
    int status; /* of the check of the constants: an error refuses every inference */
} product_state;

/* Check the constants and keep the arena: TS_MODEL_ARENA_BYTES, aligned to TS_MODEL_ARENA_ALIGNMENT. */
static inline void product_begin(product_state* state, int8_t* arena) {
    state->arena = arena;
    state->status = ts_model_check();
}

/* Run the network once. */
static inline int product_invoke(product_state* state, const int8_t* input, int8_t* output) {
    return state->status == TS_OK ? ts_model_invoke(input, output, state->arena) : state->status;
}

#endif
