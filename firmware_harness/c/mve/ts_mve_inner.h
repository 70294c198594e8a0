/* Functions that the Helium kernels share: both rounding rules on vectors, and moving bytes. */
#ifndef TS_MVE_INNER_H
#define TS_MVE_INNER_H

#include <arm_mve.h>

#include "ts_inner.h"
#include "ts_mve.h"

/* For functions whose assembly uses many registers: not inlined, so that a caller's variables need none of them. At
 * least r7 and r9 stay free, which flags may reserve. */
#define TS_MVE_APART __attribute__((noinline))

/* For functions that are assembly as a whole, because they use all registers: arguments in r0 to r3, and what a callee
 * saves is saved, whatever registers flags reserve. The compiler may conclude nothing from the empty body in C. */
#ifdef __clang__
#define TS_MVE_ASSEMBLY __attribute__((naked, noinline, no_instrument_function))
#else
#define TS_MVE_ASSEMBLY __attribute__((naked, noipa, no_instrument_function))
#endif

/* An argument that only the assembly reads. */
#define TS_MVE_ARGUMENT __attribute__((unused))

/* In a list of clobbers: the predicates. Clang has no name for them; with it, no predicate may be needed after the
 * assembly that was computed before. */
#ifdef __clang__
#define TS_MVE_P0
#else
#define TS_MVE_P0 "p0",
#endif

/* Lines of assembly: four sums of one channel to numbers counted from the zero point, in `to`. Constants are in
 * registers; the shift is to the right by at least one bit.
 *
 * double: the shift rounds half up, and taking 1 from what is negative makes that half away from zero. The sign may
 * be that of the sum: where the product rounds to 0, -1 is rounded to 0 as well. single: the conversion rounds half
 * to even and saturates. */
#ifdef TS_ROUNDING_SINGLE
#define TS_MVE_RESCALE(to, sum, factor, unused)                                                                        \
    "vcvt.f32.s32 " to ", " sum "\n"                                                                                   \
    "vmul.f32 " to ", " to ", " factor "\n"                                                                            \
    "vcvtn.s32.f32 " to ", " to "\n"
#else
#define TS_MVE_RESCALE(to, sum, multiplier, shift)                                                                     \
    "vshr.s32 " to ", " sum ", #31\n"                                                                                  \
    "vqrdmlah.s32 " to ", " sum ", " multiplier "\n"                                                                   \
    "vrshl.s32 " to ", " shift "\n"
#endif

/* Lines of assembly: two vectors of sums with their biases to one of 16-bit numbers, even lanes from the first. `first`
 * and `second` are spare; `second` may be the first sum. The instructions of one vector wait less between those of the
 * other. */
#ifdef TS_ROUNDING_SINGLE
#define TS_MVE_NARROW(first, sum, bias, factor, unused, second, other, other_bias, other_factor, other_unused)         \
    "vadd.i32 " sum ", " sum ", " bias "\n"                                                                            \
    "vcvt.f32.s32 " first ", " sum "\n"                                                                                \
    "vadd.i32 " other ", " other ", " other_bias "\n"                                                                  \
    "vmul.f32 " first ", " first ", " factor "\n"                                                                      \
    "vcvt.f32.s32 " second ", " other "\n"                                                                             \
    "vcvtn.s32.f32 " first ", " first "\n"                                                                             \
    "vmul.f32 " second ", " second ", " other_factor "\n"                                                              \
    "vqmovnb.s32 " first ", " first "\n"                                                                               \
    "vcvtn.s32.f32 " second ", " second "\n"                                                                           \
    "vqmovnt.s32 " first ", " second "\n"
#else
#define TS_MVE_NARROW(first, sum, bias, multiplier, shift, second, other, other_bias, other_multiplier, other_shift)   \
    "vadd.i32 " sum ", " sum ", " bias "\n"                                                                            \
    "vshr.s32 " first ", " sum ", #31\n"                                                                               \
    "vqrdmlah.s32 " first ", " sum ", " multiplier "\n"                                                                \
    "vadd.i32 " other ", " other ", " other_bias "\n"                                                                  \
    "vrshl.s32 " first ", " shift "\n"                                                                                 \
    "vshr.s32 " second ", " other ", #31\n"                                                                            \
    "vqrdmlah.s32 " second ", " other ", " other_multiplier "\n"                                                       \
    "vqmovnb.s32 " first ", " first "\n"                                                                               \
    "vrshl.s32 " second ", " other_shift "\n"                                                                          \
    "vqmovnt.s32 " first ", " second "\n"
