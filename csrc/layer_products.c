/* C = g(scale A B + bias) for matrices of any steps. It decides whether C or C^T = B^T A^T is computed, what is read in
   place and what is copied or packed, and whether the threads share rows or columns. */
#include "layer.h"

#define TERMS_AT_A_TIME 1024 /* terms of a long product that are summed at a time: more would not stay in the cache */

/* Turns the product into C^T = B^T A^T, which is the same. */
static void flip(fnn_multiplication *x) {
  const fnn_matrix A = fnn_transposed(x->B), B = fnn_transposed(x->A);
  const ptrdiff_t rows = x->columns, columns = x->rows;
  x->A = A, x->B = B, x->C = fnn_transposed(x->C), x->G = fnn_transposed(x->G);
  x->rows = rows, x->columns = columns, x->bias_of_columns = !x->bias_of_columns;
}

/* Whether B is read where it is: its rows lie well enough, or there are too few rows of A to pay for a copy of B. */
static int lies_well(const fnn_kernels *K, const fnn_matrix *B, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t columns) {
  const ptrdiff_t step = B->row_step * K->size;
  if (B->column_step != 1 || step <= 0 || columns < K->vl) return 0;
  if (k * fnn_min(step, 4096) > 1 << 22) return 0; /* more pages than the TLB has entries, for every panel */
  return step <= 256 || rows <= 3 * K->mr || (rows <= 8 * K->mr && step % 512 != 0);
}

/* The cost of the product as it is, or flipped: about the number of vector operations to sum and to move data. */
static double cost(const fnn_multiplication *x, int flipped) {
  const fnn_matrix A = flipped ? fnn_transposed(x->B) : x->A, B = flipped ? fnn_transposed(x->A) : x->B;
  const ptrdiff_t rows = flipped ? x->columns : x->rows, columns = flipped ? x->rows : x->columns;
  const double k = (double)x->k, results = (double)rows * (double)columns;
  double sum = (double)rows * k * (double)fnn_padded(x->K, columns) / (double)(2 * x->K->vl);
  if (!lies_well(x->K, &B, rows, x->k, columns)) sum += k * (double)columns * (B.column_step == 1 ? 0.25 : 0.5);
  if ((flipped ? x->C.row_step : x->C.column_step) != 1) sum += results;
  if (A.column_step != 1 && A.row_step != 1) sum += (double)rows * k;
  return sum;
}

/* Whether the rows of A in one tile (by columns: the terms of one block) fall into the same sets of the first cache, so
   that they push each other out. */
static int crowded(const fnn_multiplication *x) {
  return x->A.column_step == 1 ? x->A.row_step * x->K->size % 4096 == 0 : x->A.column_step * x->K->size % 512 == 0;
}

/* Some columns of B, as the kernels read them: in panels, or in place with a step from row to row. */
typedef struct {
  const void *data;
  int in_panels;
  ptrdiff_t step;
} columns_of_B;

/* Computes rows i0..i1 of `columns` columns of C, from column `first` on. */
static void rows_of_columns(const fnn_multiplication *x, void *room, columns_of_B B, ptrdiff_t first, ptrdiff_t columns,
                            ptrdiff_t i0, ptrdiff_t i1) {
  const fnn_kernels *K = x->K;
  const int by_rows = x->A.column_step == 1 || x->copy_A;
  fnn_dense p = {.factors = {.m = x->rows,
                             .n = columns,
                             .k = x->k,
                             .A = x->A.data,
                             .a_step = by_rows ? x->A.row_step : x->A.column_step,
                             .B = B.data,
                             .b_in_panels = B.in_panels,
                             .b_step = B.step},
                 .C = fnn_at(K, x->C.data, first * x->C.column_step),
                 .row_step = x->C.row_step,
                 .column_step = x->C.column_step,
                 .bias = x->bias && x->bias_of_columns ? fnn_at(K, x->bias, first) : NULL,
                 .row_bias = x->bias_of_columns ? NULL : x->bias,
                 .g = x->activation,
                 .scale = x->scale,
                 .adds_to_C = x->adds_to_C};
  if (!x->copy_A) {
    (by_rows ? K->dense_rows : K->dense_columns)(&p, i0, i1, 0, fnn_panels(K, columns));
    return;
  }
  const fnn_matrix A = fnn_transposed(x->A); /* the rows of x->A are the samples that K->gather copies */
  p.factors.a_step = fnn_ld(K, x->k);
  for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
    rows = fnn_min(x->copied_rows, i1 - i);
    K->gather(room, p.factors.a_step, &A, NULL, i, rows, x->k);
    p.factors.A = room;
    p.C = fnn_at(K, x->C.data, first * x->C.column_step + i * x->C.row_step);
    p.row_bias = p.row_bias ? fnn_at(K, x->bias, i) : NULL;
    K->dense_rows(&p, 0, rows, 0, fnn_panels(K, columns));
  }
}

