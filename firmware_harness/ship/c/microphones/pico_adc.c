/* An analogue microphone with amplifier (MAX4466, MAX9814) on GPIO 26 of a Raspberry Pi Pico: the ADC runs freely, and
 * the interrupt of its FIFO moves the samples into the ring. */
#include "microphone.h"

#include "hardware/adc.h"
#include "hardware/irq.h"
#include "pico/stdlib.h"
#include "product.h"

enum { PIN = 26, INPUT = 0, THRESHOLD = 4, MIDDLE = 2048, ADC_CLOCK_HZ = 48 * 1000 * 1000 };

static Ring* samples;

static void on_samples(void) {
    while (!adc_fifo_is_empty()) {
        ring_put(samples, (int16_t)(((int32_t)(adc_fifo_get() & 0xfff) - MIDDLE) * 16));
    }
}

int microphone_start(Ring* ring) {
    samples = ring;
    stdio_init_all();
    adc_init();
    adc_gpio_init(PIN);
    adc_select_input(INPUT);
    adc_fifo_setup(true, false, THRESHOLD, false, false);
    adc_set_clkdiv((float)ADC_CLOCK_HZ / (float)PRODUCT_SAMPLE_RATE_HZ - 1.0f);
    adc_irq_set_enabled(true);
    irq_set_exclusive_handler(ADC_IRQ_FIFO, on_samples);
    irq_set_enabled(ADC_IRQ_FIFO, true);
    adc_run(true);
    return 0;
}

void microphone_wait(void) {
    tight_loop_contents();
}
