/* Prints the result of the self-test, of a run on codes, and each output code; exits with the negated self-test. */
#include "alone.h"
#include "put.h"

int main(void) {
    const int status = asc_init(&state, arena, NULL, NULL);
    put("self-test", status);
    for (size_t i = 0; i < ROW_BYTES; ++i) {
        row[i] = (int8_t)(i % 251 - 125);
    }
    put("invoked", invoke(&state));
    for (size_t i = 0; i < RESULT_BYTES; ++i) {
        put("code", result[i]);
    }
    return -status;
}
