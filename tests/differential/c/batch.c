/* Test program: runs many models, each on its vectors of vectors.bin, and writes what each layer wrote to layers.bin.
 *
 * nets.h has the table of models. The working memory is as large as the largest model's; what a model must not touch
 * is filled with a guard value, and on the host poisoned as well. Guards and observer resemble those of the verify port,
 * whose sizes are constants of one model and whose guards are arrays of their own: a shared header would take the sizes as
 * arguments and be longer than what it saves. */
#include <stdio.h>
#include <string.h>

#include "nets.h"
#include "ts_port.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum { GUARD_BYTES = 64, GUARD = 0x6b };

static struct {
    uint8_t before[GUARD_BYTES];
    int8_t arena[LARGEST_ARENA_BYTES + GUARD_BYTES];
} memory __attribute__((aligned(64)));

static int8_t input[LARGEST_INPUT_BYTES];
static int8_t output[LARGEST_OUTPUT_BYTES];

static void prepare(const Net* net, int vector) {
    memset(&memory, GUARD, sizeof memory);
    memset(memory.arena, 0xa5 + 37 * vector, net->arena_bytes);
#ifdef __SANITIZE_ADDRESS__
    ASAN_POISON_MEMORY_REGION(memory.before, GUARD_BYTES);
    ASAN_POISON_MEMORY_REGION(memory.arena + net->arena_bytes, sizeof memory.arena - net->arena_bytes);
#endif
}

static int guards_hold(const Net* net) {
#ifdef __SANITIZE_ADDRESS__
    ASAN_UNPOISON_MEMORY_REGION(&memory, sizeof memory);
#endif
    for (size_t i = 0; i < GUARD_BYTES; ++i) {
        if (memory.before[i] != GUARD) {
            return 0;
        }
    }
    for (size_t i = net->arena_bytes; i < sizeof memory.arena; ++i) {
        if (memory.arena[i] != GUARD) {
            return 0;
        }
    }
    return 1;
}

typedef struct {
    int file;
    int failed;
} Sink;

static void seen(void* context, int32_t layer, const int8_t* data, size_t size) {
    Sink* sink = context;
    (void)layer;
    sink->failed |= ts_port_write(sink->file, data, size);
}

int main(void) {
    const int vectors = ts_port_open("vectors.bin", 0);
    Sink sink = {ts_port_open("layers.bin", 1), 0};
    const TsObserver observer = {seen, &sink};
    if (vectors < 0 || sink.file < 0) {
        return TS_EXIT_FILE;
    }
    for (size_t n = 0; n < sizeof nets / sizeof *nets; ++n) {
        const Net* net = &nets[n];
        for (int vector = 0; vector < VECTORS; ++vector) {
            prepare(net, vector);
            if (ts_port_read(vectors, input, net->input_bytes) != net->input_bytes) {
                return TS_EXIT_FILE;
            }
            if (net->run(input, output, memory.arena, &observer) != TS_OK) {
                return TS_EXIT_INVOKE;
            }
            if (!guards_hold(net)) {
                return TS_EXIT_GUARD;
            }
            sink.failed |= ts_port_write(sink.file, output, net->output_bytes);
        }
    }
    ts_port_close(vectors);
    ts_port_close(sink.file);
    return sink.failed ? TS_EXIT_FILE : TS_EXIT_OK;
}
