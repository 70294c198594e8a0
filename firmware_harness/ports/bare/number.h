/* Numbers as text, because there is no printf on the bare machine. */
#ifndef TS_NUMBER_H
#define TS_NUMBER_H

#include <stdint.h>

/* Prints "name value\n", the value in decimal or hexadecimal. */
void ts_print_decimal(const char* name, uint64_t value);
void ts_print_hexadecimal(const char* name, uint64_t value);

#endif
