/* This machine and WebAssembly: files through the C library. The cause of a failure goes to standard error. */
#include "ts_port.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_FILES = 4 };

static FILE* files[MAX_FILES];

static int failed(void) {
    (void)fprintf(stderr, "ERROR: %s\n", strerror(errno));
    return -1;
}

int ts_port_open(const char* name, int for_writing) {
    for (int handle = 0; handle < MAX_FILES; ++handle) {
        if (files[handle] == NULL) {
            files[handle] = fopen(name, for_writing ? "wb" : "rb");
            return files[handle] == NULL ? failed() : handle;
        }
    }
    return -1;
}

size_t ts_port_read(int handle, void* data, size_t size) {
    return fread(data, 1, size, files[handle]);
}

int ts_port_write(int handle, const void* data, size_t size) {
    return fwrite(data, 1, size, files[handle]) == size && fflush(files[handle]) == 0 ? 0 : failed();
}

void ts_port_close(int handle) {
    if (handle >= 0) {
        (void)fclose(files[handle]);
        files[handle] = NULL;
    }
}

void ts_port_print(const char* text) {
    (void)fputs(text, stdout);
}
