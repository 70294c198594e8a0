/* The steps for Arm's scalar float unit with fused multiply-add (Armv7E-M, Armv8-M): the operations of the portable
 * steps in ts_spectrum.c, with the same bits, but a complex value is moved by one instruction, the twiddle factors
 * of a step by one or two, and nothing is spilled. Compilers do not place two floats in neighbouring registers. */
#ifndef TS_STEP_ARM_H
#define TS_STEP_ARM_H

#include "ts_butterfly.h"

#if defined(__GNUC__) && defined(__arm__) && defined(__FP_FAST_FMAF) && !defined(__SOFTFP__) &&                        \
    !(defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 2))
#define TS_STEP_ARM 1

typedef double TsPair __attribute__((may_alias)); /* a TsComplex, for loading and storing only */

/* clang-format off */
#define ADD(to, a, b) "vadd.f32 " to "," a "," b "\n"
#define SUB(to, a, b) "vsub.f32 " to "," a "," b "\n"
#define TURN(re, im, cosine, sine, to_re, to_im)                                                                       \
    "vmul.f32 " to_re "," cosine "," re "\n vmul.f32 " to_im "," cosine "," im "\n"                                    \
    "vfma.f32 " to_re "," sine "," im "\n vfms.f32 " to_im "," sine "," re "\n"
#define LOAD(pair, base, operation, offset) operation " %[t]," base ",#" offset "\n vldr.64 " pair ",[%[t]]\n"

/* A low and a high point that mirror each other: even part and odd part, the latter times its twiddle factor, and
 * the powers of their sum and difference to s30 and s31. `product` is vmul, or vnmul for a negative cosine. */
#define SPLIT(a_re, a_im, b_re, b_im, product, cosine, sine)                                                           \
    ADD("s26", a_re, b_re) SUB("s27", a_im, b_im) ADD("s28", a_im, b_im) SUB("s29", b_re, a_re)                        \
    product " s30," cosine ",s28\n" product " s31," cosine ",s29\n"                                                    \
    "vfma.f32 s30," sine ",s29\n vfms.f32 s31," sine ",s28\n"                                                          \
    ADD("s28", "s26", "s30") ADD("s29", "s27", "s31") SUB("s26", "s26", "s30") SUB("s27", "s27", "s31")                \
    "vmul.f32 s30, s29, s29\n vfma.f32 s30, s28, s28\n vmul.f32 s31, s27, s27\n vfma.f32 s31, s26, s26\n"

enum { TS_POINT_PITCH = TS_HALF_FFT / 8 * (int)sizeof(TsComplex) }; /* bytes between the points of a group */

/* The first step for one group with six points in the window, three in each half. `samples` and `rising` point to the
 * first point and its weights, `falling` to the mirrored weights of the fourth; those of the others are at lower
 * addresses, the second of each pair first. */
