/* What stands before everything else in the one file. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off") /* a fused multiply-add rounds once where two roundings are promised */
#endif
#include "product.h"

#define TS_LOCAL static __attribute__((unused))
