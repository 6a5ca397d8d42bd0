/* The functions of one layer, for matrices of any strides: what can be read or written in place is, the rest goes
   through copies. A function first plans all that it will do, with the scratch that each part takes; then it asks for
   memory, once; then it runs. So where there is no memory nothing has been written. */
#include <stdatomic.h>
#include <string.h>

#include "kernels.h"
#include "memory.h"
#include "parallel.h"

#define WORK_PER_THREAD 2e6  /* FLOP; below this a second thread's start costs more than it brings */
#define FUNCTION_WORK 32     /* FLOP that an element of an activation or a loss counts as */
#define TERMS_AT_A_TIME 1024 /* of a long product, whole blocks of its sums: more would not stay in the cache */

static const fnn_kernels *table(int isa, int dtype) { return fnn_isas[isa].kernels[dtype]; }

/* Samples per block: few enough to stay in the cache, whole vectors of any ISA. */
static ptrdiff_t block_rows(const fnn_kernels *K) { return 16 * K->mr; }

/* Whether samples lie as the kernels' buffers do: units adjacent, whole vectors. */
static int is_rows(const fnn_kernels *K, const fnn_matrix *x, ptrdiff_t n) { return x->row == 1 && n % K->vl == 0; }

static void *sample(const fnn_kernels *K, const fnn_matrix *x, ptrdiff_t j) { return fnn_at(K, x->data, j * x->col); }

static int threads_for(double work, int threads) {
  return work < WORK_PER_THREAD * threads ? (int)(work / WORK_PER_THREAD) + 1 : threads;
}

/* A task of so many FLOP, on matrices of this dtype and longer side. */
static void run(fnn_task *task, void *arg, const fnn_kernels *K, double work, ptrdiff_t longest, int threads) {
  uint64_t kind = 0;
  if (threads > 1) {
    kind = fnn_kind((uint64_t)(uintptr_t)task, (uint64_t)K->size);
    kind = fnn_kind(fnn_kind(kind, fnn_about(work)), fnn_about((double)longest));
  }
  fnn_parallel(kind, work, threads, task, arg);
}

/* --- element by element --- */

enum operation {
  NOTHING,
  ACTIVATION, /* out = g(x) */
  DERIVATIVE, /* out = x g'(Z), y = g(Z) */
  RESIDUAL    /* out = dZ of a loss, x = Z, y its targets */
};

typedef struct {
  const fnn_kernels *K;
  enum operation operation;
  int kind; /* of the activation or loss */
  fnn_matrix out, x, y;
  ptrdiff_t n, m;
  ptrdiff_t length; /* of lines in memory, m of them; or 0: by samples, with room for a block of them */
  int down;         /* softmax of samples that are columns of memory: but for the last ones, too few for a vector */
  int threads;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} elementwise;

/* Whole vectors of `rows` rows. */
static void apply(const elementwise *e, void *out, ptrdiff_t ld_out, const void *x, ptrdiff_t ld_x, const void *y,
                  ptrdiff_t ld_y, ptrdiff_t rows, ptrdiff_t n) {
  if (e->operation == ACTIVATION)
    e->K->activation(out, ld_out, x, ld_x, e->kind, rows, n);
  else if (e->operation == DERIVATIVE)
    e->K->derivative(out, ld_out, x, ld_x, y, ld_y, e->kind, rows, n);
  else
    e->K->residual(out, x, y, e->kind, n);
}

