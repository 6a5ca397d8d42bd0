/* Random numbers: what they are for, and the shuffle of an epoch, by the kernels of one instruction set; all of them
 * give the same order. */
#ifndef FNN_RANDOM_H
#define FNN_RANDOM_H
#include "kernels.h"

/* What random numbers are for: the lowest byte of the last word of the counter. 2 is used in Python. */
enum {
  FNN_PERMUTATION = 1,
  FNN_DROPOUT = 4
};

/* As fnn_permutation. */
void fnn_draw_order(const fnn_kernels *K, uint32_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch);
#endif
