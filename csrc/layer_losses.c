/* The losses of samples, and dZ, from a matrix Z of any steps (fnn_loss); and the sum of x / whole over
   all x, such as a mean of losses (fnn_shares). */
#include <string.h>

#include "layer.h"

typedef struct {
  const fnn_kernels *K;
  double *losses;
  const fnn_matrix *dZ, *Z;
  const fnn_targets *targets;
  fnn_spec loss;
  ptrdiff_t n, m;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} losses_of;

/* The general way: copies blocks of samples to rows. */
static void losses_part(void *arg, fnn_member *me) {
  const losses_of *l = arg;
  const fnn_kernels *K = l->K;
  const ptrdiff_t ld = fnn_ld(K, l->n), block = fnn_min(fnn_block_rows(K), l->m);
  char *room = l->scratch + me->thread * l->scratch_bytes;
  double *unused = (double *)room;
  void *z = unused + fnn_round_up(block, FNN_LINE), *y = fnn_at(K, z, block * ld);
  ptrdiff_t from, to;
  fnn_share(l->m, FNN_LINE, me->size, me->thread, &from, &to);
  for (ptrdiff_t first = from, rows; first < to; first += rows) {
    rows = fnn_min(block, to - first);
    K->gather(z, ld, l->Z, NULL, first, rows, l->n);
    const fnn_head head = {.loss = l->loss,
                           .activation = fnn_identity,
                           .n = l->n,
                           .Z = z,
                           .ld = ld,
                           .Y = y,
                           .losses = l->losses ? l->losses + first : unused,
                           .scratch = fnn_at(K, y, block * ld)};
    fnn_take_losses(K, head, l->targets, &(fnn_standard){NULL, NULL}, first, rows);
    if (l->dZ) K->scatter(l->dZ, first, z, ld, rows, l->n);
  }
}

#define AT_A_TIME 1024 /* numbers that are done at a time */

/* L of n units; the units after the last whole vector go through a copy. */
static void unit_losses(const losses_of *l, double *to, const void *z, const void *y, ptrdiff_t n) {
  const fnn_kernels *K = l->K;
  const ptrdiff_t whole = n & -K->vl;
  const size_t rest = (size_t)(n - whole);
  if (whole) K->loss_values(to, z, y, &l->loss, whole);
  if (!rest) return;
  double last[2][FNN_LINE / sizeof(double)] = {{0}}, last_losses[FNN_LINE];
  memcpy(last[0], fnn_at(K, z, whole), rest * (size_t)K->size);
  memcpy(last[1], fnn_at(K, y, whole), rest * (size_t)K->size);
  K->loss_values(last_losses, last[0], last[1], &l->loss, K->vl);
  memcpy(to + whole, last_losses, rest * sizeof *to);
}

static double sum(const double *x, ptrdiff_t n) {
  double lanes[4] = {0};
  ptrdiff_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int l = 0; l < 4; l++) lanes[l] += x[i + l];
  for (; i < n; i++) lanes[0] += x[i];
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/* A quicker way without dZ, for losses that are sums over units: units are adjacent in both Z and Y, or samples are. */
static void values_part(void *arg, fnn_member *me) {
  const losses_of *l = arg;
  const fnn_kernels *K = l->K;
  const fnn_matrix *Z = l->Z, *Y = &l->targets->Y;
  double some[AT_A_TIME];
  ptrdiff_t from, to;
  fnn_share(l->m, FNN_LINE, me->size, me->thread, &from, &to);
  if (Z->column_step != 1 || Y->column_step != 1) {
    const int dense = Z->column_step == l->n && Y->column_step == l->n;
    for (ptrdiff_t j = from, samples; j < to; j += samples) {
      samples = dense && l->n < AT_A_TIME ? fnn_min(AT_A_TIME / l->n, to - j) : 1;
      for (ptrdiff_t i = 0, units; i < l->n; i += units) {
        units = fnn_min(AT_A_TIME, l->n - i);
        unit_losses(l, some, fnn_at(K, fnn_sample(K, Z, j), i), fnn_at(K, fnn_sample(K, Y, j), i), units * samples);
        for (ptrdiff_t s = 0; s < samples; s++)
          l->losses[j + s] = sum(some + s * units, units) + (i ? l->losses[j + s] : 0);
      }
    }
    return;
  }
  for (ptrdiff_t j = from, samples; j < to; j += samples) {
    samples = fnn_min(AT_A_TIME, to - j);
    double *losses = l->losses + j;
    for (ptrdiff_t s = 0; s < samples; s++) losses[s] = 0;
    for (ptrdiff_t i = 0; i < l->n; i++) {
      unit_losses(l, some, fnn_at(K, Z->data, i * Z->row_step + j), fnn_at(K, Y->data, i * Y->row_step + j), samples);
      for (ptrdiff_t s = 0; s < samples; s++) losses[s] += some[s];
    }
  }
}

