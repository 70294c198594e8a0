/* Interface between the emitted calls in model.c and ts_model_invoke; internal. */
#ifndef TS_MODEL_H
#define TS_MODEL_H

#include "ts_invoke.h"

/* Constants that are read a word at a time. */
#define TS_ALIGNED __attribute__((aligned(4)))

#ifdef TS_OBSERVE
#define TS_RUN_LAYERS(input, arena) ts_run_layers(const int8_t* input, int8_t* arena, const TsObserver* observer)
#define TS_WROTE(layer, data, size) observer->seen(observer->context, (layer), (data), (size))
#else
#define TS_RUN_LAYERS(input, arena) ts_run_layers(const int8_t* input, int8_t* arena)
#define TS_WROTE(layer, data, size) ((void)0)
#endif

/* Run every layer in order, from the input into the arena. Returns the address of the output in the arena. */
const int8_t* TS_RUN_LAYERS(input, arena);

#endif
