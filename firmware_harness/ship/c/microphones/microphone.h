/* What the example needs of a board: its microphone and its serial line. */
#ifndef MICROPHONE_H
#define MICROPHONE_H

#include "ring.h"

/* Start the serial line that printf writes to, and the microphone: its mono samples at PRODUCT_SAMPLE_RATE_HZ go into
 * the ring. Returns 0, or the error of the board's library. */
int microphone_start(Ring* ring);

/* Called while the ring is empty. */
void microphone_wait(void);

#endif
