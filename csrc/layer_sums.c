/* Sums of the rows of a matrix of any steps. */
#include "layer.h"

/* If samples are rows: sums for the units from..to. In the last vector some units are computed again. */
static void sum_samples(const fnn_row_sums *s, ptrdiff_t from, ptrdiff_t to, void *pairs) {
  const fnn_kernels *K = s->K;
  enum {
    STEP = 512 /* units at a time: at most a strip of K->rowsum, so that little stack is used */
  };
  double room[FNN_LINE / sizeof(double) + STEP], *sums = room + FNN_LINE / sizeof(double); /* room before sums, too */
  for (ptrdiff_t first = from, units; first < to; first += units) {
    units = fnn_min(to - first, STEP);
    const ptrdiff_t whole = units & -K->vl;
    if (whole) K->rowsum(sums, fnn_at(K, s->dZ.data, first), s->dZ.column_step, s->m, whole, s->scale, pairs);
    if (whole < units) {
      /* If n is less than a vector, dZ is a copy whose rows are whole vectors. */
      const ptrdiff_t last = s->n < K->vl ? 0 : units - K->vl;
      K->rowsum(fnn_at(K, sums, last), fnn_at(K, s->dZ.data, first + last), s->dZ.column_step, s->m, K->vl, s->scale,
                pairs);
    }
    const fnn_matrix out = {fnn_at(K, s->out.data, first * s->out.row_step), s->out.row_step, 0, s->out.dtype};
    K->scatter(&out, 0, sums, 0, 1, units);
  }
}

static void row_sums_part(void *arg, fnn_member *me) {
  const fnn_row_sums *s = arg;
  const fnn_kernels *K = s->K;
  const int by_samples = s->dZ.column_step != 1;
  ptrdiff_t from, to;
  fnn_share(by_samples ? s->n & -K->vl : s->n, K->vl, me->size, me->thread, &from, &to);
  if (me->thread == me->size - 1) to = s->n;
  if (by_samples)
    sum_samples(s, from, to, s->scratch_bytes ? s->scratch + me->thread * s->scratch_bytes : NULL);
  else
    K->sums_along(fnn_at(K, s->out.data, from * s->out.row_step), s->out.row_step,
                  fnn_at(K, s->dZ.data, from * s->dZ.row_step), s->dZ.row_step, to - from, s->m, s->scale);
}

static ptrdiff_t row_sums_copy(const fnn_row_sums *s) {
  return s->copies ? fnn_times(fnn_times(s->m, fnn_ld(s->K, s->n)), s->K->size) : 0;
}

ptrdiff_t fnn_plan_row_sums(fnn_row_sums *s, int threads) {
  const fnn_kernels *K = s->K;
  if (s->n == 0) return 0;
  if (s->m == 1) s->dZ.column_step = s->dZ.row_step == 1 ? s->n : 1; /* with one sample any column_step is right */
  s->threads = fnn_threads_for((double)s->n * s->m, threads);
  s->copies = s->dZ.column_step != 1 && (s->dZ.row_step != 1 || s->n < K->vl);
  s->scratch_bytes = s->dZ.column_step != 1 ? K->rowsum_room(s->m, s->n) : 0;
  return fnn_plus(row_sums_copy(s), fnn_times(s->threads, s->scratch_bytes));
}

void fnn_run_row_sums(fnn_row_sums *s, void *room) {
  if (s->n == 0) return;
  s->scratch = (char *)room + row_sums_copy(s);
  if (s->copies) fnn_gather_all(s->K, &s->dZ, room, s->n, s->m);
  fnn_run_layer(row_sums_part, s, s->K, (double)s->n * s->m, s->m, s->threads);
}

int fnn_rowsum(int isa, const fnn_matrix *out, const fnn_matrix *dZ, ptrdiff_t n, ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n, m, 0)) return FNN_NO_MEMORY;
  if (!fnn_is_isa(isa) || !FNN_HAVE_ONE_DTYPE(out, dZ)) return FNN_REFUSED;
  fnn_row_sums s = {fnn_isas[isa].kernels[dZ->dtype], fnn_same(out), fnn_same(dZ), n, m, 1, 0, 0, NULL, 0};
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, fnn_plan_row_sums(&s, fnn_threads(threads)));
  if (!room) return FNN_NO_MEMORY;
  fnn_run_row_sums(&s, room);
  fnn_release(stack, room);
  return FNN_OK;
}
