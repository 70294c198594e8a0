#ifndef HARDWARE_PIO_H
#define HARDWARE_PIO_H
#include "pico/types.h"
typedef struct {
    io_rw_32 ctrl;
    io_ro_32 rxf[4];
} pio_hw_t;
typedef pio_hw_t* PIO;
extern pio_hw_t pio0_hw;
#define pio0 (&pio0_hw)
typedef struct {
    const uint16_t* instructions;
    uint8_t length;
    int8_t origin;
} pio_program_t;
typedef struct {
    uint32_t clkdiv, execctrl, shiftctrl, pinctrl;
} pio_sm_config;
enum pio_fifo_join { PIO_FIFO_JOIN_NONE = 0, PIO_FIFO_JOIN_TX = 1, PIO_FIFO_JOIN_RX = 2 };
int pio_add_program(PIO pio, const pio_program_t* program);
int pio_claim_unused_sm(PIO pio, bool required);
void sm_config_set_in_pins(pio_sm_config* c, uint in_base);
void sm_config_set_sideset_pins(pio_sm_config* c, uint sideset_base);
void sm_config_set_in_shift(pio_sm_config* c, bool shift_right, bool autopush, uint push_threshold);
void sm_config_set_fifo_join(pio_sm_config* c, enum pio_fifo_join join);
void sm_config_set_clkdiv(pio_sm_config* c, float div);
void pio_gpio_init(PIO pio, uint pin);
int pio_sm_set_consecutive_pindirs(PIO pio, uint sm, uint pins_base, uint pin_count, bool is_out);
int pio_sm_init(PIO pio, uint sm, uint initial_pc, const pio_sm_config* config);
void pio_sm_set_enabled(PIO pio, uint sm, bool enabled);
uint pio_get_dreq(PIO pio, uint sm, bool is_tx);
#endif
