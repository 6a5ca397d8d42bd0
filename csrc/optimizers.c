/* fnn_optimizer_update: an optimizer's step on parameters of any layout, for fastnn.kernels. A network does not use it:
   it updates its weights when the tiles of dW are stored. The formulas are in kernels_optimizers.h. */
#include "optimizers.h"

#include <string.h>

#include "memory.h"
#include "parallel.h"

#define ELEMENTS_PER_THREAD 100000 /* below this a second thread's start costs more than it brings */

enum {
  PARAMETER,
  MOMENT_1,
  MOMENT_2,
  GRADIENT,
  OPERANDS
};

typedef struct {
  const fnn_kernels *K;
  fnn_update u;
  fnn_matrix x[OPERANDS];
  int used[OPERANDS];
  ptrdiff_t length, lines; /* lines of adjacent elements in memory; if `scattered`, the columns */
  int scattered;           /* the operands have no such lines in common */
} update_job;

/* The address of element `from` of line j of operand i. */
static void *line(const update_job *u, int i, ptrdiff_t j, ptrdiff_t from) {
  return fnn_at(u->K, u->x[i].data, j * u->x[i].column_step + from * u->x[i].row_step);
}

static void update(const update_job *u, void *const x[OPERANDS], ptrdiff_t n) {
  u->K->update(&u->u, x[PARAMETER], x[MOMENT_1], x[MOMENT_2], x[GRADIENT], n);
}

/* Updates elements from..to of line j through a copy, which is filled up to whole vectors. */
static void update_copy(const update_job *u, ptrdiff_t j, ptrdiff_t from, ptrdiff_t to) {
  enum {
    STEP = 64
  };
  _Alignas(FNN_LINE) double room[OPERANDS][STEP];
  void *const x[OPERANDS] = {room[0], room[1], room[2], room[3]};
  memset(room, 0, sizeof room);
  for (ptrdiff_t n; from < to; from += n) {
    n = fnn_min(STEP, to - from);
    for (int i = 0; i < OPERANDS; i++) {
      const fnn_matrix part = {line(u, i, j, from), u->x[i].row_step, 0, u->x[i].dtype};
      if (u->used[i]) u->K->gather(room[i], 0, &part, NULL, 0, 1, n);
    }
    update(u, x, fnn_round_up(n, u->K->vl));
    for (int i = 0; i < GRADIENT; i++) {
      const fnn_matrix part = {line(u, i, j, from), u->x[i].row_step, 0, u->x[i].dtype};
      if (u->used[i]) u->K->scatter(&part, 0, room[i], 0, 1, n);
    }
  }
}

static void update_part(void *arg, fnn_member *me) {
  const update_job *u = arg;
  ptrdiff_t from = 0, to = u->length, first = 0, last = u->lines;
  if (u->lines == 1)
    fnn_share(u->length, FNN_LINE, me->size, me->thread, &from, &to);
  else
    fnn_share(u->lines, 1, me->size, me->thread, &first, &last);
  for (ptrdiff_t j = first; j < last; j++) {
    const ptrdiff_t whole = u->scattered ? from : from + (to - from) / u->K->vl * u->K->vl;
    void *x[OPERANDS];
    for (int i = 0; i < OPERANDS; i++) x[i] = line(u, i, j, from);
    if (whole > from) update(u, x, whole - from);
    if (whole < to) update_copy(u, j, whole, to);
  }
}

/* The lines are the rows or columns whose elements are adjacent in all operands; if there are none, the columns. */
static void find_lines(update_job *u, ptrdiff_t n, ptrdiff_t m) {
  int by_rows = 1, by_columns = 1, gapless = 1;
  for (int i = 0; i < OPERANDS; i++) {
    const fnn_matrix *x = &u->x[i];
    by_columns &= n == 1 || x->row_step == 1;
    by_rows &= m == 1 || x->column_step == 1;
  }
  u->length = n, u->lines = m, u->scattered = !by_columns && !by_rows;
  if (by_rows && (!by_columns || n == 1)) {
    u->length = m, u->lines = n;
    for (int i = 0; i < OPERANDS; i++) {
      const fnn_matrix x = u->x[i];
      u->x[i].row_step = x.column_step, u->x[i].column_step = x.row_step;
    }
  }
  for (int i = 0; i < OPERANDS; i++) gapless &= u->x[i].row_step == 1 && u->x[i].column_step == u->length;
  if (gapless) u->length *= u->lines, u->lines = 1;
}

int fnn_optimizer_update(int isa, const fnn_optimizer *o, uint64_t t, const fnn_matrix *w, const fnn_matrix *moment_1,
                         const fnn_matrix *moment_2, const fnn_matrix *dw, ptrdiff_t n, ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n, m, 0)) return FNN_NO_MEMORY;
  fnn_optimizer room;
  const fnn_optimizer *settings = FNN_TAKEN(room, o, eps);
  if (!fnn_is_isa(isa) || !settings || !fnn_is_optimizer(settings->kind) || settings->schedule) return FNN_REFUSED;
  const int slots = (moment_1 != NULL) + (moment_2 != NULL);
  if (slots < fnn_slots_of(settings->kind) ||
      !FNN_HAVE_ONE_DTYPE(w, moment_1 ? moment_1 : w, moment_2 ? moment_2 : w, dw))
    return FNN_REFUSED;
  const fnn_kernels *K = fnn_isas[isa].kernels[w->dtype];
  update_job u = {
      .K = K,
      /* A moment that does not exist is replaced by the parameter: it is passed on, but never used. */
      .x = {fnn_same(w), fnn_same(moment_1 ? moment_1 : w), fnn_same(moment_2 ? moment_2 : w), fnn_same(dw)},
      .used = {1, moment_1 != NULL, moment_2 != NULL, 1}};
  fnn_set_update(&u.u, K, settings, settings->lr, t, 1);
  if (n == 0 || m == 0) return FNN_OK;
  find_lines(&u, n, m);
  const double elements = (double)n * (double)m;
  const ptrdiff_t most = fnn_times(n, m) / ELEMENTS_PER_THREAD + 1;
  const uint64_t kind =
      fnn_hash(fnn_hash((uint64_t)(uintptr_t)update_part, (uint64_t)settings->kind), fnn_exponent(elements));
  fnn_parallel(kind, elements, (int)fnn_min(fnn_threads(threads), most), update_part, &u);
  return FNN_OK;
}
