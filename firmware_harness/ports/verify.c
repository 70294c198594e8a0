/* Test program: runs the model on every vector of vectors.bin and writes what each layer wrote to layers.bin.
 *
 * Both files are bare int8 codes, one vector after the other; a vector's layers are followed by the outputs that the
 * caller gets. Working memory is filled with a changing value before each run and guarded on both sides. */
#include <string.h>

#include "model.h"
#include "ts_port.h"
#include "ts_port_model.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum { GUARD_BYTES = 64, GUARD = 0x6b };

static struct {
    uint8_t before[GUARD_BYTES];
    int8_t arena[TS_MODEL_ARENA_BYTES];
    uint8_t after[GUARD_BYTES];
} memory __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT), section(".bss.ts_arena")));

static int8_t input[TS_PORT_INPUT_BYTES];
static int8_t output[TS_PORT_OUTPUT_BYTES];

static void prepare(int vector) {
    memset(memory.before, GUARD, GUARD_BYTES);
    memset(memory.after, GUARD, GUARD_BYTES);
    memset(memory.arena, 0xa5 + 37 * vector, sizeof memory.arena);
#ifdef __SANITIZE_ADDRESS__
    ASAN_POISON_MEMORY_REGION(memory.before, GUARD_BYTES);
    ASAN_POISON_MEMORY_REGION(memory.after, GUARD_BYTES);
#endif
}

static int guards_hold(void) {
#ifdef __SANITIZE_ADDRESS__
    ASAN_UNPOISON_MEMORY_REGION(memory.before, GUARD_BYTES);
    ASAN_UNPOISON_MEMORY_REGION(memory.after, GUARD_BYTES);
#endif
    for (int i = 0; i < GUARD_BYTES; ++i) {
        if (memory.before[i] != GUARD || memory.after[i] != GUARD) {
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
    for (int vector = 0;; ++vector) {
        prepare(vector);
        const size_t got = ts_port_read(vectors, input, sizeof input);
        if (got == 0) {
            break;
        }
        if (got != sizeof input) {
            return TS_EXIT_FILE;
        }
        ts_port_put_states(memory.arena, input + TS_PORT_GIVEN_BYTES);
        if (ts_model_observe(ts_port_inputs(input), ts_port_outputs(output), memory.arena, &observer) != TS_OK) {
            return TS_EXIT_INVOKE;
        }
        if (!guards_hold()) {
            return TS_EXIT_GUARD;
        }
        ts_port_take_states(memory.arena, output + TS_PORT_RESULT_BYTES);
        sink.failed |= ts_port_write(sink.file, output, sizeof output);
    }
    ts_port_close(vectors);
    ts_port_close(sink.file);
    return sink.failed ? TS_EXIT_FILE : TS_EXIT_OK;
}
