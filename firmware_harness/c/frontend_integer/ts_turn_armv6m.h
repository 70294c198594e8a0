/* Products of points and factors on Armv6-M, whose multiplication has 32 bits and whose arithmetic has eight registers:
 * the halves of a factor are in others. The same bits as `turned` in ts_spectrum.c, to which this is internal.
 *
 * A factor's lower half is signed: with factors of at most 2^30 the sum of the middle products then has 32 bits. */
#ifndef TS_TURN_ARMV6M_H
#define TS_TURN_ARMV6M_H

#if defined(__GNUC__) && (defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__))
#define TS_TURN_ARMV6M

/* The high product of the number with halves r1 (without sign) and r2, and the factor with halves `low` and `high`. */
#define TS_HIGH_TO(out, low, high)                                                                                     \
    "mov r3, " low "\n movs " out ", r3\n muls " out ", r1\n asrs " out ", #16\n muls r3, r2\n adds " out ", r3\n"     \
    "mov r3, " high "\n movs r5, r3\n muls r5, r1\n adds " out ", r5\n muls r3, r2\n asrs " out ", #16\n adds " out    \
    ", r3\n"
/* The same where r1 and r2 are not needed again, and that with the negative factor. */
#define TS_LAST_HIGH_TO(out, low, high)                                                                                \
    "mov r3, " low "\n mov r5, " high "\n movs " out ", r3\n muls " out ", r1\n asrs " out ", #16\n muls r3, r2\n"     \
    "adds " out ", r3\n muls r1, r5\n adds " out ", r1\n muls r5, r2\n asrs " out ", #16\n adds " out ", r5\n"
#define TS_LAST_HIGH_OF_NEGATIVE_TO(out, low, high)                                                                    \
    "mov r3, " low "\n mov r5, " high "\n movs " out ", r3\n muls " out ", r1\n rsbs " out ", " out ", #0\n"           \
    "asrs " out ", #16\n muls r3, r2\n subs " out ", r3\n muls r1, r5\n subs " out ", r1\n muls r5, r2\n"              \
    "asrs " out ", #16\n subs " out ", r5\n"
#define TS_READ(at) "ldr r2, [r0, #" at "]\n uxth r1, r2\n asrs r2, #16\n"
#define TS_WRITE_LESS(part, other, at) "subs " part ", " other "\n str " part ", [r0, #" at "]\n"
/* The point at r0, by the factors in r8, r10 (cosine) and r11, r12 (sine). */
#define TS_TURN_POINT                                                                                                  \
    TS_READ("0")                                                                                                       \
    TS_HIGH_TO("r6", "r8", "r10")                                                                                      \
    TS_LAST_HIGH_TO("r7", "r11", "r12")                                                                                \
    TS_READ("4")                                                                                                       \
    TS_HIGH_TO("r4", "r8", "r10")                                                                                      \
    TS_WRITE_LESS("r4", "r7", "4")                                                                                     \
    TS_LAST_HIGH_OF_NEGATIVE_TO("r4", "r11", "r12")                                                                    \
    TS_WRITE_LESS("r6", "r4", "0")
/* The halves of a factor. */
#define TS_HALVES_TO(low, high, factor)                                                                                \
    "sxth r1, " factor "\n mov " low ", r1\n asrs " factor ", #15\n adds " factor ", #1\n asrs " factor ", #1\n"       \
    "mov " high ", " factor "\n"
#define TS_FACTORS_FROM(cosine, sine) TS_HALVES_TO("r8", "r10", cosine) TS_HALVES_TO("r11", "r12", sine)

/* What the loops have no register for. Flags may reserve r9, and r7 as the frame pointer, which is restored. The
 * functions are compiled alone, so that no value is moved out of the way. */
typedef struct {
    uint32_t stride_bytes, end, frame_pointer;
} TurnColumn;

typedef struct {
    const int32_t *cosine, *sine;
    int32_t step_bytes, cosine_mask, sine_mask;
    uint32_t end, frame_pointer;
} TurnRow;

