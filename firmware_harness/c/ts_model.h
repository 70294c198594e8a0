/* Interface between the emitted calls in model.c and ts_model_invoke; internal. */
#ifndef TS_MODEL_H
#define TS_MODEL_H

#include "ts_invoke.h"

/* Bytes from a record to its array, both members of the constants. */
#define TS_TO(array, record) ((int32_t)offsetof(TsModelConstants, array) - (int32_t)offsetof(TsModelConstants, record))

/* TS_MODEL_CONSTANT_BYTES of constants, records included. */
const void* ts_model_data(void);

#ifdef TS_OBSERVE
#define TS_RUN_LAYERS(input, arena) ts_run_layers(TsModelInput input, int8_t* arena, const TsObserver* observer)
#define TS_WROTE(layer, data, size) observer->seen(observer->context, (layer), (data), (size))
#else
#define TS_RUN_LAYERS(input, arena) ts_run_layers(TsModelInput input, int8_t* arena)
#define TS_WROTE(layer, data, size) TS_ALIVE()
#endif

/* Run every layer in order, from the input into the arena. Returns the address of the output in the arena, or, of
 * several outputs, the arena. */
const int8_t* TS_RUN_LAYERS(input, arena);

#ifdef TS_MODEL_STATES
/* Write the states' initial codes into the arena. */
void ts_model_begin(int8_t* arena);

/* Let what the run has written be what the next one reads. */
void ts_model_keep(int8_t* arena);
#endif

#endif
