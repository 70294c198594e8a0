#ifdef PRODUCT_AUDIO
/* A scene classifier: samples or log-mel codes in, label out. Nothing is allocated; the caller owns all memory.
 *
 *     static product_state state;
 *     static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
 *
 *     if (product_init(&state, arena, on_report, NULL) != PRODUCT_OK) { do not go on }
 *     for each block of samples: product_process_pcm(&state, samples, count);
 */
#else
/* An int8 network: codes in, codes out. Nothing is allocated; the caller owns all memory.
 *
 *     static product_state state;
 *     static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
 *
 *     if (product_init(&state, arena, NULL, NULL) != PRODUCT_OK) { do not go on }
 *     for each inference: product_invoke(&state, ...);
 */
#endif
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
    PRODUCT_ERROR_NULL = -1,      /* a pointer is null */
    PRODUCT_ERROR_ALIGN = -2,     /* the arena does not begin on a multiple of PRODUCT_ARENA_ALIGNMENT bytes */
    PRODUCT_ERROR_OVERLAP = -3,   /* input or output of product_invoke lies inside the arena */
    PRODUCT_ERROR_CONSTANTS = -4, /* the constants in memory are not those that were emitted */
    PRODUCT_ERROR_GOLDEN = -5,    /* the network's output for the test input is wrong: compiler, flags or processor */
    PRODUCT_ERROR_STATE = -6,     /* the state is not initialised, another model's, copied, or damaged */
    PRODUCT_ERROR_NO_GUARD = -7,  /* this processor has no stack limit and no memory protection unit */
    PRODUCT_ERROR_IMAGE = -8,     /* code or constants of the sealed image are not those that were linked */
};

/* Results of product_check_step. */
enum {
    PRODUCT_CHECK_MORE = 0, /* no damage so far */
    PRODUCT_CHECK_DONE = 1, /* no damage in all that is checked; the next call begins anew */
};

#ifdef PRODUCT_AUDIO
/* Events that the callback reports. */
enum {
    PRODUCT_SELF_TEST = 0, /* status is the result, or an error of product_check_step; there are no scores */
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
#else
/* Events that the callback reports. */
enum {
    PRODUCT_SELF_TEST = 0, /* status is the result, or an error of product_check_step */
};

typedef struct {
    int event;
    int status; /* PRODUCT_OK or one of the errors */
} product_report;

/* The report is valid until the callback returns. */
typedef void (*product_callback)(void* context, const product_report* report);

/* The network in its arena. Opaque. Do not copy. */
#endif
typedef struct {
    uint64_t private_words[PRODUCT_STATE_BYTES / 8];
} product_state;

#ifdef PRODUCT_AUDIO
/* Test constants, then arithmetic, report the result, and prepare for audio.
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

/* Test at most `bytes` bytes of the constants, from where the last call ended, in a time proportional to `bytes`. Call
 * it periodically, for example once per block of samples; all constants, layer records and tables of the front end
 * included, are PRODUCT_CONSTANT_BYTES. In a sealed image its code and all of .rodata follow.
 *
 * Returns PRODUCT_CHECK_MORE, PRODUCT_CHECK_DONE, or an error. Damage is reported through the callback too, and after
 * it every call returns PRODUCT_ERROR_STATE until product_init succeeds again. */
int product_check_step(product_state* state, size_t bytes);

/* Called after each layer of the network, each column of the front end, and each 1,024 bytes of constants tested. The
 * default does nothing; define a function of this name to reset a watchdog timer. */
#else
#ifdef PRODUCT_KEPT_BYTES
/* Test constants, then arithmetic, report the result, and begin a sequence of runs.
 *
 * arena: PRODUCT_ARENA_BYTES of working memory, aligned to PRODUCT_ARENA_ALIGNMENT. Between calls it keeps what each
 * run hands to the next one, PRODUCT_KEPT_BYTES, so that no other code may use it. callback may be null.
 *
 * The test runs the network once. Returns PRODUCT_OK or an error; after an error nothing else may be called. */
int product_init(product_state* state, void* arena, product_callback callback, void* context);

/* Begin another sequence, as after product_init: the next run reads what the first one did. Returns PRODUCT_OK or an
 * error. */
int product_reset(product_state* state);
#else
/* Test constants, then arithmetic, and report the result.
 *
 * arena: PRODUCT_ARENA_BYTES of working memory, aligned to PRODUCT_ARENA_ALIGNMENT. It keeps nothing between calls,
 * so that other code may use it then. callback may be null.
 *
 * The test runs the network once. Returns PRODUCT_OK or an error; after an error nothing else may be called. */
int product_init(product_state* state, void* arena, product_callback callback, void* context);
#endif

#ifdef PRODUCT_INPUTS
/* Run the network once. Real value = PRODUCT_INPUT_<i>_SCALE * (code - PRODUCT_INPUT_<i>_ZERO_POINT); likewise OUTPUT.
 *
 * inputs: PRODUCT_INPUTS pointers to the codes of each input, in the order of PRODUCT_INPUT_<i>_SHAPE, an image as
 * (height, width, channels). Each may lie anywhere outside the arena, or at arena + PRODUCT_INPUT_<i>_OFFSET, where
 * room is reserved for it; there the run overwrites it. outputs: PRODUCT_OUTPUTS pointers to where the codes of each
 * output go, outside the arena. PRODUCT_INPUT_SIZES and PRODUCT_OUTPUT_SIZES are initialisers of arrays of sizes. */
int product_invoke(product_state* state, const int8_t* const* inputs, int8_t* const* outputs);
#else
/* Run the network once. Real value = PRODUCT_INPUT_SCALE * (code - PRODUCT_INPUT_ZERO_POINT); likewise OUTPUT.
 *
 * input: PRODUCT_INPUT_BYTES codes in the order of PRODUCT_INPUT_SHAPE, an image as (height, width, channels). It may
 * lie anywhere outside the arena, or at arena + PRODUCT_INPUT_OFFSET, where room is reserved for it; there the run
 * overwrites it. output: PRODUCT_OUTPUT_BYTES codes, outside the arena. */
int product_invoke(product_state* state, const int8_t* input, int8_t* output);
#endif

/* Test at most `bytes` bytes of the constants, from where the last call ended, in a time proportional to `bytes`. Call
 * it periodically, for example once per inference; all constants, layer records included, are PRODUCT_CONSTANT_BYTES.
 * In a sealed image its code and all of .rodata follow.
 *
 * Returns PRODUCT_CHECK_MORE, PRODUCT_CHECK_DONE, or an error. Damage is reported through the callback too, and after
 * it every call returns PRODUCT_ERROR_STATE until product_init succeeds again. */
int product_check_step(product_state* state, size_t bytes);

/* Called after each layer of the network, and each 1,024 bytes of constants tested. The default does nothing; define a
 * function of this name to reset a watchdog timer. */
#endif
void product_alive(void);

/* Make an overflow of the main stack a fault, from the lowest address of the stack on: the stack limit of Armv8-M
 * Mainline, or the last region of the memory protection unit of Armv6-M and Armv7-M. Call it in privileged mode, before
 * product_init. Stacks of an operating system's threads need its own guard. Returns PRODUCT_OK or
 * PRODUCT_ERROR_NO_GUARD. */
int product_guard_stack(const void* lowest);

#ifdef __cplusplus
}
#endif

#endif
