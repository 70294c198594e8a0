/* The beginning of the single C file. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off") /* a fused multiply-add rounds once where the result needs two roundings */
#endif
#include "product.h"

#define TS_LOCAL static __attribute__((unused))
#define TS_ALIVE() product_alive()