/* Any number of elements: the last part of a vector goes through a copy. */
static void apply_line(const elementwise *e, void *out, const void *x, const void *y, ptrdiff_t n) {
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

/* --- products --- */

/* C (rows x columns) = g(scale A B + bias), g the identity or relu. */
typedef struct {
  const fnn_kernels *K;
  fnn_matrix A, B, C;
  const void *bias; /* or NULL; a number for each row, or for each column */
  ptrdiff_t bias_step;
  int bias_of_columns;
  ptrdiff_t rows, k, columns;
  double scale;
  int activation;
  int in_order;                          /* of k, every sum */
  int direct;                            /* B is read where it is */
  int copy_A;                            /* chunk by chunk: its rows do not lie well */
  ptrdiff_t copied_rows, packed_columns; /* at a time */
  ptrdiff_t terms;                       /* the most at a time */
  int go_on;                             /* C holds the sums of earlier terms */
  enum operation then;                   /* on C, part by part while that is near */
  int then_kind;                         /* its activation */
  fnn_matrix G;                          /* for DERIVATIVE: A = g(Z), as C is */
  int threads, by_columns;               /* what threads share out */
  int vector;                            /* one column: dot products */
  int all_A, all_B, all_bias, pack_all;  /* what is copied, or packed, as a whole before */
  ptrdiff_t A_size, B_size, bias_size;   /* elements of that */
  void *panels;                          /* all of B, packed; or NULL */
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} multiplication;

static fnn_matrix transposed(fnn_matrix x) { return (fnn_matrix){x.data, x.col, x.row, x.dtype}; }

/* The same as C^T = B^T A^T. */
static void flip(multiplication *x) {
  const fnn_matrix A = transposed(x->B), B = transposed(x->A);
  const ptrdiff_t rows = x->columns, columns = x->rows;
  x->A = A, x->B = B, x->C = transposed(x->C), x->G = transposed(x->G);
  x->rows = rows, x->columns = columns, x->bias_of_columns = !x->bias_of_columns;
}

/* Rows of B are read where they are: they lie so, and too few rows of A pass to pay for a copy. */
static int direct(const fnn_kernels *K, const fnn_matrix *B, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t columns) {
  const ptrdiff_t step = B->row * K->size;
  if (B->col != 1 || step <= 0 || columns < K->vl) return 0;
  if (k * fnn_at_most(step, 4096) > 1 << 22) return 0; /* more pages than the TLB has entries, for every panel */
  return step <= 256 || rows <= 3 * K->mr || (rows <= 8 * K->mr && step % 512 != 0);
}

/* Of the two ways round: about the vector operations of the sums, and of what has to be moved. */
static double cost(const multiplication *x, int flipped) {
  const fnn_matrix A = flipped ? transposed(x->B) : x->A, B = flipped ? transposed(x->A) : x->B;
  const ptrdiff_t rows = flipped ? x->columns : x->rows, columns = flipped ? x->rows : x->columns;
  const double k = (double)x->k, results = (double)rows * (double)columns;
  double sum = (double)rows * k * (double)fnn_padded(x->K, columns) / (double)(2 * x->K->vl);
  if (!direct(x->K, &B, rows, x->k, columns)) sum += k * (double)columns * (B.col == 1 ? 0.25 : 0.5);
  if ((flipped ? x->C.row : x->C.col) != 1) sum += results;
  if (A.col != 1 && A.row != 1) sum += (double)rows * k;
  return sum;
}

/* Rows of one tile, or terms of one block, that share a set of the first cache push each other out. */
static int crowded(const multiplication *x) {
  return x->A.col == 1 ? x->A.row * x->K->size % 4096 == 0 : x->A.col * x->K->size % 512 == 0;
}

/* Rows i0..i1 of `columns` columns of C from column `first` on; B their first panel. */
static void rows_of_columns(const multiplication *x, void *room, const void *B, ptrdiff_t b_panel, ptrdiff_t b_k,
                            ptrdiff_t first, ptrdiff_t columns, ptrdiff_t i0, ptrdiff_t i1) {
  const fnn_kernels *K = x->K;
  const int by_rows = x->A.col == 1 || x->copy_A;
  fnn_product p = {.m = x->rows,
                   .n = columns,
                   .k = x->k,
                   .A = x->A.data,
                   .a_step = by_rows ? x->A.row : x->A.col,
                   .B = B,
                   .b_panel = b_panel,
                   .b_k = b_k,
                   .C = fnn_at(K, x->C.data, first * x->C.col),
                   .c_row = x->C.row,
                   .c_panel = x->C.col,
                   .bias = x->bias && x->bias_of_columns ? fnn_at(K, x->bias, first) : NULL,
                   .row_bias = x->bias_of_columns ? NULL : x->bias,
                   .activation = x->activation,
                   .scale = x->scale,
                   .go_on = x->go_on};
  if (!x->copy_A) {
    K->product(&p, by_rows ? FNN_DENSE : FNN_GRADIENT, i0, i1, 0, fnn_panels(K, columns));
    return;
  }
  const fnn_matrix A = transposed(x->A); /* its rows are the samples of a gather */
  p.a_step = fnn_ld(K, x->k);
  for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
    rows = fnn_at_most(x->copied_rows, i1 - i);
    K->gather(room, p.a_step, &A, NULL, i, rows, x->k);
    p.A = room;
    p.C = fnn_at(K, x->C.data, first * x->C.col + i * x->C.row);
    p.row_bias = p.row_bias ? fnn_at(K, x->bias, i) : NULL;
    K->product(&p, FNN_DENSE, 0, rows, 0, fnn_panels(K, columns));
  }
}

/* Rows i0..i1, columns from..to, of the sums of all terms at once. */
static void multiply_once(const multiplication *x, char *room, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t from,
                          ptrdiff_t to) {
  const fnn_kernels *K = x->K;
  if (x->panels) {
    rows_of_columns(x, room, x->panels, x->k * K->nr, 0, 0, x->columns, i0, i1);
  } else if (x->direct) {
    const ptrdiff_t whole = (to - from) & -K->vl;
    if (whole) rows_of_columns(x, room, fnn_at(K, x->B.data, from), K->nr, x->B.row, from, whole, i0, i1);
    if (from + whole < to) /* a last vector, some of it again */
      rows_of_columns(x, room, fnn_at(K, x->B.data, to - K->vl), K->nr, x->B.row, to - K->vl, K->vl, i0, i1);
  } else {
    void *panels = x->copy_A ? fnn_at(K, room, x->copied_rows * fnn_ld(K, x->terms)) : room;
    for (ptrdiff_t first = from, columns; first < to; first += columns) {
      columns = fnn_at_most(x->packed_columns, to - first);
      const fnn_matrix part = {fnn_at(K, x->B.data, first * x->B.col), x->B.row, x->B.col, x->B.dtype};
      K->pack(panels, &part, x->k, columns);
      rows_of_columns(x, room, panels, x->k * K->nr, 0, first, columns, i0, i1);
    }
  }
}

