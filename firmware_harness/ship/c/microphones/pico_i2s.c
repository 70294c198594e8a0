/* A digital microphone (INMP441, SPH0645, ICS-43434) on a Raspberry Pi Pico: a state machine of the PIO is the I2S
 * master (i2s_left.pio), two DMA channels take turns, and their interrupt moves the samples into the ring, 4 times
 * louder: full scale of these microphones is 120 dB of sound pressure. */
#include "microphone.h"

#include "hardware/clocks.h"
#include "hardware/dma.h"
#include "hardware/irq.h"
#include "hardware/pio.h"
#include "i2s_left.pio.h"
#include "pico/stdlib.h"
#include "product.h"

#ifndef MICROPHONE_DATA_PIN
#define MICROPHONE_DATA_PIN 20
#endif
#ifndef MICROPHONE_CLOCK_PIN
#define MICROPHONE_CLOCK_PIN 18 /* the word select is the next pin */
#endif

enum { WORDS = 256, CHANNELS = 2, CLOCKS_PER_SAMPLE = 128, LOUDER = 2 };

static Ring* samples;
static uint32_t words[CHANNELS][WORDS];
static int channels[CHANNELS];

static void on_block(void) {
    for (int i = 0; i < CHANNELS; ++i) {
        const uint channel = (uint)channels[i];
        if (dma_channel_get_irq0_status(channel)) {
            dma_channel_acknowledge_irq0(channel);
            dma_channel_set_write_addr(channel, words[i], false);
            for (int at = 0; at < WORDS; ++at) {
                ring_put(samples, ring_saturated((int32_t)words[i][at] >> (16 - LOUDER)));
            }
        }
    }
}

static void start_state_machine(uint machine) {
    const uint offset = (uint)pio_add_program(pio0, &i2s_left_program);
    pio_sm_config config = i2s_left_program_get_default_config(offset);
    sm_config_set_in_pins(&config, MICROPHONE_DATA_PIN);
    sm_config_set_sideset_pins(&config, MICROPHONE_CLOCK_PIN);
    sm_config_set_in_shift(&config, false, true, 32);
    sm_config_set_fifo_join(&config, PIO_FIFO_JOIN_RX);
    sm_config_set_clkdiv(&config, (float)clock_get_hz(clk_sys) / (float)(PRODUCT_SAMPLE_RATE_HZ * CLOCKS_PER_SAMPLE));
    pio_gpio_init(pio0, MICROPHONE_DATA_PIN);
    pio_gpio_init(pio0, MICROPHONE_CLOCK_PIN);
    pio_gpio_init(pio0, MICROPHONE_CLOCK_PIN + 1);
    pio_sm_set_consecutive_pindirs(pio0, machine, MICROPHONE_DATA_PIN, 1, false);
    pio_sm_set_consecutive_pindirs(pio0, machine, MICROPHONE_CLOCK_PIN, 2, true);
    pio_sm_init(pio0, machine, offset, &config);
}

int microphone_start(Ring* ring) {
    samples = ring;
    stdio_init_all();
    const uint machine = (uint)pio_claim_unused_sm(pio0, true);
    start_state_machine(machine);
    for (int i = 0; i < CHANNELS; ++i) {
        channels[i] = dma_claim_unused_channel(true);
    }
    for (int i = 0; i < CHANNELS; ++i) {
        const uint channel = (uint)channels[i];
        dma_channel_config config = dma_channel_get_default_config(channel);
        channel_config_set_transfer_data_size(&config, DMA_SIZE_32);
        channel_config_set_read_increment(&config, false);
        channel_config_set_write_increment(&config, true);
        channel_config_set_dreq(&config, pio_get_dreq(pio0, machine, false));
        channel_config_set_chain_to(&config, (uint)channels[1 - i]);
        dma_channel_configure(channel, &config, words[i], &pio0->rxf[machine], WORDS, false);
        dma_channel_set_irq0_enabled(channel, true);
    }
    irq_set_exclusive_handler(DMA_IRQ_0, on_block);
    irq_set_enabled(DMA_IRQ_0, true);
    dma_channel_start((uint)channels[0]);
    pio_sm_set_enabled(pio0, machine, true);
    return 0;
}

void microphone_wait(void) {
    tight_loop_contents();
}
