/* Hops, the network, and scores. */
#include "ts_scene.h"

#include <string.h>

#include "ts_mel.h"
#include "ts_model.h"

enum { PCM_BLOCK_SAMPLES = 128 };

int ts_scene_check_step(TsCheck* check, size_t bytes) {
    enum { MODEL, SPECTRUM, MEL, PARTS };
    const TsChecked model = {ts_model_data(), TS_MODEL_CONSTANT_BYTES, TS_MODEL_CRC32};
    const TsChecked spectrum = {ts_spectrum_data(), TS_SPECTRUM_BYTES, TS_SPECTRUM_CRC32};
    const TsChecked mel = {ts_mel_data(), TS_MEL_BYTES, TS_MEL_CRC32};
    if (check->part >= PARTS || !ts_check_part(check, MODEL, &model, &bytes) ||
        !ts_check_part(check, SPECTRUM, &spectrum, &bytes) || !ts_check_part(check, MEL, &mel, &bytes)) {
        return TS_ERROR_CONSTANTS;
    }
    const int done = check->part == PARTS;
    check->part = done ? MODEL : check->part;
    return done ? TS_CHECK_DONE : TS_CHECK_MORE;
}

int ts_scene_check(void) {
    TsCheck check = {0, 0, 0};
    const int status = ts_scene_check_step(&check, TS_SCENE_CONSTANT_BYTES);
    return status == TS_CHECK_DONE ? TS_OK : TS_ERROR_CONSTANTS;
}

/* Samples of the present hop that the number of columns and the window's fill imply. */
static int32_t implied_samples(const TsScene* scene) {
    const TsLogmel* stream = &scene->stream;
#if TS_SCENE_OVERLAP
    if (scene->answer.hops > 0) { /* a hop ends with a column */
        const int32_t kept = TS_LOGMEL_N_FRAMES - TS_SCENE_HOP_SAMPLES / TS_LOGMEL_HOP_LENGTH;
        return (scene->columns - kept) * TS_LOGMEL_HOP_LENGTH + stream->filled - TS_LOGMEL_HELD + TS_LOGMEL_HOP_LENGTH;
    }
#endif
    return scene->columns * TS_LOGMEL_HOP_LENGTH + stream->filled - TS_LOGMEL_WIN_LENGTH / 2 - 1 +
           ts_logmel_waiting(stream);
}

int ts_scene_holds(const TsScene* scene) {
#if TS_SCENE_OVERLAP
    const int in_ring = scene->oldest >= 0 && scene->oldest < TS_LOGMEL_N_FRAMES;
#else
    const int in_ring = 1;
#endif
    return in_ring && scene->columns >= 0 && scene->columns <= TS_LOGMEL_N_FRAMES && ts_logmel_holds(&scene->stream) &&
           scene->samples == (uint32_t)implied_samples(scene);
}

int ts_scene_begin(TsScene* scene, void* arena) {
    if (scene == NULL || arena == NULL) {
        return TS_ERROR_NULL;
    }
    if ((uintptr_t)arena % TS_MODEL_ARENA_ALIGNMENT != 0) {
        return TS_ERROR_ALIGN;
    }
    memset(scene, 0, sizeof *scene);
    scene->arena = arena;
    ts_logmel_begin(&scene->stream);
    return TS_OK;
}

