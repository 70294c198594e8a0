#ifndef MAIN_H
#define MAIN_H
#include <stdint.h>
typedef enum { HAL_OK = 0, HAL_ERROR = 1, HAL_BUSY = 2, HAL_TIMEOUT = 3 } HAL_StatusTypeDef;
#define HAL_MAX_DELAY 0xffffffffU
typedef struct {
    void* Instance;
} UART_HandleTypeDef;
typedef struct {
    void* Instance;
} SAI_HandleTypeDef;
typedef struct {
    void* Instance;
} DFSDM_Filter_HandleTypeDef;
HAL_StatusTypeDef HAL_UART_Transmit(UART_HandleTypeDef* huart, const uint8_t* pData, uint16_t Size, uint32_t Timeout);
HAL_StatusTypeDef HAL_SAI_Receive_DMA(SAI_HandleTypeDef* hsai, uint8_t* pData, uint16_t Size);
void HAL_SAI_RxHalfCpltCallback(SAI_HandleTypeDef* hsai);
void HAL_SAI_RxCpltCallback(SAI_HandleTypeDef* hsai);
HAL_StatusTypeDef HAL_DFSDM_FilterRegularStart_DMA(DFSDM_Filter_HandleTypeDef* hdfsdm_filter, int32_t* pData,
                                                   uint32_t Length);
void HAL_DFSDM_FilterRegConvHalfCpltCallback(DFSDM_Filter_HandleTypeDef* hdfsdm_filter);
void HAL_DFSDM_FilterRegConvCpltCallback(DFSDM_Filter_HandleTypeDef* hdfsdm_filter);
#define __WFI() __asm__ volatile("wfi" ::: "memory")
#endif
