/* Test program for a sealed image: exits with the negated result of asc_init, or of a whole round of checks. */
#include "asc.h"

int main(void);
int never_called(int value);

static asc_state state;
static int8_t arena[ASC_ARENA_BYTES] __attribute__((aligned(ASC_ARENA_ALIGNMENT), section(".bss.ts_arena")));

/* Code and a constant that nothing depends on, for the test to damage. */
const char marker[] = "marker of .rodata";

__attribute__((noinline)) int never_called(int value) {
    return 0x5eed1234 * value + marker[value & 7];
}

int main(void) {
    volatile int never = 0;
    int rounds = 0;
    int status = asc_init(&state, arena, NULL, NULL);
    if (never) {
        return never_called(never);
    }
    if (status != ASC_OK) {
        return -status;
    }
    while ((status = asc_check_step(&state, 1000)) == ASC_CHECK_MORE) {
        ++rounds;
    }
    if (status < 0) {
        return -status;
    }
    return rounds > ASC_CONSTANT_BYTES / 1000 ? 0 : 100; /* more than the constants were read */
}