/* Turn the points from `z` on in steps of `stride`, before `end`, by one factor. */
__attribute__((noinline)) static void turn_column(TsComplex* z, int32_t stride, const TsComplex* end, Turn turn) {
    TurnColumn column = {(uint32_t)stride * (uint32_t)sizeof *z, (uint32_t)(uintptr_t)end, 0};
    register uintptr_t r0 __asm__("r0") = (uintptr_t)z;
    register TurnColumn* r3 __asm__("r3") = &column;
    register int32_t r4 __asm__("r4") = turn.cosine;
    register int32_t r5 __asm__("r5") = turn.sine;
    __asm__ __volatile__(".syntax unified\n mov lr, r3\n str r7, [r3, #8]\n" TS_FACTORS_FROM(
                             "r4", "r5") "1:\n" TS_TURN_POINT
                                         "mov r3, lr\n ldm r3!, {r4, r5}\n adds r0, r4\n cmp r0, r5\n bne 1b\n"
                                         "ldr r3, [r3]\n mov r7, r3\n"
                         : "+l"(r0), "+l"(r3), "+l"(r4), "+l"(r5)
                         :
                         : "r1", "r2", "r6", "r8", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Turn neighbours from `z` on, before `row->end`, by factors that are `row->step_bytes` apart, the cosine's upwards and
 * the sine's downwards in their tables. */
__attribute__((noinline)) static void turn_neighbours(TsComplex* z, TurnRow* row) {
    register uintptr_t r0 __asm__("r0") = (uintptr_t)z;
    register TurnRow* r3 __asm__("r3") = row;
    __asm__ __volatile__(
        ".syntax unified\n mov lr, r3\n str r7, [r3, #24]\n"
        "1: ldm r3!, {r1, r2, r4, r5, r6}\n"
        "ldr r7, [r2]\n eors r7, r6\n subs r7, r6\n ldr r6, [r1]\n eors r6, r5\n subs r6, r5\n"
        "adds r1, r4\n subs r2, r4\n mov r3, lr\n stm r3!, {r1, r2}\n" TS_FACTORS_FROM("r6", "r7") TS_TURN_POINT
        "adds r0, #8\n mov r3, lr\n ldr r4, [r3, #20]\n cmp r0, r4\n bne 1b\n ldr r3, [r3, #24]\n mov r7, r3\n"
        : "+l"(r0), "+l"(r3)
        :
        : "r1", "r2", "r4", "r5", "r6", "r8", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Combine four transforms of `length` turned points each, the first of them at `z`. */
__attribute__((noinline)) static void combine_row(TsComplex* z, int32_t length) {
    const int32_t bytes = length * (int32_t)sizeof *z;
    register uintptr_t r0 __asm__("r0") = (uintptr_t)z;
    register int32_t r1 __asm__("r1") = bytes - 8;
    register int32_t r2 __asm__("r2") = -3 * bytes - 8;
    register uintptr_t r3 __asm__("r3") = (uintptr_t)(z + length);
    __asm__ __volatile__(
        ".syntax unified\n mov r8, r1\n mov r10, r2\n mov r12, r3\n mov lr, r7\n"
        "1: ldm r0!, {r1, r2}\n adds r1, #2\n asrs r1, #2\n adds r2, #2\n asrs r2, #2\n"
        "add r0, r8\n ldm r0!, {r3, r4}\n adds r5, r1, r3\n subs r1, r3\n adds r6, r2, r4\n subs r2, r4\n"
        "mov r11, r1\n add r0, r8\n ldm r0!, {r3, r4}\n add r0, r8\n ldm r0!, {r1, r7}\n"
        "subs r1, r3, r1\n adds r3, r3\n subs r3, r1\n subs r7, r4, r7\n adds r4, r4\n subs r4, r7\n"
        "subs r5, r3\n adds r3, r3\n adds r3, r5\n subs r6, r4\n adds r4, r4\n adds r4, r6\n"
        "add r0, r10\n stm r0!, {r3, r4}\n"
        "subs r4, r2, r1\n adds r2, r1\n mov r1, r11\n adds r3, r1, r7\n subs r1, r7\n"
        "add r0, r8\n stm r0!, {r3, r4}\n add r0, r8\n stm r0!, {r5, r6}\n add r0, r8\n stm r0!, {r1, r2}\n"
        "add r0, r10\n adds r0, #8\n cmp r0, r12\n bne 1b\n mov r7, lr\n"
        : "+l"(r0), "+l"(r1), "+l"(r2), "+l"(r3)
        :
        : "r4", "r5", "r6", "r8", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Turn `length` neighbours from `z` on by k times `angle` of TS_LOGMEL_N_FFT parts of a turn. */
static void turn_row(TsComplex* z, int32_t length, int32_t angle) {
    const int32_t* const quarter = ts_spectrum_tables.quarter;
    int32_t k = 0;
    for (int32_t quadrant = 0; k < length; ++quadrant) {
        const int32_t last = ((quadrant + 1) * QUARTER) / angle + 1; /* the first beyond this quarter of a turn */
        const int32_t end = last < length ? last : length, at = k * angle - quadrant * QUARTER;
        const int32_t falling = quadrant == 1; /* the second quarter reads the cosine from its end */
        TurnRow row = {quarter + (falling ? QUARTER - at : at),
                       quarter + (falling ? at : QUARTER - at),
                       (falling ? -angle : angle) * (int32_t)sizeof *quarter,
                       quadrant > 0 ? -1 : 0,
                       quadrant > 1 ? -1 : 0,
                       (uint32_t)(uintptr_t)(z + end),
                       0};
        turn_neighbours(z + k, &row);
        k = end;
    }
}

#endif
#endif
