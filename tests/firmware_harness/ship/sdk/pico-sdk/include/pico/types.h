#ifndef PICO_TYPES_H
#define PICO_TYPES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef unsigned int uint;
typedef volatile uint32_t io_rw_32;
typedef const volatile uint32_t io_ro_32;
#endif
