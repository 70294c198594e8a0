/* Files, text and exit through semihosting: a breakpoint that the debugger or emulator answers.
 * Call numbers are those of Arm's "Semihosting for AArch32 and AArch64" specification, which RISC-V took over. */
#include "semihosting.h"

#include <string.h>

#include "processor.h"
#include "ts_port.h"

enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06 };
enum { SYS_EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026 };
enum { MODE_READ_BINARY = 1, MODE_WRITE_BINARY = 5 };

static uint32_t address(const void* data) {
    return (uint32_t)(uintptr_t)data;
}

int ts_port_open(const char* name, int for_writing) {
    const uint32_t mode = for_writing ? MODE_WRITE_BINARY : MODE_READ_BINARY;
    const uint32_t arguments[] = {address(name), mode, (uint32_t)strlen(name)};
    return (int)ts_semihosting_call(SYS_OPEN, arguments);
}

size_t ts_port_read(int handle, void* data, size_t size) {
    const uint32_t arguments[] = {(uint32_t)handle, address(data), (uint32_t)size};
    return size - (size_t)ts_semihosting_call(SYS_READ, arguments);
}

int ts_port_write(int handle, const void* data, size_t size) {
    const uint32_t arguments[] = {(uint32_t)handle, address(data), (uint32_t)size};
    return ts_semihosting_call(SYS_WRITE, arguments) == 0 ? 0 : -1;
}

void ts_port_close(int handle) {
    const uint32_t arguments[] = {(uint32_t)handle};
    (void)ts_semihosting_call(SYS_CLOSE, arguments);
}

void ts_port_print(const char* text) {
    (void)ts_semihosting_call(SYS_WRITE0, text);
}

void ts_semihosting_exit(int code) {
    const uint32_t arguments[] = {APPLICATION_EXIT, (uint32_t)code};
    for (;;) {
        (void)ts_semihosting_call(SYS_EXIT_EXTENDED, arguments);
    }
}
