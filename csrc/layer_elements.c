/* Functions of all elements of a matrix (fnn_activation_forward and _backward). They work on lines of adjacent elements
   if all operands have such lines, else on blocks of samples. */
#include <string.h>

#include "layer.h"

/* Whether samples lie as in the kernels' buffers: units are adjacent, and fill whole vectors. */
static int is_rows(const fnn_kernels *K, const fnn_matrix *x, ptrdiff_t n) {
  return x->row_step == 1 && n % K->vl == 0;
}

/* Applies the operation to `rows` rows of whole vectors (for FNN_LOSS_GRADIENT to one row). */
static void apply(const fnn_elements *e, void *out, ptrdiff_t ld_out, const void *x, ptrdiff_t ld_x, const void *y,
                  ptrdiff_t ld_y, ptrdiff_t rows, ptrdiff_t n) {
  if (e->operation == FNN_ACTIVATE)
    e->K->activation(out, ld_out, x, ld_x, &e->function, rows, n);
  else if (e->operation == FNN_DERIVE)
    e->K->derivative(out, ld_out, x, ld_x, y, ld_y, &e->function, rows, n);
  else
    e->K->loss_derivatives(out, x, y, &e->function, n);
}

/* The elements after the last whole vector go through a copy. */
void fnn_apply_line(const fnn_elements *e, void *out, const void *x, const void *y, ptrdiff_t n) {
  const fnn_kernels *K = e->K;
  const ptrdiff_t whole = n & -K->vl;
  const size_t rest = (size_t)((n - whole) * K->size);
  if (whole) apply(e, out, 0, x, 0, y, 0, 1, whole);
  if (!rest) return;
  double last[2][FNN_LINE / sizeof(double)] = {{0}};
  memcpy(last[0], fnn_at(K, x, whole), rest);
  if (y) memcpy(last[1], fnn_at(K, y, whole), rest);
  apply(e, last[0], 0, last[0], 0, last[1], 0, 1, K->vl);
  memcpy(fnn_at(K, out, whole), last[0], rest);
}

int fnn_in_lines(fnn_elements *e, const fnn_matrix *const *all, int count) {
  for (int flip = 0; flip < 2; flip++) {
    ptrdiff_t length = flip ? e->m : e->n, lines = flip ? e->n : e->m;
    int adjacent = 1, whole = 1;
    for (int i = 0; i < count; i++) {
      adjacent &= length == 1 || (flip ? all[i]->column_step : all[i]->row_step) == 1;
      whole &= lines == 1 || (flip ? all[i]->row_step : all[i]->column_step) == length;
    }
    if (!adjacent || (length == 1 && !whole)) continue;
    if (flip) e->out = fnn_transposed(e->out), e->x = fnn_transposed(e->x), e->y = fnn_transposed(e->y);
    e->length = whole ? length * lines : length;
    e->m = whole ? 1 : lines;
    return 1;
  }
  return 0;
}

static void lines_part(const fnn_elements *e, int threads, int thread) {
  const fnn_kernels *K = e->K;
  ptrdiff_t from = 0, to = e->length, first = 0, last = e->m;
  if (e->m == 1)
    fnn_share(e->length, FNN_LINE, threads, thread, &from, &to);
  else
    fnn_share(e->m, 1, threads, thread, &first, &last);
  for (ptrdiff_t j = first; j < last; j++)
    fnn_apply_line(e, fnn_at(K, fnn_sample(K, &e->out, j), from), fnn_at(K, fnn_sample(K, &e->x, j), from),
                   e->y.data ? fnn_at(K, fnn_sample(K, &e->y, j), from) : NULL, to - from);
}

/* Returns samples first.. of `x` as rows: where they are in `x`, or a copy of them in `room`. */
static void *rows_of(const fnn_kernels *K, const fnn_matrix *x, void *room, ptrdiff_t n, ptrdiff_t first,
                     ptrdiff_t rows, ptrdiff_t *ld) {
  *ld = x->column_step;
  if (is_rows(K, x, n)) return fnn_sample(K, x, first);
  *ld = fnn_ld(K, n);
  K->gather(room, *ld, x, NULL, first, rows, n);
  return room;
}

