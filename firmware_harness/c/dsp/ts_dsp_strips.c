/* 3x3 depthwise convolution from codes to codes: four channels of some rows to planes, then the codes of each.
 *
 * Weights are widened once for all rows of a strip. The outputs of four channels are written before the inputs of the
 * next four are read. */
#include "ts_dsp_strips.h"

enum { FOUR = 4, ROW_BYTES = 4 };

typedef struct {
    const TsDspStrips* layer;
    const TsWindow* window;
    int8_t* at;
    int32_t pitch, plane_bytes;
} Planes;

static Planes planes_at(const TsDspStrips* layer, const TsWindow* window, int8_t* at) {
    const int32_t pitch = ROW_BYTES * ((layer->rows - 1) * window->stride_height + TS_DSP_ROWS);
    const Planes planes = {layer, window, at, pitch, layer->pairs * pitch};
    return planes;
}

/* The code of zero, four times. */
static uint32_t zero_four(const Planes* planes) {
    return ((uint32_t)planes->layer->fill & 0xffu) * 0x01010101u;
}

/* The codes of four channels of two neighbouring pixels into their planes. */
static inline void put(int8_t* to, int32_t plane_bytes, uint32_t a, uint32_t b) {
    const uint32_t a_even = ts_dsp_even(a), a_odd = ts_dsp_odd(a), b_even = ts_dsp_even(b), b_odd = ts_dsp_odd(b);
    ts_dsp_store(to, ts_dsp_lower(a_even, b_even));
    ts_dsp_store(to + plane_bytes, ts_dsp_lower(a_odd, b_odd));
    ts_dsp_store(to + 2 * plane_bytes, ts_dsp_upper(a_even, b_even));
    ts_dsp_store(to + 3 * plane_bytes, ts_dsp_upper(a_odd, b_odd));
}

/* Four channels of rows of the input into rows of the planes. */
static void fill_rows(const Planes* planes, const int8_t* x, int32_t rows, int8_t* to) {
    const int32_t channels = planes->layer->channels, odd = planes->window->pad_left & 1;
    const int32_t pitch = planes->pitch, plane_bytes = planes->plane_bytes;
    const uint32_t zero = zero_four(planes);
    to += (planes->window->pad_left >> 1) * pitch;
    for (; rows > 0; --rows, to += ROW_BYTES) {
        const int8_t* last = x + (planes->window->in_width - 1) * channels;
        int8_t* at = to;
        if (odd) {
            put(at, plane_bytes, zero, ts_dsp_load(x));
            x += channels;
            at += pitch;
        }
        for (; x < last; x += 2 * channels, at += pitch) {
            put(at, plane_bytes, ts_dsp_load(x), ts_dsp_load(x + channels));
        }
        if (x == last) {
            put(at, plane_bytes, ts_dsp_load(x), zero);
            x += channels;
        }
    }
}

/* Row `row` of the planes, including padding, to the code of zero. Once in flash: it is called at four places. */
__attribute__((noinline)) static void clear_row(const Planes* planes, int32_t row) {
    const uint32_t pair = ts_dsp_even(zero_four(planes));
    const int8_t* end = planes->at + FOUR * planes->plane_bytes;
    for (int8_t* to = planes->at + row * ROW_BYTES; to < end; to += planes->pitch) {
        ts_dsp_store(to, pair);
    }
}

/* The last `n` channels, fewer than four, of a row of the input into a row of the planes. */
static void fill_few(const Planes* planes, const int8_t* x, int32_t n, int32_t row) {
    const TsWindow* window = planes->window;
    clear_row(planes, row); /* what is beside an odd column */
    for (int32_t column = window->pad_left; column < window->pad_left + window->in_width; ++column) {
        int8_t* to = planes->at + (column >> 1) * planes->pitch + (column & 1) * 2 + row * ROW_BYTES;
        for (int32_t i = 0; i < n; ++i, to += planes->plane_bytes) {
            *(int16_t*)(void*)to = x[i];
        }
        x += planes->layer->channels;
    }
}

