/* The model's inputs as one row of codes, side by side, and its outputs as another: the form of the files. States
 * follow the inputs, as the run begins, and the outputs, as it ends. Include model.h before. */
#ifndef TS_PORT_MODEL_H
#define TS_PORT_MODEL_H

#include <string.h>

#include "ts_port.h"

#ifdef TS_MODEL_STATES

enum { TS_PORT_STATES_BYTES = TS_MODEL_STATES_BYTES };

/* Copy the states of a row of inputs into the arena, and those in the arena to a row of outputs. */
static inline void ts_port_put_states(int8_t* arena, const int8_t* row) {
    static const TsModelState states[] = TS_MODEL_STATE_PLACES;
    for (int i = 0; i < TS_MODEL_STATES; ++i) {
        memcpy(arena + states[i].offset, row, states[i].bytes);
        row += states[i].bytes;
    }
}

static inline void ts_port_take_states(const int8_t* arena, int8_t* row) {
    static const TsModelState states[] = TS_MODEL_STATE_PLACES;
    for (int i = 0; i < TS_MODEL_STATES; ++i) {
        memcpy(row, arena + states[i].offset, states[i].bytes);
        row += states[i].bytes;
    }
}

/* The same from a file; 0 if it ends before. */
static inline int ts_port_load_states(int file, int8_t* arena) {
    static const TsModelState states[] = TS_MODEL_STATE_PLACES;
    int complete = 1;
    for (int i = 0; complete && i < TS_MODEL_STATES; ++i) {
        complete = ts_port_read(file, arena + states[i].offset, states[i].bytes) == states[i].bytes;
    }
    return complete;
}

#else

enum { TS_PORT_STATES_BYTES = 0 };

static inline void ts_port_put_states(int8_t* arena, const int8_t* row) {
    (void)arena;
    (void)row;
}

static inline void ts_port_take_states(const int8_t* arena, int8_t* row) {
    (void)arena;
    (void)row;
}

static inline int ts_port_load_states(int file, int8_t* arena) {
    (void)file;
    (void)arena;
    return 1;
}

#endif

#ifndef TS_MODEL_INPUTS

enum { TS_PORT_GIVEN_BYTES = TS_MODEL_INPUT_BYTES, TS_PORT_RESULT_BYTES = TS_MODEL_OUTPUT_BYTES };

/* What ts_model_invoke takes: inputs in a row, inputs where the arena has room for them, and outputs in a row. */
static inline TsModelInput ts_port_inputs(const int8_t* row) {
    return row;
}

static inline TsModelInput ts_port_inputs_in(const int8_t* arena) {
    return arena + TS_MODEL_INPUT_OFFSET;
}

static inline TsModelOutput ts_port_outputs(int8_t* row) {
    return row;
}

/* The first row of vectors.bin, into the arena: TS_EXIT_OK or TS_EXIT_FILE. */
static inline int ts_port_load_inputs(int8_t* arena) {
    const int file = ts_port_open("vectors.bin", 0);
    int complete = file >= 0;
    complete =
        complete && ts_port_read(file, arena + TS_MODEL_INPUT_OFFSET, TS_MODEL_INPUT_BYTES) == TS_MODEL_INPUT_BYTES;
    complete = complete && ts_port_load_states(file, arena);
    ts_port_close(file);
    return complete ? TS_EXIT_OK : TS_EXIT_FILE;
}

#else

enum { TS_PORT_GIVEN_BYTES = TS_MODEL_INPUTS_BYTES, TS_PORT_RESULT_BYTES = TS_MODEL_OUTPUTS_BYTES };

static inline TsModelInput ts_port_inputs(const int8_t* row) {
    static const TsModelPlace places[] = TS_MODEL_INPUT_PLACES;
    static const int8_t* inputs[TS_MODEL_INPUTS];
    for (int i = 0; i < TS_MODEL_INPUTS; ++i) {
        inputs[i] = row;
        row += places[i].bytes;
    }
    return inputs;
}

static inline TsModelInput ts_port_inputs_in(const int8_t* arena) {
    static const TsModelPlace places[] = TS_MODEL_INPUT_PLACES;
    static const int8_t* inputs[TS_MODEL_INPUTS];
    for (int i = 0; i < TS_MODEL_INPUTS; ++i) {
        inputs[i] = arena + places[i].offset;
    }
    return inputs;
}

static inline TsModelOutput ts_port_outputs(int8_t* row) {
    static const TsModelPlace places[] = TS_MODEL_OUTPUT_PLACES;
    static int8_t* outputs[TS_MODEL_OUTPUTS];
    for (int i = 0; i < TS_MODEL_OUTPUTS; ++i) {
        outputs[i] = row;
        row += places[i].bytes;
    }
    return outputs;
}

static inline int ts_port_load_inputs(int8_t* arena) {
    static const TsModelPlace places[] = TS_MODEL_INPUT_PLACES;
    const int file = ts_port_open("vectors.bin", 0);
    int complete = file >= 0;
    for (int i = 0; complete && i < TS_MODEL_INPUTS; ++i) {
        complete = ts_port_read(file, arena + places[i].offset, places[i].bytes) == places[i].bytes;
    }
    complete = complete && ts_port_load_states(file, arena);
    ts_port_close(file);
    return complete ? TS_EXIT_OK : TS_EXIT_FILE;
}

#endif

/* Bytes of a row of inputs, and of a row of outputs. */
enum {
    TS_PORT_INPUT_BYTES = TS_PORT_GIVEN_BYTES + TS_PORT_STATES_BYTES,
    TS_PORT_OUTPUT_BYTES = TS_PORT_RESULT_BYTES + TS_PORT_STATES_BYTES,
};

#endif
