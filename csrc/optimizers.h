/* From the settings of an optimizer to the numbers of one of its steps. */
#ifndef FNN_OPTIMIZERS_H
#define FNN_OPTIMIZERS_H
#include <float.h>
#include <math.h>

#include "kernels.h"

/* What one step shares: D. P. Kingma, J. Ba, "Adam", ICLR 2015, algorithm 1, in PyTorch's form. An eps that a network
   would flush to 0 is the smallest number that it does not: a parameter without gradients is divided by it. The
   gradient is `scale` times what the step is given. */
static inline fnn_update fnn_update_of(const fnn_kernels *K, const fnn_optimizer *o, uint64_t t, double scale) {
  const double least = K->size == 4 ? FLT_MIN : DBL_MIN;
  fnn_update u = {.kind = o->kind,
                  .scale = scale,
                  .rate = o->lr,
                  .keep = 1 - o->lr * o->weight_decay,
                  .decay = o->weight_decay,
                  .momentum = o->momentum,
                  .beta1 = o->beta1,
                  .beta2 = o->beta2,
                  .root = 1,
                  .eps = o->eps > least ? o->eps : least};
  if (fnn_step_of(o->kind) == FNN_BY_QUOTIENT) {
    u.rate = o->lr / (1 - pow(o->beta1, (double)t));
    u.root = 1 / sqrt(1 - pow(o->beta2, (double)t));
  }
  /* A product of the two that the dtype does not hold, of samples of little weight, is left to two steps. */
  u.scaled_rate = u.rate * scale;
  u.at_once = u.scaled_rate <= (K->size == 4 ? FLT_MAX : DBL_MAX);
  return u;
}
#endif
