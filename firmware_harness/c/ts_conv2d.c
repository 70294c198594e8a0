/* 2-D convolution, any kernel, stride, padding, dilation and number of groups: the windows of two outputs at a time
 * are gathered. */
#include "ts_dot.h"
#include "ts_window.h"

void ts_conv2d(const TsConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsTaps* taps = &layer->taps;
    const int32_t width = taps->window.out_width, pixels = taps->window.out_height * width;
    const int32_t n = layer->group_inputs;
    TsFilters filters = {.taps = taps->window.kernel_height * taps->window.kernel_width * n,
                         .channels = layer->group_outputs,
                         .out = layer->out};
    const int8_t* const windows[2] = {scratch, scratch + filters.taps};
    for (int32_t pixel = 0; pixel < pixels; pixel += 2) {
        const int32_t next = pixel + 1;
        const int8_t* inputs = x;
        filters.weight = TS_ARRAY(int8_t, layer, weight);
        filters.bias = TS_ARRAY(int32_t, layer, bias);
        filters.rescale = TS_ARRAY(TsRescale, layer, rescale);
        for (int32_t first = 0; first < layer->out_channels; first += filters.channels) {
            int8_t* const outputs[2] = {out + first, out + layer->out_channels + first};
            ts_gather(taps, inputs, n, pixel / width, pixel % width, scratch);
            if (next < pixels) {
                ts_gather(taps, inputs, n, next / width, next % width, scratch + filters.taps);
                ts_outputs_of_two(&filters, windows, outputs);
            } else {
                ts_outputs_of_one(&filters, scratch, outputs[0]);
            }
            inputs += n;
            filters.weight += filters.taps * filters.channels;
            filters.bias += filters.channels;
            filters.rescale += filters.channels;
        }
        out += 2 * layer->out_channels;
    }
}
