/* This machine: files through the C library. */
#include "ts_port.h"

#include <stdio.h>

enum { MAX_FILES = 4 };

static FILE* files[MAX_FILES];

int ts_port_open(const char* name, int for_writing) {
    for (int handle = 0; handle < MAX_FILES; ++handle) {
        if (files[handle] == NULL) {
            files[handle] = fopen(name, for_writing ? "wb" : "rb");
            return files[handle] == NULL ? -1 : handle;
        }
    }
    return -1;
}

size_t ts_port_read(int handle, void* data, size_t size) {
    return fread(data, 1, size, files[handle]);
}

int ts_port_write(int handle, const void* data, size_t size) {
    return fwrite(data, 1, size, files[handle]) == size ? 0 : -1;
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