/* Computes rows i0..i1, columns from..to of C, with all terms at once. */
static void multiply_once(const fnn_multiplication *x, char *room, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t from,
                          ptrdiff_t to) {
  const fnn_kernels *K = x->K;
  if (x->panels) {
    rows_of_columns(x, room, (columns_of_B){x->panels, 1, 0}, 0, x->columns, i0, i1);
  } else if (x->B_in_place) {
    const ptrdiff_t whole = (to - from) & -K->vl;
    if (whole)
      rows_of_columns(x, room, (columns_of_B){fnn_at(K, x->B.data, from), 0, x->B.row_step}, from, whole, i0, i1);
    if (from + whole < to) /* the last VL columns; some of them are computed again */
      rows_of_columns(x, room, (columns_of_B){fnn_at(K, x->B.data, to - K->vl), 0, x->B.row_step}, to - K->vl, K->vl,
                      i0, i1);
  } else {
    void *panels = x->copy_A ? fnn_at(K, room, x->copied_rows * fnn_ld(K, x->terms)) : room;
    for (ptrdiff_t first = from, columns; first < to; first += columns) {
      columns = fnn_min(x->packed_columns, to - first);
      const fnn_matrix part = {fnn_at(K, x->B.data, first * x->B.column_step), x->B.row_step, x->B.column_step,
                               x->B.dtype};
      K->pack(panels, &part, x->k, columns);
      rows_of_columns(x, room, (columns_of_B){panels, 1, 0}, first, columns, i0, i1);
    }
  }
}

/* The same, with at most x->terms terms at a time. */
static void multiply_terms(const fnn_multiplication *x, char *room, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t from,
                           ptrdiff_t to) {
  if (x->k <= x->terms) {
    multiply_once(x, room, i0, i1, from, to);
    return;
  }
  for (ptrdiff_t k = 0; k < x->k; k += x->terms) {
    fnn_multiplication part = *x;
    part.A.data = fnn_at(x->K, x->A.data, k * x->A.column_step);
    part.B.data = fnn_at(x->K, x->B.data, k * x->B.row_step);
    part.k = fnn_min(x->terms, x->k - k);
    part.adds_to_C = k > 0;
    if (k + x->terms < x->k) part.scale = 1, part.bias = NULL, part.activation = fnn_identity;
    multiply_once(&part, room, i0, i1, from, to);
  }
}

int fnn_can_follow(const fnn_matrix *C, const fnn_matrix *G) {
  return (C->row_step == 1 && (!G->data || G->row_step == 1)) ||
         (C->column_step == 1 && (!G->data || G->column_step == 1));
}

