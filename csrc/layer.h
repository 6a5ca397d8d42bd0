/* The functions of one layer, for matrices of any strides. They read and write in place where they can; elsewhere they
   use copies. A function first plans all that it will do, and the scratch of each part; then it asks for memory,
   once; then it runs. So nothing has been written if there is no memory. Private: shared by the files layer_*.c. */
#ifndef FNN_LAYER_H
#define FNN_LAYER_H
#include "kernels.h"
#include "memory.h"
#include "parallel.h"

/* --- layer_elements.c: functions of all elements of a matrix --- */

enum fnn_operation {
  FNN_NOTHING,
  FNN_ACTIVATE,     /* out = g(x) */
  FNN_DERIVE,       /* out = x * g'(Z), where x = dA and y = A = g(Z), or Z if g's slope is FROM_Z */
  FNN_LOSS_GRADIENT /* out = dZ of a loss, where x = Z and y are its targets */
};

typedef struct {
  const fnn_kernels *K;
  enum fnn_operation operation;
  fnn_spec function; /* the activation or loss */
  fnn_matrix out, x, y;
  ptrdiff_t n, m;
  ptrdiff_t length;        /* elements of a line of memory, of which there are m; 0: it works by blocks of samples */
  int samples_are_columns; /* softmax by softmax_of_columns: each row of memory holds one unit of all samples */
  int threads;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} fnn_elements;

/* Decides how it is done; returns the bytes of scratch that the run needs. */
ptrdiff_t fnn_plan_elements(fnn_elements *e, int threads);
void fnn_run_elements(fnn_elements *e, void *room);
/* Plans and runs, with scratch of its own. */
int fnn_each_element(fnn_elements *e, int threads);
/* If units are adjacent in all `count` matrices, or samples are: sets `e` to work on these lines of memory (on a single
   line if there are no gaps), and returns 1; else 0. */
int fnn_in_lines(fnn_elements *e, const fnn_matrix *const *all, int count);
/* Sets e to an operation on matrices n x m; y is NULL for FNN_ACTIVATE. */
void fnn_set_elements(fnn_elements *e, const fnn_kernels *K, enum fnn_operation operation, const fnn_spec *function,
                      const fnn_matrix *out, const fnn_matrix *x, const fnn_matrix *y, ptrdiff_t n, ptrdiff_t m);
/* Applies the operation of `e` to a line of n adjacent elements. */
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
  int copy_A;                            /* A is copied chunk by chunk: its rows lie badly in memory */
  ptrdiff_t copied_rows, packed_columns; /* rows of A that are copied, columns of B that are packed, at a time */
  ptrdiff_t terms;                       /* the most terms of a sum that are added at a time */
  int adds_to_C;                         /* C holds the sums of earlier terms */
  enum fnn_operation next;               /* applied to C, part by part, while the part is still in the cache */
  fnn_spec next_function;                /* the activation of `next` */
  fnn_matrix G;                          /* for FNN_DERIVE: A = g(Z), of the size of C */
  int threads, by_columns;               /* whether the threads share the columns of C; else its rows */
  int vector;                            /* C has one column: it is made of dot products */
  int all_A, all_B, all_bias, pack_all;  /* A, B, bias is copied, or B is packed, as a whole before the product */
  ptrdiff_t A_size, B_size, bias_size;   /* elements of these copies */
  void *panels;                          /* all of B, packed; or NULL */
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} fnn_multiplication;

/* Sets x to C = scale A B, without bias and activation. fnn_plan_product sets the members that are not set here. */
void fnn_set_product(fnn_multiplication *x, const fnn_kernels *K, const fnn_matrix *A, const fnn_matrix *B,
                     const fnn_matrix *C, ptrdiff_t rows, ptrdiff_t k, ptrdiff_t columns, double scale);
/* Decides how it is done; returns the bytes of scratch that the run needs. */
ptrdiff_t fnn_plan_product(fnn_multiplication *x, int threads);
void fnn_run_product(fnn_multiplication *x, void *room);
/* Whether an elementwise function of C (and of G if it has data) can be applied part by part: in both matrices the
   elements of a row are adjacent, or in both those of a column. */
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

/* Runs a task of `work` FLOP. Its speed is remembered for this task, this dtype, about this work and about this longest
   side of a matrix. */
static inline void fnn_run_layer(fnn_task *task, void *arg, const fnn_kernels *K, double work, ptrdiff_t longest,
                                 int threads) {
  uint64_t kind = 0;
  if (threads > 1) {
    kind = fnn_hash((uint64_t)(uintptr_t)task, (uint64_t)K->size);
    kind = fnn_hash(fnn_hash(kind, fnn_exponent(work)), fnn_exponent((double)longest));
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
/* Copies `x` (n x m) to `room`, with samples as rows, and lets `x` point to the copy. */
static inline void fnn_gather_all(const fnn_kernels *K, fnn_matrix *x, void *room, ptrdiff_t n, ptrdiff_t m) {
  K->gather(room, fnn_ld(K, n), x, NULL, 0, m, n);
  *x = (fnn_matrix){room, 1, fnn_ld(K, n), x->dtype};
}
#endif
