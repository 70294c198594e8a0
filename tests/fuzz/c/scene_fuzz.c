/* libFuzzer target: the input drives a sequence of calls of the application, the front end and the network.
 *
 * Samples are handed over in buffers of exactly their size, so that the address sanitizer sees a read beyond them. Each
 * result is checked: the number of samples taken, finite scores that add up to 1, labels in range, return codes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ts_scene.h"

enum {
    LARGEST_PUSH = TS_LOGMEL_CLIP_SAMPLES + 77,
    LARGEST_TOTAL = 6 * TS_LOGMEL_CLIP_SAMPLES, /* samples in one execution */
};

typedef struct {
    const uint8_t* bytes;
    size_t left;
    size_t samples_left;
} Source;

static int8_t arena[TS_SCENE_ARENA_BYTES + 1] __attribute__((aligned(TS_MODEL_ARENA_ALIGNMENT)));

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%d: %s is false\n", __LINE__, #condition);                                                \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static unsigned next_byte(Source* source) {
    if (source->left == 0) {
        return 0;
    }
    source->left -= 1;
    return *source->bytes++;
}

/* A buffer of exactly `count` samples: a constant, an alternation of extremes, noise, or the input itself. */
static int16_t* samples_of(Source* source, size_t count) {
    int16_t* samples = malloc(count * sizeof *samples + (count == 0));
    const unsigned kind = next_byte(source) % 6;
    uint32_t noise = next_byte(source) + 1;
    for (size_t i = 0; i < count; ++i) {
        noise = noise * 1664525u + 1013904223u;
        switch (kind) {
        case 0:
            samples[i] = INT16_MAX;
            break;
        case 1:
            samples[i] = INT16_MIN;
            break;
        case 2:
            samples[i] = i & 1 ? INT16_MAX : INT16_MIN;
            break;
        case 3:
            samples[i] = (int16_t)(noise >> 16);
            break;
        case 4:
            samples[i] = (int16_t)((next_byte(source) << 8) - 32768);
            break;
        default:
            samples[i] = 0;
        }
    }
    return samples;
}

static size_t some_count(Source* source) {
    const size_t wanted = (next_byte(source) * 256u + next_byte(source)) % LARGEST_PUSH;
    const size_t count = wanted < source->samples_left ? wanted : source->samples_left;
    source->samples_left -= count;
    return count;
}

static void check_answer(const TsSceneAnswer* answer) {
    float sum = 0.0f, smoothed = 0.0f;
    REQUIRE(answer->label >= 0 && answer->label < TS_SCENE_LABELS);
    REQUIRE(answer->smoothed_label >= 0 && answer->smoothed_label < TS_SCENE_LABELS);
    for (int i = 0; i < TS_SCENE_LABELS; ++i) {
        REQUIRE(isfinite(answer->scores[i]) && isfinite(answer->smoothed[i]));
        sum += answer->scores[i];
        smoothed += answer->smoothed[i];
    }
    REQUIRE(fabsf(sum - 1.0f) < 1e-3f && fabsf(smoothed - 1.0f) < 1e-2f);
    REQUIRE(answer->hops > 0);
}

static void push(TsScene* scene, Source* source) {
    const size_t count = some_count(source);
    int16_t* samples = samples_of(source, count);
    for (size_t at = 0; at < count;) {
        const size_t taken = ts_scene_push(scene, samples + at, count - at);
        REQUIRE(taken > 0 && taken <= count - at);
        if (ts_scene_answer(scene) != NULL) {
            check_answer(ts_scene_answer(scene));
        }
        at += taken;
    }
    REQUIRE(ts_scene_push(scene, samples, 0) == 0);
    free(samples);
}

static size_t read_pcm(void* context, int16_t* samples, size_t count) {
    Source* source = context;
    const size_t wanted = next_byte(source) % (count + 1);
    const size_t given = wanted < source->samples_left ? wanted : source->samples_left;
    source->samples_left -= given;
    int16_t* made = samples_of(source, given);
    memcpy(samples, made, given * sizeof *made);
    free(made);
    return given;
}

static void on_answer(void* context, const TsSceneAnswer* answer) {
    (void)context;
    check_answer(answer);
}

/* The front end alone, whose columns are written with a stride into a buffer of exactly their size. */
static void columns(Source* source) {
    TsLogmel stream;
    TsLogmelScratch* scratch = malloc(sizeof *scratch);
    const int32_t stride = 1 + (int32_t)(next_byte(source) % 3);
    int8_t* codes = malloc((size_t)((TS_LOGMEL_N_MELS - 1) * stride + 1));
    ts_logmel_begin(&stream);
    for (unsigned pushes = next_byte(source) % 4; pushes > 0; --pushes) {
        const size_t count = some_count(source);
        int16_t* samples = samples_of(source, count);
        for (size_t at = 0; at < count;) {
            at += ts_logmel_push(&stream, samples + at, count - at);
            if (ts_logmel_ready(&stream)) {
                ts_logmel_column(&stream, scratch, codes, stride);
            }
        }
        free(samples);
    }
    int ended = TS_LOGMEL_DONE;
    for (int limit = 0; (ended = ts_logmel_end(&stream)) == TS_LOGMEL_MORE; ++limit) {
        REQUIRE(limit < TS_LOGMEL_WIN_LENGTH);
        ts_logmel_column(&stream, scratch, codes, stride);
    }
    REQUIRE(ended == TS_LOGMEL_DONE || ended == TS_LOGMEL_TOO_SHORT);
    free(codes);
    free(scratch);
}

/* The network alone, on input from the source, with arguments that it must refuse before. */
static void invoke(Source* source) {
    int8_t* input = malloc(TS_MODEL_INPUT_BYTES);
    int8_t* output = malloc(TS_MODEL_OUTPUT_BYTES);
    for (size_t i = 0; i < TS_MODEL_INPUT_BYTES; ++i) {
        input[i] = (int8_t)next_byte(source);
    }
    REQUIRE(ts_model_invoke(NULL, output, arena) == TS_ERROR_NULL);
    REQUIRE(ts_model_invoke(input, NULL, arena) == TS_ERROR_NULL);
    REQUIRE(ts_model_invoke(input, output, NULL) == TS_ERROR_NULL);
    REQUIRE(ts_model_invoke(input, output, arena + 1) == TS_ERROR_ALIGN);
    REQUIRE(ts_model_invoke(input, arena, arena) == TS_ERROR_OVERLAP);
    REQUIRE(ts_model_invoke(input, output, arena) == TS_OK);
    free(output);
    free(input);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static TsScene scene;
    Source source = {data, size, LARGEST_TOTAL};
    memset(arena, 0x5a, sizeof arena);
    REQUIRE(ts_scene_begin(NULL, arena) == TS_ERROR_NULL);
    REQUIRE(ts_scene_begin(&scene, NULL) == TS_ERROR_NULL);
    REQUIRE(ts_scene_begin(&scene, arena + 1) == TS_ERROR_ALIGN);
    REQUIRE(ts_scene_begin(&scene, arena) == TS_OK);
    while (source.left > 0) {
        switch (next_byte(&source) % 6) {
        case 0:
            REQUIRE(ts_scene_begin(&scene, arena) == TS_OK);
            break;
        case 1:
        case 2:
            push(&scene, &source);
            break;
        case 3:
            REQUIRE(ts_scene_process_pcm(&scene, read_pcm, on_answer, &source) <= LARGEST_TOTAL);
            break;
        case 4:
            columns(&source);
            break;
        default:
            invoke(&source);
        }
    }
    return 0;
}
