/* A scene classifier: samples or log-mel codes in, label out. Nothing is allocated; the caller owns all memory.
 *
 *     static product_state state;
 *     static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
 *
 *     if (product_init(&state, arena, heard, NULL) != PRODUCT_OK) { do not go on }
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
    PRODUCT_ERROR_GOLDEN = -5,    /* the network's answer to a known input is wrong: compiler, flags or processor */
};

/* What the callback is told. */
enum {
    PRODUCT_SELF_TEST = 0, /* status says how it ended; there are no scores */
    PRODUCT_HOP = 1,       /* PRODUCT_HOP_SAMPLES more samples have been heard */
};

typedef struct {
    int event;
    int status;             /* PRODUCT_OK or one of the errors */
    uint32_t hops;          /* answered so far */
    int32_t label;          /* of this hop; an index into PRODUCT_LABELS */
    int32_t smoothed_label; /* of the mean over the last hops */
    const float* scores;    /* PRODUCT_LABEL_COUNT, they add up to 1 */
    const float* smoothed;  /* their mean over the last PRODUCT_SMOOTHED_HOPS hops */
    const int8_t* output;   /* PRODUCT_OUTPUT_BYTES codes, as the network gave them */
} product_report;

/* The report and what it points to hold until the callback returns. */
typedef void (*product_callback)(void* context, const product_report* report);

/* One stream of audio. Its contents are nobody's business; it may be copied by no one. */
typedef struct {
    uint64_t private_words[PRODUCT_STATE_BYTES / 8];
} product_state;

/* Test constants and arithmetic, report that, and get ready for audio.
 *
 * arena: PRODUCT_ARENA_BYTES of working memory, aligned to PRODUCT_ARENA_ALIGNMENT. While audio is heard it belongs to
 * the state; else its contents mean nothing. callback may be null.
 *
 * The test runs the network once. Returns PRODUCT_OK or an error; after an error nothing else may be called. */
int product_init(product_state* state, void* arena, product_callback callback, void* context);

/* Run the network once on codes that came from elsewhere. Audio starts afresh after it.
 *
 * input: PRODUCT_INPUT_BYTES codes (band, column), real value = PRODUCT_INPUT_SCALE * (code -
 * PRODUCT_INPUT_ZERO_POINT). output: PRODUCT_OUTPUT_BYTES codes. Both lie outside the arena. */
int product_invoke(product_state* state, const int8_t* input, int8_t* output);

/* Hear `count` samples, PRODUCT_SAMPLE_RATE_HZ a second, in pieces of any length; the callback is called after each
 * hop. Returns the number of hops that were completed, or an error. */
int product_process_pcm(product_state* state, const int16_t* samples, size_t count);

#ifdef __cplusplus
}
#endif

#endif
