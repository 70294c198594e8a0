/* Sums and means, and the largest or the smallest code, over any axes. */
#include "ts_inner.h"

#ifdef TS_ROUNDING_SINGLE

static int8_t code(const TsMean* layer, int32_t total) {
    const float low = (float)(layer->out.low + layer->out.zero_point);
    const float high = (float)(layer->out.high + layer->out.zero_point);
    return (int8_t)ts_round((float)total * layer->factor + layer->offset, low, high);
}

#else

static int8_t code(const TsMean* layer, int32_t total) {
    return ts_requantise(total - layer->count * layer->in_zero_point, &layer->rescale, &layer->out);
}

#endif

void ts_mean(const TsMean* layer, const int8_t* x, int8_t* out) {
    const TsMean constants = *layer;
    for (int32_t i = 0; i < constants.size; ++i) {
        const int8_t* from = x;
        int32_t total = 0;
        for (int32_t left = constants.count; left > 0; --left) {
            total += *from;
            from += constants.step;
        }
        out[i] = code(&constants, total);
        x += constants.stride;
    }
}

/* Move to the next output: how far its elements are from those of the one before. `at` counts along the axes. */
static int32_t next_kept(const int32_t* sizes, const int32_t* steps, int32_t* at) {
    int32_t distance = 0;
    for (int32_t axis = TS_AXES - 1; axis >= 0; --axis) {
        distance += steps[axis];
        if (++at[axis] < sizes[axis]) {
            break;
        }
        distance -= sizes[axis] * steps[axis];
        at[axis] = 0;
    }
    return distance;
}

void ts_reduce(const TsReduce* layer, const int8_t* x, int8_t* out) {
    const int32_t* kept = TS_ARRAY(int32_t, &layer->axes, sizes);
    const int32_t* kept_steps = TS_ARRAY(int32_t, &layer->axes, steps);
    const int32_t *sizes = kept + TS_AXES, *steps = kept_steps + TS_AXES;
    int32_t at[TS_AXES] = {0};
    for (int32_t n = 0; n < layer->mean.size; ++n) {
        int32_t total = 0;
        for (int32_t i = 0; i < sizes[0]; ++i) {
            for (int32_t j = 0; j < sizes[1]; ++j) {
                const int8_t* from = x + i * steps[0] + j * steps[1];
                for (int32_t left = sizes[2]; left > 0; --left) {
                    total += *from;
                    from += steps[2];
                }
            }
        }
        *out++ = code(&layer->mean, total);
        x += next_kept(kept, kept_steps, at);
    }
}

/* ~code reverses the order of the codes, so that the smallest is found as the largest. */
void ts_extreme(const TsExtreme* layer, const int8_t* x, int8_t* out) {
    const int32_t* kept = TS_ARRAY(int32_t, &layer->axes, sizes);
    const int32_t* kept_steps = TS_ARRAY(int32_t, &layer->axes, steps);
    const int32_t *sizes = kept + TS_AXES, *steps = kept_steps + TS_AXES;
    const int32_t flip = layer->flip;
    int32_t at[TS_AXES] = {0};
    for (int32_t n = 0; n < layer->size; ++n) {
        int32_t largest = INT8_MIN;
        for (int32_t i = 0; i < sizes[0]; ++i) {
            for (int32_t j = 0; j < sizes[1]; ++j) {
                const int8_t* from = x + i * steps[0] + j * steps[1];
                for (int32_t left = sizes[2]; left > 0; --left) {
                    largest = ts_max(largest, *from ^ flip);
                    from += steps[2];
                }
            }
        }
        *out++ = (int8_t)(largest ^ flip);
        x += next_kept(kept, kept_steps, at);
    }
}