static void elementwise_part(void *arg, fnn_member *me) {
  const fnn_elements *e = arg;
  const fnn_kernels *K = e->K;
  if (e->length) {
    lines_part(e, me->size, me->thread);
    return;
  }
  ptrdiff_t from, to, ld_x, ld_y = 0, ld_out;
  fnn_share(e->m, FNN_LINE, me->size, me->thread, &from, &to);
  char *room = e->scratch + me->thread * e->scratch_bytes, *room_y = room + e->scratch_bytes / 2;
  if (e->samples_are_columns) {
    const ptrdiff_t whole = (to - from) & -K->vl;
    void *out = fnn_at(K, e->out.data, from), *d = fnn_at(K, e->x.data, from);
    if (e->operation == FNN_ACTIVATE)
      K->softmax_of_columns(out, e->out.row_step, d, e->x.row_step, e->n, whole);
    else
      K->softmax_slope_of_columns(out, e->out.row_step, d, e->x.row_step, fnn_at(K, e->y.data, from), e->y.row_step,
                                  e->n, whole);
    from += whole;
  }
  for (ptrdiff_t first = from, rows; first < to; first += rows) {
    rows = fnn_min(fnn_block_rows(K), to - first);
    const void *x = rows_of(K, &e->x, room, e->n, first, rows, &ld_x);
    const void *y = e->y.data ? rows_of(K, &e->y, room_y, e->n, first, rows, &ld_y) : NULL;
    const int in_place = is_rows(K, &e->out, e->n);
    void *out = in_place ? fnn_sample(K, &e->out, first) : room;
    ld_out = in_place ? e->out.column_step : fnn_ld(K, e->n);
    apply(e, out, ld_out, x, ld_x, y, ld_y, rows, e->n);
    if (!in_place) K->scatter(&e->out, first, room, ld_out, rows, e->n);
  }
}

ptrdiff_t fnn_plan_elements(fnn_elements *e, int threads) {
  const fnn_kernels *K = e->K;
  if (e->n == 0 || e->m == 0) return 0;
  const fnn_matrix *const all[] = {&e->out, &e->x, &e->y};
  e->threads = threads = fnn_threads_for((double)FNN_FUNCTION_WORK * e->n * e->m, threads);
  const int by_rows = e->operation != FNN_LOSS_GRADIENT && fnn_place_of(&e->function) == FNN_WHOLE_ROWS;
  if (!by_rows && fnn_in_lines(e, all, e->y.data ? 3 : 2)) return 0;
  e->samples_are_columns = by_rows && e->function.kind == FNN_SOFTMAX && e->out.column_step == 1 &&
                           e->x.column_step == 1 && (!e->y.data || e->y.column_step == 1);
  const ptrdiff_t rows = 2 * fnn_min(e->samples_are_columns ? K->vl : fnn_block_rows(K), e->m);
  e->scratch_bytes = fnn_times(rows * K->size, fnn_ld(K, e->n));
  return fnn_times(threads, e->scratch_bytes);
}

void fnn_run_elements(fnn_elements *e, void *room) {
  if (e->n == 0 || e->m == 0) return;
  e->scratch = room;
  fnn_run_layer(elementwise_part, e, e->K, (double)FNN_FUNCTION_WORK * e->n * e->m, e->n, e->threads);
}

int fnn_each_element(fnn_elements *e, int threads) {
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, fnn_plan_elements(e, threads));
  if (!room) return FNN_NO_MEMORY;
  fnn_run_elements(e, room);
  fnn_release(stack, room);
  return FNN_OK;
}

void fnn_set_elements(fnn_elements *e, const fnn_kernels *K, enum fnn_operation operation, const fnn_spec *function,
                      const fnn_matrix *out, const fnn_matrix *x, const fnn_matrix *y, ptrdiff_t n, ptrdiff_t m) {
  e->K = K, e->operation = operation, e->function = *function;
  e->out = fnn_same(out), e->x = fnn_same(x), e->y = (fnn_matrix){0};
  if (y) e->y = fnn_same(y);
  e->n = n, e->m = m, e->length = 0, e->samples_are_columns = 0, e->threads = 1, e->scratch = NULL,
  e->scratch_bytes = 0;
}

int fnn_activation_forward(int isa, const fnn_matrix *out, const fnn_matrix *Z, const fnn_spec *activation, ptrdiff_t n,
                           ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n, m, 0)) return FNN_NO_MEMORY;
  if (!fnn_is_isa(isa) || !fnn_is_activation(activation) || !FNN_HAVE_ONE_DTYPE(out, Z)) return FNN_REFUSED;
  fnn_elements e;
  fnn_set_elements(&e, fnn_isas[isa].kernels[Z->dtype], FNN_ACTIVATE, activation, out, Z, NULL, n, m);
  return fnn_each_element(&e, fnn_threads(threads));
}

int fnn_activation_backward(int isa, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *x,
                            const fnn_spec *activation, ptrdiff_t n, ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n, m, 0)) return FNN_NO_MEMORY;
  if (!fnn_is_isa(isa) || !fnn_is_activation(activation) || !FNN_HAVE_ONE_DTYPE(out, dA, x)) return FNN_REFUSED;
  fnn_elements e;
  fnn_set_elements(&e, fnn_isas[isa].kernels[dA->dtype], FNN_DERIVE, activation, out, dA, x, n, m);
  return fnn_each_element(&e, fnn_threads(threads));
}
