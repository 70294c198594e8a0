#ifndef FREERTOS_H
#define FREERTOS_H
#include <stdint.h>
typedef int BaseType_t;
typedef unsigned int UBaseType_t;
typedef uint32_t TickType_t;
#define pdPASS ((BaseType_t)1)
#define portMAX_DELAY ((TickType_t)0xffffffffUL)
#endif