/* Whether units are adjacent in both, or samples are adjacent in both. */
static int lie_alike(const fnn_matrix *Z, const fnn_matrix *Y) {
  return (Z->row_step == 1 && Y->row_step == 1) || (Z->column_step == 1 && Y->column_step == 1);
}

static int losses_by_blocks(losses_of *l, double work, int threads) {
  const ptrdiff_t block = fnn_min(fnn_block_rows(l->K), l->m);
  l->scratch_bytes = fnn_plus(fnn_round_up(block, FNN_LINE) * (ptrdiff_t)sizeof *l->losses,
                              fnn_times((2 * block + FNN_HEAD_ROWS) * l->K->size, fnn_ld(l->K, l->n)));
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  l->scratch = fnn_scratch(stack, fnn_times(threads, l->scratch_bytes));
  if (!l->scratch) return FNN_NO_MEMORY;
  fnn_run_layer(losses_part, l, l->K, work, l->m, threads);
  fnn_release(stack, l->scratch);
  return FNN_OK;
}

int fnn_loss(int isa, double *losses, const fnn_matrix *dZ, const fnn_matrix *Z, const fnn_targets *targets,
             const fnn_spec *loss, ptrdiff_t n, ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n, m, 0)) return FNN_NO_MEMORY;
  if (!fnn_is_isa(isa) || !fnn_is_loss(loss) || !FNN_HAVE_ONE_DTYPE(Z, dZ ? dZ : Z)) return FNN_REFUSED;
  threads = fnn_threads(threads);
  losses_of l = {
      .K = fnn_isas[isa].kernels[Z->dtype], .losses = losses, .dZ = dZ, .Z = Z, .loss = *loss, .n = n, .m = m};
  fnn_targets room;
  if (!(l.targets = FNN_TAKEN(room, targets, weights)) || !fnn_are_targets(l.targets, loss)) return FNN_REFUSED;
  for (ptrdiff_t j = 0; n == 0 && losses && j < m; j++) losses[j] = 0;
  if (n == 0) return FNN_OK;
  const fnn_matrix *Y = &l.targets->Y;
  const int of_units = fnn_is_of_units(loss); /* such a loss can have any number of them */
  if (!of_units && !fnn_fits_units(loss, n)) return FNN_REFUSED;
  const int by_element = of_units && !l.targets->codes && !l.targets->weights && Z->dtype == Y->dtype;
  if (by_element && !losses) {
    const fnn_matrix *const all[] = {dZ, Z, Y};
    fnn_elements e, lines = {.n = n, .m = m};
    fnn_set_elements(&e, l.K, FNN_LOSS_GRADIENT, loss, dZ, Z, Y, n, m);
    if (fnn_in_lines(&lines, all, 3)) return fnn_each_element(&e, threads);
  }
  const double work = (double)FNN_FUNCTION_WORK * n * m;
  threads = fnn_threads_for(work, threads);
  if (!by_element || dZ || !lie_alike(Z, Y)) return losses_by_blocks(&l, work, threads);
  fnn_run_layer(values_part, &l, l.K, work, m, threads);
  return FNN_OK;
}

double fnn_shares(const double *x, ptrdiff_t m, double whole) {
  double total = 0, shares[AT_A_TIME]; /* it divides before it adds: the sum of all x could overflow */
  for (ptrdiff_t first = 0; first < m; first += AT_A_TIME) {
    const ptrdiff_t count = fnn_min(AT_A_TIME, m - first);
    for (ptrdiff_t i = 0; i < count; i++) shares[i] = x[first + i] / whole;
    total += sum(shares, count);
  }
  return total;
}
