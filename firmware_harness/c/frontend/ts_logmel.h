/* Log-mel of a stream of samples, column by column, as int8 codes that are the network's input.
 *
 *     ts_logmel_begin(&stream);
 *     for each piece of audio, of any length:
 *         while (count > 0) {
 *             const size_t taken = ts_logmel_push(&stream, samples, count);
 *             samples += taken, count -= taken;
 *             if (ts_logmel_ready(&stream)) ts_logmel_column(&stream, &scratch, codes, stride);
 *         }
 *     at the end of the clip, if the stream has one:
 *         while (ts_logmel_end(&stream) == TS_LOGMEL_MORE) ts_logmel_column(&stream, &scratch, codes, stride);
 *
 * Column k is centred on sample k * TS_LOGMEL_HOP_LENGTH and is ready one sample after the last it covers (two with
 * pre-emphasis, which reads one ahead). Before its first and after its last sample the signal is mirrored. The result
 * does not depend on how the audio is split into pieces. */
#ifndef TS_LOGMEL_H
#define TS_LOGMEL_H

#include <stddef.h>
#include <stdint.h>

#include "frontend.h"

#if defined(TS_LOGMEL_INTEGER) && defined(TS_LOGMEL_PRE_EMPHASIS)
#define TS_LOGMEL_AHEAD 1 /* samples that pre-emphasis reads ahead */
#else
#define TS_LOGMEL_AHEAD 0
#endif

enum {
    TS_LOGMEL_HELD = TS_LOGMEL_WIN_LENGTH + 2 + TS_LOGMEL_AHEAD, /* a window and one sample on each side of it */

    TS_LOGMEL_MORE = 1,
    TS_LOGMEL_DONE = 0,
    TS_LOGMEL_TOO_SHORT = -1, /* less than TS_LOGMEL_MIN_SAMPLES samples cannot be mirrored */
};

/* State between calls. */
#ifdef TS_LOGMEL_INTEGER
typedef int16_t TsLogmelSample;

typedef struct {
    TsLogmelSample samples[TS_LOGMEL_HELD];
    int32_t filled;
    int32_t first, last; /* the signal is mirrored below the first and above the last */
    uint8_t started;     /* whether a column has been ready */
} TsLogmel;

typedef int32_t TsLogmelValue;
#else
typedef float TsLogmelSample;

typedef struct {
    TsLogmelSample samples[TS_LOGMEL_HELD]; /* after pre-emphasis, in units of an int16 step */
    int32_t filled;
    float newest;    /* with pre-emphasis: the sample whose successor has not arrived */
    uint8_t waiting; /* whether `newest` is such a sample */
    uint8_t started; /* whether the start has been mirrored */
} TsLogmel;

typedef float TsLogmelValue;
#endif

/* Memory used during a call only; it may be the arena of the network while that does not run. */
typedef struct {
    TsLogmelValue values[TS_LOGMEL_N_FFT];
} TsLogmelScratch;

void ts_logmel_begin(TsLogmel* stream);

/* Take samples until a column is ready; returns how many were taken, none when one is ready already. */
size_t ts_logmel_push(TsLogmel* stream, const int16_t* samples, size_t count);

static inline int ts_logmel_ready(const TsLogmel* stream) {
    return stream->filled == TS_LOGMEL_HELD;
}

/* Samples taken that are not in the window yet. */
static inline int32_t ts_logmel_waiting(const TsLogmel* stream) {
#ifdef TS_LOGMEL_INTEGER
    (void)stream;
    return 0;
#else
    return stream->waiting;
#endif
}

/* Whether the counters of a stream that no clip has ended are within its buffer. */
int ts_logmel_holds(const TsLogmel* stream);

/* Compute the column that is ready and move on to the next: band i becomes codes[i * stride]. */
void ts_logmel_column(TsLogmel* stream, TsLogmelScratch* scratch, int8_t* codes, int32_t stride);

/* End of the samples: make the next column ready (TS_LOGMEL_MORE), or return why there is none. */
int ts_logmel_end(TsLogmel* stream);

#endif