/* The same, so many terms at a time. */
static void multiply_terms(const multiplication *x, char *room, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t from,
                           ptrdiff_t to) {
  if (x->k <= x->terms) {
    multiply_once(x, room, i0, i1, from, to);
    return;
  }
  for (ptrdiff_t k = 0; k < x->k; k += x->terms) {
    multiplication part = *x;
    part.A.data = fnn_at(x->K, x->A.data, k * x->A.col);
    part.B.data = fnn_at(x->K, x->B.data, k * x->B.row);
    part.k = fnn_at_most(x->terms, x->k - k);
    part.go_on = k > 0;
    if (k + x->terms < x->k) part.scale = 1, part.bias = NULL, part.activation = FNN_IDENTITY;
    multiply_once(&part, room, i0, i1, from, to);
  }
}

/* Whether rows of memory are so in all that an operation on C takes, or columns: then it can be finished in parts. */
static int finishable(const fnn_matrix *C, const fnn_matrix *G) {
  return (C->row == 1 && (!G->data || G->row == 1)) || (C->col == 1 && (!G->data || G->col == 1));
}

/* What follows, on rows i0..i1 and columns from..to of C. */
static void finish(const multiplication *x, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t from, ptrdiff_t to) {
  const fnn_kernels *K = x->K;
  const elementwise e = {.K = K, .operation = x->then, .kind = x->then_kind};
  const int along = x->C.row != 1 || (x->G.data && x->G.row != 1);
  const fnn_matrix C = along ? transposed(x->C) : x->C, G = along ? transposed(x->G) : x->G;
  const ptrdiff_t first = along ? from : i0, line = along ? i0 : from;
  ptrdiff_t n = along ? to - from : i1 - i0, lines = along ? i1 - i0 : to - from;
  if (C.col == n && (!G.data || G.col == n)) n *= lines, lines = 1;
  for (ptrdiff_t j = line; j < line + lines; j++) {
    void *c = fnn_at(K, C.data, first + j * C.col);
    apply_line(&e, c, c, G.data ? fnn_at(K, G.data, first + j * G.col) : NULL, n);
  }
}

static void multiply_part(void *arg, fnn_team *team, int thread) {
  const multiplication *x = arg;
  const fnn_kernels *K = x->K;
  const int threads = fnn_team_size(team);
  ptrdiff_t i0 = 0, i1 = x->rows, from = 0, to = x->columns;
  if (x->by_columns) {
    fnn_share(x->columns & -K->vl, K->nr, threads, thread, &from, &to);
    if (thread == threads - 1) to = x->columns;
  } else {
    fnn_share(x->rows, K->mr, threads, thread, &i0, &i1);
  }
  /* Where B is not packed anew for it, few enough rows that C is still in the cache when it is finished. */
  const int by_rows = x->then != NOTHING && x->terms >= x->k && (x->panels || x->direct);
  for (ptrdiff_t i = i0, end; i < i1; i = end) {
    end = by_rows ? fnn_at_most(i + block_rows(K), i1) : i1;
    multiply_terms(x, x->scratch + thread * x->scratch_bytes, i, end, from, to);
    if (x->then != NOTHING && from < to) finish(x, i, end, from, to);
  }
}

static void multiply_vector(void *arg, fnn_team *team, int thread) {
  const multiplication *x = arg;
  ptrdiff_t i0, i1;
  fnn_share(x->rows, 8 * x->K->vl, fnn_team_size(team), thread, &i0, &i1);
  const int by_rows = x->A.col == 1 && (x->A.row != 1 || x->k > x->rows); /* of a single row or column, its length */
  const fnn_product p = {.m = x->rows,
                         .n = 1,
                         .k = x->k,
                         .A = x->A.data,
                         .a_step = by_rows ? x->A.row : x->A.col,
                         .B = x->B.data,
                         .C = x->C.data,
                         .c_row = x->C.row,
                         .row_bias = x->bias,
                         .activation = x->activation,
                         .scale = x->scale};
  x->K->matvec(&p, by_rows ? FNN_DENSE : FNN_GRADIENT, i0, i1);
  if (x->then != NOTHING && i0 < i1) finish(x, i0, i1, 0, 1);
}

/* `x` (n x m) as samples in rows, in `room` unless it lies so. */
static void gather_all(const fnn_kernels *K, fnn_matrix *x, void *room, ptrdiff_t n, ptrdiff_t m) {
  K->gather(room, fnn_ld(K, n), x, NULL, 0, m, n);
  *x = (fnn_matrix){room, 1, fnn_ld(K, n), x->dtype};
}

/* scale A B, and nothing else. What a plan decides is left to that: to set all of it to 0 would take as long as a small
   product's plan. */
static inline void set_product(multiplication *x, const fnn_kernels *K, fnn_matrix A, fnn_matrix B, fnn_matrix C,
                               ptrdiff_t rows, ptrdiff_t k, ptrdiff_t columns, double scale) {
  x->K = K, x->A = A, x->B = B, x->C = C, x->G = (fnn_matrix){0};
  x->rows = rows, x->k = k, x->columns = columns, x->scale = scale;
  x->bias = NULL, x->bias_step = 0, x->bias_of_columns = 0;
  x->activation = FNN_IDENTITY, x->in_order = 0, x->then = NOTHING, x->then_kind = FNN_IDENTITY;
}

