/* Checks of a caller's arrays: are class codes legal, are values within bounds, how large is the largest |x|. */
#include <float.h>
#include <math.h>
#include <stdatomic.h>

#include "kernels.h"
#include "memory.h"

/* Whether numbers, one for each of the `names`, are legal parameters: 0, or normal numbers of both dtypes. A float32
   network would flush a smaller one to 0, and so disagree with float64. */
static int are_parameters(const char *names, const double *numbers) {
  for (int i = 0; *names; i++) {
    if (numbers[i] != 0 && !(numbers[i] >= FLT_MIN && numbers[i] <= FLT_MAX)) return 0;
    while (*names && *names++ != ',') {
    }
  }
  return 1;
}

int fnn_is_activation(const fnn_spec *g) {
#define ONE(NAME, name, PLACE, SLOPE, PARAMETERS) PARAMETERS,
  static const char *const names[] = {FNN_EACH_ACTIVATION(ONE)};
#undef ONE
  return g->kind >= 0 && g->kind < FNN_ACTIVATIONS && are_parameters(names[g->kind], g->parameters);
}

int fnn_is_loss(const fnn_spec *loss) {
#define ONE(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS) PARAMETERS,
  static const char *const names[] = {FNN_EACH_LOSS(ONE)};
#undef ONE
  return loss->kind >= 0 && loss->kind < FNN_LOSSES && are_parameters(names[loss->kind], loss->parameters);
}

int fnn_have_one_dtype(const fnn_matrix *const *all, int count) {
  for (int i = 0; i < count; i++)
    if (all[i]->dtype != all[0]->dtype) return 0;
  return fnn_is_dtype(all[0]->dtype);
}

/* It checks the values that it stored in `codes`, and does not read `from` again: another thread may write to `from`
   meanwhile, and each code is later used as an index. */
int fnn_codes(int32_t *codes, const void *from, int bytes, ptrdiff_t m, ptrdiff_t n) {
  enum {
    STEP = 1024, /* codes in a block: still in the cache when they are checked */
    FEW = 32     /* with so few codes or less, vector instructions do not pay */
  };
  uint64_t beyond = 0; /* not 0: a code was negative or too large for an int32 (its low 32 bits may still look legal) */
  int32_t low = 0, high = 0;
  for (ptrdiff_t i = 0; i < m && m <= FEW; i++) {
    const uint64_t code = bytes == 8 ? __atomic_load_n((const uint64_t *)from + i, __ATOMIC_RELAXED) /* read once */
                                     : __atomic_load_n((const uint32_t *)from + i, __ATOMIC_RELAXED);
    beyond |= code >> 31;
    codes[i] = (int32_t)code;
    high = (int32_t)code > high ? (int32_t)code : high;
  }
  for (ptrdiff_t first = 0; first < m && m > FEW; first += STEP) {
    const ptrdiff_t end = fnn_min(first + STEP, m);
    for (ptrdiff_t i = first; i < end; i++) {
      const uint64_t code = bytes == 8 ? ((const uint64_t *)from)[i] : ((const uint32_t *)from)[i];
      beyond |= code >> 31;
      codes[i] = (int32_t)code;
    }
    atomic_signal_fence(memory_order_seq_cst); /* from here on the compiler must not read `from` again */
    for (ptrdiff_t i = first; i < end; i++) {
      low = codes[i] < low ? codes[i] : low;
      high = codes[i] > high ? codes[i] : high;
    }
  }
  return !beyond && low >= 0 && high < n;
}

double fnn_magnitude(int isa, const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m) {
  if (!fnn_is_isa(isa) || !fnn_is_dtype(x->dtype) || !fnn_are_sizes(n, m, 0)) return INFINITY;
  const fnn_kernels *K = fnn_isas[isa].kernels[x->dtype];
  return x->row_step == 1 ? K->magnitude(x->data, x->column_step, m, n) : K->magnitude(x->data, x->row_step, n, m);
}

int fnn_within(int isa, const void *x, int dtype, ptrdiff_t n, double high) {
  return fnn_is_isa(isa) && fnn_is_dtype(dtype) && fnn_is_size(n) && fnn_isas[isa].kernels[dtype]->within(x, n, high);
}
