/* The serial protocol of the MLPerf Tiny and EEMBC runner.
 *
 * 115200 baud, 8N1. A command ends with '%'. Every response ends with the line m-ready; lines end with CR LF. Inputs
 * are the network's: int8 codes, or what product_serial_model.h says. Results are probabilities, which the runner
 * divides by their sum, or real values. Not needed to classify. */
#ifndef PRODUCT_SERIAL_H
#define PRODUCT_SERIAL_H

#include "product.h"
#include "product_serial_model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The longest command, as in the reference firmware. */
#define PRODUCT_SERIAL_COMMAND_BYTES 80

/* Bytes that the runner sends for one input. */
#ifdef PRODUCT_SERIAL_FLOAT
#define PRODUCT_SERIAL_INPUT_BYTES (4 * PRODUCT_INPUT_BYTES)
#else
#define PRODUCT_SERIAL_INPUT_BYTES PRODUCT_INPUT_BYTES
#endif

/* Functions of the board. read waits for a byte and returns it, or a negative number to end; microseconds may wrap. */
typedef struct {
    int (*read)(void* context);
    void (*write)(void* context, const char* text, size_t size);
    uint32_t (*microseconds)(void* context);
    void* context;
} product_serial_port;

typedef struct {
    const product_serial_port* port;
    product_state* model;
    size_t wanted, loaded; /* bytes of input expected and received */
    uint32_t word;         /* bytes of a float32 so far */
    size_t length;         /* length of the command so far; larger than the buffer if it is too long */
    char command[PRODUCT_SERIAL_COMMAND_BYTES + 1];
    int8_t input[PRODUCT_INPUT_BYTES];
    int8_t output[PRODUCT_OUTPUT_BYTES];
} product_serial;

/* Respond to commands until port->read ends. The model must be initialised; if that failed, inferences are refused. */
void product_serial_serve(product_serial* serial, const product_serial_port* port, product_state* model);

#ifdef __cplusplus
}
#endif

#endif