/* How it is done; returns the bytes of scratch. */
static ptrdiff_t plan_product(multiplication *x, int threads) {
  const fnn_kernels *K = x->K;
  if (x->rows == 0 || x->columns == 0) return 0;
  x->go_on = 0, x->panels = NULL, x->scratch_bytes = 0;
  const int vector = x->vector = !x->in_order && (x->columns == 1 || x->rows == 1);
  if (vector ? x->columns != 1 : cost(x, 1) < cost(x, 0)) flip(x);

  x->threads = threads = threads_for(2.0 * x->rows * x->k * x->columns, threads);
  x->all_A = vector && x->A.col != 1 && x->A.row != 1, x->all_B = vector && x->B.row != 1;
  x->copy_A = !vector && (crowded(x) || (x->A.col != 1 && (x->A.row != 1 || x->columns > 2 * K->nr)));
  if (vector && x->bias_of_columns) x->bias_of_columns = 0, x->bias_step = 0; /* the one number for every row */
  x->all_bias = x->bias && (x->bias_step != 1 || (x->bias_of_columns && x->columns % K->vl != 0));
  x->by_columns = x->columns >= 2 * K->nr * threads;
  /* What is computed again at the edge may not be added to twice. */
  x->direct = direct(K, &x->B, x->rows, x->k, x->columns) && (x->k <= TERMS_AT_A_TIME || x->columns % K->vl == 0);
  const int pack = !vector && !x->direct, pack_all = x->pack_all = pack && !x->by_columns;
  x->bias_size = x->all_bias ? fnn_ld(K, x->bias_of_columns ? x->columns : x->rows) : 0;
  x->A_size = x->all_A ? fnn_times(x->rows, fnn_ld(K, x->k)) : 0;
  x->B_size = x->all_B ? fnn_ld(K, x->k) : pack_all ? fnn_times(x->k, fnn_padded(K, x->columns)) : 0;
  /* A quarter of a megabyte of A at a time; of B enough that copies of A serve many columns. */
  x->terms = pack_all ? x->k + 1 : fnn_at_most(x->k + 1, TERMS_AT_A_TIME);
  if (x->copy_A) {
    const ptrdiff_t tiles = (1 << 18) / (fnn_ld(K, x->terms) * K->size * K->mr) + 1;
    x->copied_rows = fnn_at_most(fnn_at_most(tiles, 16), (x->rows + K->mr - 1) / K->mr) * K->mr;
    x->scratch_bytes += x->copied_rows * fnn_ld(K, x->terms) * K->size;
  }
  if (pack && !pack_all) {
    const ptrdiff_t panels = (1 << 20) / (x->terms * K->size * K->nr) + 1;
    x->packed_columns = fnn_at_most(panels * K->nr, fnn_padded(K, x->columns));
    x->scratch_bytes += x->terms * x->packed_columns * K->size;
  }
  const ptrdiff_t copies = fnn_plus(x->bias_size, fnn_plus(x->A_size, x->B_size));
  return fnn_plus(fnn_times(copies, K->size), fnn_times(threads, x->scratch_bytes));
}

static void run_product(multiplication *x, void *room) {
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
    fnn_matrix rows = transposed(x->A);
    gather_all(K, &rows, A_room, x->k, x->rows);
    x->A = transposed(rows);
  }
  if (x->all_B) gather_all(K, &x->B, B_room, x->k, 1);
  if (x->pack_all) {
    K->pack(B_room, &x->B, x->k, x->columns);
    x->panels = B_room;
  }
  const double work = 2.0 * x->rows * x->k * x->columns;
  run(x->vector ? multiply_vector : multiply_part, x, K, work, x->k, x->threads);
}

/* --- functions of all elements of a matrix --- */

/* Where units or samples are adjacent in all of them: the lines that these are, one if there are no gaps. */
static int in_lines(elementwise *e, const fnn_matrix *const *all, int count) {
  for (int flip = 0; flip < 2; flip++) {
    ptrdiff_t length = flip ? e->m : e->n, lines = flip ? e->n : e->m;
    int adjacent = 1, whole = 1;
    for (int i = 0; i < count; i++) {
      adjacent &= length == 1 || (flip ? all[i]->col : all[i]->row) == 1;
      whole &= lines == 1 || (flip ? all[i]->row : all[i]->col) == length;
    }
    if (!adjacent || (length == 1 && !whole)) continue;
    if (flip) e->out = transposed(e->out), e->x = transposed(e->x), e->y = transposed(e->y);
    e->length = whole ? length * lines : length;
    e->m = whole ? 1 : lines;
    return 1;
  }
  return 0;
}

static void lines_part(const elementwise *e, int threads, int thread) {
  const fnn_kernels *K = e->K;
  ptrdiff_t from = 0, to = e->length, first = 0, last = e->m;
  if (e->m == 1)
    fnn_share(e->length, FNN_LINE, threads, thread, &from, &to);
  else
    fnn_share(e->m, 1, threads, thread, &first, &last);
  for (ptrdiff_t j = first; j < last; j++)
    apply_line(e, fnn_at(K, sample(K, &e->out, j), from), fnn_at(K, sample(K, &e->x, j), from),
               e->y.data ? fnn_at(K, sample(K, &e->y, j), from) : NULL, to - from);
}

/* Samples first.. of `x` as rows: where they are, or copied to `room`. */
static void *rows_of(const fnn_kernels *K, const fnn_matrix *x, void *room, ptrdiff_t n, ptrdiff_t first,
                     ptrdiff_t rows, ptrdiff_t *ld) {
  *ld = x->col;
  if (is_rows(K, x, n)) return sample(K, x, first);
  *ld = fnn_ld(K, n);
  K->gather(room, *ld, x, NULL, first, rows, n);
  return room;
}

