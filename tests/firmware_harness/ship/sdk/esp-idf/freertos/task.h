#ifndef FREERTOS_TASK_H
#define FREERTOS_TASK_H
#include "freertos/FreeRTOS.h"
typedef void (*TaskFunction_t)(void*);
typedef struct tskTaskControlBlock* TaskHandle_t;
/* ESP-IDF's FreeRTOS counts the depth in bytes. */
BaseType_t xTaskCreate(TaskFunction_t code, const char* name, uint32_t stack_depth, void* parameters,
                       UBaseType_t priority, TaskHandle_t* task);
void vTaskDelay(TickType_t ticks);
#endif
