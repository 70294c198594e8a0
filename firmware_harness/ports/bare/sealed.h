/* Damage to the code and constants of a linked image.
 *
 * After linking, build/seal.py stores the CRC-32 of the sections .vectors, .text and .rodata in the image. */
#ifndef TS_SEALED_H
#define TS_SEALED_H

/* Whether the sections in memory have the stored checksum. */
int ts_sealed_image_holds(void);

#endif
