/* Test program for an exported product with the prefix `asc`: 10 KiB of recursion on a stack of 16 KiB, after
 * asc_guard_stack has allowed 8 KiB if GUARDED. Exits with 0 if nothing stops it, 3 if there is no guard. */
#include "asc.h"
#include "start.h"

int main(void);

static int deep(int left) {
    volatile char taken[1024];
    taken[0] = (char)left;
    return left == 0 ? 0 : deep(left - 1) + taken[0] - (char)left;
}

int main(void) {
    if (GUARDED && asc_guard_stack((const char*)ts_stack_top - 8192) != ASC_OK) {
        return 3;
    }
    return deep(10);
}
