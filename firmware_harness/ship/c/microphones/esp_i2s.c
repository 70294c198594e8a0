/* A digital microphone (INMP441, SPH0645, ICS-43434) on an ESP32's I2S: left channel, words of 32 bits. A task of
 * higher priority than the network's moves the samples into the ring, 4 times louder: full scale of these microphones
 * is 120 dB of sound pressure. The pins are in the project's configuration. */
#include "microphone.h"

#include "driver/i2s_std.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "product.h"
#include "sdkconfig.h"

enum { WORDS = 256, STACK_BYTES = 3072, PRIORITY = 10, LOUDER = 2 };

static i2s_chan_handle_t channel;

static void capture(void* argument) {
    static int32_t words[WORDS];
    Ring* ring = argument;
    for (;;) {
        size_t bytes = 0;
        if (i2s_channel_read(channel, words, sizeof words, &bytes, portMAX_DELAY) != ESP_OK) {
            continue;
        }
        for (size_t i = 0; i < bytes / sizeof words[0]; ++i) {
            ring_put(ring, ring_saturated(words[i] >> (16 - LOUDER)));
        }
    }
}

int microphone_start(Ring* ring) {
    const i2s_chan_config_t channel_config = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_AUTO, I2S_ROLE_MASTER);
    const i2s_std_config_t config = {
        .clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(PRODUCT_SAMPLE_RATE_HZ),
        .slot_cfg = I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO),
        .gpio_cfg = {.mclk = I2S_GPIO_UNUSED,
                     .bclk = CONFIG_MICROPHONE_CLOCK_PIN,
                     .ws = CONFIG_MICROPHONE_WORD_SELECT_PIN,
                     .dout = I2S_GPIO_UNUSED,
                     .din = CONFIG_MICROPHONE_DATA_PIN},
    };
    esp_err_t status = i2s_new_channel(&channel_config, NULL, &channel);
    if (status == ESP_OK) {
        status = i2s_channel_init_std_mode(channel, &config);
    }
    if (status == ESP_OK) {
        status = i2s_channel_enable(channel);
    }
    if (status == ESP_OK && xTaskCreate(capture, "microphone", STACK_BYTES, ring, PRIORITY, NULL) != pdPASS) {
        status = ESP_ERR_NO_MEM;
    }
    return status;
}

void microphone_wait(void) {
    vTaskDelay(1);
}
