/* The functions of one layer, for matrices of any strides: what can be read or written in place is, the rest goes
   through blocks of rows. A row here is one sample. */
#include <string.h>

#include "kernels.h"
#include "memory.h"
#include "parallel.h"

#define FLOP_PER_THREAD 2e6 /* below this a second thread's start costs more than it brings */

static const fnn_kernels *table(int isa, int dtype) { return fnn_isas[isa].kernels[dtype]; }

/* Rows per block: enough to use a panel of weights many times, few enough to stay in the cache. */
static ptrdiff_t block_rows(const fnn_kernels *K) { return 16 * K->mr; }

/* Whether samples lie as the kernels' buffers do: units adjacent, whole vectors. */
static int is_rows(const fnn_kernels *K, const fnn_matrix *x, ptrdiff_t n) { return x->row == 1 && n % K->vl == 0; }

static void *sample(const fnn_kernels *K, const fnn_matrix *x, ptrdiff_t j) { return fnn_at(K, x->data, j * x->col); }

static int threads_for(double flop, int threads) {
  return flop < FLOP_PER_THREAD * threads ? (int)(flop / FLOP_PER_THREAD) + 1 : threads;
}

/* --- out = g(B A + bias) for blocks of samples: linear_forward, and W^T dZ of linear_backward --- */

typedef struct {
  const fnn_kernels *K;
  const fnn_matrix *out, *A, *B; /* B: element (k, j) */
  ptrdiff_t n, k, m;
  int activation;
  void *panels;
  const void *bias;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} affine;

static void affine_task(void *arg, fnn_team *team, int thread) {
  const affine *a = arg;
  const fnn_kernels *K = a->K;
  ptrdiff_t from, to;
  fnn_share(fnn_panels(K, a->n), 1, fnn_team_size(team), thread, &from, &to);
  if (from < to) {
    const fnn_matrix part = {fnn_at(K, a->B->data, from * K->nr * a->B->col), a->B->row, a->B->col, a->B->dtype};
    K->pack(fnn_at(K, a->panels, from * K->nr * a->k), &part, a->k, fnn_at_most(a->n, to * K->nr) - from * K->nr);
  }
  fnn_barrier(team);

  const int in_place = a->A->row == 1, out_in_place = is_rows(K, a->out, a->n);
  void *in = a->scratch + thread * a->scratch_bytes;
  void *result = fnn_at(K, in, block_rows(K) * fnn_ld(K, a->k));
  fnn_share(a->m, K->mr, fnn_team_size(team), thread, &from, &to);
  for (ptrdiff_t first = from, rows; first < to; first += rows) {
    rows = fnn_at_most(block_rows(K), to - first);
    if (!in_place) K->gather(in, fnn_ld(K, a->k), a->A, NULL, first, rows, a->k);
    fnn_product p = {.m = rows,
                     .n = a->n,
                     .k = a->k,
                     .A = in_place ? sample(K, a->A, first) : in,
                     .a_step = in_place ? a->A->col : fnn_ld(K, a->k),
                     .B = a->panels,
                     .b_panel = a->k * K->nr,
                     .C = out_in_place ? sample(K, a->out, first) : result,
                     .c_row = out_in_place ? a->out->col : fnn_ld(K, a->n),
                     .c_panel = K->nr,
                     .bias = a->bias,
                     .activation = a->activation};
    K->product(&p, FNN_FORWARD, 0, rows, 0, fnn_panels(K, a->n));
    if (a->activation == FNN_SOFTMAX) K->activation(p.C, p.c_row, p.C, p.c_row, FNN_SOFTMAX, rows, a->n);
    if (!out_in_place) K->scatter(a->out, first, result, fnn_ld(K, a->n), rows, a->n);
  }
}

static int run_affine(const fnn_kernels *K, const fnn_matrix *out, const fnn_matrix *A, const fnn_matrix *B,
                      const fnn_matrix *b, int activation, ptrdiff_t n, ptrdiff_t k, ptrdiff_t m, int threads) {
  if (n == 0 || m == 0) return FNN_OK;
  const ptrdiff_t padded = fnn_padded(K, n), scratch = block_rows(K) * (fnn_ld(K, k) + fnn_ld(K, n)) * K->size;
  threads = threads_for(2.0 * n * k * m, threads);
  affine a = {K, out, A, B, n, k, m, activation, NULL, NULL, NULL, scratch};
  a.panels = fnn_alloc((k * padded + padded) * K->size);
  a.scratch = fnn_alloc(scratch * threads);
  if (a.panels && a.scratch) {
    void *bias = fnn_at(K, a.panels, k * padded);
    memset(bias, 0, (size_t)(padded * K->size));
    if (b) K->gather(bias, padded, b, NULL, 0, 1, n);
    a.bias = bias;
    fnn_parallel(threads, affine_task, &a);
  }
  const int status = a.panels && a.scratch ? FNN_OK : FNN_NO_MEMORY;
  fnn_free(a.panels);
  fnn_free(a.scratch);
  return status;
}

