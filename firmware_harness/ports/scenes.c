/* Test program: the application with a file instead of a microphone: vectors.bin is a uint32 count of samples and
 * the samples as int16, hops.bin gets for each hop int32 label, int32 smoothed label, the network's output as int8
 * codes, and its scores and the smoothed ones as float. On an emulator the clocks and the depth of the stack are
 * printed, including file access. */
#include "ts_port.h"
#include "ts_scene.h"

#ifdef TS_COUNT
#include "counter.h"
#include "number.h"
#endif

typedef struct {
    int audio, hops, failed;
    uint32_t left; /* samples left in the file */
    int cut_short;
} Files;

static TsScene scene;
static int8_t arena[TS_SCENE_ARENA_BYTES] __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT), section(".bss.ts_arena")));

static size_t read_pcm(void* context, int16_t* samples, size_t count) {
    Files* files = context;
    const size_t wanted = count < files->left ? count : files->left;
    const size_t got = wanted > 0 ? ts_port_read(files->audio, samples, wanted * sizeof *samples) / sizeof *samples : 0;
    files->cut_short |= got != wanted;
    files->left -= (uint32_t)got;
    return got;
}

static void on_answer(void* context, const TsSceneAnswer* answer) {
    Files* files = context;
    const int32_t labels[] = {answer->label, answer->smoothed_label};
    files->failed |= ts_port_write(files->hops, labels, sizeof labels);
    files->failed |= ts_port_write(files->hops, answer->codes, sizeof answer->codes);
    files->failed |= ts_port_write(files->hops, answer->scores, sizeof answer->scores);
    files->failed |= ts_port_write(files->hops, answer->smoothed, sizeof answer->smoothed);
}

static int listen(Files* files) {
    if (ts_scene_check() != TS_OK) {
        return TS_EXIT_CONSTANTS;
    }
    if (ts_scene_begin(&scene, arena) != TS_OK) {
        return TS_EXIT_INVOKE;
    }
    (void)ts_scene_process_pcm(&scene, read_pcm, on_answer, files);
    if (files->cut_short || scene.answer.hops == 0) {
        return TS_EXIT_AUDIO;
    }
    return files->failed ? TS_EXIT_FILE : TS_EXIT_OK;
}

int main(void) {
    Files files = {.audio = ts_port_open("vectors.bin", 0), .hops = ts_port_open("hops.bin", 1)};
    if (files.audio < 0 || files.hops < 0 ||
        ts_port_read(files.audio, &files.left, sizeof files.left) != sizeof files.left) {
        return TS_EXIT_FILE;
    }
#ifdef TS_COUNT
    uint32_t* top = ts_stack_pointer();
    ts_stack_paint(top);
    ts_counter_start();
    const int status = listen(&files);
    ts_print_decimal("clocks", ts_counter_stop());
    ts_print_decimal("stack_bytes", ts_stack_depth(top));
#else
    const int status = listen(&files);
#endif
    ts_port_close(files.hops);
    return status;
}
