/* A 1x1 convolution of a row of tiles: widens weights to 16 bits, then computes output channels, four at a time. */
#include "ts_dsp_pointwise.h"

/* Weights of four outputs, `groups` groups of each, to 16 bits: first the pairs of inputs 0 and 2, then of 1 and 3. The
 * fixed-point rule needs twice the accumulators, by twice the weights. */
static void widen_weights(const int8_t* from, int32_t groups, int16_t* to) {
#ifdef TS_DSP_ASSEMBLY
    __asm__ volatile(".balign 4\n"
                     "1:\n"
                     "ldm %0!, {r3, r4, r5, r6}\n"
                     "sxtb16 r8, r3\n"
                     "sxtb16 r10, r4\n"
                     "sxtb16 r12, r5\n"
                     "sxtb16 lr, r6\n"
                     "sxtb16 r3, r3, ror #8\n"
                     "sxtb16 r4, r4, ror #8\n"
                     "sxtb16 r5, r5, ror #8\n"
                     "sxtb16 r6, r6, ror #8\n"
#ifndef TS_ROUNDING_SINGLE
                     "sadd16 r8, r8, r8\n"
                     "sadd16 r10, r10, r10\n"
                     "sadd16 r12, r12, r12\n"
                     "sadd16 lr, lr, lr\n"
                     "sadd16 r3, r3, r3\n"
                     "sadd16 r4, r4, r4\n"
                     "sadd16 r5, r5, r5\n"
                     "sadd16 r6, r6, r6\n"
#endif
                     "subs %1, %1, #1\n"
                     "stm %2!, {r8, r10, r12, lr}\n"
                     "stm %2!, {r3, r4, r5, r6}\n"
                     "bne 1b"
                     : "+r"(from), "+r"(groups), "+r"(to)
                     :
                     : "r3", "r4", "r5", "r6", "r8", "r10", "r12", "lr", "cc", "memory");
#else
    static const int8_t place[4] = {0, 8, 1, 9};
    for (int32_t i = 0; i < groups * 16; ++i) {
        to[(i >> 4) * 16 + (i >> 2 & 3) * 2 + place[i & 3]] = (int16_t)(from[i] * TS_DSP_TIMES);
    }
#endif
}

/* Contiguous codes, `groups` times four of them. */
static void widen_groups(const int8_t* x, int32_t groups, int16_t* to) {
#ifdef TS_DSP_ASSEMBLY
    __asm__ volatile("lsrs %1, %1, #1\n"
                     "bcc 2f\n" /* an odd group first */
                     "ldr.w r3, [%0], #4\n"
                     "sxtb16 r4, r3\n"
                     "sxtb16 r3, r3, ror #8\n"
                     "str.w r3, [%2, #8]\n"
                     "str.w r4, [%2], #16\n"
                     "2:\n"
                     "cmp %1, #0\n"
                     "beq 3f\n"
                     ".balign 4\n"
                     "1:\n"
                     "ldr.w r3, [%0], #8\n"
                     "ldr r5, [%0, #-4]\n"
                     "subs.w %1, %1, #1\n"
                     "sxtb16 r4, r3\n"
                     "sxtb16 r6, r5\n"
                     "sxtb16 r3, r3, ror #8\n"
                     "sxtb16 r5, r5, ror #8\n"
                     "str.w r6, [%2, #16]\n"
                     "str.w r3, [%2, #8]\n"
                     "str.w r5, [%2, #24]\n"
                     "str.w r4, [%2], #32\n"
                     "bne.w 1b\n"
                     "3:"
                     : "+r"(x), "+r"(groups), "+r"(to)
                     :
                     : "r3", "r4", "r5", "r6", "cc", "memory");
#else
    for (int32_t i = 0; i < groups * 4; ++i) {
        to[(i >> 2) * 8 + ts_dsp_place[i & 3]] = x[i];
    }
#endif
}

/* Pixels of one word each. */
static void widen_words(const int8_t* x, int32_t pixels, int32_t step, int32_t at, int32_t tile_bytes, int8_t* tile) {
    int32_t next = (at & 1) != 0 ? tile_bytes - 4 : 4;
    tile += (at & 1) * 4;
    for (const int8_t* end = x + pixels * step; x < end; x += step) {
        const uint32_t codes = ts_dsp_load(x);
        ts_dsp_store(tile, ts_dsp_even(codes));
        ts_dsp_store(tile + 8, ts_dsp_odd(codes));
        tile += next;
        next = tile_bytes - next;
    }
}

