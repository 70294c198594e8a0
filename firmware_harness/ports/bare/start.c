/* Start-up common to all processors, after their registers are set. */
#include "start.h"

#include <string.h>

#include "sealed.h"
#include "semihosting.h"
#include "ts_port.h"

extern char ts_data_begin[], ts_data_end[], ts_data_load[], ts_bss_begin[], ts_bss_end[];

int main(void);

void ts_start(void) {
    memcpy(ts_data_begin, ts_data_load, (size_t)(ts_data_end - ts_data_begin));
    memset(ts_bss_begin, 0, (size_t)(ts_bss_end - ts_bss_begin));
    ts_semihosting_exit(ts_sealed_image_holds() ? main() : TS_EXIT_IMAGE);
}
