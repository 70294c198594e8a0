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
    for (int32_t i = 0; i < layer->size; ++i) {
        int32_t total = 0;
        for (int32_t j = 0; j < layer->count; ++j) {
            total += x[i * layer->stride + j * layer->step];
        }
        out[i] = code(layer, total);
    }
}

/* Three axes of x, outermost first. */
typedef struct {
    const int32_t* sizes;
    const int32_t* steps;
} Axes;

static Axes kept_axes(const TsAxes* axes) {
    const Axes kept = {TS_ARRAY(int32_t, axes, sizes), TS_ARRAY(int32_t, axes, steps)};
    return kept;
}

static Axes reduced_axes(const TsAxes* axes) {
    const Axes reduced = {TS_ARRAY(int32_t, axes, sizes) + TS_AXES, TS_ARRAY(int32_t, axes, steps) + TS_AXES};
    return reduced;
}

/* Element i of the axes, counted in order. */
static int32_t place(Axes axes, int32_t i) {
    const int32_t inner = i % axes.sizes[2];
    const int32_t middle = i / axes.sizes[2] % axes.sizes[1];
    const int32_t outer = i / axes.sizes[2] / axes.sizes[1];
    return outer * axes.steps[0] + middle * axes.steps[1] + inner * axes.steps[2];
}

void ts_reduce(const TsReduce* layer, const int8_t* x, int8_t* out) {
    const Axes kept = kept_axes(&layer->axes);
    const Axes reduced = reduced_axes(&layer->axes);
    for (int32_t i = 0; i < layer->mean.size; ++i) {
        const int8_t* from = x + place(kept, i);
        int32_t total = 0;
        for (int32_t j = 0; j < layer->mean.count; ++j) {
            total += from[place(reduced, j)];
        }
        out[i] = code(&layer->mean, total);
    }
}

/* ~code reverses the order of the codes, so that the smallest is found as the largest. */
void ts_extreme(const TsExtreme* layer, const int8_t* x, int8_t* out) {
    const Axes kept = kept_axes(&layer->axes);
    const Axes reduced = reduced_axes(&layer->axes);
    for (int32_t i = 0; i < layer->size; ++i) {
        const int8_t* from = x + place(kept, i);
        int32_t largest = INT8_MIN;
        for (int32_t j = 0; j < layer->count; ++j) {
            largest = ts_max(largest, from[place(reduced, j)] ^ layer->flip);
        }
        out[i] = (int8_t)(largest ^ layer->flip);
    }
}
