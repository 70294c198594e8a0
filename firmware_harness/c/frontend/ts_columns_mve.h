/* The last step of the transform for Helium, two columns at a time; see ts_step_mve.h. */
#ifndef TS_COLUMNS_MVE_H
#define TS_COLUMNS_MVE_H

#include "ts_step_mve.h"

#ifdef TS_STEP_MVE

/* clang-format off */

/* Power of both points of `v`, as their real parts. */
#define TS_MVE_POWER(to, v) "vcmul.f32 " to ", " v ", " v ", #270\n vcmla.f32 " to ", " v ", " v ", #0\n"

/* The last step for columns up, up + 1, ... and those that mirror them, down, down - 1, ..., in pairs; see last_columns
 * in ts_spectrum.c. w: three twiddle factors of the first column and two of its split, followed by those of the others.
 * The pairs of `down` are read backwards word by word: i times the conjugates, the first column first. */
TS_STRAIGHT void ts_mve_columns(TsComplex* up, TsComplex* down, int quarter, const TsTurn* w, int pairs) {
    const uint32_t turns = (uint32_t)(uintptr_t)(w + 1) - 80; /* the second factor, less a pair of columns */
    struct {
        uint32_t turns[4], backwards[4], swapped[4];
        TsComplex* columns[8];
    } at = {{turns, 0, turns + 40},
            {3, 2, 1, 0},
            {8, (uint32_t)pairs},
            {up, up + quarter, up + 2 * quarter, up + 3 * quarter, down - 1, down + quarter - 1,
             down + 2 * quarter - 1, down + 3 * quarter - 1}};
    __asm__ volatile(
        "ldr lr, [%[at], #36]\n"
        "add r0, %[at], #48\n"
        "ldm r0, {r0-r6, r8}\n"
        "dls lr, lr\n"
        "1:\n"
        "vldrw.u32 q7, [%[at]]\n"
        "vldrw.u32 q1, [r2]\n"
        "vldrd.u64 q2, [q7, #80]!\n"
        "vldrw.u32 q0, [r0]\n"
        "vcmul.f32 q3, q2, q1, #0\n"
        "vstrw.32 q7, [%[at]]\n"
        "vcmla.f32 q3, q2, q1, #270\n"
        "vldrw.u32 q2, [r1]\n"
        "vadd.f32 q1, q0, q3\n"
        "vsub.f32 q0, q0, q3\n"
        "vldrd.u64 q3, [q7, #-8]\n"
        "vldrw.u32 q6, [r3]\n"
        "vcmul.f32 q4, q3, q2, #0\n"
        "vcmla.f32 q4, q3, q2, #270\n"
        "vldrd.u64 q3, [q7, #8]\n"
        "vcmul.f32 q5, q3, q6, #0\n"
        "vcmla.f32 q5, q3, q6, #270\n"
        "vldrw.u32 q6, [%[at], #16]\n"
        "vadd.f32 q2, q4, q5\n"
        "vsub.f32 q3, q4, q5\n"
        "vadd.f32 q4, q1, q2\n"
        "vsub.f32 q1, q1, q2\n"
        "vstrw.32 q4, [r0]\n"
        "vcadd.f32 q2, q0, q3, #270\n"
        "vstrw.32 q1, [r2]\n"
        "vcadd.f32 q0, q0, q3, #90\n"
        "vstrw.32 q2, [r1]\n"
        /* the mirrored columns, while q0 is x[3] */
        "vldrw.u32 q2, [r6, q6, uxtw #2]\n"
        "vldrd.u64 q3, [q7]\n"
        "vldrw.u32 q1, [r4, q6, uxtw #2]\n"
        "vcmul.f32 q4, q3, q2, #0\n"
        "vcmla.f32 q4, q3, q2, #270\n"
        "vldrw.u32 q3, [r5, q6, uxtw #2]\n"
        "vldrd.u64 q5, [q7, #-8]\n"
        "vadd.f32 q2, q1, q4\n"
        "vsub.f32 q1, q1, q4\n"
        "vldrw.u32 q4, [r8, q6, uxtw #2]\n"
        "vcmul.f32 q6, q5, q3, #270\n"
        "vcmla.f32 q6, q5, q3, #0\n"
        "vldrd.u64 q3, [q7, #8]\n"
        "vcmul.f32 q5, q3, q4, #270\n"
        "vcmla.f32 q5, q3, q4, #0\n"
        "vldrd.u64 q3, [q7, #16]\n"
        "vldrd.u64 q4, [q7, #24]\n"
        "vadd.f32 q7, q6, q5\n"
        "vsub.f32 q6, q6, q5\n"
        "vadd.f32 q5, q2, q7\n"
        "vsub.f32 q7, q7, q2\n"
        "vcadd.f32 q2, q6, q1, #270\n"
        "vcadd.f32 q6, q6, q1, #90\n"
        /* x[3], y[0] */
        "vadd.f32 q1, q0, q2\n"
        "vsub.f32 q0, q0, q2\n"
        "vcmul.f32 q2, q4, q0, #270\n"
        "vcmla.f32 q2, q4, q0, #0\n"
        "vsub.f32 q0, q1, q2\n"
        "vadd.f32 q1, q1, q2\n"
        TS_MVE_POWER("q2", "q0")
        "vstrw.32 q2, [r3], #16\n"
        "vldrw.u32 q2, [%[at], #32]\n"
        TS_MVE_POWER("q0", "q1")
        "vstrd.64 q0, [r4, q2]\n"
        /* x[1], y[2] */
        "vldrw.u32 q0, [r1]\n"
        "vsub.f32 q1, q0, q6\n"
        "vadd.f32 q0, q0, q6\n"
        "vcmul.f32 q6, q4, q0, #0\n"
        "vcmla.f32 q6, q4, q0, #270\n"
        "vcadd.f32 q0, q1, q6, #270\n"
        "vcadd.f32 q1, q1, q6, #90\n"
        TS_MVE_POWER("q4", "q0")
        "vstrw.32 q4, [r1], #16\n"
        TS_MVE_POWER("q0", "q1")
        "vstrd.64 q0, [r6, q2]\n"
        /* x[0], y[3] */
        "vldrw.u32 q0, [r0]\n"
        "vcadd.f32 q1, q0, q5, #270\n"
        "vcadd.f32 q0, q0, q5, #90\n"
        "vcmul.f32 q5, q3, q0, #0\n"
        "vcmla.f32 q5, q3, q0, #270\n"
        "vcadd.f32 q0, q1, q5, #270\n"
        "vcadd.f32 q1, q1, q5, #90\n"
        TS_MVE_POWER("q4", "q0")
        "vstrw.32 q4, [r0], #16\n"
        TS_MVE_POWER("q0", "q1")
        "vstrd.64 q0, [r8, q2]\n"
        /* x[2], y[1] */
        "vldrw.u32 q0, [r2]\n"
        "vcadd.f32 q1, q0, q7, #90\n"
        "vcadd.f32 q0, q0, q7, #270\n"
        "vcmul.f32 q7, q3, q0, #270\n"
        "vcmla.f32 q7, q3, q0, #0\n"
        "vsub.f32 q0, q1, q7\n"
        "vadd.f32 q1, q1, q7\n"
        TS_MVE_POWER("q4", "q0")
        "vstrw.32 q4, [r2], #16\n"
        TS_MVE_POWER("q0", "q1")
        "vstrd.64 q0, [r5, q2]\n"
        "sub r4, #16\n"
        "sub r5, #16\n"
        "sub r6, #16\n"
        "sub r8, #16\n"
        "le lr, 1b\n"
        :
        : [at] "r"(&at)
        : TS_MVE_ALL, "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "lr", "memory");
}
/* clang-format on */

#endif
#endif