static void elementwise_part(void *arg, fnn_team *team, int thread) {
  const elementwise *e = arg;
  const fnn_kernels *K = e->K;
  if (e->length) {
    lines_part(e, fnn_team_size(team), thread);
    return;
  }
  ptrdiff_t from, to, ld_x, ld_y = 0, ld_out;
  fnn_share(e->m, FNN_LINE, fnn_team_size(team), thread, &from, &to);
  char *room = e->scratch + thread * e->scratch_bytes, *room_y = room + e->scratch_bytes / 2;
  if (e->down) {
    const ptrdiff_t whole = (to - from) & -K->vl;
    void *out = fnn_at(K, e->out.data, from), *d = fnn_at(K, e->x.data, from);
    if (e->operation == ACTIVATION)
      K->softmax_down(out, e->out.row, d, e->x.row, e->n, whole);
    else
      K->softmax_slope_down(out, e->out.row, d, e->x.row, fnn_at(K, e->y.data, from), e->y.row, e->n, whole);
    from += whole;
  }
  for (ptrdiff_t first = from, rows; first < to; first += rows) {
    rows = fnn_at_most(block_rows(K), to - first);
    const void *x = rows_of(K, &e->x, room, e->n, first, rows, &ld_x);
    const void *y = e->y.data ? rows_of(K, &e->y, room_y, e->n, first, rows, &ld_y) : NULL;
    const int in_place = is_rows(K, &e->out, e->n);
    void *out = in_place ? sample(K, &e->out, first) : room;
    ld_out = in_place ? e->out.col : fnn_ld(K, e->n);
    apply(e, out, ld_out, x, ld_x, y, ld_y, rows, e->n);
    if (!in_place) K->scatter(&e->out, first, room, ld_out, rows, e->n);
  }
}

/* How it is done; returns the bytes of scratch. */
static ptrdiff_t plan_elements(elementwise *e, int threads) {
  const fnn_kernels *K = e->K;
  if (e->n == 0 || e->m == 0) return 0;
  const fnn_matrix *const all[] = {&e->out, &e->x, &e->y};
  e->threads = threads = threads_for((double)FUNCTION_WORK * e->n * e->m, threads);
  const int softmax = e->operation != RESIDUAL && e->kind == FNN_SOFTMAX;
  if (!softmax && in_lines(e, all, e->y.data ? 3 : 2)) return 0;
  e->down = softmax && e->out.col == 1 && e->x.col == 1 && (!e->y.data || e->y.col == 1);
  const ptrdiff_t rows = 2 * fnn_at_most(e->down ? K->vl : block_rows(K), e->m);
  e->scratch_bytes = fnn_times(rows * K->size, fnn_ld(K, e->n));
  return fnn_times(threads, e->scratch_bytes);
}

static void run_elements(elementwise *e, void *room) {
  if (e->n == 0 || e->m == 0) return;
  e->scratch = room;
  run(elementwise_part, e, e->K, (double)FUNCTION_WORK * e->n * e->m, e->n, e->threads);
}

static int each_element(elementwise *e, int threads) {
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, plan_elements(e, threads));
  if (!room) return FNN_NO_MEMORY;
  run_elements(e, room);
  fnn_release(stack, room);
  return FNN_OK;
}

static elementwise activation_of(const fnn_matrix *out, const fnn_matrix *Z, int activation, ptrdiff_t n, ptrdiff_t m,
                                 const fnn_kernels *K) {
  return (elementwise){.K = K, .operation = ACTIVATION, .kind = activation, .out = *out, .x = *Z, .n = n, .m = m};
}

static elementwise derivative_of(const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *A, int activation,
                                 ptrdiff_t n, ptrdiff_t m, const fnn_kernels *K) {
  return (elementwise){
      .K = K, .operation = DERIVATIVE, .kind = activation, .out = *out, .x = *dA, .y = *A, .n = n, .m = m};
}

int fnn_activation_forward(int isa, const fnn_matrix *out, const fnn_matrix *Z, int activation, ptrdiff_t n,
                           ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n, m, 0)) return FNN_NO_MEMORY;
  elementwise e = activation_of(out, Z, activation, n, m, table(isa, Z->dtype));
  return each_element(&e, fnn_threads(threads));
}

int fnn_activation_backward(int isa, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *A, int activation,
                            ptrdiff_t n, ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n, m, 0)) return FNN_NO_MEMORY;
  elementwise e = derivative_of(out, dA, A, activation, n, m, table(isa, dA->dtype));
  return each_element(&e, fnn_threads(threads));
}

/* --- sums of rows --- */

typedef struct {
  const fnn_kernels *K;
  fnn_matrix out, dZ;
  ptrdiff_t n, m;
  double scale;
  int threads, copies;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} row_sums;

