/* The classifier as a WebAssembly module without imports: one stream, in the module's own memory.
 *
 * Exported functions take and return numbers. Those whose name ends in _at return an address in the exported memory,
 * where the caller writes samples and codes, and reads results; an address never changes. */
#include <stddef.h>
#include <stdint.h>

static void keep_column(const int8_t* codes, int32_t stride);
#define TS_COLUMN(codes, stride) keep_column(codes, stride)
#include "product.c"

#define EXPORTED(name) __attribute__((export_name(#name), visibility("default")))

/* A call completes at most one hop, and the mirrored columns at the end of a clip are less than another clip's. */
enum { MAX_SAMPLES = PRODUCT_HOP_SAMPLES, MAX_COLUMNS = 2 * TS_LOGMEL_N_FRAMES, BANDS = TS_LOGMEL_N_MELS };

/* What the wrapper reads after a call: numbers first, then scores, so that there is no padding. */
typedef struct {
    uint32_t hops;
    int32_t label, smoothed_label;
    float scores[PRODUCT_LABEL_COUNT], smoothed[PRODUCT_LABEL_COUNT];
    int8_t codes[PRODUCT_OUTPUT_BYTES];
} Result;

static product_state stream;
static int8_t arena[PRODUCT_ARENA_BYTES] __attribute__((aligned(PRODUCT_ARENA_ALIGNMENT)));
static int16_t given_samples[MAX_SAMPLES];
static int8_t given_codes[PRODUCT_INPUT_BYTES], returned_codes[PRODUCT_OUTPUT_BYTES];
static int8_t columns[MAX_COLUMNS][BANDS];
static int32_t column_count;
static Result result;

static void keep_column(const int8_t* codes, int32_t stride) {
    if (column_count < MAX_COLUMNS) {
        for (int32_t band = 0; band < BANDS; ++band) {
            columns[column_count][band] = codes[band * stride];
        }
        ++column_count;
    }
}

static void keep_result(void* context, const product_report* report) {
    (void)context;
    if (report->event != PRODUCT_HOP) {
        return;
    }
    result.hops = report->hops;
    result.label = report->label;
    result.smoothed_label = report->smoothed_label;
    memcpy(result.scores, report->scores, sizeof result.scores);
    memcpy(result.smoothed, report->smoothed, sizeof result.smoothed);
    memcpy(result.codes, report->output, sizeof result.codes);
}

/* Test constants and arithmetic, and begin a new stream: PRODUCT_OK or an error of the header. */
EXPORTED(begin) int32_t module_begin(void);
int32_t module_begin(void) {
    column_count = 0;
    return product_init(&stream, arena, keep_result, NULL);
}

/* Process the first `count` of the given samples, at most a hop: the number of completed hops, 0 or 1, or an error. */
EXPORTED(push) int32_t module_push(uint32_t count);
int32_t module_push(uint32_t count) {
    column_count = 0;
    return product_process_pcm(&stream, given_samples, count < MAX_SAMPLES ? count : MAX_SAMPLES);
}

/* Run the network once, from the given codes to the returned ones; the stream begins anew. PRODUCT_OK or an error. */
EXPORTED(invoke) int32_t module_invoke(void);
int32_t module_invoke(void) {
    return product_invoke(&stream, given_codes, returned_codes);
}

/* Test at most `bytes` bytes of the constants: see the header. */
EXPORTED(check_step) int32_t module_check_step(uint32_t bytes);
int32_t module_check_step(uint32_t bytes) {
    return product_check_step(&stream, bytes);
}

/* Columns that the last call computed, of one code for each band, and how many. */
EXPORTED(columns_at) const int8_t* module_columns_at(void);
const int8_t* module_columns_at(void) {
    return columns[0];
}

EXPORTED(columns_computed) int32_t module_columns_computed(void);
int32_t module_columns_computed(void) {
    return column_count;
}

EXPORTED(samples_at) int16_t* module_samples_at(void);
int16_t* module_samples_at(void) {
    return given_samples;
}

EXPORTED(input_at) int8_t* module_input_at(void);
int8_t* module_input_at(void) {
    return given_codes;
}

EXPORTED(output_at) const int8_t* module_output_at(void);
const int8_t* module_output_at(void) {
    return returned_codes;
}

EXPORTED(result_at) const Result* module_result_at(void);
const Result* module_result_at(void) {
    return &result;
}

/* The digest of the model, which the wrapper compares with its own. */
EXPORTED(digest_at) const char* module_digest_at(void);
const char* module_digest_at(void) {
    return PRODUCT_DIGEST;
}
