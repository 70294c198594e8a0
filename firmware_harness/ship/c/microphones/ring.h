/* Samples between a microphone's callback, which may be an interrupt, and the program, which the network keeps busy. */
#ifndef RING_H
#define RING_H

#include <stddef.h>
#include <stdint.h>

#ifndef RING_SAMPLES
#define RING_SAMPLES 16384u /* a power of two; the time of one inference must fit */
#endif

typedef struct {
    volatile uint32_t written, read; /* counts, which wrap around */
    volatile uint32_t lost;
    int16_t samples[RING_SAMPLES];
} Ring;

/* Called by the one producer. A sample that finds no room is lost. */
static inline void ring_put(Ring* ring, int16_t sample) {
    if (ring->written - ring->read == RING_SAMPLES) {
        ++ring->lost;
        return;
    }
    ring->samples[ring->written % RING_SAMPLES] = sample;
    __atomic_thread_fence(__ATOMIC_RELEASE); /* the sample before its count, also for another core */
    ++ring->written;
}

/* Called by the one consumer: take at most `count` samples. */
static inline size_t ring_take(Ring* ring, int16_t* samples, size_t count) {
    size_t taken = 0;
    while (taken < count && ring->read != ring->written) {
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        samples[taken++] = ring->samples[ring->read % RING_SAMPLES];
        __atomic_thread_fence(__ATOMIC_RELEASE);
        ++ring->read;
    }
    return taken;
}

static inline int16_t ring_saturated(int32_t sample) {
    return (int16_t)(sample > INT16_MAX ? INT16_MAX : sample < INT16_MIN ? INT16_MIN : sample);
}

#endif
