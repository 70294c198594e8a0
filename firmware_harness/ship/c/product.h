/* A scene classifier: samples or log-mel codes in, label out. Nothing is allocated; the caller owns all memory.
 *
 *     static product_state state;
 *     static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
 *
 *     if (product_init(&state, arena, on_report, NULL) != PRODUCT_OK) { do not go on }
 *     for each block of samples: product_process_pcm(&state, samples, count);
 */
#ifndef PRODUCT_H
#define PRODUCT_H

#include <stddef.h>
#include <stdint.h>

#include "product_sizes.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    PRODUCT_OK = 0,
    PRODUCT_ERROR_NULL = -1,      /* a pointer is null, or product_init has not succeeded */
    PRODUCT_ERROR_ALIGN = -2,     /* the arena does not begin on a multiple of PRODUCT_ARENA_ALIGNMENT bytes */
    PRODUCT_ERROR_OVERLAP = -3,   /* input or output of product_invoke lies inside the arena */
    PRODUCT_ERROR_CONSTANTS = -4, /* the constants in memory are not those that were emitted */
    PRODUCT_ERROR_GOLDEN = -5,    /* the network's output for the test input is wrong: compiler, flags or processor */
};

/* Events that the callback reports. */
enum {
    PRODUCT_SELF_TEST = 0, /* status is the result; there are no scores */
    PRODUCT_HOP = 1,       /* PRODUCT_HOP_SAMPLES more samples have been processed */
};

typedef struct {
    int event;
    int status;             /* PRODUCT_OK or one of the errors */
    uint32_t hops;          /* number of hops so far */
    int32_t label;          /* of this hop: an index into PRODUCT_LABELS */
    int32_t smoothed_label; /* of the mean over the last hops */
    const float* scores;    /* PRODUCT_LABEL_COUNT, they add up to 1 */
    const float* smoothed;  /* their mean over the last PRODUCT_SMOOTHED_HOPS hops */
    const int8_t* output;   /* PRODUCT_OUTPUT_BYTES codes: the network's output */
} product_report;

/* The report and its pointers are valid until the callback returns. */
typedef void (*product_callback)(void* context, const product_report* report);

/* One stream of audio. Opaque. Do not copy. */
typedef struct {
    uint64_t private_words[PRODUCT_STATE_BYTES / 8];
} product_state;

/* Test constants and arithmetic, report the result, and prepare for audio.
 *
 * arena: PRODUCT_ARENA_BYTES of working memory, aligned to PRODUCT_ARENA_ALIGNMENT. The state uses it as long as audio
 * is processed. callback may be null.
 *
 * The test runs the network once. Returns PRODUCT_OK or an error; after an error nothing else may be called. */
int product_init(product_state* state, void* arena, product_callback callback, void* context);

/* Run the network once on given codes. The stream of audio begins anew after it.
 *
 * input: PRODUCT_INPUT_BYTES codes (band, column), real value = PRODUCT_INPUT_SCALE * (code -
 * PRODUCT_INPUT_ZERO_POINT). output: PRODUCT_OUTPUT_BYTES codes. Both must be outside the arena. */
int product_invoke(product_state* state, const int8_t* input, int8_t* output);

/* Process `count` samples at PRODUCT_SAMPLE_RATE_HZ, in pieces of any length; the callback is called after each hop.
 * Returns the number of completed hops, or an error. */
int product_process_pcm(product_state* state, const int16_t* samples, size_t count);

#ifdef __cplusplus
}
#endif

#endif
