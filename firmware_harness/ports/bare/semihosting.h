/* Ending an emulated program. */
#ifndef TS_SEMIHOSTING_H
#define TS_SEMIHOSTING_H

void ts_semihosting_exit(int code) __attribute__((noreturn));

#endif