/* `n` channels of rows [first, last) of the input, which may be outside of it, into the planes from row `row` on. */
static void fill(const Planes* planes, const int8_t* x, int32_t n, int32_t first, int32_t last, int32_t row) {
    const TsWindow* window = planes->window;
    for (; first < last && first < 0; ++first, ++row) {
        clear_row(planes, row);
    }
    const int32_t inside = ts_min(last, window->in_height) - first;
    if (inside > 0) {
        x += first * window->in_width * planes->layer->channels;
        if (n == FOUR) {
            fill_rows(planes, x, inside, planes->at + row * ROW_BYTES);
        }
        for (int32_t i = 0; n < FOUR && i < inside; ++i) {
            fill_few(planes, x + i * window->in_width * planes->layer->channels, n, row + i);
        }
    }
    for (row += ts_max(inside, 0), first += ts_max(inside, 0); first < last; ++first, ++row) {
        clear_row(planes, row);
    }
}

/* Move the rows from `from` on to the begin of the planes. */
static void move_up(const Planes* planes, int32_t from) {
    const int8_t* end = planes->at + FOUR * planes->plane_bytes;
    for (int8_t* column = planes->at; column < end; column += planes->pitch) {
        for (int32_t i = from * ROW_BYTES; i < planes->pitch; i += ROW_BYTES) {
            ts_dsp_store(column + i - from * ROW_BYTES, ts_dsp_load(column + i));
        }
    }
}

/* What is the same for all channels. */
static void set_taps(const Planes* planes, TsDspTaps* taps) {
    const TsWindow* window = planes->window;
    const int32_t channels = planes->layer->channels;
    taps->pitch = planes->pitch;
    taps->plane = planes->at;
    taps->plane_bytes = planes->plane_bytes;
    taps->out_bytes = 1;
    taps->step = channels;
    taps->zero_term = ts_dsp_zero_term(planes->layer->zero_point);
    taps->down = window->stride_height * ROW_BYTES;
    ts_dsp_taps_width(taps, planes->layer->relu ? TS_DSP_TAPS_TO_RELU : TS_DSP_TAPS_TO_CODES, window->out_width,
                      window->stride_width);
    const int32_t odd = window->out_width & 1;
    taps->in_step = taps->down - taps->pairs_bytes - odd * taps->pitch;
    taps->out_step = odd * channels;
    for (int32_t i = 0; i < TS_DSP_ROWS; ++i) {
        taps->order[i] = 4 * i;
    }
}

void ts_dsp_strips_clear(const TsDspStrips* layer, const TsWindow* window, int8_t* scratch) {
    const Planes planes = planes_at(layer, window, scratch);
    for (int32_t row = 0; row * ROW_BYTES < planes.pitch; ++row) {
        clear_row(&planes, row);
    }
}

void ts_dsp_strips(const TsDspStrips* layer, const TsWindow* window, const int8_t* x, TsDspSpan span, int8_t* out,
                   int8_t* scratch) {
    const Planes planes = planes_at(layer, window, scratch);
    const int32_t stride = window->stride_height, row_bytes = window->out_width * layer->channels;
    const int32_t fresh = layer->rows * stride; /* rows of the planes that the next strip does not see */
    TsDspTaps taps;
    set_taps(&planes, &taps);
    for (int32_t channel = 0; channel < layer->channels; channel += FOUR) {
        const int32_t n = ts_min(FOUR, layer->channels - channel);
        taps.constants = TS_ARRAY(TsDspChannel, layer, constants) + channel;
        taps.channels = n;
        int32_t kept = 0; /* rows of the planes that the strip before has read */
        for (int32_t y = span.first; y < span.last; y += layer->rows) {
            const int32_t rows = ts_min(layer->rows, span.last - y), start = y * stride - window->pad_top;
            fill(&planes, x + channel, n, start + kept, start + (rows - 1) * stride + TS_DSP_ROWS, kept);
            taps.rows = rows;
            taps.out = out + (y - span.first) * row_bytes + channel;
            ts_dsp_taps_run(&taps);
            if (y + rows < span.last) {
                move_up(&planes, fresh);
                kept = ts_max(0, planes.pitch / ROW_BYTES - fresh);
            }
        }
    }
}
