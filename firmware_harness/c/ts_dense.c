/* Matrix products, and convolutions whose windows are contiguous in the input. */
#include "ts_dot.h"

void ts_dense(const TsDense* layer, const int8_t* x, int8_t* out) {
    const TsFilters filters = {
        layer->taps,
        layer->channels,
        TS_ARRAY(int8_t, layer, weight),
        TS_ARRAY(int32_t, layer, bias),
        TS_ARRAY(TsRescale, layer, rescale),
        layer->out,
    };
    int32_t pixel = 0;
    for (; pixel + 1 < layer->pixels; pixel += 2) {
        const int8_t* const windows[2] = {x, x + layer->step};
        int8_t* const outputs[2] = {out, out + layer->channels};
        ts_outputs_of_two(&filters, windows, outputs);
        x += 2 * layer->step;
        out += 2 * layer->channels;
    }
    if (pixel < layer->pixels) {
        ts_outputs_of_one(&filters, x, out);
    }
}
