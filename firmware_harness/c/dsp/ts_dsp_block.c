/* An inverted residual row by row. Three rows of the expanded tensor exist at a time, in planes. A row of the output
 * is written after the rows of the input that it needs have been read, so that it may overlap the input. */
#include "ts_dsp_pointwise.h"
#include "ts_dsp_strips.h"

/* The next row of the input, and the row of the planes it is written to. */
typedef struct {
    int32_t next, slot;
} TsDspTurn;

typedef struct {
    int8_t *planes, *side_planes, *side_row, *padded;
    int16_t *tiles, *expand, *project;
} TsDspPlaces;

static TsDspPlaces places_in(const TsDspBlock* layer, int8_t* scratch) {
    TsDspPlaces places;
    places.planes = scratch;
    places.tiles = (int16_t*)(scratch + layer->tiles_at);
    places.expand = (int16_t*)(scratch + layer->expand_at);
    places.project = (int16_t*)(scratch + layer->project_at);
    places.side_planes = scratch + layer->side_planes_at;
    places.side_row = scratch + layer->side_row_at;
    places.padded = scratch + layer->padded_at;
    return places;
}

/* Expand the next row of the input. The first rows of padding exist from the start. */
static void read_row(const TsDspBlock* layer, const int8_t* x, const TsDspPlaces* places, TsDspTurn* turn) {
    const TsWindow* window = &layer->window;
    if (turn->next >= 0 && turn->next < window->in_height) {
        const int8_t* row = x + turn->next * window->in_width * layer->in_channels;
        ts_dsp_widen_row(row, window->in_width, layer->in_channels, layer->in_channels, 0,
                         layer->expand.groups * TS_DSP_GROUP_BYTES, places->tiles);
        ts_dsp_pointwise_planes(&layer->expand, places->tiles, window->in_width, places->expand, &layer->planes,
                                window->pad_left, turn->slot, places->planes);
    } else if (turn->next >= 0) {
        ts_dsp_planes_clear(&layer->planes, places->planes, turn->slot);
    }
    turn->slot = turn->slot == TS_DSP_ROWS - 1 ? 0 : turn->slot + 1;
    ++turn->next;
}

static void write_row(const TsDspBlock* layer, const int8_t* x, const TsDspPlaces* places, int32_t y, int8_t* out) {
    const TsWindow* window = &layer->window;
    const int32_t first = y * window->stride_height % TS_DSP_ROWS, stride = window->stride_width;
    const int32_t width = window->out_width, channels = layer->project.channels;
    TsDspDestination to = TS_DSP_TO_CODES;
    TsDspSummand summand = ts_dsp_summand(&layer->sum);
    if (layer->added == TS_DSP_ADD_SIDE) {
        const TsDspSpan row = {y, y + 1};
        ts_dsp_strips(&layer->side, window, x, row, places->side_row, places->side_planes);
        summand.distance = (int32_t)((intptr_t)places->side_row - (intptr_t)out);
    } else {
        summand.distance = (int32_t)((intptr_t)(x + y * width * channels) - (intptr_t)out);
    }
    if (layer->added != TS_DSP_ADD_NOTHING) {
        to = layer->larger == 0 ? TS_DSP_TO_SUM_0 : TS_DSP_TO_SUM_1;
    }
    for (int32_t column = 0; column < width; column += layer->part) {
        const int32_t part = ts_min(layer->part, width - column);
        const int8_t* planes = places->planes + ts_dsp_column(column * stride);
        ts_dsp_planes_row(&layer->planes, planes, first, stride, part, places->tiles);
        ts_dsp_pointwise_codes(&layer->project, places->tiles, part, places->project, to, &summand, places->padded,
                               out + column * channels);
    }
    if (layer->low > -128) {
        ts_dsp_raise(out, width * channels, layer->low);
    }
}

void ts_dsp_block(const TsDspBlock* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsDspPlaces places = places_in(layer, scratch);
    TsDspTurn turn = {-layer->window.pad_top, 0};
    for (int32_t i = 0; i < TS_DSP_ROWS; ++i) {
        ts_dsp_planes_clear(&layer->planes, places.planes, i);
    }
    if (layer->added == TS_DSP_ADD_SIDE) {
        ts_dsp_strips_clear(&layer->side, &layer->window, places.side_planes);
    }
    ts_dsp_pointwise_prepare(&layer->expand, places.expand);
    ts_dsp_pointwise_prepare(&layer->project, places.project);
    for (int32_t y = 0; y < layer->window.out_height; ++y) {
        while (turn.next < y * layer->window.stride_height - layer->window.pad_top + TS_DSP_ROWS) {
            read_row(layer, x, &places, &turn);
        }
        write_row(layer, x, &places, y, out);
        out += layer->window.out_width * layer->project.channels;
    }
}
