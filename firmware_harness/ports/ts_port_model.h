/* The model's inputs as one row of codes, side by side, and its outputs as another: the form of the files. Include
 * model.h before. */
#ifndef TS_PORT_MODEL_H
#define TS_PORT_MODEL_H

#include "ts_port.h"

#ifndef TS_MODEL_INPUTS

enum { TS_PORT_INPUT_BYTES = TS_MODEL_INPUT_BYTES, TS_PORT_OUTPUT_BYTES = TS_MODEL_OUTPUT_BYTES };

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
    return ts_port_load("vectors.bin", arena + TS_MODEL_INPUT_OFFSET, TS_MODEL_INPUT_BYTES);
}

#else

enum { TS_PORT_INPUT_BYTES = TS_MODEL_INPUTS_BYTES, TS_PORT_OUTPUT_BYTES = TS_MODEL_OUTPUTS_BYTES };

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
    ts_port_close(file);
    return complete ? TS_EXIT_OK : TS_EXIT_FILE;
}

#endif

#endif