int fnn_linear_forward(int isa, const fnn_matrix *out, const fnn_matrix *W, const fnn_matrix *A_prev,
                       const fnn_matrix *b, int activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads) {
  const fnn_matrix WT = {W->data, W->col, W->row, W->dtype};
  return run_affine(table(isa, W->dtype), out, A_prev, &WT, b, activation, n_out, n_in, m, threads);
}

/* --- dW and db --- */

typedef struct {
  const fnn_kernels *K;
  const fnn_matrix *dW;
  fnn_matrix dZ, A; /* as rows */
  ptrdiff_t n_out, n_in, m;
} weight_gradient;

static void weight_gradient_task(void *arg, fnn_team *team, int thread) {
  const weight_gradient *g = arg;
  const fnn_kernels *K = g->K;
  ptrdiff_t from, to;
  fnn_share(g->n_in, K->mr, fnn_team_size(team), thread, &from, &to);
  const fnn_product p = {.m = g->n_in,
                         .n = g->n_out,
                         .k = g->m,
                         .A = g->A.data,
                         .a_step = g->A.col,
                         .B = g->dZ.data,
                         .b_panel = K->nr,
                         .b_k = g->dZ.col,
                         .C = g->dW->data,
                         .c_row = g->dW->col,
                         .c_panel = g->dW->row,
                         .scale = 1.0 / (double)g->m};
  K->product(&p, FNN_GRADIENT, from, to, 0, fnn_panels(K, g->n_out));
}

/* `x` as rows: itself where it lies so (of any width if `any`), else a copy, through `*copy`. 0: no memory. */
static int as_rows(const fnn_kernels *K, fnn_matrix *rows, void **copy, const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m,
                   int any) {
  *rows = *x;
  *copy = NULL;
  if (is_rows(K, x, n) || (any && x->row == 1)) return 1;
  const ptrdiff_t ld = fnn_ld(K, n);
  *copy = fnn_alloc(m * ld * K->size);
  if (!*copy) return 0;
  K->gather(*copy, ld, x, NULL, 0, m, n);
  *rows = (fnn_matrix){*copy, 1, ld, x->dtype};
  return 1;
}

/* out (n x 1) = scale * rowsum of rows. */
static int scaled_rowsum(const fnn_kernels *K, const fnn_matrix *out, const fnn_matrix *rows, ptrdiff_t n, ptrdiff_t m,
                         double scale) {
  void *sums = fnn_alloc(fnn_padded(K, n) * K->size);
  if (!sums) return FNN_NO_MEMORY;
  K->rowsum(sums, rows->data, rows->col, m, n, scale);
  K->scatter(out, 0, sums, 0, 1, n);
  fnn_free(sums);
  return FNN_OK;
}

int fnn_linear_backward(int isa, const fnn_matrix *dW, const fnn_matrix *db, const fnn_matrix *dA_prev,
                        const fnn_matrix *dZ, const fnn_matrix *A_prev, const fnn_matrix *W, ptrdiff_t n_out,
                        ptrdiff_t n_in, ptrdiff_t m, int threads) {
  const fnn_kernels *K = table(isa, dZ->dtype);
  weight_gradient g = {.K = K, .dW = dW, .n_out = n_out, .n_in = n_in, .m = m};
  void *dZ_copy = NULL, *A_copy = NULL;
  int status = FNN_NO_MEMORY;
  if (as_rows(K, &g.dZ, &dZ_copy, dZ, n_out, m, 0) && as_rows(K, &g.A, &A_copy, A_prev, n_in, m, 1)) {
    if (n_out && n_in) fnn_parallel(threads_for(2.0 * n_out * n_in * m, threads), weight_gradient_task, &g);
    status = scaled_rowsum(K, db, &g.dZ, n_out, m, 1.0 / (double)m);
    if (status == FNN_OK && W) status = run_affine(K, dA_prev, &g.dZ, W, NULL, FNN_IDENTITY, n_in, n_out, m, threads);
  }
  fnn_free(dZ_copy);
  fnn_free(A_copy);
  return status;
}

int fnn_rowsum(int isa, const fnn_matrix *out, const fnn_matrix *dZ, ptrdiff_t n, ptrdiff_t m) {
  const fnn_kernels *K = table(isa, dZ->dtype);
  fnn_matrix rows;
  void *copy;
  if (!as_rows(K, &rows, &copy, dZ, n, m, 0)) return FNN_NO_MEMORY;
  const int status = scaled_rowsum(K, out, &rows, n, m, 1.0);
  fnn_free(copy);
  return status;
}

