#ifndef HARDWARE_ADC_H
#define HARDWARE_ADC_H
#include "pico/types.h"
void adc_init(void);
void adc_gpio_init(uint gpio);
void adc_select_input(uint input);
void adc_fifo_setup(bool en, bool dreq_en, uint16_t dreq_thresh, bool err_in_fifo, bool byte_shift);
void adc_set_clkdiv(float clkdiv);
void adc_irq_set_enabled(bool enabled);
void adc_run(bool run);
bool adc_fifo_is_empty(void);
uint16_t adc_fifo_get(void);
#endif
