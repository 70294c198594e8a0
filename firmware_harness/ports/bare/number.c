/* Numbers as text, digit by digit from the end. */
#include "number.h"

#include "ts_port.h"

static void print(const char* name, uint64_t value, unsigned base) {
    char text[24];
    char* at = text + sizeof text - 1;
    *at = '\0';
    *--at = '\n';
    do {
        *--at = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    ts_port_print(name);
    ts_port_print(" ");
    ts_port_print(at);
}

void ts_print_decimal(const char* name, uint64_t value) {
    print(name, value, 10);
}

void ts_print_hexadecimal(const char* name, uint64_t value) {
    print(name, value, 16);
}
