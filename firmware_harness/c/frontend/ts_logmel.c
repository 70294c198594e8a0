/* The sliding window over the stream, and its mirrored ends.
 *
 * samples[1] is the first of the window, samples[CENTRE] its middle, where sample 0 of the clip is at the beginning.
 * The sample before the window is the last that mirroring the end of a clip reads, the one after it the last that
 * mirroring its beginning reads. */
#include "ts_logmel.h"

#include "ts_mel.h"
#include "ts_samples_mve.h"
#include "ts_slide.h"

enum { HALF = TS_LOGMEL_WIN_LENGTH / 2, CENTRE = 1 + HALF };

void ts_logmel_begin(TsLogmel* stream) {
    stream->filled = CENTRE;
    stream->samples[0] = 0.0f;
    stream->waiting = stream->started = 0;
}

static void mirror_start(TsLogmel* stream) {
    for (int i = 1; i <= HALF; ++i) {
        stream->samples[CENTRE - i] = stream->samples[CENTRE + i];
    }
    stream->started = 1;
}

size_t ts_logmel_push(TsLogmel* stream, const int16_t* samples, size_t count) {
    const size_t room = (size_t)(TS_LOGMEL_HELD - stream->filled);
    float* to = stream->samples + stream->filled;
    size_t first = 0;
#ifdef TS_LOGMEL_PRE_EMPHASIS
    if (!stream->waiting && count > 0) {
        stream->newest = (float)samples[0];
        stream->waiting = 1;
        first = 1;
    }
    const size_t taken = count - first < room ? count : first + room;
    float newest = stream->newest;
    for (const int16_t* from = samples + first; from < samples + taken; ++from) {
        const float before = newest;
        newest = (float)*from;
        *to++ = newest - TS_LOGMEL_PRE_EMPHASIS * before;
#ifdef TS_SAMPLES_MVE
        const size_t by_vectors =
            ts_mve_samples(to, from + 1, (size_t)(samples + taken - from - 1), TS_LOGMEL_PRE_EMPHASIS);
        to += by_vectors;
        from += by_vectors;
        newest = (float)*from;
#endif
    }
    stream->newest = newest;
#else
    const size_t taken = count < room ? count : room;
    const int16_t* from = samples;
#ifdef TS_SAMPLES_MVE
    const size_t by_vectors = ts_mve_samples(to, from, taken, 0.0f);
    to += by_vectors, from += by_vectors;
#endif
    for (; from < samples + taken; ++from) {
        *to++ = (float)*from;
    }
#endif
    stream->filled += (int32_t)(taken - first);
    if (ts_logmel_ready(stream) && !stream->started) {
        mirror_start(stream);
    }
    return taken;
}

void ts_logmel_column(TsLogmel* stream, TsLogmelScratch* scratch, int8_t* codes, int32_t stride) {
    TsComplex* bins = (TsComplex*)scratch->values;
    ts_power_spectrum(stream->samples + 1, bins);
    ts_mel_codes(bins, codes, stride);
#ifdef TS_SAMPLES_MVE
    ts_slide(stream, ts_mve_slide(stream->samples, TS_LOGMEL_HELD - TS_LOGMEL_HOP_LENGTH, TS_LOGMEL_HOP_LENGTH));
#else
    ts_slide(stream, 0);
#endif
}

int ts_logmel_end(TsLogmel* stream) {
    if (!stream->started) {
        return TS_LOGMEL_TOO_SHORT;
    }
    if (stream->filled < CENTRE) {
        return TS_LOGMEL_DONE;
    }
    for (int i = stream->filled; i <= TS_LOGMEL_WIN_LENGTH; ++i) {
        stream->samples[i] = stream->samples[2 * stream->filled - 2 - i];
    }
    return TS_LOGMEL_MORE;
}

int ts_logmel_holds(const TsLogmel* stream) {
    return stream->filled >= 0 && stream->filled < TS_LOGMEL_HELD && stream->waiting <= 1;
}
