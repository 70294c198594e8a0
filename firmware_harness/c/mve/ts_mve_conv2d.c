/* Dense convolution: four pixels' windows side by side in scratch, then the dot products of all channels with them. */
#include <stddef.h>

#include "ts_mve_inner.h"
#include "ts_mve_parts.h"
#include "ts_window.h"

enum {
    PITCH = TS_MVE_MOST_PIECES * TS_MVE_LANES,
    MIDDLE = 2 * PITCH
}; /* of the windows: load offsets reach 508 in
    * both directions */

/* Pairs of channels; the assembly reads the members in order. */
typedef struct {
    const int8_t* weight;
    const int32_t* constants;
    int32_t pairs;
    const int8_t* middle; /* of four pixels' windows */
    int32_t pieces, zero_point;
    uint16_t at[8]; /* 24: bytes from the first code to those of two channels at four pixels */
} Pairs;

typedef char ts_mve_pairs_are_as_written[offsetof(Pairs, at) == 24 ? 1 : -1];

/* clang-format off */

/* Piece `j` of two channels times that of four windows, 128 products. */
#define PIECE(j, mla)                                           \
    "vldrw.u32 q0, [r1], #16\n"                                 \
    "vldrw.u32 q2, [r9, #" #j " * 16 - 480]\n"                  \
    mla " r0, q0, q2\n"                                         \
    "vldrw.u32 q1, [r1], #16\n"                                 \
    mla " r8, q1, q2\n"                                         \
    "vldrw.u32 q3, [r9, #" #j " * 16 - 240]\n"                  \
    mla " r2, q0, q3\n"                                         \
    mla " r10, q1, q3\n"                                        \
    "vldrw.u32 q2, [r9, #" #j " * 16]\n"                        \
    mla " r4, q0, q2\n"                                         \
    mla " r12, q1, q2\n"                                        \
    "vldrw.u32 q3, [r9, #" #j " * 16 + 240]\n"                  \
    mla " r6, q0, q3\n"                                         \
    mla " lr, q1, q3\n"

#define ENTRY(j) ".hword (" #j "0f - 9b) / 2\n"
#define FURTHER(j) #j "0:\n" PIECE(j, "vmladava.s8")

#ifdef TS_ROUNDING_SINGLE
#define CONSTANTS "ldm r3!, {r0, r2, r4, r6}\n"
enum { PER_PAIR = 4 };
#else
#define CONSTANTS "ldm r3!, {r0, r2, r4, r6, r8, r10}\n"
enum { PER_PAIR = 6 };
#endif

/* The codes of pairs of channels at four pixels. r1 weight, r3 constants, r5 pairs left, r7 out, r9 middle of the
 * windows, r11 pieces; q4 offsets of the codes, q5 zero point. */
static TS_MVE_ASSEMBLY void run_pairs(TS_MVE_ARGUMENT const Pairs* pairs, TS_MVE_ARGUMENT int8_t* out) {
    __asm__(
        "push {r4-r11, lr}\n"
        "vpush {d8-d11}\n"
        "mov r7, r1\n"
        "vldrh.u16 q4, [r0, #24]\n"
        "ldm r0, {r1, r3, r5, r9, r11, r12}\n"
        "vdup.16 q5, r12\n"
        "8:\n"
        PIECE(0, "vmladav.s8")
        "tbh [pc, r11, lsl #1]\n"
        "9: .hword 0\n" /* every convolution has at least one piece */
        ENTRY(0) ENTRY(1) ENTRY(2) ENTRY(3) ENTRY(4) ENTRY(5) ENTRY(6) ENTRY(7)
        ENTRY(8) ENTRY(9) ENTRY(10) ENTRY(11) ENTRY(12) ENTRY(13) ENTRY(14)
        FURTHER(14) FURTHER(13) FURTHER(12) FURTHER(11) FURTHER(10) FURTHER(9) FURTHER(8)
        FURTHER(7) FURTHER(6) FURTHER(5) FURTHER(4) FURTHER(3) FURTHER(2) FURTHER(1)
        "00:\n"
        "vmov q0[2], q0[0], r0, r4\n"
        "vmov q0[3], q0[1], r2, r6\n"
        "vmov q1[2], q1[0], r8, r12\n"
        "vmov q1[3], q1[1], r10, lr\n"
        CONSTANTS
        "vadd.i32 q0, q0, r0\n"
        "vadd.i32 q1, q1, r2\n"
        TS_MVE_RESCALE("q2", "q0", "r4", "r8")
        TS_MVE_RESCALE("q3", "q1", "r6", "r10")
        "vqmovnb.s32 q2, q2\n"
        "vqmovnt.s32 q2, q3\n"
        "vqadd.s16 q2, q2, q5\n"
        "vqmovnb.s16 q2, q2\n"
        "vstrb.16 q2, [r7, q4]\n"
        "add r7, #2\n"
        "subs r5, #1\n"
        "bne.w 8b\n"
        "vpop {d8-d11}\n"
        "pop {r4-r11, pc}\n");
}

