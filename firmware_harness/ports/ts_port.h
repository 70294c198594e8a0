/* Functions that a test program needs from the machine. */
#ifndef TS_PORT_H
#define TS_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Exit codes of a test program; firmware_harness/run/emulate.py has the same numbers. */
enum {
    TS_EXIT_OK = 0,
    TS_EXIT_FILE = 10,      /* a file could not be opened, read or written */
    TS_EXIT_INVOKE = 11,    /* the model refused its arguments */
    TS_EXIT_GUARD = 12,     /* a byte beside the arena was changed */
    TS_EXIT_FAULT = 13,     /* the processor raised a fault; the text output has its address */
    TS_EXIT_STACK = 14,     /* the stack overflowed */
    TS_EXIT_AUDIO = 15,     /* the audio ended early */
    TS_EXIT_IMAGE = 16,     /* code or constants of the image are damaged, or it is not sealed */
    TS_EXIT_CONSTANTS = 17, /* the model's constants are damaged */
};

/* Files are in the working folder; a handle below zero: the file cannot be opened. */
int ts_port_open(const char* name, int for_writing);
size_t ts_port_read(int handle, void* data, size_t size); /* bytes read, fewer than requested at the end of the file */
int ts_port_write(int handle, const void* data, size_t size);
void ts_port_close(int handle); /* no effect without a file */

/* Write a file of `size` bytes: TS_EXIT_OK or TS_EXIT_FILE. */
static inline int ts_port_store(const char* name, const void* data, size_t size) {
    const int file = ts_port_open(name, 1);
    const int failed = file < 0 || ts_port_write(file, data, size) != 0;
    ts_port_close(file);
    return failed ? TS_EXIT_FILE : TS_EXIT_OK;
}

void ts_port_print(const char* text);

#endif
