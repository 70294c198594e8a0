/* The sliding window over the stream of int16 samples, in integer arithmetic.
 *
 * samples[1] is the first of the window, samples[CENTRE] its middle, where sample 0 of the clip is at the beginning.
 * The signal is mirrored when the window is read: below index `first`, and above index `last`. With pre-emphasis one
 * more sample is held, which the newest one needs. */
#include "ts_logmel.h"

#include <string.h>

#include "ts_mel.h"
#include "ts_slide.h"

enum { HALF = TS_LOGMEL_WIN_LENGTH / 2, CENTRE = 1 + HALF, AHEAD = TS_LOGMEL_AHEAD };

void ts_logmel_begin(TsLogmel* stream) {
    memset(stream, 0, sizeof *stream);
    stream->filled = CENTRE;
    stream->first = CENTRE;
    stream->last = TS_LOGMEL_WIN_LENGTH;
}

size_t ts_logmel_push(TsLogmel* stream, const int16_t* samples, size_t count) {
    const size_t room = (size_t)(TS_LOGMEL_HELD - stream->filled);
    const size_t taken = count < room ? count : room;
    memcpy(stream->samples + stream->filled, samples, taken * sizeof samples[0]);
    stream->filled += (int32_t)taken;
    stream->started |= (uint8_t)ts_logmel_ready(stream);
    return taken;
}

void ts_logmel_column(TsLogmel* stream, TsLogmelScratch* scratch, int8_t* codes, int32_t stride) {
    TsComplex* bins = (TsComplex*)scratch->values;
    ts_spectrum(stream, bins);
    ts_mel_codes(bins, codes, stride);
    ts_slide(stream, 0);
    stream->first = stream->first < TS_LOGMEL_HOP_LENGTH ? 0 : stream->first - TS_LOGMEL_HOP_LENGTH;
}

int ts_logmel_end(TsLogmel* stream) {
    if (!stream->started) {
        return TS_LOGMEL_TOO_SHORT;
    }
    if (stream->filled - AHEAD < CENTRE) {
        return TS_LOGMEL_DONE;
    }
    stream->last = stream->filled - AHEAD - 1;
    return TS_LOGMEL_MORE;
}

int ts_logmel_holds(const TsLogmel* stream) {
    return stream->filled >= 0 && stream->filled < TS_LOGMEL_HELD && stream->first >= 0 && stream->first <= CENTRE &&
           stream->last == TS_LOGMEL_WIN_LENGTH && stream->started <= 1;
}
