/* Functions that the compiler calls for arithmetic which the processor lacks.
 *
 * Debian's libgcc for LX106 leaves them out, because they are in the ROM of the ESP8266; QEMU's machine has no such
 * ROM. libgcc has the others, such as shifts of 64 bits and division of floats. */
#ifndef TS_ARITHMETIC_H
#define TS_ARITHMETIC_H

#include <stdint.h>

uint64_t __umulsidi3(uint32_t a, uint32_t b);
int64_t __muldi3(int64_t a, int64_t b);
uint32_t __udivsi3(uint32_t dividend, uint32_t divisor);
uint32_t __umodsi3(uint32_t dividend, uint32_t divisor);
int32_t __divsi3(int32_t dividend, int32_t divisor);
uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);
int64_t __divdi3(int64_t dividend, int64_t divisor);

float __addsf3(float a, float b);
float __subsf3(float a, float b);
float __mulsf3(float a, float b);
float __floatsisf(int32_t value);
float __floatunsisf(uint32_t value);
uint32_t __fixunssfsi(float value);

#endif