/* --- activations --- */

/* out = g(Z), or with dA the derivative times it from Z = A; blocks of samples through scratch. */
static int by_blocks(const fnn_kernels *K, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *Z,
                     int activation, ptrdiff_t n, ptrdiff_t m) {
  const ptrdiff_t ld = fnn_ld(K, n), block = fnn_at_most(block_rows(K), m);
  void *z = fnn_alloc(2 * block * ld * K->size), *d = fnn_at(K, z, block * ld);
  if (!z) return FNN_NO_MEMORY;
  for (ptrdiff_t first = 0, rows; first < m; first += rows) {
    rows = fnn_at_most(block, m - first);
    K->gather(z, ld, Z, NULL, first, rows, n);
    if (dA) {
      K->gather(d, ld, dA, NULL, first, rows, n);
      K->derivative(z, ld, d, ld, z, ld, activation, rows, n);
    } else {
      K->activation(z, ld, z, ld, activation, rows, n);
    }
    K->scatter(out, first, z, ld, rows, n);
  }
  fnn_free(z);
  return FNN_OK;
}

static int dense_in(const fnn_matrix *x, ptrdiff_t step, ptrdiff_t n, ptrdiff_t m) {
  return step == 1 ? x->row == 1 && (x->col == n || m == 1) : x->col == 1 && (x->row == m || n == 1);
}

static int elementwise(const fnn_kernels *K, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *Z,
                       int activation, ptrdiff_t n, ptrdiff_t m) {
  if (n == 0 || m == 0) return FNN_OK;
  for (int step = 1; step <= 2 && activation != FNN_SOFTMAX; step++) {
    if (!dense_in(out, step, n, m) || !dense_in(Z, step, n, m) || (dA && !dense_in(dA, step, n, m))) continue;
    /* Without gaps and in the same order: one long row, whose last part of a vector goes through scratch. */
    const ptrdiff_t total = n * m, whole = total - total % K->vl;
    if (dA)
      K->derivative(out->data, 0, dA->data, 0, Z->data, 0, activation, 1, whole);
    else
      K->activation(out->data, 0, Z->data, 0, activation, 1, whole);
    if (whole == total) return FNN_OK;
    const fnn_matrix o = {fnn_at(K, out->data, whole), 1, 0, out->dtype},
                     z = {fnn_at(K, Z->data, whole), 1, 0, Z->dtype};
    const fnn_matrix d = {dA ? fnn_at(K, dA->data, whole) : NULL, 1, 0, Z->dtype};
    return by_blocks(K, &o, dA ? &d : NULL, &z, activation, total - whole, 1);
  }
  return by_blocks(K, out, dA, Z, activation, n, m);
}

int fnn_activation_forward(int isa, const fnn_matrix *out, const fnn_matrix *Z, int activation, ptrdiff_t n,
                           ptrdiff_t m) {
  return elementwise(table(isa, Z->dtype), out, NULL, Z, activation, n, m);
}

int fnn_activation_backward(int isa, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *A, int activation,
                            ptrdiff_t n, ptrdiff_t m) {
  return elementwise(table(isa, dA->dtype), out, dA, A, activation, n, m);
}

/* --- losses --- */

int fnn_loss(int isa, double *losses, const fnn_matrix *dZ, const fnn_data *data, int loss, ptrdiff_t n) {
  const fnn_kernels *K = table(isa, data->X.dtype);
  const ptrdiff_t ld = fnn_ld(K, n), block = fnn_at_most(block_rows(K), data->m);
  void *z = fnn_alloc((2 * block + 2) * ld * K->size);
  if (!z) return FNN_NO_MEMORY;
  void *y = fnn_at(K, z, block * ld);
  for (ptrdiff_t first = 0, rows; first < data->m; first += rows) {
    rows = fnn_at_most(block, data->m - first);
    K->gather(z, ld, &data->X, NULL, first, rows, n);
    if (!data->codes) K->gather(y, ld, &data->Y, NULL, first, rows, n);
    const fnn_head head = {.loss = loss,
                           .activation = FNN_IDENTITY,
                           .n = n,
                           .Z = z,
                           .ld = ld,
                           .codes = data->codes ? data->codes + first : NULL,
                           .Y = y,
                           .y_ld = ld,
                           .weights = data->weights ? data->weights + first : NULL,
                           .losses = losses + first,
                           .scratch = fnn_at(K, y, block * ld)};
    K->head(&head, 0, rows);
    if (dZ) K->scatter(dZ, first, z, ld, rows, n);
  }
  fnn_free(z);
  return FNN_OK;
}
