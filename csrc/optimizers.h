/* fnn_set_update: computes the numbers of one step from the settings of an optimizer. */
#ifndef FNN_OPTIMIZERS_H
#define FNN_OPTIMIZERS_H
#include <float.h>
#include <math.h>

#include "kernels.h"

/* Whether a step has to know all gradients before it changes a parameter; or, unless the gradients are given, a tile of
   dW cannot make the update. */
static inline int fnn_stores(const fnn_fit *fit, const fnn_optimizer *o, int are_given, int diagnoses) {
  if (o->clip_norm > 0) return 1;
  return !are_given && (fit->plain || diagnoses || o->clip_value > 0 || o->l1 > 0);
}

/* NAdam's shares of the gradient and of the moment: mu_i = beta1 (1 - 0.96^(i momentum_decay) / 2),
   of_gradient = (1 - mu_t) / (1 - mu_1 .. mu_t), of_moment = mu_(t+1) / (1 - mu_1 .. mu_(t+1)). T. Dozat,
   "Incorporating Nesterov momentum into Adam", 2016, in PyTorch's form. The loop is short for any t: it ends where the
   product is nothing beside 1, or where the remaining factors are 1. That takes 60 factors with the default
   momentum_decay, and 2700 at most, with one of 0.34. */
static inline void fnn_weigh_momentum(fnn_update *u, const fnn_optimizer *o, uint64_t t) {
  const double base = pow(0.96, o->momentum_decay);
  double product = pow(o->beta1, (double)t), power = base;
  for (uint64_t i = 1; i <= t && product > 1e-18 && power > 1e-16; i++, power *= base) product *= 1 - power / 2;
  const double now = o->beta1 * (1 - pow(0.96, (double)t * o->momentum_decay) / 2);
  const double next = o->beta1 * (1 - pow(0.96, (double)(t + 1) * o->momentum_decay) / 2);
  u->of_gradient = (1 - now) / (1 - product);
  u->of_moment = next / (1 - product * next);
}

/* Sets u to the numbers of step t that all parameters share. For Adam see D. P. Kingma, J. Ba, "Adam", ICLR 2015,
   algorithm 1, in PyTorch's form. eps is at least the smallest normal number: a smaller one would be flushed to 0, and
   a parameter without gradients is divided by it. `lr` is the learning rate of this step. The gradient is `scale` times
   the sum that the step is given. */
static inline void fnn_set_update(fnn_update *u, const fnn_kernels *K, const fnn_optimizer *o, double lr, uint64_t t,
                                  double scale) {
  const double least = K->size == 4 ? FLT_MIN : DBL_MIN;
  *u = (fnn_update){.kind = o->kind,
                    .scale = scale,
                    .rate = lr,
                    .keep = 1 - lr * o->weight_decay,
                    .decay = o->weight_decay,
                    .momentum = o->momentum,
                    .beta1 = o->beta1,
                    .beta2 = o->beta2,
                    .root = 1,
                    .eps = o->eps > least ? o->eps : least,
                    .mends = o->clip_value > 0 || o->l1 > 0,
                    .clip_value = o->clip_value > 0 ? o->clip_value : INFINITY,
                    .shrink = 1,
                    .l1 = o->l1};
  if (fnn_step_of(o->kind) == FNN_BY_QUOTIENT) u->root = 1 / sqrt(1 - pow(o->beta2, (double)t));
  if (o->kind == FNN_ADAM || o->kind == FNN_ADAMW) u->rate = lr / (1 - pow(o->beta1, (double)t));
  if (o->kind == FNN_ADAGRAD) u->rate = lr / (1 + (double)(t - 1) * o->lr_decay);
  if (o->kind == FNN_NADAM) fnn_weigh_momentum(u, o, t);
  /* If samples weigh little, rate * scale may be too large for the dtype: then the two are multiplied one by one. */
  u->scaled_rate = u->rate * scale;
  u->at_once = u->scaled_rate <= (K->size == 4 ? FLT_MAX : DBL_MAX);
}

/* The same for b, if `o` treats b in another way than W. */
static inline fnn_update fnn_update_of_b(const fnn_update *u, const fnn_optimizer *o) {
  fnn_update of_b = *u;
  of_b.l1 = 0, of_b.mends = o->clip_value > 0;
  if (o->spares_b) of_b.keep = 1, of_b.decay = 0;
  return of_b;
}

/* Multiplies the gradients of a step by `factor`, as clip_norm does. */
static inline void fnn_shrink(fnn_update *u, double factor) {
  if (u->mends)
    u->shrink = factor;
  else
    u->scale *= factor, u->scaled_rate *= factor;
}
#endif
