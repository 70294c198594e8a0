#ifndef DRIVER_I2S_STD_H
#define DRIVER_I2S_STD_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "esp_err.h"
typedef enum { I2S_NUM_0 = 0, I2S_NUM_AUTO } i2s_port_t;
typedef enum { I2S_ROLE_MASTER, I2S_ROLE_SLAVE } i2s_role_t;
typedef enum { I2S_DATA_BIT_WIDTH_16BIT = 16, I2S_DATA_BIT_WIDTH_32BIT = 32 } i2s_data_bit_width_t;
typedef enum { I2S_SLOT_BIT_WIDTH_AUTO = 0 } i2s_slot_bit_width_t;
typedef enum { I2S_SLOT_MODE_MONO = 1, I2S_SLOT_MODE_STEREO = 2 } i2s_slot_mode_t;
typedef enum { I2S_STD_SLOT_LEFT = 1, I2S_STD_SLOT_RIGHT = 2, I2S_STD_SLOT_BOTH = 3 } i2s_std_slot_mask_t;
typedef enum { GPIO_NUM_NC = -1, GPIO_NUM_0 = 0, GPIO_NUM_MAX = 49 } gpio_num_t;
typedef struct i2s_channel_obj_t* i2s_chan_handle_t;
typedef struct {
    i2s_port_t id;
    i2s_role_t role;
    uint32_t dma_desc_num, dma_frame_num;
    bool auto_clear;
} i2s_chan_config_t;
typedef struct {
    uint32_t sample_rate_hz;
    int clk_src, mclk_multiple;
} i2s_std_clk_config_t;
typedef struct {
    i2s_data_bit_width_t data_bit_width;
    i2s_slot_bit_width_t slot_bit_width;
    i2s_slot_mode_t slot_mode;
    i2s_std_slot_mask_t slot_mask;
    uint32_t ws_width;
    bool ws_pol, bit_shift;
} i2s_std_slot_config_t;
typedef struct {
    gpio_num_t mclk, bclk, ws, dout, din;
    struct {
        uint32_t mclk_inv : 1, bclk_inv : 1, ws_inv : 1;
    } invert_flags;
} i2s_std_gpio_config_t;
typedef struct {
    i2s_std_clk_config_t clk_cfg;
    i2s_std_slot_config_t slot_cfg;
    i2s_std_gpio_config_t gpio_cfg;
} i2s_std_config_t;
#define I2S_GPIO_UNUSED GPIO_NUM_NC
#define I2S_CHANNEL_DEFAULT_CONFIG(port, chan_role)                                                                   \
    {.id = port, .role = chan_role, .dma_desc_num = 6, .dma_frame_num = 240, .auto_clear = false}
#define I2S_STD_CLK_DEFAULT_CONFIG(rate) {.sample_rate_hz = rate, .clk_src = 0, .mclk_multiple = 256}
#define I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(bits, mode)                                                               \
    {.data_bit_width = bits, .slot_bit_width = I2S_SLOT_BIT_WIDTH_AUTO, .slot_mode = mode,                             \
     .slot_mask = I2S_STD_SLOT_LEFT, .ws_width = bits, .ws_pol = false, .bit_shift = true}
esp_err_t i2s_new_channel(const i2s_chan_config_t* config, i2s_chan_handle_t* tx, i2s_chan_handle_t* rx);
esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t handle, const i2s_std_config_t* config);
esp_err_t i2s_channel_enable(i2s_chan_handle_t handle);
esp_err_t i2s_channel_read(i2s_chan_handle_t handle, void* dest, size_t size, size_t* bytes_read, uint32_t timeout_ms);
#endif
