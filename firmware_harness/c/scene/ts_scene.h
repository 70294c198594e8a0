/* From samples to a scene: log-mel, network, scores, and their mean over the last hops.
 *
 * The network runs every TS_SCENE_HOP_SAMPLES samples. When a hop is as long as the network's clip, each clip is
 * separate and mirrored at both ends, as in `tinyscene run`. When it is shorter, clips overlap and share their columns:
 * only the first is mirrored at its start, none at its end, and results are half a window later.
 *
 * When interrupts or another task fill a buffer, call ts_scene_push with its samples; when a function can wait for
 * samples, pass it to ts_scene_process_pcm. */
#ifndef TS_SCENE_H
#define TS_SCENE_H

#include "model.h"
#include "ts_logmel.h"

#if TS_MODEL_INPUT_BYTES != TS_LOGMEL_N_MELS * TS_LOGMEL_N_FRAMES
#error "this front end does not make the input of this model"
#endif

enum { TS_SCENE_LABELS = TS_MODEL_OUTPUT_BYTES };

/* Called with each column of the front end, whose band i is codes[i * stride]. Define it for the whole build to see the
 * columns, for example to draw them. */
#ifndef TS_COLUMN
#define TS_COLUMN(codes, stride) ((void)0)
#endif

#define TS_SCENE_OVERLAP (TS_SCENE_HOP_SAMPLES < TS_LOGMEL_CLIP_SAMPLES)

/* The spectrum is computed in the network's arena while the network does not run. Without overlap the columns are
 * written to the network's input in the arena, and the spectrum next to them. */
#define TS_SCENE_SCRATCH_BYTES (4 * TS_LOGMEL_N_FFT)
#define TS_SCENE_BESIDE_INPUT                                                                                          \
    ((TS_MODEL_INPUT_OFFSET + TS_MODEL_INPUT_BYTES + TS_MODEL_ARENA_ALIGNMENT - 1) / TS_MODEL_ARENA_ALIGNMENT *        \
     TS_MODEL_ARENA_ALIGNMENT)
#define TS_SCENE_SCRATCH_OFFSET                                                                                        \
    (TS_SCENE_OVERLAP || TS_MODEL_INPUT_OFFSET >= TS_SCENE_SCRATCH_BYTES ? 0 : TS_SCENE_BESIDE_INPUT)
#define TS_SCENE_SCRATCH_END (TS_SCENE_SCRATCH_OFFSET + TS_SCENE_SCRATCH_BYTES)
#define TS_SCENE_ARENA_BYTES (TS_SCENE_SCRATCH_END > TS_MODEL_ARENA_BYTES ? TS_SCENE_SCRATCH_END : TS_MODEL_ARENA_BYTES)

/* Constants of network and front end. */
#define TS_SCENE_CONSTANT_BYTES (TS_MODEL_CONSTANT_BYTES + TS_SPECTRUM_BYTES + TS_MEL_BYTES)

/* Results of the last hop, and their mean with earlier ones: over all of them up to TS_SCENE_SMOOTHED_HOPS, then
 * with the weight 1 / TS_SCENE_SMOOTHED_HOPS for each new one. Scores add up to 1. */
typedef struct {
    uint32_t hops; /* number of hops so far */
    int32_t label, smoothed_label;
    int8_t codes[TS_SCENE_LABELS]; /* the network's output */
    float scores[TS_SCENE_LABELS], smoothed[TS_SCENE_LABELS];
} TsSceneAnswer;

/* A stream. Memory that ts_scene_begin has not prepared is not recognised here; an exported product refuses it. */
typedef struct {
    TsLogmel stream;
    TsSceneAnswer answer;
    int8_t* arena;
    int32_t columns;  /* computed for the current hop */
    uint32_t samples; /* taken for the current hop */
    uint8_t answered;
#if TS_SCENE_OVERLAP
    int8_t ring[TS_LOGMEL_N_FRAMES][TS_LOGMEL_N_MELS]; /* the last columns */
    int32_t oldest;
#endif
} TsScene;

/* Compare the checksums of all constants with the emitted ones, as in ts_check.h: call it at start. Returns TS_OK or
 * TS_ERROR_CONSTANTS, after which nothing else may be called. */
int ts_scene_check(void);

/* The same for at most `bytes` bytes of them, from where the last step ended, in a time proportional to `bytes`.
 * Returns TS_CHECK_MORE, TS_CHECK_DONE, or TS_ERROR_CONSTANTS. */
int ts_scene_check_step(TsCheck* check, size_t bytes);

/* Begin a new stream. arena: TS_SCENE_ARENA_BYTES on a multiple of TS_MODEL_ARENA_ALIGNMENT; the scene keeps using
 * it. Returns TS_OK, TS_ERROR_NULL or TS_ERROR_ALIGN. */
int ts_scene_begin(TsScene* scene, void* arena);

/* Whether the counters of a scene are within its buffers and agree. */
int ts_scene_holds(const TsScene* scene);

/* Take samples until the network has run or there are no more; returns the number taken. */
size_t ts_scene_push(TsScene* scene, const int16_t* samples, size_t count);

/* The result of the last push, or null when no hop was complete. */
static inline const TsSceneAnswer* ts_scene_answer(const TsScene* scene) {
    return scene->answered ? &scene->answer : NULL;
}

/* Waits for at most `count` samples and returns how many it stored; 0 ends the stream. */
typedef size_t (*TsPcmRead)(void* context, int16_t* samples, size_t count);
typedef void (*TsOnAnswer)(void* context, const TsSceneAnswer* answer);

/* Classify until `pcm_read` ends, calling `on_answer` after each hop. Returns the samples after the last hop. */
uint32_t ts_scene_process_pcm(TsScene* scene, TsPcmRead pcm_read, TsOnAnswer on_answer, void* context);

#endif
