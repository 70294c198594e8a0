/* A microphone on an STM32, in a project of STM32CubeMX that initialises it: a PDM microphone on DFSDM1 filter 0, or an
 * I2S microphone on SAI1 block A (32-bit words, left slot), each with a circular DMA request, and USART1 for the text.
 * The callbacks of the halves of the DMA's buffer move the samples into the ring. */
#include "main.h" /* of STM32CubeMX: the HAL of the processor */
#include "microphone.h"

enum { HALF = 256 };

extern UART_HandleTypeDef huart1;
static Ring* samples;
static int32_t words[2 * HALF];

static void take(const int32_t* half, int shift) {
    for (int i = 0; i < HALF; ++i) {
        ring_put(samples, ring_saturated(half[i] >> shift));
    }
}

#ifdef HAL_DFSDM_MODULE_ENABLED
enum { SHIFT = 8 }; /* a filter's result is in the upper 24 bits; its right shift makes them 16 */
extern DFSDM_Filter_HandleTypeDef hdfsdm1_filter0;

void HAL_DFSDM_FilterRegConvHalfCpltCallback(DFSDM_Filter_HandleTypeDef* filter) {
    (void)filter;
    take(words, SHIFT);
}

void HAL_DFSDM_FilterRegConvCpltCallback(DFSDM_Filter_HandleTypeDef* filter) {
    (void)filter;
    take(words + HALF, SHIFT);
}

static HAL_StatusTypeDef start(void) {
    return HAL_DFSDM_FilterRegularStart_DMA(&hdfsdm1_filter0, words, 2 * HALF);
}
#else
enum { SHIFT = 14 }; /* 24 bits in the upper part of a word, 4 times louder */
extern SAI_HandleTypeDef hsai_BlockA1;

void HAL_SAI_RxHalfCpltCallback(SAI_HandleTypeDef* block) {
    (void)block;
    take(words, SHIFT);
}

void HAL_SAI_RxCpltCallback(SAI_HandleTypeDef* block) {
    (void)block;
    take(words + HALF, SHIFT);
}

static HAL_StatusTypeDef start(void) {
    return HAL_SAI_Receive_DMA(&hsai_BlockA1, (uint8_t*)words, 2 * HALF);
}
#endif

/* The C library's printf calls it in projects of STM32CubeIDE. */
int __io_putchar(int character);
int __io_putchar(int character) {
    uint8_t byte = (uint8_t)character;
    (void)HAL_UART_Transmit(&huart1, &byte, 1, HAL_MAX_DELAY);
    return character;
}

int microphone_start(Ring* ring) {
    samples = ring;
    return (int)start();
}

void microphone_wait(void) {
    __WFI();
}
