/* A matrix times few vectors: four outputs at a time, weights and inputs straight from where they are.
 *
 * A weight is used few times, so that nothing is widened beforehand and no scratch memory is needed. */
#include "ts_dsp_inner.h"

#ifdef TS_DSP_ASSEMBLY

/* clang-format off */
/* r0 inputs, r1 weights, r2 end of the inputs, r4-r7 sums, r8-r11 weights of four outputs, r12 and r3 pairs of inputs,
 * r14 a pair of weights. */
__asm__(
    ".pushsection .text.ts_dsp_dense_run, \"ax\", %progbits\n"
    TS_DSP_PROCESSOR ".syntax unified\n"
    ".thumb\n"
    ".macro ts_dense_even sum, weight\n  sxtb16 lr, \\weight\n  smlad \\sum, lr, r12, \\sum\n.endm\n"
    ".macro ts_dense_odd sum, weight\n  sxtb16 lr, \\weight, ror #8\n  smlad \\sum, lr, r3, \\sum\n.endm\n"
    ".balign 4\n"
    ".global ts_dsp_dense_run\n"
    ".type ts_dsp_dense_run, %function\n"
    "ts_dsp_dense_run:\n"
    "  push {r3-r11, lr}\n"
    "  ldm r3, {r4-r7}\n"
    "  rsb r3, r2, #0\n  and r3, r3, #7\n  add r2, r0, r2, lsl #2\n" /* steps to skip in the first turn */
    "  mov r8, #92\n  adr.w r12, 1f\n  mla r12, r3, r8, r12\n  orr r12, r12, #1\n  bx r12\n"
    ".balign 4\n"
    "1:\n"
    ".rept 8\n"
    "  ldr.w r3, [r0], #4\n"
    "  ldr.w r8, [r1], #16\n  ldr r9, [r1, #-12]\n  ldr r10, [r1, #-8]\n  ldr r11, [r1, #-4]\n"
    "  sxtb16 r12, r3\n  sxtb16 r3, r3, ror #8\n"
    "  ts_dense_even r4, r8\n  ts_dense_even r5, r9\n  ts_dense_even r6, r10\n  ts_dense_even r7, r11\n"
    "  ts_dense_odd r4, r8\n  ts_dense_odd r5, r9\n  ts_dense_odd r6, r10\n  ts_dense_odd r7, r11\n"
    ".endr\n"
    "  cmp r0, r2\n  bne 1b\n"
    "  pop {r3}\n  stm r3, {r4-r7}\n  pop {r4-r11, pc}\n"
    ".popsection\n");
/* clang-format on */

/* Add to the sums of four outputs the products of `groups` groups of four inputs, at least one. */
void ts_dsp_dense_run(const int8_t* x, const int8_t* weight, int32_t groups, int32_t sums[4]);

#else

static void ts_dsp_dense_run(const int8_t* x, const int8_t* weight, int32_t groups, int32_t sums[4]) {
    for (int32_t i = 0; i < groups * 16; ++i) {
        sums[i >> 2 & 3] = ts_dsp_plus(sums[i >> 2 & 3], x[(i >> 4) * 4 + (i & 3)] * weight[i]);
    }
}

#endif

/* The sums of the first `n` outputs of a quad to codes. */
static void write(const TsDspQuad* quad, const int32_t sums[4], int32_t n, int32_t zero_term, int32_t low,
                  int8_t* out) {
    for (int32_t i = 0; i < n; ++i) {
        const TsDspRescale rescale = ts_dsp_rescale_of(quad, i, zero_term);
        const int32_t acc = ts_dsp_plus(quad->bias[i], sums[i] * TS_DSP_TIMES);
        out[i] = (int8_t)ts_max(ts_dsp_code(acc, &rescale, zero_term), low);
    }
}

static void multiply(const TsDspDense* layer, const int8_t* x, int8_t* out) {
    const int32_t groups = layer->inputs >> 2, rest = layer->inputs & 3, outputs = layer->outputs;
    const int32_t quad_bytes = (groups + (rest != 0)) * 16, zero_term = ts_dsp_zero_term(layer->zero_point),
                  low = layer->low;
    const int8_t* weight = TS_ARRAY(int8_t, layer, weight);
    const TsDspQuad* quad = TS_ARRAY(TsDspQuad, layer, quads);
    for (int32_t first = 0; first < outputs; first += 4, weight += quad_bytes, ++quad) {
        int32_t sums[4] = {0, 0, 0, 0};
        if (groups > 0) {
            ts_dsp_dense_run(x, weight, groups, sums);
        }
        if (rest > 0) {
            int8_t last[4] = {0, 0, 0, 0};
            memcpy(last, x + groups * 4, (size_t)rest);
            ts_dsp_dense_run(last, weight + groups * 16, 1, sums);
        }
        write(quad, sums, ts_min(4, outputs - first), zero_term, low, out + first);
    }
}

void ts_dsp_dense(const TsDspDense* layer, const int8_t* x, int8_t* out) {
    for (int32_t row = 0; row < layer->rows; ++row) {
        multiply(layer, x + row * layer->inputs, out + row * layer->outputs);
    }
}
