/* From samples to a scene: log-mel, network, scores, and their mean over the last hops.
 *
 * Every TS_SCENE_HOP_SAMPLES samples the network answers. When a hop is as long as the clip that the network sees, each
 * clip stands for itself, mirrored at both ends, as `tinyscene run` does it. When it is shorter, clips overlap and
 * share their columns: only the very first is mirrored at its start, none at its end, and an answer comes half a window
 * later.
 *
 * With interrupts or another task filling a buffer, call ts_scene_push on what is there; where a function can wait for
 * samples, hand it to ts_scene_process_pcm. */
#ifndef TS_SCENE_H
#define TS_SCENE_H

#include "model.h"
#include "ts_logmel.h"

#if TS_MODEL_INPUT_BYTES != TS_LOGMEL_N_MELS * TS_LOGMEL_N_FRAMES
#error "this front end does not make the input of this model"
#endif

enum { TS_SCENE_LABELS = TS_MODEL_OUTPUT_BYTES };

#define TS_SCENE_OVERLAP (TS_SCENE_HOP_SAMPLES < TS_LOGMEL_CLIP_SAMPLES)

/* The spectrum is computed in the network's arena, which is idle then. Without overlap the columns are written to the
 * network's input there too, and the spectrum beside them. */
#define TS_SCENE_SCRATCH_BYTES (4 * TS_LOGMEL_N_FFT)
#define TS_SCENE_BESIDE_INPUT                                                                                          \
    ((TS_MODEL_INPUT_OFFSET + TS_MODEL_INPUT_BYTES + TS_MODEL_ARENA_ALIGNMENT - 1) / TS_MODEL_ARENA_ALIGNMENT *        \
     TS_MODEL_ARENA_ALIGNMENT)
#define TS_SCENE_SCRATCH_OFFSET                                                                                        \
    (TS_SCENE_OVERLAP || TS_MODEL_INPUT_OFFSET >= TS_SCENE_SCRATCH_BYTES ? 0 : TS_SCENE_BESIDE_INPUT)
#define TS_SCENE_SCRATCH_END (TS_SCENE_SCRATCH_OFFSET + TS_SCENE_SCRATCH_BYTES)
#define TS_SCENE_ARENA_BYTES (TS_SCENE_SCRATCH_END > TS_MODEL_ARENA_BYTES ? TS_SCENE_SCRATCH_END : TS_MODEL_ARENA_BYTES)

/* What the network said of the last hop, and the mean with those before: over all of them while they are at most
 * TS_SCENE_SMOOTHED_HOPS, after that each new one counts for one in as many. Scores add up to 1. */
typedef struct {
    uint32_t hops; /* answered so far */
    int32_t label, smoothed_label;
    int8_t codes[TS_SCENE_LABELS]; /* the network's output as it is */
    float scores[TS_SCENE_LABELS], smoothed[TS_SCENE_LABELS];
} TsSceneAnswer;

typedef struct {
    TsLogmel stream;
    TsSceneAnswer answer;
    int8_t* arena;
    int32_t columns;  /* made for the hop under way */
    uint32_t samples; /* taken for the hop under way */
    uint8_t answered;
#if TS_SCENE_OVERLAP
    int8_t ring[TS_LOGMEL_N_FRAMES][TS_LOGMEL_N_MELS]; /* the last columns */
    int32_t oldest;
#endif
} TsScene;

/* Start afresh. arena: TS_SCENE_ARENA_BYTES on a multiple of TS_MODEL_ARENA_ALIGNMENT, kept in use by the scene.
 * Returns TS_OK, TS_ERROR_NULL or TS_ERROR_ALIGN. */
int ts_scene_begin(TsScene* scene, void* arena);

/* Take samples until the network has answered or there are no more; returns how many were taken. */
size_t ts_scene_push(TsScene* scene, const int16_t* samples, size_t count);

/* What the last push led to, or null when no hop was complete. */
static inline const TsSceneAnswer* ts_scene_answer(const TsScene* scene) {
    return scene->answered ? &scene->answer : NULL;
}

/* Waits for at most `count` samples and returns how many it stored; 0 ends the stream. */
typedef size_t (*TsPcmRead)(void* context, int16_t* samples, size_t count);
typedef void (*TsHeard)(void* context, const TsSceneAnswer* answer);

/* Listen until `pcm_read` ends, calling `heard` after each hop. Returns the samples left over after the last hop. */
uint32_t ts_scene_process_pcm(TsScene* scene, TsPcmRead pcm_read, TsHeard heard, void* context);

#endif