/* Samples in rows: units from..to, the last vector some of it again. */
static void sum_samples(const row_sums *s, ptrdiff_t from, ptrdiff_t to, void *pairs) {
  const fnn_kernels *K = s->K;
  enum {
    STEP = 512 /* a strip of the kernel's; of the stack not more than it needs */
  };
  double room[FNN_LINE / sizeof(double) + STEP], *sums = room + FNN_LINE / sizeof(double); /* before it, too */
  for (ptrdiff_t first = from, units; first < to; first += units) {
    units = fnn_at_most(to - first, STEP);
    const ptrdiff_t whole = units & -K->vl;
    if (whole) K->rowsum(sums, fnn_at(K, s->dZ.data, first), s->dZ.col, s->m, whole, s->scale, pairs);
    if (whole < units) {
      /* Fewer than a vector are in a copy, whose rows are whole vectors. */
      const ptrdiff_t last = s->n < K->vl ? 0 : units - K->vl;
      K->rowsum(fnn_at(K, sums, last), fnn_at(K, s->dZ.data, first + last), s->dZ.col, s->m, K->vl, s->scale, pairs);
    }
    const fnn_matrix out = {fnn_at(K, s->out.data, first * s->out.row), s->out.row, 0, s->out.dtype};
    K->scatter(&out, 0, sums, 0, 1, units);
  }
}

static void row_sums_part(void *arg, fnn_team *team, int thread) {
  const row_sums *s = arg;
  const fnn_kernels *K = s->K;
  const int by_samples = s->dZ.col != 1;
  ptrdiff_t from, to;
  fnn_share(by_samples ? s->n & -K->vl : s->n, K->vl, fnn_team_size(team), thread, &from, &to);
  if (thread == fnn_team_size(team) - 1) to = s->n;
  if (by_samples)
    sum_samples(s, from, to, s->scratch_bytes ? s->scratch + thread * s->scratch_bytes : NULL);
  else
    K->sums_along(fnn_at(K, s->out.data, from * s->out.row), s->out.row, fnn_at(K, s->dZ.data, from * s->dZ.row),
                  s->dZ.row, to - from, s->m, s->scale);
}

static ptrdiff_t row_sums_copy(const row_sums *s) {
  return s->copies ? fnn_times(fnn_times(s->m, fnn_ld(s->K, s->n)), s->K->size) : 0;
}

/* out (n x 1) = scale * rowsum. How it is done; returns the bytes of scratch. */
static ptrdiff_t plan_row_sums(row_sums *s, int threads) {
  const fnn_kernels *K = s->K;
  if (s->n == 0) return 0;
  if (s->m == 1) s->dZ.col = s->dZ.row == 1 ? s->n : 1; /* the stride of a single sample says nothing */
  s->threads = threads_for((double)s->n * s->m, threads);
  s->copies = s->dZ.col != 1 && (s->dZ.row != 1 || s->n < K->vl);
  s->scratch_bytes = s->dZ.col != 1 ? K->rowsum_room(s->m, s->n) : 0;
  return fnn_plus(row_sums_copy(s), fnn_times(s->threads, s->scratch_bytes));
}

static void run_row_sums(row_sums *s, void *room) {
  if (s->n == 0) return;
  s->scratch = (char *)room + row_sums_copy(s);
  if (s->copies) gather_all(s->K, &s->dZ, room, s->n, s->m);
  run(row_sums_part, s, s->K, (double)s->n * s->m, s->m, s->threads);
}

int fnn_rowsum(int isa, const fnn_matrix *out, const fnn_matrix *dZ, ptrdiff_t n, ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n, m, 0)) return FNN_NO_MEMORY;
  row_sums s = {table(isa, dZ->dtype), *out, *dZ, n, m, 1, 0, 0, NULL, 0};
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, plan_row_sums(&s, fnn_threads(threads)));
  if (!room) return FNN_NO_MEMORY;
  run_row_sums(&s, room);
  fnn_release(stack, room);
  return FNN_OK;
}

/* --- the linear layer: its parts run one after another, in the same scratch --- */

static ptrdiff_t more(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

int fnn_linear_forward(int isa, const fnn_matrix *out, const fnn_matrix *W, const fnn_matrix *A_prev,
                       const fnn_matrix *b, int activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int in_order,
                       int threads) {
  if (!fnn_are_sizes(n_out, n_in, m)) return FNN_NO_MEMORY;
  threads = fnn_threads(threads);
  const int later = activation != FNN_IDENTITY && activation != FNN_RELU; /* not by the tiles of the product */
  multiplication x;
  set_product(&x, table(isa, W->dtype), *W, *A_prev, *out, n_out, n_in, m, 1);
  x.bias = b->data, x.bias_step = b->row, x.in_order = in_order;
  if (!later) x.activation = activation;
  const int together = later && activation != FNN_SOFTMAX && finishable(&x.C, &x.G), apart = later && !together;
  if (together) x.then = ACTIVATION, x.then_kind = activation;
  ptrdiff_t bytes = plan_product(&x, threads);
  elementwise g;
  if (apart) {
    g = activation_of(out, out, activation, n_out, m, x.K);
    bytes = more(bytes, plan_elements(&g, threads));
  }
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, bytes);
  if (!room) return FNN_NO_MEMORY;
  run_product(&x, room);
  if (apart) run_elements(&g, room);
  fnn_release(stack, room);
  return FNN_OK;
}

