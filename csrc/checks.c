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

int fnn_is_standard(const double *mean, const double *scale, ptrdiff_t n) {
  if (!mean || !scale) return !mean && !scale;
  for (ptrdiff_t i = 0; i < n; i++)
    if (!(fabs(mean[i]) <= DBL_MAX && scale[i] > 0 && scale[i] <= DBL_MAX && 1 / scale[i] <= DBL_MAX)) return 0;
  return 1;
}

int fnn_have_one_dtype(const fnn_matrix *const *all, int count) {
  for (int i = 0; i < count; i++)
    if (all[i]->dtype != all[0]->dtype) return 0;
  return fnn_is_dtype(all[0]->dtype);
}

/* Copy codes, and return a value that is below 2^31 if all of them fit in an int32 and are not negative. Blocks of a
   fixed length, so that compilers use vectors. */
#define COPY_CODES(name, type)                                                                                         \
  static uint64_t name(int32_t *restrict codes, const type *restrict from, ptrdiff_t m) {                              \
    type all = 0;                                                                                                      \
    ptrdiff_t first = 0;                                                                                               \
    for (; first + BLOCK <= m; first += BLOCK)                                                                         \
      for (int i = 0; i < BLOCK; i++) {                                                                                \
        const type code = from[first + i];                                                                             \
        all |= code;                                                                                                   \
        codes[first + i] = (int32_t)code;                                                                              \
      }                                                                                                                \
    for (; first < m; first++) {                                                                                       \
      const type code = from[first];                                                                                   \
      all |= code;                                                                                                     \
      codes[first] = (int32_t)code;                                                                                    \
    }                                                                                                                  \
    return all;                                                                                                        \
  }

enum {
  BLOCK = 16
};

COPY_CODES(copy_int64, uint64_t)
COPY_CODES(copy_int32, uint32_t)

/* Whether all codes are within 0..top: then neither a code nor a difference has the sign bit. */
static int are_at_most(const int32_t *codes, ptrdiff_t m, uint32_t top) {
  uint32_t all = 0;
  ptrdiff_t first = 0;
  for (; first + BLOCK <= m; first += BLOCK)
    for (int i = 0; i < BLOCK; i++) all |= (uint32_t)codes[first + i] | (top - (uint32_t)codes[first + i]);
  for (; first < m; first++) all |= (uint32_t)codes[first] | (top - (uint32_t)codes[first]);
  return all <= INT32_MAX;
}

/* It checks the values that it stored in `codes`, and does not read `from` again: another thread may write to `from`
   meanwhile, and each code is later used as an index. */
int fnn_codes(int32_t *codes, const void *from, int bytes, ptrdiff_t m, ptrdiff_t n) {
  enum {
    STEP = 1024
  }; /* codes that are copied, then checked: they are still in the cache */
  const uint32_t top = n > INT32_MAX ? INT32_MAX : (uint32_t)(n - 1);
  if (n < 1) return 0;
  for (ptrdiff_t first = 0; first < m; first += STEP) {
    const ptrdiff_t count = fnn_min(STEP, m - first);
    const uint64_t all = bytes == 8 ? copy_int64(codes + first, (const uint64_t *)from + first, count)
                                    : copy_int32(codes + first, (const uint32_t *)from + first, count);
    atomic_signal_fence(memory_order_seq_cst); /* from here on the compiler must not read `from` again */
    if (all > INT32_MAX || !are_at_most(codes + first, count, top)) return 0;
  }
  return 1;
}

double fnn_magnitude(int isa, const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m) {
  if (!fnn_is_isa(isa) || !fnn_is_dtype(x->dtype) || !fnn_are_sizes(n, m, 0)) return INFINITY;
  const fnn_kernels *K = fnn_isas[isa].kernels[x->dtype];
  return x->row_step == 1 ? K->magnitude(x->data, x->column_step, m, n) : K->magnitude(x->data, x->row_step, n, m);
}

int fnn_within(int isa, const void *x, int dtype, ptrdiff_t n, double high) {
  return fnn_is_isa(isa) && fnn_is_dtype(dtype) && fnn_is_size(n) && fnn_isas[isa].kernels[dtype]->within(x, n, high);
}
