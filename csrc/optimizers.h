/* fnn_update_of: computes the numbers of one step from the settings of an optimizer. */
#ifndef FNN_OPTIMIZERS_H
#define FNN_OPTIMIZERS_H
#include <float.h>
#include <math.h>

#include "kernels.h"

/* The numbers of step t that all parameters share. For Adam see D. P. Kingma, J. Ba, "Adam", ICLR 2015, algorithm 1, in
   PyTorch's form. eps is at least the smallest normal number: a smaller one would be flushed to 0, and a parameter
   without gradients is divided by it. The gradient is `scale` times the sum that the step is given. */
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
  /* If samples weigh little, rate * scale may be too large for the dtype: then the two are multiplied one by one. */
  u.scaled_rate = u.rate * scale;
  u.at_once = u.scaled_rate <= (K->size == 4 ? FLT_MAX : DBL_MAX);
  return u;
}
#endif
