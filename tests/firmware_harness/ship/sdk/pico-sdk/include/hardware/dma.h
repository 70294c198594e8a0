#ifndef HARDWARE_DMA_H
#define HARDWARE_DMA_H
#include "pico/types.h"
enum dma_channel_transfer_size { DMA_SIZE_8 = 0, DMA_SIZE_16 = 1, DMA_SIZE_32 = 2 };
typedef struct {
    uint32_t ctrl;
} dma_channel_config;
int dma_claim_unused_channel(bool required);
dma_channel_config dma_channel_get_default_config(uint channel);
void channel_config_set_transfer_data_size(dma_channel_config* c, enum dma_channel_transfer_size size);
void channel_config_set_read_increment(dma_channel_config* c, bool incr);
void channel_config_set_write_increment(dma_channel_config* c, bool incr);
void channel_config_set_dreq(dma_channel_config* c, uint dreq);
void channel_config_set_chain_to(dma_channel_config* c, uint chain_to);
void dma_channel_configure(uint channel, const dma_channel_config* config, volatile void* write_addr,
                           const volatile void* read_addr, uint32_t transfer_count, bool trigger);
void dma_channel_set_irq0_enabled(uint channel, bool enabled);
bool dma_channel_get_irq0_status(uint channel);
void dma_channel_acknowledge_irq0(uint channel);
void dma_channel_set_write_addr(uint channel, volatile void* write_addr, bool trigger);
void dma_channel_start(uint channel);
#endif
