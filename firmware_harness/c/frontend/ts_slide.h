/* Move the window of a stream by one hop, in both arithmetics of the log-mel front end; internal to it. */
#ifndef TS_SLIDE_H
#define TS_SLIDE_H

#include "ts_logmel.h"

/* Eight samples, copied as one by instructions that move several words. */
typedef struct {
    TsLogmelSample values[8];
} TsSlideBlock;

/* Shift all samples down, the lowest first; the first `moved` are there already. */
static inline void ts_slide(TsLogmel* stream, size_t moved) {
    enum { KEPT = TS_LOGMEL_HELD - TS_LOGMEL_HOP_LENGTH, STEP = TS_LOGMEL_HOP_LENGTH < 8 ? 1 : 8 };
    TsLogmelSample *samples = stream->samples + moved, *const end = stream->samples + KEPT;
    if (STEP == 8) {
        for (; samples <= end - STEP; samples += STEP) {
            *(TsSlideBlock*)samples = *(const TsSlideBlock*)(samples + TS_LOGMEL_HOP_LENGTH);
        }
    }
    for (; samples < end; ++samples) {
        *samples = samples[TS_LOGMEL_HOP_LENGTH];
    }
    stream->filled -= TS_LOGMEL_HOP_LENGTH;
}

#endif