TS_STRAIGHT void ts_step_of_six(const float* samples, const float* rising, const float* falling, TsComplex* out) {
    const float half_root = 0x1.6a09e6p-1f; /* sqrt(1/2) */
    const float* t;
    __asm__ volatile(
        "vldr.64 d0, [%[x]]\n"
        LOAD("d1", "%[x]", "add", "%c[s1]") LOAD("d2", "%[x]", "add", "%c[s2]") LOAD("d3", "%[x]", "add", "%c[s3]")
        LOAD("d4", "%[x]", "add", "%c[s4]") LOAD("d5", "%[x]", "add", "%c[s5]")
        "vldr.64 d8, [%[r]]\n" LOAD("d9", "%[r]", "add", "%c[s1]") LOAD("d10", "%[r]", "add", "%c[s2]")
        "vldr.64 d11, [%[f]]\n" LOAD("d12", "%[f]", "sub", "%c[s1]") LOAD("d13", "%[f]", "sub", "%c[s2]")
        "vmul.f32 s0, s0, s16\n vmul.f32 s1, s1, s17\n vmul.f32 s2, s2, s18\n vmul.f32 s3, s3, s19\n"
        "vmul.f32 s4, s4, s20\n vmul.f32 s5, s5, s21\n vmul.f32 s6, s6, s23\n vmul.f32 s7, s7, s22\n"
        "vmul.f32 s8, s8, s25\n vmul.f32 s9, s9, s24\n vmul.f32 s10, s10, s27\n vmul.f32 s11, s11, s26\n"
        /* 0, 2, 4: four points to s8, s14, s12, s0 */
        ADD("s12", "s0", "s8") ADD("s13", "s1", "s9") SUB("s0", "s0", "s8") SUB("s1", "s1", "s9")
        ADD("s8", "s12", "s4") ADD("s9", "s13", "s5") SUB("s12", "s12", "s4") SUB("s13", "s13", "s5")
        ADD("s14", "s0", "s5") SUB("s15", "s1", "s4") SUB("s0", "s0", "s5") ADD("s1", "s1", "s4")
        /* 1, 3, 5: four points to s10, s16, s4, s2; the second and fourth rotated by an eighth turn, without the
         * square root */
        ADD("s4", "s2", "s10") ADD("s5", "s3", "s11") SUB("s2", "s2", "s10") SUB("s3", "s3", "s11")
        ADD("s10", "s4", "s6") ADD("s11", "s5", "s7") SUB("s4", "s4", "s6") SUB("s5", "s5", "s7")
        ADD("s16", "s2", "s7") SUB("s17", "s3", "s6") SUB("s2", "s2", "s7") ADD("s3", "s3", "s6")
        ADD("s6", "s16", "s17") SUB("s7", "s17", "s16") ADD("s18", "s2", "s3") SUB("s19", "s3", "s2")
        /* sums and differences of both */
        ADD("s20", "s8", "s10") ADD("s21", "s9", "s11") SUB("s8", "s8", "s10") SUB("s9", "s9", "s11")
        "vstr.64 d10, [%[out]]\n vstr.64 d4, [%[out], #32]\n"
        ADD("s22", "s12", "s5") SUB("s23", "s13", "s4") SUB("s12", "s12", "s5") ADD("s13", "s13", "s4")
        "vstr.64 d11, [%[out], #16]\n vstr.64 d6, [%[out], #48]\n"
        "vmov.f32 s24, s14\n vmov.f32 s25, s15\n vfma.f32 s24, %[h], s6\n vfma.f32 s25, %[h], s7\n"
        "vfms.f32 s14, %[h], s6\n vfms.f32 s15, %[h], s7\n"
        "vstr.64 d12, [%[out], #8]\n vstr.64 d7, [%[out], #40]\n"
        "vmov.f32 s26, s0\n vmov.f32 s27, s1\n vfma.f32 s26, %[h], s19\n vfms.f32 s27, %[h], s18\n"
        "vfms.f32 s0, %[h], s19\n vfma.f32 s1, %[h], s18\n"
        "vstr.64 d13, [%[out], #24]\n vstr.64 d0, [%[out], #56]\n"
        : [t] "=&r"(t)
        : [x] "r"(samples), [r] "r"(rising), [f] "r"(falling), [out] "r"(out), [h] "t"(half_root),
          [s1] "i"(TS_POINT_PITCH), [s2] "i"(2 * TS_POINT_PITCH), [s3] "i"(3 * TS_POINT_PITCH),
          [s4] "i"(4 * TS_POINT_PITCH), [s5] "i"(5 * TS_POINT_PITCH)
        : "memory", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",
          "s15", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27");
}

/* z[0], z[length], ... z[7 * length] become the transform of their products with w[0..6]. */
TS_STRAIGHT void ts_step_of_eight(TsComplex* z, int length, const TsTurn* w) {
    TsPair* const pair = (TsPair*)z;
    const float half_root = 0x1.6a09e6p-1f;
    const TsTurn* at = w;
    __asm__ volatile(
        "vldmia %[w]!, {s16-s27}\n"
        "vldr.64 d0, %[z0]\n vldr.64 d1, %[z1]\n vldr.64 d2, %[z2]\n vldr.64 d3, %[z3]\n"
        "vldr.64 d4, %[z4]\n vldr.64 d5, %[z5]\n vldr.64 d6, %[z6]\n vldr.64 d7, %[z7]\n"
        TURN("s2", "s3", "s16", "s17", "s28", "s29") TURN("s4", "s5", "s18", "s19", "s2", "s3")
        TURN("s6", "s7", "s20", "s21", "s4", "s5") TURN("s8", "s9", "s22", "s23", "s6", "s7")
        TURN("s10", "s11", "s24", "s25", "s8", "s9") TURN("s12", "s13", "s26", "s27", "s10", "s11")
        "vldmia %[w], {s16-s17}\n"
        TURN("s14", "s15", "s16", "s17", "s12", "s13")
        /* 0, 2, 4, 6: four points to s18, s20, s14, s0 */
        ADD("s14", "s0", "s6") ADD("s15", "s1", "s7") SUB("s0", "s0", "s6") SUB("s1", "s1", "s7")
        ADD("s16", "s2", "s10") ADD("s17", "s3", "s11") SUB("s2", "s2", "s10") SUB("s3", "s3", "s11")
        ADD("s18", "s14", "s16") ADD("s19", "s15", "s17") SUB("s14", "s14", "s16") SUB("s15", "s15", "s17")
        ADD("s20", "s0", "s3") SUB("s21", "s1", "s2") SUB("s0", "s0", "s3") ADD("s1", "s1", "s2")
        /* 1, 3, 5, 7: four points to s6, s8, s16, s10; the second and fourth rotated by an eighth turn, without the
         * square root */
        ADD("s16", "s28", "s8") ADD("s17", "s29", "s9") SUB("s28", "s28", "s8") SUB("s29", "s29", "s9")
        ADD("s22", "s4", "s12") ADD("s23", "s5", "s13") SUB("s4", "s4", "s12") SUB("s5", "s5", "s13")
        ADD("s6", "s16", "s22") ADD("s7", "s17", "s23") SUB("s16", "s16", "s22") SUB("s17", "s17", "s23")
        ADD("s8", "s28", "s5") SUB("s9", "s29", "s4") SUB("s10", "s28", "s5") ADD("s11", "s29", "s4")
        ADD("s12", "s8", "s9") SUB("s13", "s9", "s8") ADD("s22", "s10", "s11") SUB("s23", "s11", "s10")
        /* sums and differences of both */
        ADD("s24", "s18", "s6") ADD("s25", "s19", "s7") SUB("s18", "s18", "s6") SUB("s19", "s19", "s7")
        "vstr.64 d12, %[z0]\n vstr.64 d9, %[z4]\n"
        ADD("s26", "s14", "s17") SUB("s27", "s15", "s16") SUB("s14", "s14", "s17") ADD("s15", "s15", "s16")
        "vstr.64 d13, %[z2]\n vstr.64 d7, %[z6]\n"
        "vmov.f32 s28, s20\n vmov.f32 s29, s21\n vfma.f32 s28, %[h], s12\n vfma.f32 s29, %[h], s13\n"
        "vfms.f32 s20, %[h], s12\n vfms.f32 s21, %[h], s13\n"
        "vstr.64 d14, %[z1]\n vstr.64 d10, %[z5]\n"
        "vmov.f32 s2, s0\n vmov.f32 s3, s1\n vfma.f32 s2, %[h], s23\n vfms.f32 s3, %[h], s22\n"
        "vfms.f32 s0, %[h], s23\n vfma.f32 s1, %[h], s22\n"
        "vstr.64 d1, %[z3]\n vstr.64 d0, %[z7]\n"
        : [z0] "+Uv"(pair[0]), [z1] "+Uv"(pair[length]), [z2] "+Uv"(pair[2 * length]), [z3] "+Uv"(pair[3 * length]),
          [z4] "+Uv"(pair[4 * length]), [z5] "+Uv"(pair[5 * length]), [z6] "+Uv"(pair[6 * length]),
          [z7] "+Uv"(pair[7 * length]), [w] "+r"(at)
        : [h] "t"(half_root), "m"(*(const TsTurn(*)[7])w)
        : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16",
          "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29");
}

/* The last step for two columns, see last_columns in ts_spectrum.c; w: three twiddle factors of the column, two of
 * the split. */
TS_STRAIGHT void ts_step_of_columns(TsComplex* up_column, TsComplex* down_column, int quarter, const TsTurn* w) {
    TsPair *const up = (TsPair*)up_column, *const down = (TsPair*)down_column;
    __asm__ volatile(
        "vldr.64 d0, %[up0]\n vldr.64 d1, %[up1]\n vldr.64 d2, %[up2]\n vldr.64 d3, %[up3]\n"
        "vldmia %[w], {s16-s25}\n"
        TURN("s2", "s3", "s16", "s17", "s26", "s27") TURN("s4", "s5", "s18", "s19", "s2", "s3")
        TURN("s6", "s7", "s20", "s21", "s4", "s5")
        /* four points to s4, s2, s6, s0 */
        ADD("s6", "s0", "s2") ADD("s7", "s1", "s3") SUB("s0", "s0", "s2") SUB("s1", "s1", "s3")
        ADD("s2", "s26", "s4") ADD("s3", "s27", "s5") SUB("s26", "s26", "s4") SUB("s27", "s27", "s5")
        ADD("s4", "s6", "s2") ADD("s5", "s7", "s3") SUB("s6", "s6", "s2") SUB("s7", "s7", "s3")
        ADD("s2", "s0", "s27") SUB("s3", "s1", "s26") SUB("s0", "s0", "s27") ADD("s1", "s1", "s26")
        "vldr.64 d4, %[down0]\n vldr.64 d5, %[down1]\n vldr.64 d6, %[down2]\n vldr.64 d7, %[down3]\n"
        TURN("s10", "s11", "s17", "s16", "s26", "s27")
        "vnmul.f32 s10, s18, s12\n vnmul.f32 s11, s18, s13\n vfma.f32 s10, s19, s13\n vfms.f32 s11, s19, s12\n"
        "vnmul.f32 s12, s21, s14\n vnmul.f32 s13, s21, s15\n vfms.f32 s12, s20, s15\n vfma.f32 s13, s20, s14\n"
        /* four points to s12, s10, s14, s8 */
        ADD("s14", "s8", "s10") ADD("s15", "s9", "s11") SUB("s8", "s8", "s10") SUB("s9", "s9", "s11")
        ADD("s10", "s26", "s12") ADD("s11", "s27", "s13") SUB("s26", "s26", "s12") SUB("s27", "s27", "s13")
        ADD("s12", "s14", "s10") ADD("s13", "s15", "s11") SUB("s14", "s14", "s10") SUB("s15", "s15", "s11")
        ADD("s10", "s8", "s27") SUB("s11", "s9", "s26") SUB("s8", "s8", "s27") ADD("s9", "s9", "s26")
        SPLIT("s4", "s5", "s8", "s9", "vmul.f32", "s22", "s23") "vstr.32 s30, %[up0]\n vstr.32 s31, %[down3]\n"
        SPLIT("s2", "s3", "s14", "s15", "vmul.f32", "s24", "s25") "vstr.32 s30, %[up1]\n vstr.32 s31, %[down2]\n"
        SPLIT("s6", "s7", "s10", "s11", "vnmul.f32", "s23", "s22") "vstr.32 s30, %[up2]\n vstr.32 s31, %[down1]\n"
        SPLIT("s0", "s1", "s12", "s13", "vnmul.f32", "s25", "s24") "vstr.32 s30, %[up3]\n vstr.32 s31, %[down0]\n"
        : [up0] "+Uv"(up[0]), [up1] "+Uv"(up[quarter]), [up2] "+Uv"(up[2 * quarter]), [up3] "+Uv"(up[3 * quarter]),
          [down0] "+Uv"(down[0]), [down1] "+Uv"(down[quarter]), [down2] "+Uv"(down[2 * quarter]),
          [down3] "+Uv"(down[3 * quarter])
        : [w] "r"(w), "m"(*(const TsTurn(*)[5])w)
        : "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16",
          "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30", "s31");
}
/* clang-format on */

#undef ADD
#undef SUB
#undef TURN
#undef LOAD
#undef SPLIT

#endif
#endif
