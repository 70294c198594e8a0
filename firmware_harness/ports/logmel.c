/* Test program: the log-mel front end alone, on the clips of vectors.bin, in the pieces given in it.
 *
 * A clip is int32 pieces, and each of these int32 samples and the samples as int16. codes.bin gets a 1 before each
 * column, and after the last a 0, or a 2 if the clip was too short. On an emulator the clocks of the last clip are
 * printed, without file access. */
#include "ts_logmel.h"
#include "ts_port.h"

#ifdef TS_COUNT
#include "counter.h"
#include "number.h"
#endif

enum { MAX_SAMPLES = TS_LOGMEL_CLIP_SAMPLES };
enum { MARK_END = 0, MARK_COLUMN = 1, MARK_TOO_SHORT = 2 };

static TsLogmel stream;
static TsLogmelScratch scratch;
static int16_t piece[MAX_SAMPLES];
static int8_t columns[TS_LOGMEL_N_FRAMES][1 + TS_LOGMEL_N_MELS];
static int32_t n_columns;
static int result, failed;
static uint64_t clocks;

static void write_columns(void) {
    failed |= ts_port_write(result, columns, (size_t)n_columns * sizeof columns[0]);
    n_columns = 0;
}

static void take_column(void) {
    if (n_columns == TS_LOGMEL_N_FRAMES) {
        write_columns();
    }
    columns[n_columns][0] = MARK_COLUMN;
    ts_logmel_column(&stream, &scratch, &columns[n_columns++][1], 1);
}

static void push(size_t count) {
    for (size_t at = 0; at < count;) {
        at += ts_logmel_push(&stream, piece + at, count - at);
        if (ts_logmel_ready(&stream)) {
            take_column();
        }
    }
}

static int end(void) {
    int more;
    while ((more = ts_logmel_end(&stream)) == TS_LOGMEL_MORE) {
        take_column();
    }
    return more;
}

static void count_from_here(void) {
#ifdef TS_COUNT
    ts_counter_start();
#endif
}

static void count_to_here(void) {
#ifdef TS_COUNT
    clocks += ts_counter_stop();
#endif
}

static int one_clip(int file, int32_t pieces) {
    clocks = 0;
    ts_logmel_begin(&stream);
    for (; pieces > 0; --pieces) {
        int32_t samples;
        if (ts_port_read(file, &samples, sizeof samples) != sizeof samples || samples > MAX_SAMPLES) {
            return TS_EXIT_FILE;
        }
        const size_t bytes = (size_t)samples * sizeof piece[0];
        if (ts_port_read(file, piece, bytes) != bytes) {
            return TS_EXIT_AUDIO;
        }
        count_from_here();
        push((size_t)samples);
        count_to_here();
    }
    count_from_here();
    const int ended = end();
    count_to_here();
    write_columns();
    const int8_t mark = ended == TS_LOGMEL_TOO_SHORT ? MARK_TOO_SHORT : MARK_END;
    failed |= ts_port_write(result, &mark, 1);
    return TS_EXIT_OK;
}

int main(void) {
    const int file = ts_port_open("vectors.bin", 0);
    result = ts_port_open("codes.bin", 1);
    if (file < 0 || result < 0) {
        return TS_EXIT_FILE;
    }
    int32_t pieces;
    while (ts_port_read(file, &pieces, sizeof pieces) == sizeof pieces) {
        const int status = one_clip(file, pieces);
        if (status != TS_EXIT_OK) {
            return status;
        }
    }
#ifdef TS_COUNT
    ts_print_decimal("clocks", clocks);
#endif
    ts_port_close(result);
    return failed ? TS_EXIT_FILE : TS_EXIT_OK;
}
