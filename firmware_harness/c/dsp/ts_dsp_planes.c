/* Codes into planes, and tiles of a depthwise convolution into codes. */
#include "ts_dsp_planes.h"

void ts_dsp_planes_clear(const TsDspPlanes* layer, int8_t* planes, int32_t row) {
    const uint32_t pair = ((uint32_t)layer->fill & 0xffffu) | (uint32_t)layer->fill << 16;
    const int8_t* end = planes + 4 * ts_dsp_planes_of_four(layer) * layer->plane_bytes;
    for (int8_t* at = planes + row * TS_DSP_ROW_BYTES; at < end; at += TS_DSP_COLUMNS_BYTES) {
        ts_dsp_store(at, pair);
    }
}

/* Four channels, whose codes are one word. The next column is 2 bytes after an even one and 10 after an odd one. */
static void fill_four(const int8_t* x, int32_t width, int32_t channels, int32_t column, int8_t* const plane[4]) {
    int32_t at = ts_dsp_column(column), next = (column & 1) != 0 ? TS_DSP_COLUMNS_BYTES - 2 : 2;
    for (const int8_t* end = x + width * channels; x < end; x += channels) {
        const uint32_t codes = ts_dsp_load(x);
        *(int16_t*)(plane[0] + at) = (int8_t)(codes & 0xffu);
        *(int16_t*)(plane[1] + at) = (int8_t)(codes >> 8 & 0xffu);
        *(int16_t*)(plane[2] + at) = (int8_t)(codes >> 16 & 0xffu);
        *(int16_t*)(plane[3] + at) = (int8_t)(codes >> 24);
        at += next;
        next ^= 2 ^ (TS_DSP_COLUMNS_BYTES - 2);
    }
}

void ts_dsp_planes_fill(const TsDspPlanes* layer, const int8_t* x, int32_t width, int32_t pad_left, int32_t row,
                        int8_t* planes) {
    int8_t* plane[4];
    ts_dsp_plane_places(layer, planes + row * TS_DSP_ROW_BYTES, plane);
    for (int32_t group = 0; group < layer->channels >> 2; ++group) {
        fill_four(x + group * 4, width, layer->channels, pad_left, plane);
        for (int32_t i = 0; i < 4; ++i) {
            plane[i] += layer->plane_bytes;
        }
    }
    for (int32_t channel = layer->channels & ~3; channel < layer->channels; ++channel) {
        for (int32_t i = 0; i < width; ++i) {
            *(int16_t*)(plane[channel & 3] + ts_dsp_column(pad_left + i)) = x[i * layer->channels + channel];
        }
    }
}

void ts_dsp_tiles_to_codes(const TsDspPlanes* layer, const int16_t* tiles, int32_t width, int8_t* out) {
    const uint32_t flip = layer->relu ? 0x80808080u : 0;
    const int32_t rest = layer->channels & 3;
    for (int32_t x = 0; x < width; ++x) {
        const int16_t* from = tiles + (x >> 1) * layer->groups * 8 + (x & 1) * 2;
        uint32_t codes = 0;
        for (int32_t group = 0; group < layer->groups; ++group) {
            const uint32_t even = ts_dsp_load(from + group * 8), odd = ts_dsp_load(from + group * 8 + 4);
            codes = ((even & 0xff00ffu) | (odd & 0xff00ffu) << 8) ^ flip;
            if (group < layer->channels >> 2) {
                ts_dsp_store(out, codes);
                out += 4;
            }
        }
        for (int32_t i = 0; i < rest; ++i) {
            *out++ = (int8_t)(codes >> 8 * i & 0xffu);
        }
    }
}
