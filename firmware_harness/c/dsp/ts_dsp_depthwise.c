/* 3x3 depthwise convolution as a single layer. */
#include "ts_dsp_pointwise.h"
#include "ts_dsp_strips.h"

void ts_dsp_depthwise(const TsDspDepthwise* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsWindow* window = &layer->window;
    const TsDspSpan all = {0, window->out_height};
    ts_dsp_strips_clear(&layer->strips, window, scratch);
    ts_dsp_strips(&layer->strips, window, x, all, out, scratch);
    if (layer->low > -128) {
        ts_dsp_raise(out, window->out_height * window->out_width * layer->strips.channels, layer->low);
    }
}