int fnn_linear_backward(int isa, const fnn_matrix *dW, const fnn_matrix *db, const fnn_matrix *dA_prev,
                        const fnn_matrix *dZ, const fnn_matrix *A_prev, const fnn_matrix *W, int activation,
                        ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) {
  if (!fnn_are_sizes(n_out, n_in, m)) return FNN_NO_MEMORY;
  threads = fnn_threads(threads);
  const fnn_kernels *K = table(isa, dZ->dtype);
  const double share = 1.0 / (double)m;
  multiplication of_W, of_A;
  set_product(&of_W, K, *dZ, transposed(*A_prev), *dW, n_out, m, n_in, share);
  row_sums of_b = {K, *db, *dZ, n_out, m, share, 0, 0, NULL, 0};
  ptrdiff_t bytes = more(plan_product(&of_W, threads), plan_row_sums(&of_b, threads));
  elementwise slope;
  int apart = 0;
  if (W) {
    set_product(&of_A, K, transposed(*W), *dZ, *dA_prev, n_in, n_out, m, 1);
    const int together = activation != FNN_IDENTITY && activation != FNN_SOFTMAX && finishable(dA_prev, A_prev);
    if (together) of_A.then = DERIVATIVE, of_A.then_kind = activation, of_A.G = *A_prev;
    bytes = more(bytes, plan_product(&of_A, threads));
    apart = activation != FNN_IDENTITY && !together;
  }
  if (apart) {
    slope = derivative_of(dA_prev, dA_prev, A_prev, activation, n_in, m, K);
    bytes = more(bytes, plan_elements(&slope, threads));
  }
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  void *room = fnn_scratch(stack, bytes);
  if (!room) return FNN_NO_MEMORY;
  run_product(&of_W, room);
  run_row_sums(&of_b, room);
  if (W) run_product(&of_A, room);
  if (apart) run_elements(&slope, room);
  fnn_release(stack, room);
  return FNN_OK;
}

/* --- losses --- */

typedef struct {
  const fnn_kernels *K;
  double *losses;
  const fnn_matrix *dZ;
  const fnn_data *data;
  int loss;
  ptrdiff_t n;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} losses_of;

/* Any samples, by blocks of rows. */
static void losses_part(void *arg, fnn_team *team, int thread) {
  const losses_of *l = arg;
  const fnn_kernels *K = l->K;
  const fnn_data *data = l->data;
  const ptrdiff_t ld = fnn_ld(K, l->n), block = fnn_at_most(block_rows(K), data->m);
  char *room = l->scratch + thread * l->scratch_bytes;
  double *unused = (double *)room;
  void *z = unused + fnn_up(block, FNN_LINE), *y = fnn_at(K, z, block * ld);
  ptrdiff_t from, to;
  fnn_share(data->m, FNN_LINE, fnn_team_size(team), thread, &from, &to);
  for (ptrdiff_t first = from, rows; first < to; first += rows) {
    rows = fnn_at_most(block, to - first);
    K->gather(z, ld, &data->X, NULL, first, rows, l->n);
    if (!data->codes) K->gather(y, ld, &data->Y, NULL, first, rows, l->n);
    const fnn_head head = {.loss = l->loss,
                           .activation = FNN_IDENTITY,
                           .n = l->n,
                           .Z = z,
                           .ld = ld,
                           .codes = data->codes ? data->codes + first : NULL,
                           .Y = y,
                           .y_ld = ld,
                           .weights = data->weights ? data->weights + first : NULL,
                           .losses = l->losses ? l->losses + first : unused,
                           .scratch = fnn_at(K, y, block * ld)};
    K->head(&head, 0, rows);
    if (l->dZ) K->scatter(l->dZ, first, z, ld, rows, l->n);
  }
}

#define TERMS 1024 /* at a time */

static void terms(const losses_of *l, double *to, const void *z, const void *y, ptrdiff_t n) {
  const fnn_kernels *K = l->K;
  const ptrdiff_t whole = n & -K->vl;
  const size_t rest = (size_t)(n - whole);
  if (whole) K->terms(to, z, y, l->loss, whole);
  if (!rest) return;
  double last[2][FNN_LINE / sizeof(double)] = {{0}}, last_terms[FNN_LINE];
  memcpy(last[0], fnn_at(K, z, whole), rest * (size_t)K->size);
  memcpy(last[1], fnn_at(K, y, whole), rest * (size_t)K->size);
  K->terms(last_terms, last[0], last[1], l->loss, K->vl);
  memcpy(to + whole, last_terms, rest * sizeof *to);
}

static double sum(const double *x, ptrdiff_t n) {
  double lanes[4] = {0};
  ptrdiff_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int l = 0; l < 4; l++) lanes[l] += x[i + l];
  for (; i < n; i++) lanes[0] += x[i];
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/* Losses of values where units or samples are adjacent, in Z and Y alike. */
static void terms_part(void *arg, fnn_team *team, int thread) {
  const losses_of *l = arg;
  const fnn_kernels *K = l->K;
  const fnn_matrix *Z = &l->data->X, *Y = &l->data->Y;
  double some[TERMS];
  ptrdiff_t from, to;
  fnn_share(l->data->m, FNN_LINE, fnn_team_size(team), thread, &from, &to);
  if (Z->col != 1 || Y->col != 1) {
    const int dense = Z->col == l->n && Y->col == l->n;
    for (ptrdiff_t j = from, samples; j < to; j += samples) {
      samples = dense && l->n < TERMS ? fnn_at_most(TERMS / l->n, to - j) : 1;
      for (ptrdiff_t i = 0, units; i < l->n; i += units) {
        units = fnn_at_most(TERMS, l->n - i);
        terms(l, some, fnn_at(K, sample(K, Z, j), i), fnn_at(K, sample(K, Y, j), i), units * samples);
        for (ptrdiff_t s = 0; s < samples; s++)
          l->losses[j + s] = sum(some + s * units, units) + (i ? l->losses[j + s] : 0);
      }
    }
    return;
  }
  for (ptrdiff_t j = from, samples; j < to; j += samples) {
    samples = fnn_at_most(TERMS, to - j);
    double *losses = l->losses + j;
    for (ptrdiff_t s = 0; s < samples; s++) losses[s] = 0;
    for (ptrdiff_t i = 0; i < l->n; i++) {
      terms(l, some, fnn_at(K, Z->data, i * Z->row + j), fnn_at(K, Y->data, i * Y->row + j), samples);
      for (ptrdiff_t s = 0; s < samples; s++) losses[s] += some[s];
    }
  }
}

