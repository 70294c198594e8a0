/* Arguments that ts_model_invoke accepts and refuses for two inputs and two outputs. Returns 0, or the line of the
 * first wrong result. */
#include <string.h>

#include "model.h"

#define REQUIRE(condition)                                                                                             \
    if (!(condition))                                                                                                  \
    return __LINE__

static int8_t arena[TS_MODEL_ARENA_BYTES + TS_MODEL_ARENA_ALIGNMENT] __attribute__((aligned(64)));
static int8_t image[TS_MODEL_INPUT_0_BYTES], other[TS_MODEL_INPUT_1_BYTES];
static int8_t mean[2][TS_MODEL_OUTPUT_0_BYTES], total[2][TS_MODEL_OUTPUT_1_BYTES];

static int run(const int8_t* first, const int8_t* second, int8_t* to, int8_t* also_to, int8_t* memory) {
    const int8_t* const inputs[TS_MODEL_INPUTS] = {first, second};
    int8_t* const outputs[TS_MODEL_OUTPUTS] = {to, also_to};
    return ts_model_invoke(inputs, outputs, memory);
}

int main(void) {
    const int8_t* const inputs[TS_MODEL_INPUTS] = {image, other};
    int8_t* const outputs[TS_MODEL_OUTPUTS] = {mean[0], total[0]};
    memset(image, 7, sizeof image);
    memset(other, -9, sizeof other);
    REQUIRE(ts_model_check() == TS_OK);
    REQUIRE(ts_model_invoke(NULL, outputs, arena) == TS_ERROR_NULL);
    REQUIRE(ts_model_invoke(inputs, NULL, arena) == TS_ERROR_NULL);
    REQUIRE(ts_model_invoke(inputs, outputs, NULL) == TS_ERROR_NULL);
    REQUIRE(run(image, NULL, mean[0], total[0], arena) == TS_ERROR_NULL);
    REQUIRE(run(image, other, mean[0], NULL, arena) == TS_ERROR_NULL);
    REQUIRE(run(image, other, mean[0], total[0], arena + 1) == TS_ERROR_ALIGN);
    REQUIRE(run(image, arena + TS_MODEL_INPUT_1_OFFSET + 1, mean[0], total[0], arena) == TS_ERROR_OVERLAP);
    REQUIRE(run(image, other, mean[0], arena + TS_MODEL_ARENA_BYTES - 1, arena) == TS_ERROR_OVERLAP);
    for (size_t i = 0; i < sizeof arena; ++i) {
        REQUIRE(arena[i] == 0); /* a refused call does not write */
    }
    REQUIRE(run(image, other, mean[0], total[0], arena + TS_MODEL_ARENA_ALIGNMENT) == TS_OK);
    memset(arena, -1, sizeof arena);
    memcpy(arena + TS_MODEL_INPUT_0_OFFSET, image, sizeof image);
    memcpy(arena + TS_MODEL_INPUT_1_OFFSET, other, sizeof other);
    REQUIRE(run(arena + TS_MODEL_INPUT_0_OFFSET, arena + TS_MODEL_INPUT_1_OFFSET, mean[1], total[1], arena) == TS_OK);
    REQUIRE(memcmp(mean[0], mean[1], sizeof mean[0]) == 0 && memcmp(total[0], total[1], sizeof total[0]) == 0);
    return 0;
}