#endif

/* TS_MVE_RESCALE in C, for the sums of one layer. */
static inline int32x4_t ts_mve_rescale(int32x4_t sum, const TsRescale* rescale) {
#ifdef TS_ROUNDING_SINGLE
    return vcvtnq_s32_f32(vmulq_n_f32(vcvtq_f32_s32(sum), rescale->factor));
#else
    return vrshlq_n_s32(vqrdmlahq_n_s32(vshrq_n_s32(sum, 31), sum, rescale->multiplier), rescale->shift);
#endif
}

/* The same with any shift, and with a rescaling for each lane: four vectors of sums, multipliers and shifts, or the
 * bits of factors. Half away from zero is half up of what is negative less 1, but not without a shift to the right. */
static inline int32x4_t ts_mve_rescale_lanes(int32x4_t sum, const int32_t* rescale) {
#ifdef TS_ROUNDING_SINGLE
    return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum), vreinterpretq_f32_s32(vld1q_s32(rescale))));
#else
    const int32x4_t shift = vld1q_s32(rescale + 4);
    const int32x4_t right = vminq_s32(shift, vdupq_n_s32(0));
    const int32x4_t left = vsubq_s32(shift, right);
    const int32x4_t high = vqrdmulhq_s32(vshlq_s32(sum, left), vld1q_s32(rescale));
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(vandq_s32(high, right), 31)), right);
#endif
}

/* Even lanes from `even`, odd ones from `odd`, saturated. */
static inline int16x8_t ts_mve_halves(int32x4_t even, int32x4_t odd) {
    return vqmovntq_s32(vqmovnbq_s32(vreinterpretq_s16_s32(even), even), odd);
}

static inline int8x16_t ts_mve_codes(int16x8_t even, int16x8_t odd) {
    return vqmovntq_s16(vqmovnbq_s16(vreinterpretq_s8_s16(even), even), odd);
}

/* n bytes rounded up to whole vectors. */
static inline int32_t ts_mve_whole(int32_t n) {
    return (n + TS_MVE_LANES - 1) / TS_MVE_LANES * TS_MVE_LANES;
}

/* Copy n > 0 bytes; reads and writes no others. */
static inline void ts_mve_copy(int8_t* to, const int8_t* from, int32_t n) {
    int8x16_t moved;
    __asm__ volatile("dlstp.8 lr, %3\n"
                     "1: vldrb.8 %q2, [%1], #16\n"
                     "vstrb.8 %q2, [%0], #16\n"
                     "letp lr, 1b"
                     : "+r"(to), "+r"(from), "=&w"(moved)
                     : "r"(n)
                     : "lr", "memory");
}

static inline void ts_mve_fill(int8_t* to, int8_t value, int32_t n) {
    const int8x16_t filled = vdupq_n_s8(value);
    __asm__ volatile("wlstp.8 lr, %2, 2f\n"
                     "1: vstrb.8 %q1, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:"
                     : "+r"(to)
                     : "w"(filled), "r"(n)
                     : "lr", "memory");
}

/* codes[i] = max(codes[i], low) for a ReLU whose zero point is not the lowest code. */
static inline void ts_mve_raise(int8_t* codes, const TsOutput* out, int32_t n) {
    const int32_t low = out->low + out->zero_point;
    for (int32_t at = 0; low > INT8_MIN && at < n; at += TS_MVE_LANES) {
        const mve_pred16_t inside = vctp8q((uint32_t)(n - at));
        vst1q_p_s8(codes + at, vmaxq_s8(vld1q_z_s8(codes + at, inside), vdupq_n_s8((int8_t)low)), inside);
    }
}

#endif