/* Applies x->next to rows i0..i1 and columns from..to of C. */
static void finish(const fnn_multiplication *x, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t from, ptrdiff_t to) {
  const fnn_kernels *K = x->K;
  const fnn_elements e = {.K = K, .operation = x->next, .function = x->next_function};
  const int along = x->C.row_step != 1 || (x->G.data && x->G.row_step != 1);
  const fnn_matrix C = along ? fnn_transposed(x->C) : x->C, G = along ? fnn_transposed(x->G) : x->G;
  const ptrdiff_t first = along ? from : i0, line = along ? i0 : from;
  ptrdiff_t n = along ? to - from : i1 - i0, lines = along ? i1 - i0 : to - from;
  if (C.column_step == n && (!G.data || G.column_step == n)) n *= lines, lines = 1;
  for (ptrdiff_t j = line; j < line + lines; j++) {
    void *c = fnn_at(K, C.data, first + j * C.column_step);
    fnn_apply_line(&e, c, c, G.data ? fnn_at(K, G.data, first + j * G.column_step) : NULL, n);
  }
}

static void multiply_part(void *arg, fnn_member *me) {
  const fnn_multiplication *x = arg;
  const fnn_kernels *K = x->K;
  const int threads = me->size;
  ptrdiff_t i0 = 0, i1 = x->rows, from = 0, to = x->columns;
  if (x->by_columns) {
    fnn_share(x->columns & -K->vl, K->nr, threads, me->thread, &from, &to);
    if (me->thread == threads - 1) to = x->columns;
  } else {
    fnn_share(x->rows, K->mr, threads, me->thread, &i0, &i1);
  }
  /* A few rows at a time, so that C is still in the cache for finish(); but only if B need not be packed each time. */
  const int by_rows = x->next != FNN_NOTHING && x->terms >= x->k && (x->panels || x->B_in_place);
  for (ptrdiff_t i = i0, end; i < i1; i = end) {
    end = by_rows ? fnn_min(i + fnn_block_rows(K), i1) : i1;
    multiply_terms(x, x->scratch + me->thread * x->scratch_bytes, i, end, from, to);
    if (x->next != FNN_NOTHING && from < to) finish(x, i, end, from, to);
  }
}

static void multiply_vector(void *arg, fnn_member *me) {
  const fnn_multiplication *x = arg;
  ptrdiff_t i0, i1;
  fnn_share(x->rows, 8 * x->K->vl, me->size, me->thread, &i0, &i1);
  const int by_rows =
      x->A.column_step == 1 && (x->A.row_step != 1 || x->k > x->rows); /* both steps 1: the longer side decides */
  const fnn_dense p = {.factors = {.m = x->rows,
                                   .n = 1,
                                   .k = x->k,
                                   .A = x->A.data,
                                   .a_step = by_rows ? x->A.row_step : x->A.column_step,
                                   .B = x->B.data},
                       .C = x->C.data,
                       .row_step = x->C.row_step,
                       .row_bias = x->bias,
                       .g = x->activation,
                       .scale = x->scale};
  (by_rows ? x->K->matvec_rows : x->K->matvec_columns)(&p, i0, i1);
  if (x->next != FNN_NOTHING && i0 < i1) finish(x, i0, i1, 0, 1);
}

/* It sets only the members that need it: to set all of *x to 0 would take as long as the plan of a small product. */
void fnn_set_product(fnn_multiplication *x, const fnn_kernels *K, const fnn_matrix *A, const fnn_matrix *B,
                     const fnn_matrix *C, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t columns, double scale) {
  x->K = K, x->A = fnn_same(A), x->B = fnn_same(B), x->C = fnn_same(C), x->G = (fnn_matrix){0};
  x->rows = rows, x->k = k, x->columns = columns, x->scale = scale;
  x->bias = NULL, x->bias_step = 0, x->bias_of_columns = 0;
  x->activation = fnn_identity, x->in_order = 0, x->next = FNN_NOTHING;
}

