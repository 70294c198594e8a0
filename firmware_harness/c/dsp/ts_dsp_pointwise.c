/* A 1x1 convolution of a row of tiles: widens weights to 16 bits, then computes pairs of output channels in turn. */
#include "ts_dsp_pointwise.h"

/* Codes of two outputs or pixels, `groups` groups of each, to 16 bits. The fixed-point rule needs twice the
 * accumulators, by twice the weights. */
static void widen_weights(const int8_t* from, int32_t groups, int16_t* to) {
#ifdef TS_DSP_ASSEMBLY
    __asm__ volatile("1:\n"
                     "ldrd r3, r4, [%0], #8\n"
                     "sxtb16 r5, r3\n"
                     "sxtb16 r6, r3, ror #8\n"
                     "sxtb16 r8, r4\n"
                     "sxtb16 r12, r4, ror #8\n"
#ifndef TS_ROUNDING_SINGLE
                     "sadd16 r5, r5, r5\n"
                     "sadd16 r6, r6, r6\n"
                     "sadd16 r8, r8, r8\n"
                     "sadd16 r12, r12, r12\n"
#endif
                     "subs %1, %1, #1\n"
                     "stm %2!, {r5, r6, r8, r12}\n"
                     "bne 1b"
                     : "+r"(from), "+r"(groups), "+r"(to)
                     :
                     : "r3", "r4", "r5", "r6", "r8", "r12", "cc", "memory");
#else
    static const int8_t place[4] = {0, 2, 1, 3};
    for (int32_t i = 0; i < groups * 8; ++i) {
        to[(i & ~3) + place[i & 3]] = (int16_t)(from[i] * TS_DSP_TIMES);
    }
#endif
}

/* Contiguous codes, `groups` times four of them. */
static void widen_groups(const int8_t* x, int32_t groups, int16_t* to) {
#ifdef TS_DSP_ASSEMBLY
    __asm__ volatile("1:\n"
                     "ldr r3, [%0], #4\n"
                     "subs %1, %1, #1\n"
                     "sxtb16 r5, r3, ror #8\n"
                     "sxtb16 r4, r3\n"
                     "strd r4, r5, [%2], #16\n"
                     "bne 1b"
                     : "+r"(x), "+r"(groups), "+r"(to)
                     :
                     : "r3", "r4", "r5", "cc", "memory");
#else
    static const int8_t place[4] = {0, 2, 1, 3};
    for (int32_t i = 0; i < groups * 4; ++i) {
        to[(i >> 2) * 8 + place[i & 3]] = x[i];
    }
#endif
}

void ts_dsp_widen_row(const int8_t* x, int32_t pixels, int32_t step, int32_t codes, int32_t at, int32_t tile_bytes,
                      int16_t* tiles) {
    static const int8_t place[4] = {0, 2, 1, 3};
    const int32_t groups = codes >> 2, rest = codes & 3;
    int8_t* tile = (int8_t*)tiles + (at >> 1) * tile_bytes;
    for (const int8_t* end = x + pixels * step; x < end; x += step, ++at) {
        int16_t* to = (int16_t*)(tile + (at & 1) * 8);
        if (groups > 0) {
            widen_groups(x, groups, to);
        }
        for (int32_t i = 0; i < rest; ++i) {
            to[groups * 8 + place[i]] = x[groups * 4 + i];
        }
        tile += (at & 1) * tile_bytes;
    }
}

static int32_t pairs(const TsDspPointwise* layer) {
    return (layer->channels + 1) >> 1;
}

void ts_dsp_pointwise_prepare(const TsDspPointwise* layer, int16_t* weight) {
    if (layer->kept) {
        widen_weights(TS_ARRAY(int8_t, layer, weight), pairs(layer) * layer->groups, weight);
    }
}

/* The weights of one pair as 16-bit numbers. */
static const int16_t* pair_weight(const TsDspPointwise* layer, int32_t pair, int16_t* weight) {
    const int32_t n = layer->groups * 8;
    if (layer->kept) {
        return weight + pair * n;
    }
    widen_weights(TS_ARRAY(int8_t, layer, weight) + pair * n, layer->groups, weight);
    return weight;
}

void ts_dsp_pointwise_codes(const TsDspPointwise* layer, const int16_t* tiles, int32_t width, int16_t* weight,
                            TsDspDestination to, const TsDspSummand* summand, int8_t* out) {
    TsDspTiles row;
    ts_dsp_tiles_row(&row, layer, tiles, width, to);
    row.summand = summand;
    row.step = layer->channels;
    for (int32_t pair = 0; pair < pairs(layer); ++pair) {
        row.weight = pair_weight(layer, pair, weight);
        row.out[0] = out + ts_min(2 * pair, layer->channels - 2);
        row.out[1] = row.out[0] + layer->channels;
        ts_dsp_tiles_run(&row, &TS_ARRAY(TsDspPair, layer, pairs)[pair]);
    }
}

void ts_dsp_pointwise_planes(const TsDspPointwise* layer, const int16_t* tiles, int32_t width, int16_t* weight,
                             const TsDspPlanes* to, int32_t pad_left, int32_t row_at, int8_t* planes) {
    TsDspTiles row;
    int8_t* place[4]; /* of the first channel of a group, of the second... */
    ts_dsp_tiles_row(&row, layer, tiles, width, TS_DSP_TO_PLANES);
    row.step = (pad_left & 1) != 0 ? TS_DSP_COLUMNS_BYTES - 2 : 2;
    ts_dsp_plane_places(to, planes + ts_dsp_column(pad_left) + row_at * TS_DSP_ROW_BYTES, place);
    for (int32_t pair = 0; pair < pairs(layer); ++pair) {
        const int32_t channel = ts_min(2 * pair, layer->channels - 2);
        row.weight = pair_weight(layer, pair, weight);
        row.out[0] = place[channel & 3] + (channel >> 2) * to->plane_bytes;
        row.out[1] = place[(channel + 1) & 3] + ((channel + 1) >> 2) * to->plane_bytes;
        ts_dsp_tiles_run(&row, &TS_ARRAY(TsDspPair, layer, pairs)[pair]);
    }
}

void ts_dsp_raise(int8_t* codes, int32_t n, int32_t low) {
    for (int32_t i = 0; i < n; ++i) {
        codes[i] = (int8_t)ts_max(codes[i], low);
    }
}
