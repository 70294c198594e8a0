/* 2-D convolution, any kernel, stride, padding, dilation and number of groups: the windows of two outputs at a time
 * are gathered. */
#include "ts_dot.h"
#include "ts_window.h"

void ts_conv2d(const TsConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsTaps* taps = &layer->taps;
    const int32_t width = taps->window.out_width, pixels = taps->window.out_height * width;
    const int32_t places = taps->window.kernel_height * taps->window.kernel_width;
    TsFilters filters = {.taps = places * layer->group_inputs, .channels = layer->group_outputs, .out = layer->out};
    int8_t* const second = scratch + places * taps->channels;
    for (int32_t pixel = 0; pixel < pixels; pixel += 2) {
        const int32_t next = pixel + 1;
        const int8_t* windows[2] = {scratch, second};
        filters.weight = TS_ARRAY(int8_t, layer, weight);
        filters.bias = TS_ARRAY(int32_t, layer, bias);
        filters.rescale = TS_ARRAY(TsRescale, layer, rescale);
        ts_gather(taps, layer->group_inputs, x, pixel / width, pixel % width, scratch);
        if (next < pixels) {
            ts_gather(taps, layer->group_inputs, x, next / width, next % width, second);
        }
        for (int32_t first = 0; first < layer->out_channels; first += filters.channels) {
            int8_t* const outputs[2] = {out + first, out + layer->out_channels + first};
            if (next < pixels) {
                ts_outputs_of_two(&filters, windows, outputs);
            } else {
                ts_outputs_of_one(&filters, windows[0], outputs[0]);
            }
            windows[0] += filters.taps;
            windows[1] += filters.taps;
            filters.weight += filters.taps * filters.channels;
            filters.bias += filters.channels;
            filters.rescale += filters.channels;
        }
        out += 2 * layer->out_channels;
    }
}