/* clang-format on */

/* `pairs` pairs from pair `first` on, written to pixels that are `pitch` bytes apart. */
static void begin_pairs(const TsMveConv2D* layer, const int8_t* windows, int32_t first, int32_t pairs, int32_t pitch,
                        Pairs* run) {
    const uint16x8_t pixel = vshrq_n_u16(vidupq_n_u16(0, 1), 1);
    const uint16x8_t channel = vandq_u16(vidupq_n_u16(0, 1), vdupq_n_u16(1));
    run->weight = TS_ARRAY(int8_t, layer, weight) + first * 2 * layer->pieces * TS_MVE_LANES;
    run->constants = TS_ARRAY(int32_t, layer, constants) + first * PER_PAIR;
    run->pairs = pairs;
    run->middle = windows + MIDDLE;
    run->pieces = layer->pieces;
    run->zero_point = layer->out.zero_point;
    vst1q_u16(run->at, vmlaq_n_u16(channel, pixel, (uint16_t)pitch));
}

/* All channels of a layer: whole pairs, and the last one if their number is odd. */
typedef struct {
    Pairs whole, last;
    int32_t channels;
    int8_t* spare; /* codes of four pixels */
} Channels;

static void begin_channels(const TsMveConv2D* layer, const int8_t* windows, int8_t* spare, Channels* all) {
    const int32_t channels = layer->out_channels;
    begin_pairs(layer, windows, 0, channels / 2, channels, &all->whole);
    if (channels % 2 != 0) {
        begin_pairs(layer, windows, channels / 2, 1, 2, &all->last);
    }
    all->channels = channels;
    all->spare = spare;
}

/* All channels of n pixels: whole pairs directly to the output, the rest through `spare`. */
static void pixels(const Channels* all, int32_t n, int8_t* out) {
    const int32_t channels = all->channels;
    int8_t* to = n < TS_MVE_PIXELS ? all->spare : out;
    if (channels > 1) {
        run_pairs(&all->whole, to);
    }
    if (channels % 2 != 0) {
        int8_t last[2 * TS_MVE_PIXELS];
        run_pairs(&all->last, last);
        for (int32_t pixel = 0; pixel < TS_MVE_PIXELS; ++pixel) {
            to[pixel * channels + channels - 1] = last[2 * pixel];
        }
    }
    if (to == all->spare) {
        ts_mve_copy(out, to, n * channels);
    }
}

