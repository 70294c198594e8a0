/* A program that is linked, but not run: it refers to every function of the product, for the bounds of their stacks. */
#include "product.h"

int main(void) {
#ifdef PRODUCT_AUDIO
    return product_init(0, 0, 0, 0) + product_invoke(0, 0, 0) + product_process_pcm(0, 0, 0);
#else
    return product_init(0, 0, 0, 0) + product_invoke(0, 0, 0);
#endif
}
