/* From the settings of an optimizer to the numbers of one of its steps. */
#ifndef FNN_OPTIMIZERS_H
#define FNN_OPTIMIZERS_H
#include <float.h>
#include <math.h>

#include "kernels.h"

/* What one step shares: D. P. Kingma, J. Ba, "Adam", ICLR 2015, algorithm 1, in PyTorch's form. An eps that a network
   would flush to 0 is the smallest number that it does not: a parameter without gradients is divided by it. */
static inline fnn_update fnn_update_of(const fnn_kernels *K, const fnn_optimizer *o, uint64_t t) {
  const double least = K->size == 4 ? FLT_MIN : DBL_MIN;
  fnn_update u = {.kind = o->kind,
                  .rate = o->lr,
                  .keep = 1 - o->lr * o->weight_decay,
                  .decay = o->weight_decay,
                  .momentum = o->momentum,
                  .beta1 = o->beta1,
                  .beta2 = o->beta2,
                  .root = 1,
                  .eps = o->eps > least ? o->eps : least};
  if (o->kind == FNN_ADAM || o->kind == FNN_ADAMW) {
    u.rate = o->lr / (1 - pow(o->beta1, (double)t));
    u.root = 1 / sqrt(1 - pow(o->beta2, (double)t));
  }
  return u;
}
#endif