void ts_dsp_widen_row(const int8_t* x, int32_t pixels, int32_t step, int32_t codes, int32_t at, int32_t tile_bytes,
                      int16_t* tiles) {
    const int32_t groups = codes >> 2, rest = codes & 3;
    int8_t* tile = (int8_t*)tiles + (at >> 1) * tile_bytes;
    if (codes == 4) {
        widen_words(x, pixels, step, at, tile_bytes, tile);
        return;
    }
    for (const int8_t* end = x + pixels * step; x < end; x += step, ++at) {
        int16_t* to = (int16_t*)(tile + (at & 1) * 4);
        if (groups > 0) {
            widen_groups(x, groups, to);
        }
        for (int32_t i = 0; i < rest; ++i) {
            to[groups * 8 + ts_dsp_place[i]] = x[groups * 4 + i];
        }
        tile += (at & 1) * tile_bytes;
    }
}

static int32_t quads(const TsDspPointwise* layer) {
    return (layer->channels + 3) >> 2;
}

void ts_dsp_pointwise_prepare(const TsDspPointwise* layer, int16_t* weight) {
    if (layer->kept) {
        widen_weights(TS_ARRAY(int8_t, layer, weight), quads(layer) * layer->groups, weight);
    }
}

/* All quads of a row, one by one if only one has room for its weights. */
static void run(TsDspTiles* row, const TsDspPointwise* layer, int16_t* weight, int8_t* out) {
    const int32_t n = layer->groups * (TS_DSP_QUAD_BYTES / 2), count = layer->kept ? quads(layer) : 1;
    row->weight = weight;
    row->count = count;
    for (int32_t quad = 0; quad < quads(layer); quad += count) {
        if (!layer->kept) {
            widen_weights(TS_ARRAY(int8_t, layer, weight) + quad * n, layer->groups, weight);
        }
        row->quads = TS_ARRAY(TsDspQuad, layer, quads) + quad;
        row->out = out + quad * row->out_bytes;
        ts_dsp_tiles_run(row);
    }
}

/* From a row of padded pixels to the output, without the channels that are none. */
static void unpad(const TsDspPointwise* layer, const int8_t* padded, int32_t width, TsDspDestination to,
                  const TsDspSummand* summand, int8_t* out) {
    for (int32_t x = 0; x < width; ++x, padded += 4 * quads(layer)) {
        for (int32_t i = 0; i < layer->channels; ++i, ++out) {
            const int32_t code = padded[i];
            *out = (int8_t)(to == TS_DSP_TO_CODES ? code : ts_dsp_sum_of(code, out[summand->distance], summand, to));
        }
    }
}

void ts_dsp_pointwise_codes(const TsDspPointwise* layer, const int16_t* tiles, int32_t width, int16_t* weight,
                            TsDspDestination to, const TsDspSummand* summand, int8_t* padded, int8_t* out) {
    const int whole = (layer->channels & 3) == 0;
    TsDspTiles row;
    ts_dsp_tiles_row(&row, layer, tiles, width, whole ? to : TS_DSP_TO_CODES);
    row.summand = summand;
    row.pixel = 4 * quads(layer);
    row.plane = 0;
    row.out_bytes = 4;
    run(&row, layer, weight, whole ? out : padded);
    if (!whole) {
        unpad(layer, padded, width, to, summand, out);
    }
}

void ts_dsp_pointwise_planes(const TsDspPointwise* layer, const int16_t* tiles, int32_t width, int16_t* weight,
                             const TsDspPlanes* to, int32_t pad_left, int32_t row_at, int8_t* planes) {
    TsDspTiles row;
    ts_dsp_tiles_row(&row, layer, tiles, width, TS_DSP_TO_PLANES);
    row.summand = NULL;
    row.pixel = (pad_left & 1) != 0 ? TS_DSP_COLUMNS_BYTES - 2 : 2;
    row.plane = quads(layer) * to->plane_bytes;
    row.out_bytes = to->plane_bytes;
    run(&row, layer, weight, planes + ts_dsp_column(pad_left) + row_at * TS_DSP_ROW_BYTES);
}

void ts_dsp_raise(int8_t* codes, int32_t n, int32_t low) {
    ts_dsp_clip(codes, n, low, 127, codes);
}

/* Four codes at a time, with 128 added: saturating sums and differences end at 255 and at 0. */
void ts_dsp_clip(const int8_t* x, int32_t n, int32_t low, int32_t high, int8_t* out) {
    const uint32_t signs = 0x80808080u, each = 0x01010101u;
    const uint32_t above = each * (uint32_t)(127 - high), below = each * (uint32_t)(low + 128);
    int32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint32_t numbers = ts_dsp_load(x + i) ^ signs;
        numbers = ts_dsp_plus_bytes(numbers, above) - above;
        numbers = ts_dsp_minus_bytes(numbers, below) + below;
        ts_dsp_store(out + i, numbers ^ signs);
    }
    for (; i < n; ++i) {
        out[i] = (int8_t)ts_min(ts_max(x[i], low), high);
    }
}
