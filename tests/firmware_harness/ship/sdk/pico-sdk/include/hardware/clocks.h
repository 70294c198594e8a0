#ifndef HARDWARE_CLOCKS_H
#define HARDWARE_CLOCKS_H
#include "pico/types.h"
enum clock_num_rp2040 { clk_ref = 4, clk_sys = 5 };
typedef enum clock_num_rp2040 clock_handle_t;
uint32_t clock_get_hz(clock_handle_t clock);
#endif