/* One pixel's window, row after row, with the zero point outside of the input. */
static void window_of(const TsMveConv2D* layer, const int8_t* x, int32_t y, int32_t column, int8_t* to) {
    const TsWindow* window = &layer->window;
    const TsSpan rows = ts_rows(window, y), columns = ts_columns(window, column);
    const int32_t in_row = window->in_width * layer->in_channels;
    const int32_t row_bytes = window->kernel_width * layer->in_channels;
    const int32_t n = (columns.last - columns.first) * layer->in_channels;
    if (n < row_bytes || rows.last - rows.first < window->kernel_height) {
        ts_mve_fill(to, (int8_t)layer->in_zero_point, window->kernel_height * row_bytes);
    }
    if (n <= 0) { /* padding only: computing its address would be undefined */
        return;
    }
    const int8_t* from = x + (rows.start + rows.first) * in_row + (columns.start + columns.first) * layer->in_channels;
    to += rows.first * row_bytes + columns.first * layer->in_channels;
    for (int32_t i = rows.first; i < rows.last; ++i) {
        ts_mve_copy(to, from, n);
        from += in_row;
        to += row_bytes;
    }
}

/* Offsets of a window's codes from its first; codes beyond it are multiplied by weights of zero. */
static uint8x16_t offsets_of(const TsMveConv2D* layer) {
    const int32_t row_bytes = layer->window.kernel_width * layer->in_channels;
    uint8_t offsets[TS_MVE_LANES] = {0};
    for (int32_t i = 0; i < layer->window.kernel_height * row_bytes; ++i) {
        offsets[i] = (uint8_t)(i / row_bytes * layer->window.in_width * layer->in_channels + i % row_bytes);
    }
    return vld1q_u8(offsets);
}

/* Neighbouring windows without padding whose codes fit into one vector and are less than 256 bytes apart. */
static void gathered(const int8_t* from, int32_t step, uint8x16_t offsets, int32_t n, int8_t* to) {
    for (int32_t i = 0; i < n; ++i) {
        vst1q_s8(to, vldrbq_gather_offset_s8(from, offsets));
        from += step;
        to += PITCH;
    }
}

/* Neighbouring windows without padding. */
static TS_MVE_APART void copied(const TsMveConv2D* layer, const int8_t* from, int32_t step, int32_t n, int8_t* to) {
    const int32_t row_bytes = layer->window.kernel_width * layer->in_channels;
    const int32_t in_row = layer->window.in_width * layer->in_channels;
    for (int32_t i = 0; i < n; ++i) {
        const int8_t* row = from + i * step;
        int8_t* to_row = to + i * PITCH;
        int32_t rows = layer->window.kernel_height;
        __asm__ volatile("1: mov r2, %[row]\n"
                         "mov r4, %[to_row]\n"
                         "dlstp.8 lr, %[row_bytes]\n"
                         "2: vldrb.8 q0, [r2], #16\n"
                         "vstrb.8 q0, [r4], #16\n"
                         "letp lr, 2b\n"
                         "add %[row], %[in_row]\n"
                         "add %[to_row], %[row_bytes]\n"
                         "subs %[rows], #1\n"
                         "bne 1b"
                         : [row] "+r"(row), [to_row] "+r"(to_row), [rows] "+r"(rows)
                         : [row_bytes] "r"(row_bytes), [in_row] "r"(in_row)
                         : "r2", "r4", "lr", "q0", "cc", "memory");
    }
}

/* Columns of outputs whose windows are inside the input: [first, last). */
static TsSpan columns_inside(const TsWindow* window) {
    const int32_t stride = window->stride_width;
    const int32_t room = window->in_width + window->pad_left - window->kernel_width;
    const TsSpan span = {0, (window->pad_left + stride - 1) / stride,
                         room < 0 ? 0 : ts_min(window->out_width, room / stride + 1)};
    return span;
}

