/* A number as text, because there is no printf on the bare machine. */
#include <stdint.h>

#include "ts_port.h"

static void put(const char* name, int32_t value) {
    char text[16];
    char* at = text + sizeof text - 1;
    uint32_t left = (uint32_t)(value < 0 ? -value : value);
    *at = '\0';
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    if (value < 0) {
        *--at = '-';
    }
    ts_port_print(name);
    ts_port_print(" ");
    ts_port_print(at);
    ts_port_print("\n");
}
