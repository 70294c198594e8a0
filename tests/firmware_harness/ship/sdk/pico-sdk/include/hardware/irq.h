#ifndef HARDWARE_IRQ_H
#define HARDWARE_IRQ_H
#include "pico/types.h"
typedef void (*irq_handler_t)(void);
enum { DMA_IRQ_0 = 11, ADC_IRQ_FIFO = 22 };
void irq_set_exclusive_handler(uint num, irq_handler_t handler);
void irq_set_enabled(uint num, bool enabled);
#endif
