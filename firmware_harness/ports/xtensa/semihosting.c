/* Files, text and exit through SIMCALL, the instruction that Cadence's simulator and QEMU's machine `sim` answer.
 * The numbers are those of the simulator, the flags of an open file those of Linux. */
#include "semihosting.h"

#include <string.h>

#include "ts_port.h"

enum { SYS_EXIT = 1, SYS_READ = 3, SYS_WRITE = 4, SYS_OPEN = 5, SYS_CLOSE = 6 };
enum { READ_ONLY = 0, CREATE_AND_WRITE = 01 | 0100 | 01000, FOR_ALL = 0666, CONSOLE = 1 };

static int32_t call(int32_t operation, uint32_t first, uint32_t second, uint32_t third) {
    register int32_t a2 __asm__("a2") = operation;
    register uint32_t a3 __asm__("a3") = first;
    register uint32_t a4 __asm__("a4") = second;
    register uint32_t a5 __asm__("a5") = third;
    __asm__ volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");
    return a2;
}

static uint32_t address(const void* data) {
    return (uint32_t)(uintptr_t)data;
}

int ts_port_open(const char* name, int for_writing) {
    return (int)call(SYS_OPEN, address(name), for_writing ? CREATE_AND_WRITE : READ_ONLY, FOR_ALL);
}

size_t ts_port_read(int handle, void* data, size_t size) {
    const int32_t got = call(SYS_READ, (uint32_t)handle, address(data), (uint32_t)size);
    return got > 0 ? (size_t)got : 0;
}

int ts_port_write(int handle, const void* data, size_t size) {
    return call(SYS_WRITE, (uint32_t)handle, address(data), (uint32_t)size) == (int32_t)size ? 0 : -1;
}

void ts_port_close(int handle) {
    (void)call(SYS_CLOSE, (uint32_t)handle, 0, 0);
}

void ts_port_print(const char* text) {
    (void)ts_port_write(CONSOLE, text, strlen(text));
}

void ts_semihosting_exit(int code) {
    for (;;) {
        (void)call(SYS_EXIT, (uint32_t)code, 0, 0);
    }
}