ptrdiff_t fnn_plan_product(fnn_multiplication *x, int threads) {
  const fnn_kernels *K = x->K;
  if (x->rows == 0 || x->columns == 0) return 0;
  x->adds_to_C = 0, x->panels = NULL, x->scratch_bytes = 0;
  const int vector = x->vector = !x->in_order && (x->columns == 1 || x->rows == 1);
  if (vector ? x->columns != 1 : cost(x, 1) < cost(x, 0)) flip(x);

  x->threads = threads = fnn_threads_for(2.0 * x->rows * x->k * x->columns, threads);
  x->all_A = vector && x->A.column_step != 1 && x->A.row_step != 1, x->all_B = vector && x->B.row_step != 1;
  x->copy_A = !vector && (crowded(x) || (x->A.column_step != 1 && (x->A.row_step != 1 || x->columns > 2 * K->nr)));
  if (vector && x->bias_of_columns) x->bias_of_columns = 0, x->bias_step = 0; /* every row gets the same number */
  x->all_bias = x->bias && (x->bias_step != 1 || (x->bias_of_columns && x->columns % K->vl != 0));
  x->by_columns = x->columns >= 2 * K->nr * threads;
  /* With several blocks of terms, columns that are computed twice at the edge would be added to C twice. */
  x->B_in_place =
      lies_well(K, &x->B, x->rows, x->k, x->columns) && (x->k <= TERMS_AT_A_TIME || x->columns % K->vl == 0);
  const int pack = !vector && !x->B_in_place, pack_all = x->pack_all = pack && !x->by_columns;
  x->bias_size = x->all_bias ? fnn_ld(K, x->bias_of_columns ? x->columns : x->rows) : 0;
  x->A_size = x->all_A ? fnn_times(x->rows, fnn_ld(K, x->k)) : 0;
  x->B_size = x->all_B ? fnn_ld(K, x->k) : pack_all ? fnn_times(x->k, fnn_padded(K, x->columns)) : 0;
  /* A quarter of a megabyte of A is copied at a time; a megabyte of B, so that a copy of A is used for many columns. */
  x->terms = pack_all ? x->k + 1 : fnn_min(x->k + 1, TERMS_AT_A_TIME);
  if (x->copy_A) {
    const ptrdiff_t tiles = (1 << 18) / (fnn_ld(K, x->terms) * K->size * K->mr) + 1;
    x->copied_rows = fnn_min(fnn_min(tiles, 16), (x->rows + K->mr - 1) / K->mr) * K->mr;
    x->scratch_bytes += x->copied_rows * fnn_ld(K, x->terms) * K->size;
  }
  if (pack && !pack_all) {
    const ptrdiff_t panels = (1 << 20) / (x->terms * K->size * K->nr) + 1;
    x->packed_columns = fnn_min(panels * K->nr, fnn_padded(K, x->columns));
    x->scratch_bytes += x->terms * x->packed_columns * K->size;
  }
  const ptrdiff_t copies = fnn_plus(x->bias_size, fnn_plus(x->A_size, x->B_size));
  return fnn_plus(fnn_times(copies, K->size), fnn_times(threads, x->scratch_bytes));
}

void fnn_run_product(fnn_multiplication *x, void *room) {
  const fnn_kernels *K = x->K;
  if (x->rows == 0 || x->columns == 0) return;
  void *A_room = fnn_at(K, room, x->bias_size), *B_room = fnn_at(K, A_room, x->A_size);
  x->scratch = fnn_at(K, B_room, x->B_size);
  if (x->all_bias) {
    const fnn_matrix column = {(void *)x->bias, x->bias_step, 0, x->C.dtype};
    K->gather(room, 0, &column, NULL, 0, 1, x->bias_of_columns ? x->columns : x->rows);
    x->bias = room;
  }
  if (x->all_A) {
    fnn_matrix rows = fnn_transposed(x->A);
    fnn_gather_all(K, &rows, A_room, x->k, x->rows);
    x->A = fnn_transposed(rows);
  }
  if (x->all_B) fnn_gather_all(K, &x->B, B_room, x->k, 1);
  if (x->pack_all) {
    K->pack(B_room, &x->B, x->k, x->columns);
    x->panels = B_room;
  }
  const double work = 2.0 * x->rows * x->k * x->columns;
  fnn_run_layer(x->vector ? multiply_vector : multiply_part, x, K, work, x->k, x->threads);
}