static void any_window(const TsMveConv2D* layer, const int8_t* x, int8_t* out, int8_t* windows, int8_t* spare) {
    const TsWindow* window = &layer->window;
    const TsSpan inside = columns_inside(window);
    const int32_t step = window->stride_width * layer->in_channels;
    const int32_t in_row = window->in_width * layer->in_channels;
    const int32_t reach = (window->kernel_height - 1) * in_row + window->kernel_width * layer->in_channels;
    const int gather = layer->pieces == 1 && reach <= 256;
    const uint8x16_t offsets = gather ? offsets_of(layer) : vdupq_n_u8(0);
    Channels all;
    int32_t held = 0;
    begin_channels(layer, windows, spare, &all);
    for (int32_t y = 0; y < window->out_height; ++y) {
        const TsSpan rows = ts_rows(window, y);
        const int whole = rows.last - rows.first == window->kernel_height;
        int32_t n;
        for (int32_t column = 0; column < window->out_width; column += n) {
            int8_t* to = windows + held * PITCH;
            if (whole && column >= inside.first && column < inside.last) {
                const int8_t* from = x + rows.start * in_row + column * step - window->pad_left * layer->in_channels;
                n = ts_min(TS_MVE_PIXELS - held, inside.last - column);
                if (gather) {
                    gathered(from, step, offsets, n, to);
                } else {
                    copied(layer, from, step, n, to);
                }
            } else {
                n = 1;
                window_of(layer, x, y, column, to);
            }
            held += n;
            if (held == TS_MVE_PIXELS) {
                pixels(&all, held, out);
                out += TS_MVE_PIXELS * layer->out_channels;
                held = 0;
            }
        }
    }
    if (held != 0) {
        pixels(&all, held, out);
    }
}

/* Copy contiguous codes side by side; the last vector may contain codes of no window, which have weights of zero. */
static TS_MVE_APART void copy_four(const int8_t* x, int32_t n, int8_t* windows) {
    const int8_t* x1 = x + n;
    const int8_t* x2 = x1 + n;
    const int8_t* x3 = x2 + n;
    __asm__ volatile("dlstp.8 lr, %[n]\n"
                     "1: vldrb.8 q0, [%[x0]], #16\n"
                     "vldrb.8 q1, [%[x1]], #16\n"
                     "vldrb.8 q2, [%[x2]], #16\n"
                     "vldrb.8 q3, [%[x3]], #16\n"
                     "vstrw.32 q0, [%[to], #-480]\n"
                     "vstrw.32 q1, [%[to], #-240]\n"
                     "vstrw.32 q3, [%[to], #240]\n"
                     "vstrw.32 q2, [%[to]], #16\n"
                     "letp lr, 1b"
                     : [x0] "+r"(x), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3), [to] "+r"(windows)
                     : [n] "r"(n)
                     : "lr", "q0", "q1", "q2", "q3", "memory");
}

void ts_mve_pointwise(const TsMveConv2D* layer, const int8_t* x, int32_t n, int8_t* out, int8_t* scratch) {
    const int32_t channels = layer->in_channels;
    Channels all;
    int8_t* to = out;
    int32_t left = n;
    begin_channels(layer, scratch, scratch + TS_MVE_WINDOWS_BYTES, &all);
    for (; left >= TS_MVE_PIXELS; left -= TS_MVE_PIXELS) {
        copy_four(x, channels, scratch + MIDDLE);
        pixels(&all, TS_MVE_PIXELS, to);
        x += TS_MVE_PIXELS * channels;
        to += TS_MVE_PIXELS * layer->out_channels;
    }
    for (int32_t pixel = 0; pixel < left; ++pixel) {
        ts_mve_copy(scratch + pixel * PITCH, x + pixel * channels, channels);
    }
    if (left != 0) {
        pixels(&all, left, to);
    }
    ts_mve_raise(out, &layer->out, n * layer->out_channels);
}

void ts_mve_conv2d(const TsMveConv2D* layer, const int8_t* x, int8_t* out, int8_t* scratch) {
    const TsWindow* window = &layer->window;
    const int32_t n = window->out_height * window->out_width;
    if (window->kernel_height * window->kernel_width == 1 && window->stride_height * window->stride_width == 1 &&
        window->out_height == window->in_height && window->out_width == window->in_width) {
        ts_mve_pointwise(layer, x, n, out, scratch);
    } else {
        any_window(layer, x, out, scratch, scratch + TS_MVE_WINDOWS_BYTES);
        ts_mve_raise(out, &layer->out, n * layer->out_channels);
    }
}
