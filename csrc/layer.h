/* The functions of one layer, for matrices of any strides: what can be read or written in place is, the rest goes
   through copies. A function first plans all that it will do, with the scratch that each part takes; then it asks for
   memory, once; then it runs. So where there is no memory nothing has been written. Private: what its files share. */
#ifndef FNN_LAYER_H
#define FNN_LAYER_H
#include "kernels.h"
#include "memory.h"
#include "parallel.h"

/* --- layer_elements.c: functions of all elements of a matrix --- */

enum fnn_operation {
  FNN_NOTHING,
  FNN_ACTIVATE,     /* out = g(x) */
  FNN_DERIVE,       /* out = x g'(Z), y = A = g(Z) */
  FNN_LOSS_GRADIENT /* out = dZ of a loss, x = Z, y its targets */
};

typedef struct {
  const fnn_kernels *K;
  enum fnn_operation operation;
  fnn_spec function; /* the activation or loss */
  fnn_matrix out, x, y;
  ptrdiff_t n, m;
  ptrdiff_t length; /* of lines in memory, m of them; or 0: by samples, with room for a block of them */
  int down;         /* softmax of samples that are columns of memory: but for the last ones, too few for a vector */
  int threads;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} fnn_elements;

/* How it is done; returns the bytes of scratch. */
ptrdiff_t fnn_plan_elements(fnn_elements *e, int threads);
void fnn_run_elements(fnn_elements *e, void *room);
/* Both, with scratch of its own. */
int fnn_each_element(fnn_elements *e, int threads);
/* Where units or samples are adjacent in all `count` matrices: makes `e` the lines that these are, one if there are no
   gaps. Returns whether they are. */
int fnn_in_lines(fnn_elements *e, const fnn_matrix *const *all, int count);
/* out = g(Z), and out = dA g'(Z) from A = g(Z), each n x m. */
fnn_elements fnn_activation_of(const fnn_kernels *K, const fnn_matrix *out, const fnn_matrix *Z, const fnn_spec *g,
                               ptrdiff_t n, ptrdiff_t m);
fnn_elements fnn_derivative_of(const fnn_kernels *K, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *A,
                               const fnn_spec *g, ptrdiff_t n, ptrdiff_t m);
/* On a line of n adjacent elements. */
void fnn_apply_line(const fnn_elements *e, void *out, const void *x, const void *y, ptrdiff_t n);

/* --- layer_products.c: C (rows x columns) = g(scale A B + bias), where g is one that is done in a tile --- */

typedef struct {
  const fnn_kernels *K;
  fnn_matrix A, B, C;
  const void *bias; /* or NULL; a number for each row, or for each column */
  ptrdiff_t bias_step;
  int bias_of_columns;
  ptrdiff_t rows, k, columns;
  double scale;
  fnn_spec activation;
  int in_order;                          /* every sum runs in the order of k */
  int B_in_place;                        /* B is read where it is */
  int copy_A;                            /* chunk by chunk: its rows do not lie well */
  ptrdiff_t copied_rows, packed_columns; /* at a time */
  ptrdiff_t terms;                       /* of a sum, the most at a time */
  int go_on;                             /* C holds the sums of earlier terms */
  enum fnn_operation next;               /* on C, part by part while that is still in the cache */
  fnn_spec next_function;                /* its activation */
  fnn_matrix G;                          /* for FNN_DERIVE: A = g(Z), as C is */
  int threads, by_columns;               /* what threads share out */
  int vector;                            /* one column: dot products */
  int all_A, all_B, all_bias, pack_all;  /* what is copied, or packed, as a whole before */
  ptrdiff_t A_size, B_size, bias_size;   /* elements of that */
  void *panels;                          /* all of B, packed; or NULL */
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} fnn_multiplication;

/* C = scale A B and nothing else; what a plan decides is left to that. */
void fnn_set_product(fnn_multiplication *x, const fnn_kernels *K, fnn_matrix A, fnn_matrix B, fnn_matrix C,
                     ptrdiff_t rows, ptrdiff_t k, ptrdiff_t columns, double scale);
/* How it is done; returns the bytes of scratch. */
ptrdiff_t fnn_plan_product(fnn_multiplication *x, int threads);
void fnn_run_product(fnn_multiplication *x, void *room);
/* Whether an elementwise function of C, and of G if there is one, can be done part by part: rows of memory are rows in
   both, or columns. */
int fnn_can_follow(const fnn_matrix *C, const fnn_matrix *G);

/* --- layer_sums.c: out (n x 1) = scale * rowsum(dZ) --- */

typedef struct {
  const fnn_kernels *K;
  fnn_matrix out, dZ;
  ptrdiff_t n, m;
  double scale;
  int threads, copies;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} fnn_row_sums;

ptrdiff_t fnn_plan_row_sums(fnn_row_sums *s, int threads);
void fnn_run_row_sums(fnn_row_sums *s, void *room);

/* --- what all of them use --- */

static inline int fnn_threads_for(double work, int threads) {
  return work < FNN_WORK_PER_THREAD * threads ? (int)(work / FNN_WORK_PER_THREAD) + 1 : threads;
}

/* Run a task of so many FLOP, on matrices of this dtype and longer side. */
static inline void fnn_run_layer(fnn_task *task, void *arg, const fnn_kernels *K, double work, ptrdiff_t longest,
                                 int threads) {
  uint64_t kind = 0;
  if (threads > 1) {
    kind = fnn_kind((uint64_t)(uintptr_t)task, (uint64_t)K->size);
    kind = fnn_kind(fnn_kind(kind, fnn_about(work)), fnn_about((double)longest));
  }
  fnn_parallel(kind, work, threads, task, arg);
}

/* Samples per block: few enough to stay in the cache, whole vectors of any instruction set. */
static inline ptrdiff_t fnn_block_rows(const fnn_kernels *K) { return 16 * K->mr; }
static inline void *fnn_sample(const fnn_kernels *K, const fnn_matrix *x, ptrdiff_t j) {
  return fnn_at(K, x->data, j * x->column_step);
}
static inline fnn_matrix fnn_transposed(fnn_matrix x) {
  return (fnn_matrix){x.data, x.column_step, x.row_step, x.dtype};
}
/* `x` (n x m) becomes samples in rows, copied to `room`. */
static inline void fnn_gather_all(const fnn_kernels *K, fnn_matrix *x, void *room, ptrdiff_t n, ptrdiff_t m) {
  K->gather(room, fnn_ld(K, n), x, NULL, 0, m, n);
  *x = (fnn_matrix){room, 1, fnn_ld(K, n), x->dtype};
}
#endif
