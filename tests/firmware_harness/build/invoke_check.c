/* Arguments that ts_model_invoke accepts and refuses. Returns 0, or the line of the first wrong result. */
#include <string.h>

#include "model.h"

#define REQUIRE(condition)                                                                                             \
    if (!(condition))                                                                                                  \
    return __LINE__

static int8_t arena[TS_MODEL_ARENA_BYTES + TS_MODEL_ARENA_ALIGNMENT] __attribute__((aligned(64)));
static int8_t input[TS_MODEL_INPUT_BYTES];
static int8_t apart[TS_MODEL_OUTPUT_BYTES];
static int8_t inside[TS_MODEL_OUTPUT_BYTES];

int main(void) {
    TsCheck progress = {0, 0, 0};
    int steps = 1;
    REQUIRE(ts_model_check() == TS_OK);
    for (int status; (status = ts_model_check_step(&progress, 100)) != TS_CHECK_DONE; ++steps) {
        REQUIRE(status == TS_CHECK_MORE && steps <= TS_MODEL_CONSTANT_BYTES / 100);
    }
    REQUIRE(steps == (TS_MODEL_CONSTANT_BYTES + 99) / 100 && progress.at == 0);
    progress.at = TS_MODEL_CONSTANT_BYTES + 1; /* damaged */
    REQUIRE(ts_model_check_step(&progress, 1) == TS_ERROR_CONSTANTS);
    memset(input, 7, sizeof input);
    REQUIRE(ts_model_invoke(NULL, apart, arena) == TS_ERROR_NULL);
    REQUIRE(ts_model_invoke(input, NULL, arena) == TS_ERROR_NULL);
    REQUIRE(ts_model_invoke(input, apart, NULL) == TS_ERROR_NULL);
    REQUIRE(ts_model_invoke(input, apart, arena + 1) == TS_ERROR_ALIGN);
    REQUIRE(ts_model_invoke(input, arena, arena) == TS_ERROR_OVERLAP);
    REQUIRE(ts_model_invoke(input, arena + TS_MODEL_ARENA_BYTES - 1, arena) == TS_ERROR_OVERLAP);
    REQUIRE(ts_model_invoke(arena + TS_MODEL_INPUT_OFFSET + 1, apart, arena) == TS_ERROR_OVERLAP);
    for (size_t i = 0; i < sizeof arena; ++i) {
        REQUIRE(arena[i] == 0); /* a refused call does not write */
    }
    REQUIRE(ts_model_invoke(input, apart, arena + TS_MODEL_ARENA_ALIGNMENT) == TS_OK);
    REQUIRE(input[0] == 7 && memcmp(input, input + 1, sizeof input - 1) == 0);
    memset(arena, -1, sizeof arena);
    memcpy(arena + TS_MODEL_INPUT_OFFSET, input, sizeof input);
    REQUIRE(ts_model_invoke(arena + TS_MODEL_INPUT_OFFSET, inside, arena) == TS_OK);
    REQUIRE(memcmp(apart, inside, sizeof apart) == 0);
    return 0;
}