int fnn_loss(int isa, double *losses, const fnn_matrix *dZ, const fnn_data *data, int loss, ptrdiff_t n, int threads) {
  if (!fnn_are_sizes(n, data->m, 0)) return FNN_NO_MEMORY;
  if (n == 0) {
    for (ptrdiff_t j = 0; losses && j < data->m; j++) losses[j] = 0;
    return FNN_OK;
  }
  threads = fnn_threads(threads);
  const fnn_kernels *K = table(isa, data->X.dtype);
  const fnn_matrix *Z = &data->X, *Y = &data->Y;
  losses_of l = {K, losses, dZ, data, loss, n, NULL, 0};
  const int by_element = loss != FNN_CROSS_ENTROPY && !data->codes && !data->weights && Z->dtype == Y->dtype;
  if (by_element && !losses) {
    elementwise e = {.K = K, .operation = RESIDUAL, .kind = loss, .out = *dZ, .x = *Z, .y = *Y, .n = n, .m = data->m};
    elementwise lines = e;
    const fnn_matrix *const all[] = {&e.out, &e.x, &e.y};
    if (in_lines(&lines, all, 3)) return each_element(&e, threads);
  }
  const double work = (double)FUNCTION_WORK * n * data->m;
  threads = threads_for(work, threads);
  if (by_element && !dZ && ((Z->row == 1 && Y->row == 1) || (Z->col == 1 && Y->col == 1))) {
    run(terms_part, &l, K, work, data->m, threads);
    return FNN_OK;
  }
  const ptrdiff_t block = fnn_at_most(block_rows(K), data->m);
  l.scratch_bytes =
      fnn_plus(fnn_up(block, FNN_LINE) * (ptrdiff_t)sizeof *losses, fnn_times((2 * block + 2) * K->size, fnn_ld(K, n)));
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  l.scratch = fnn_scratch(stack, fnn_times(threads, l.scratch_bytes));
  if (!l.scratch) return FNN_NO_MEMORY;
  run(losses_part, &l, K, work, data->m, threads);
  fnn_release(stack, l.scratch);
  return FNN_OK;
}

double fnn_shares(const double *x, ptrdiff_t m, double whole) {
  double total = 0, shares[TERMS]; /* the sum of numbers may be beyond all numbers */
  for (ptrdiff_t first = 0; first < m; first += TERMS) {
    const ptrdiff_t count = fnn_at_most(TERMS, m - first);
    for (ptrdiff_t i = 0; i < count; i++) shares[i] = x[first + i] / whole;
    total += sum(shares, count);
  }
  return total;
}

/* --- targets --- */

/* What is checked is what was stored: somebody may write to `from` meanwhile, and a code is a place in memory later. */
int fnn_codes(int32_t *codes, const void *from, int bytes, ptrdiff_t m, ptrdiff_t n) {
  enum {
    STEP = 1024, /* still near when they are checked */
    FEW = 32     /* that no vectors pay for */
  };
  uint64_t beyond = 0; /* of those that are too long for an int32, whose low bits may well be legal */
  int32_t low = 0, high = 0;
  for (ptrdiff_t i = 0; i < m && m <= FEW; i++) {
    const uint64_t code = bytes == 8 ? __atomic_load_n((const uint64_t *)from + i, __ATOMIC_RELAXED) /* once */
                                     : __atomic_load_n((const uint32_t *)from + i, __ATOMIC_RELAXED);
    beyond |= code >> 31;
    codes[i] = (int32_t)code;
    high = (int32_t)code > high ? (int32_t)code : high;
  }
  for (ptrdiff_t first = 0; first < m && m > FEW; first += STEP) {
    const ptrdiff_t end = fnn_at_most(first + STEP, m);
    for (ptrdiff_t i = first; i < end; i++) {
      const uint64_t code = bytes == 8 ? ((const uint64_t *)from)[i] : ((const uint32_t *)from)[i];
      beyond |= code >> 31;
      codes[i] = (int32_t)code;
    }
    atomic_signal_fence(memory_order_seq_cst); /* the compiler may read `from` twice, but not after this */
    for (ptrdiff_t i = first; i < end; i++) {
      low = codes[i] < low ? codes[i] : low;
      high = codes[i] > high ? codes[i] : high;
    }
  }
  return !beyond && low >= 0 && high < n;
}

double fnn_magnitude(int isa, const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m) {
  const fnn_kernels *K = table(isa, x->dtype);
  return x->row == 1 ? K->magnitude(x->data, x->col, m, n) : K->magnitude(x->data, x->row, n, m);
}

int fnn_within(int isa, const void *x, int dtype, ptrdiff_t n, double high) {
  return table(isa, dtype)->within(x, n, high);
}