/* e^x for x <= 0: a power of two and a polynomial over half an octave on each side, to 2e-7. */
static float exponential(float x) {
    const float octaves = x * 0x1.715476p0f; /* 1 / ln 2 */
    if (octaves < -126.0f) {
        return 0.0f;
    }
    const int32_t whole = (int32_t)(octaves - 0.5f);
    const float part = (octaves - (float)whole) * 0x1.62e43p-1f;
    float power = 0x1.6c16c2p-10f; /* 1/6!, then 1/5! and so on */
    power = 0x1.111112p-7f + part * power;
    power = 0x1.555556p-5f + part * power;
    power = 0x1.555556p-3f + part * power;
    power = 0x1p-1f + part * power;
    power = 1.0f + part * power;
    power = 1.0f + part * power;
    const int32_t bits = (whole + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return power * scale;
}

static int32_t best(const float* scores) {
    int32_t label = 0;
    for (int32_t i = 1; i < TS_SCENE_LABELS; ++i) {
        label = scores[i] > scores[label] ? i : label;
    }
    return label;
}

/* Whether codes run from 0 to 1, as runtime/scores.py defines it; known to the compiler. */
static int are_probabilities(void) {
    return TS_MODEL_OUTPUT_ZERO_POINT == -128 && 255.0f * TS_MODEL_OUTPUT_SCALE > 0.99f &&
           255.0f * TS_MODEL_OUTPUT_SCALE < 1.01f;
}

/* Softmax of the output, or its values if they are probabilities; they are divided by their sum afterwards. */
static float weigh(const int8_t* codes, float* weights) {
    int32_t highest = codes[0];
    for (int32_t i = 1; i < TS_SCENE_LABELS; ++i) {
        highest = codes[i] > highest ? codes[i] : highest;
    }
    float sum = 0.0f;
    for (int32_t i = 0; i < TS_SCENE_LABELS; ++i) {
        weights[i] = !are_probabilities() ? exponential((float)(codes[i] - highest) * TS_MODEL_OUTPUT_SCALE)
                     : highest > -128     ? (float)(codes[i] + 128) * TS_MODEL_OUTPUT_SCALE
                                          : 1.0f;
        sum += weights[i];
    }
    return sum;
}

/* The scores, and the mean with earlier ones. */
static void score(TsSceneAnswer* answer) {
    const float sum = weigh(answer->codes, answer->scores);
    answer->hops += 1;
    const uint32_t counted = answer->hops < TS_SCENE_SMOOTHED_HOPS ? answer->hops : TS_SCENE_SMOOTHED_HOPS;
    for (int32_t i = 0; i < TS_SCENE_LABELS; ++i) {
        answer->scores[i] /= sum;
        answer->smoothed[i] += (answer->scores[i] - answer->smoothed[i]) / (float)counted;
    }
    answer->label = best(answer->scores);
    answer->smoothed_label = best(answer->smoothed);
}

static void answer(TsScene* scene) {
    (void)ts_model_invoke(scene->arena + TS_MODEL_INPUT_OFFSET, scene->answer.codes, scene->arena);
    score(&scene->answer);
    scene->answered = 1;
}

static TsLogmelScratch* scratch(TsScene* scene) {
    return (TsLogmelScratch*)(void*)(scene->arena + TS_SCENE_SCRATCH_OFFSET);
}

#if TS_SCENE_OVERLAP

#if TS_SCENE_HOP_SAMPLES % TS_LOGMEL_HOP_LENGTH != 0
#error "a hop that is shorter than a clip must be a whole number of columns"
#endif

static void take_column(TsScene* scene) {
    enum { COLUMNS_PER_HOP = TS_SCENE_HOP_SAMPLES / TS_LOGMEL_HOP_LENGTH };
    ts_logmel_column(&scene->stream, scratch(scene), scene->ring[scene->oldest], 1);
    TS_COLUMN(scene->ring[scene->oldest], 1);
    TS_ALIVE();
    scene->oldest = (scene->oldest + 1) % TS_LOGMEL_N_FRAMES;
    if (++scene->columns < TS_LOGMEL_N_FRAMES) {
        return;
    }
    scene->columns -= COLUMNS_PER_HOP;
    int8_t* input = scene->arena + TS_MODEL_INPUT_OFFSET;
    for (int32_t frame = 0; frame < TS_LOGMEL_N_FRAMES; ++frame) {
        const int8_t* codes = scene->ring[(scene->oldest + frame) % TS_LOGMEL_N_FRAMES];
        for (int32_t mel = 0; mel < TS_LOGMEL_N_MELS; ++mel) {
            input[mel * TS_LOGMEL_N_FRAMES + frame] = codes[mel];
        }
    }
    answer(scene);
}

size_t ts_scene_push(TsScene* scene, const int16_t* samples, size_t count) {
    size_t taken = 0;
    scene->answered = 0;
    while (taken < count && !scene->answered) {
        taken += ts_logmel_push(&scene->stream, samples + taken, count - taken);
        if (ts_logmel_ready(&scene->stream)) {
            take_column(scene);
        }
    }
    scene->samples += (uint32_t)taken;
    if (scene->answered) {
        scene->samples = 0;
    }
    return taken;
}

#else

static void take_column(TsScene* scene) {
    int8_t* codes = scene->arena + TS_MODEL_INPUT_OFFSET + scene->columns;
    ts_logmel_column(&scene->stream, scratch(scene), codes, TS_LOGMEL_N_FRAMES);
    TS_COLUMN(codes, TS_LOGMEL_N_FRAMES);
    TS_ALIVE();
    scene->columns += 1;
}

size_t ts_scene_push(TsScene* scene, const int16_t* samples, size_t count) {
    const size_t wanted = TS_LOGMEL_CLIP_SAMPLES - scene->samples;
    const size_t end = count < wanted ? count : wanted;
    for (size_t taken = 0; taken < end;) {
        taken += ts_logmel_push(&scene->stream, samples + taken, end - taken);
        if (ts_logmel_ready(&scene->stream)) {
            take_column(scene);
        }
    }
    scene->samples += (uint32_t)end;
    scene->answered = 0;
    if (scene->samples == TS_LOGMEL_CLIP_SAMPLES) {
        while (ts_logmel_end(&scene->stream) == TS_LOGMEL_MORE) {
            take_column(scene);
        }
        answer(scene);
        ts_logmel_begin(&scene->stream);
        scene->samples = 0;
        scene->columns = 0;
    }
    return end;
}

#endif

uint32_t ts_scene_process_pcm(TsScene* scene, TsPcmRead pcm_read, TsOnAnswer on_answer, void* context) {
    int16_t block[PCM_BLOCK_SAMPLES];
    size_t count;
    while ((count = pcm_read(context, block, PCM_BLOCK_SAMPLES)) > 0) {
        for (size_t at = 0; at < count;) {
            at += ts_scene_push(scene, block + at, count - at);
            if (scene->answered) {
                on_answer(context, &scene->answer);
            }
        }
    }
    return scene->samples;
}
