/* The C core by itself, against sums written out in long double: for each ISA of this CPU and both dtypes.
   gcc -O1 tests/c/check_core.c <objects of csrc/> -lm -fopenmp; tests/test_core_alone.py does it, for aarch64 under
   qemu too. Prints a line per ISA and dtype with the worst error in units of the bound, and the bits of a trained net.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/fastnn.h"

static uint64_t state = 1;
static double uniform(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) / 9007199254740992.0 * 2 - 1;
}

/* A matrix of either dtype, stored by rows or by columns, read and written as double. */
typedef struct {
  fnn_matrix x;
  ptrdiff_t rows, cols;
} mat;
static mat make(ptrdiff_t rows, ptrdiff_t cols, int dtype, int by_columns) {
  mat a = {{calloc((size_t)(rows * cols) + 1, 8), by_columns ? 1 : cols, by_columns ? rows : 1, dtype}, rows, cols};
  return a;
}
static double at(const mat *a, ptrdiff_t i, ptrdiff_t j) {
  const ptrdiff_t k = i * a->x.row_step + j * a->x.column_step;
  return a->x.dtype ? ((double *)a->x.data)[k] : ((float *)a->x.data)[k];
}
static void put(mat *a, ptrdiff_t i, ptrdiff_t j, double v) {
  const ptrdiff_t k = i * a->x.row_step + j * a->x.column_step;
  if (a->x.dtype)
    ((double *)a->x.data)[k] = v;
  else
    ((float *)a->x.data)[k] = (float)v;
}
static void fill(mat *a) {
  for (ptrdiff_t i = 0; i < a->rows; i++)
    for (ptrdiff_t j = 0; j < a->cols; j++) put(a, i, j, uniform() * 2);
}

static const fnn_spec identity = {FNN_IDENTITY, {0}}, cross_entropy = {FNN_CROSS_ENTROPY, {0}};

static double worst; /* error over bound, where above 1 is a failure */
static const double bounds[2] = {2e-6, 1e-13};
static void compare(int dtype, double got, long double want, long double scale) {
  const double error = (double)(fabsl(got - want) / (scale * bounds[dtype] + 1e-300L));
  if (!(error <= worst)) worst = error; /* NaN counts as worst */
}

#define SLOPE 0.125
/* NAN: one that is not written out here; `check_activations` compares all with the generic kernels' float64. */
static long double activate(int g, long double z) {
  return g == FNN_SIGMOID      ? 1 / (1 + expl(-z))
         : g == FNN_TANH       ? tanhl(z)
         : g == FNN_RELU       ? (z > 0 ? z : 0)
         : g == FNN_IDENTITY   ? z
         : g == FNN_LEAKY_RELU ? (z > 0 ? z : SLOPE * z)
                               : NAN;
}

static void check_layer(int isa, int dtype, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int layout) {
  mat W = make(n_out, n_in, dtype, layout & 1), A = make(n_in, m, dtype, layout & 2), b = make(n_out, 1, dtype, 1);
  mat out = make(n_out, m, dtype, layout & 4), dZ = make(n_out, m, dtype, layout & 2);
  mat dW = make(n_out, n_in, dtype, layout & 4), db = make(n_out, 1, dtype, 1), dA = make(n_in, m, dtype, layout & 1);
  fill(&W), fill(&A), fill(&b), fill(&dZ);
  for (int g = 0; g < FNN_ACTIVATIONS; g++) {
    const fnn_spec spec = {g, {SLOPE}};
    if (isnan(activate(g, 0))) continue;
    fnn_linear_forward(isa, &out.x, &W.x, &A.x, &b.x, &spec, n_out, n_in, m, g & 1, 2);
    for (ptrdiff_t i = 0; i < n_out; i++)
      for (ptrdiff_t j = 0; j < m; j++) {
        long double z = at(&b, i, 0), scale = fabsl(z);
        for (ptrdiff_t k = 0; k < n_in; k++) {
          const long double term = (long double)at(&W, i, k) * at(&A, k, j);
          z += term, scale += fabsl(term);
        }
        compare(dtype, at(&out, i, j), activate(g, z), scale > 1 ? scale : 1);
      }
  }
  fnn_linear_backward(isa, &dW.x, &db.x, &dA.x, &dZ.x, &A.x, &W.x, &identity, n_out, n_in, m, 2);
  for (ptrdiff_t i = 0; i < n_out; i++) {
    long double sum = 0, size = 0;
    for (ptrdiff_t j = 0; j < m; j++) sum += at(&dZ, i, j), size += fabs(at(&dZ, i, j));
    compare(dtype, at(&db, i, 0), sum / m, size / m);
    for (ptrdiff_t k = 0; k < n_in; k++) {
      sum = size = 0;
      for (ptrdiff_t j = 0; j < m; j++) {
        const long double term = (long double)at(&dZ, i, j) * at(&A, k, j);
        sum += term, size += fabsl(term);
      }
      compare(dtype, at(&dW, i, k), sum / m, size / m);
    }
  }
  for (ptrdiff_t k = 0; k < n_in; k++)
    for (ptrdiff_t j = 0; j < m; j++) {
      long double sum = 0, size = 0;
      for (ptrdiff_t i = 0; i < n_out; i++) {
        const long double term = (long double)at(&W, i, k) * at(&dZ, i, j);
        sum += term, size += fabsl(term);
      }
      compare(dtype, at(&dA, k, j), sum, size);
    }
  free(W.x.data), free(A.x.data), free(b.x.data), free(out.x.data), free(dZ.x.data), free(dW.x.data), free(db.x.data);
  free(dA.x.data);
}

/* Each activation and its derivative, as this ISA and dtype compute them, against the generic kernels in float64. */
static void check_activations(int isa, int dtype, ptrdiff_t n, ptrdiff_t m) {
  mat Z = make(n, m, dtype, 1), dA = make(n, m, dtype, 0), A = make(n, m, dtype, 1), dZ = make(n, m, dtype, 0);
  mat Z64 = make(n, m, FNN_FLOAT64, 0), dA64 = make(n, m, FNN_FLOAT64, 0), x64 = make(n, m, FNN_FLOAT64, 0);
  mat A64 = make(n, m, FNN_FLOAT64, 0), dZ64 = make(n, m, FNN_FLOAT64, 0);
  fill(&Z), fill(&dA);
  for (int g = 0; g < FNN_ACTIVATIONS; g++) {
    const fnn_spec spec = {g, {SLOPE, 1}};
    const int from_z = strstr(fnn_activation_row(g), "FROM_Z") != NULL;
    fnn_activation_forward(isa, &A.x, &Z.x, &spec, n, m, 2);
    fnn_activation_backward(isa, &dZ.x, &dA.x, from_z ? &Z.x : &A.x, &spec, n, m, 2);
    for (ptrdiff_t i = 0; i < n; i++)
      for (ptrdiff_t j = 0; j < m; j++) {
        put(&Z64, i, j, at(&Z, i, j)), put(&dA64, i, j, at(&dA, i, j));
        put(&x64, i, j, at(from_z ? &Z : &A, i, j));
      }
    fnn_activation_forward(0, &A64.x, &Z64.x, &spec, n, m, 1);
    fnn_activation_backward(0, &dZ64.x, &dA64.x, &x64.x, &spec, n, m, 1);
    for (ptrdiff_t i = 0; i < n; i++)
      for (ptrdiff_t j = 0; j < m; j++) {
        compare(dtype, at(&A, i, j), at(&A64, i, j), 1);
        compare(dtype, at(&dZ, i, j), at(&dZ64, i, j), 2);
      }
  }
  const mat all[] = {Z, dA, A, dZ, Z64, dA64, x64, A64, dZ64};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i].x.data);
}

/* Losses and softmax of wide and narrow scores. */
static void check_loss(int isa, int dtype, ptrdiff_t n, ptrdiff_t m) {
  mat Z = make(n, m, dtype, 1), dZ = make(n, m, dtype, 0);
  int32_t *codes = calloc((size_t)m, sizeof *codes);
  double *losses = calloc((size_t)m, sizeof *losses);
  fill(&Z);
  for (ptrdiff_t j = 0; j < m; j++) codes[j] = (int32_t)(j % n);
  const fnn_targets targets = {.size = sizeof targets, .codes = codes};
  fnn_loss(isa, losses, &dZ.x, &Z.x, &targets, &cross_entropy, n, m, 2);
  for (ptrdiff_t j = 0; j < m; j++) {
    long double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++) sum += expl(at(&Z, i, j));
    compare(dtype, losses[j], logl(sum) - at(&Z, codes[j], j), 4);
    for (ptrdiff_t i = 0; i < n; i++) compare(dtype, at(&dZ, i, j), expl(at(&Z, i, j)) / sum - (i == codes[j]), 1);
  }
  free(Z.x.data), free(dZ.x.data), free(codes), free(losses);
}

/* Each loss and its derivative, as this ISA and dtype compute them, against the generic kernels in float64. */
static void check_losses(int isa, int dtype, ptrdiff_t n, ptrdiff_t m) {
  double *losses = calloc((size_t)m, sizeof *losses), *wanted = calloc((size_t)m, sizeof *wanted);
  double *levels = calloc((size_t)n, sizeof *levels);
  for (ptrdiff_t i = 0; i < n; i++) levels[i] = 0.5 + 0.4 * uniform();
  for (int loss = 0; loss < FNN_LOSSES; loss++) {
    const fnn_spec spec = {loss, {SLOPE, 1}};
    const char *row = fnn_loss_row(loss);
    const ptrdiff_t rows = strstr(row, "ONE_VALUE") ? 1 : strstr(row, "MEANS") ? n / 2 : n;
    if (strstr(row, "MEANS") && n % 2) continue;
    mat Z = make(n, m, dtype, 1), Y = make(rows, m, dtype, 0), dZ = make(n, m, dtype, 0);
    mat Z64 = make(n, m, FNN_FLOAT64, 0), Y64 = make(rows, m, FNN_FLOAT64, 1), dZ64 = make(n, m, FNN_FLOAT64, 1);
    fill(&Z);
    for (ptrdiff_t j = 0; j < m; j++) {
      for (ptrdiff_t i = 0; i < n; i++) put(&Z64, i, j, at(&Z, i, j));
      for (ptrdiff_t i = 0; i < rows; i++) { /* legal targets of every loss */
        put(&Y, i, j, 0.5 + 0.5 * uniform());
        put(&Y64, i, j, at(&Y, i, j));
      }
    }
    const fnn_targets targets = {.size = sizeof targets, .Y = Y.x, .levels = levels};
    const fnn_targets targets64 = {.size = sizeof targets, .Y = Y64.x, .levels = levels};
    if (fnn_loss(isa, losses, &dZ.x, &Z.x, &targets, &spec, n, m, 2) != FNN_OK) worst = HUGE_VAL;
    fnn_loss(0, wanted, &dZ64.x, &Z64.x, &targets64, &spec, n, m, 1);
    for (ptrdiff_t j = 0; j < m; j++) {
      compare(dtype, losses[j], wanted[j], 30.0L * n);
      for (ptrdiff_t i = 0; i < n; i++) compare(dtype, at(&dZ, i, j), at(&dZ64, i, j), 30);
    }
    const mat all[] = {Z, Y, dZ, Z64, Y64, dZ64};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i].x.data);
  }
  free(losses), free(wanted), free(levels);
}

static fnn_optimizer optimizer(int kind) {
  return (fnn_optimizer){.size = sizeof(fnn_optimizer),
                         .kind = kind,
                         .lr = 0.1,
                         .weight_decay = 0.01,
                         .momentum = 0.5,
                         .beta1 = 0.75,
                         .beta2 = 0.875,
                         .eps = 1e-3,
                         .lr_decay = 0.25,
                         .momentum_decay = 0.5};
}

/* What step 3 makes of w, by the rules of PyTorch's documentation; m are the moments before it. */
static long double stepped(const fnn_optimizer *o, long double w, long double g, const double *m) {
  const long double lr = o->lr, b1 = o->beta1, b2 = o->beta2, eps = o->eps, mu = o->momentum;
  const long double decayed = g + o->weight_decay * w, whole = 1 - lr * o->weight_decay;
  const int adamw = o->kind == FNN_ADAMW;
  const long double m1 = b1 * m[0] + (1 - b1) * (adamw ? g : decayed);
  const long double root = sqrtl((b2 * m[1] + (1 - b2) * powl(adamw ? g : decayed, 2)) / (1 - b2 * b2 * b2)) + eps;
  const long double quotient = decayed / (sqrtl(b2 * m[0] + (1 - b2) * decayed * decayed) + eps);
  long double of_mu[5], product = 1;
  for (int i = 1; i < 5; i++) of_mu[i] = b1 * (1 - powl(0.96L, i * o->momentum_decay) / 2);
  for (int i = 1; i < 4; i++) product *= of_mu[i];
  switch (o->kind) {
  case FNN_SGD: return w - lr * decayed;
  case FNN_MOMENTUM: return w - lr * (mu * m[0] + decayed);
  case FNN_NESTEROV: return w - lr * (decayed + mu * (mu * m[0] + decayed));
  case FNN_ADAM: return w - lr / (1 - b1 * b1 * b1) * m1 / root;
  case FNN_ADAMW: return w * whole - lr / (1 - b1 * b1 * b1) * m1 / root;
  case FNN_NADAM:
    return w - lr * ((1 - of_mu[3]) / (1 - product) * decayed + of_mu[4] / (1 - product * of_mu[4]) * m1) / root;
  case FNN_RMSPROP: return w - lr * quotient;
  case FNN_RMSPROP_MOMENTUM: return w - lr * (mu * m[1] + quotient);
  case FNN_ADAGRAD: return w - lr / (1 + 2 * o->lr_decay) * decayed / (sqrtl(m[0] + decayed * decayed) + eps);
  default: return NAN;
  }
}

/* A step of each optimizer on a matrix in two layouts. */
static void check_optimizers(int isa, int dtype, ptrdiff_t n, ptrdiff_t m) {
  for (int kind = 0; kind < FNN_OPTIMIZERS; kind++) {
    const fnn_optimizer o = optimizer(kind);
    const int slots = fnn_optimizer_row(kind)[strlen(fnn_optimizer_row(kind)) - 1] - '0', by_columns = kind & 1;
    mat w = make(n, m, dtype, by_columns), g = make(n, m, dtype, 1), old = make(n, m, dtype, 0);
    mat moment[2] = {make(n, m, dtype, by_columns), make(n, m, dtype, by_columns)}, kept[2];
    fill(&w), fill(&g);
    for (int k = 0; k < 2; k++) kept[k] = make(n, m, dtype, 0);
    for (ptrdiff_t i = 0; i < n * m; i++) {
      put(&old, i / m, i % m, at(&w, i / m, i % m));
      for (int k = 0; k < 2; k++) {
        put(&moment[k], i / m, i % m, fabs(uniform()));
        put(&kept[k], i / m, i % m, at(&moment[k], i / m, i % m));
      }
    }
    fnn_optimizer_update(isa, &o, 3, &w.x, slots > 0 ? &moment[0].x : NULL, slots > 1 ? &moment[1].x : NULL, &g.x, n, m,
                         2);
    for (ptrdiff_t i = 0; i < n; i++)
      for (ptrdiff_t j = 0; j < m; j++) {
        const double before[] = {at(&kept[0], i, j), at(&kept[1], i, j)};
        compare(dtype, at(&w, i, j), stepped(&o, at(&old, i, j), at(&g, i, j), before), 1);
      }
    const mat all[] = {w, g, old, moment[0], moment[1], kept[0], kept[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i].x.data);
  }
}

/* Another number for a checksum, FNV-1a's step. */
static uint64_t mix(uint64_t sum, double x) {
  uint64_t word;
  memcpy(&word, &x, 8);
  return (sum ^ word) * 1099511628211u;
}

/* A small net learns a plane, the last epochs by each optimizer in turn; its bits go into a checksum. Rows of 33 and 17
   units end soon after a vector ends. */
static uint64_t check_training(int isa, int dtype, int threads, double dropout) {
  enum {
    M = 203
  };
  const ptrdiff_t sizes[] = {7, 33, 17, 9, 3};
  fnn_layer layers[] = {{sizeof *layers, 33, {FNN_TANH, {0}}},
                        {sizeof *layers, 17, {FNN_RELU, {0}}},
                        {sizeof *layers, 9, {FNN_LEAKY_RELU, {SLOPE}}},
                        {sizeof *layers, 3, {FNN_SOFTMAX, {0}}}};
  const int count = (int)(sizeof layers / sizeof *layers);
  for (int l = 0; l < count - 1; l++) layers[l].dropout = dropout;
  state = 99;
  mat X = make(7, M, FNN_FLOAT32, 1);
  int32_t codes[M];
  fill(&X);
  for (ptrdiff_t j = 0; j < M; j++) codes[j] = at(&X, 0, j) + at(&X, 1, j) > 0 ? (at(&X, 2, j) > 0) + 1 : 0;
  fnn_net *net = fnn_net_new(isa, dtype, sizes[0], count, layers, &cross_entropy);
  for (int l = 0; l < count; l++) {
    mat W = make(sizes[l + 1], sizes[l], dtype, 0), b = make(sizes[l + 1], 1, dtype, 1);
    for (ptrdiff_t i = 0; i < W.rows; i++)
      for (ptrdiff_t k = 0; k < W.cols; k++) put(&W, i, k, (float)(uniform() / sqrt((double)W.cols)));
    fnn_net_set(net, l, FNN_W, &W.x);
    fnn_net_set(net, l, FNN_B, &b.x);
    free(W.x.data), free(b.x.data);
  }
  const fnn_targets targets = {.size = sizeof targets, .codes = codes};
  fnn_optimizer o = optimizer(FNN_SGD);
  o.weight_decay = 0;
  double before, after, ended[2 * 60];
  uint32_t order[M];
  fnn_net_loss(net, &before, &X.x, &targets, M, threads);
  fnn_fit fit = {.size = sizeof fit,
                 .optimizer = &o,
                 .batch = 20,
                 .shuffle = 1,
                 .seed = 5,
                 .mask_seed = 6,
                 .max_batches = 1 << 20,
                 .max_epochs = 60};
  fit.order = order, fit.ended = ended;
  fnn_net_train(net, &X.x, &targets, M, &fit, threads);
  const ptrdiff_t epochs = fit.ended_count;
  for (o.kind = 1, o.lr = 1e-3, fit.max_epochs = 2; o.kind < FNN_OPTIMIZERS; o.kind++) {
    if (fnn_net_start_optimizer(net, 2) != FNN_OK) worst = HUGE_VAL;
    if (fnn_net_train(net, &X.x, &targets, M, &fit, threads) != FNN_OK) worst = HUGE_VAL;
  }
  fnn_net_loss(net, &after, &X.x, &targets, M, threads);
  if (!(after < before / (dropout > 0 ? 2 : 4)) || epochs != 60 || fit.failed) worst = HUGE_VAL;
  uint64_t sum = 14695981039346656037u;
  for (int l = 0; l < count; l++) {
    mat W = make(sizes[l + 1], sizes[l], dtype, 0), b = make(sizes[l + 1], 1, dtype, 1);
    fnn_net_get(net, l, FNN_W, &W.x);
    fnn_net_get(net, l, FNN_B, &b.x);
    for (ptrdiff_t i = 0; i < W.rows; i++)
      for (ptrdiff_t k = 0; k < W.cols; k++) sum = mix(sum, at(&W, i, k));
    for (ptrdiff_t i = 0; i < b.rows; i++) sum = mix(sum, at(&b, i, 0));
    free(W.x.data), free(b.x.data);
  }
  fnn_net_free(net);
  free(X.x.data);
  return sum;
}

/* X (n x m) as lists, each a block of its own that ends with its last element. */
static fnn_sparse lists_of(const mat *X, int dtype) {
  int64_t *starts = calloc((size_t)X->cols + 1, sizeof *starts), total = 0;
  fnn_sparse to = {.size = sizeof to, .dtype = dtype, .m = X->cols, .starts = starts};
  for (ptrdiff_t j = 0; j < X->cols; starts[++j] = total)
    for (ptrdiff_t i = 0; i < X->rows; i++) total += at(X, i, j) != 0;
  int32_t *features = malloc((size_t)total * sizeof *features);
  void *values = malloc((size_t)total * (dtype ? 8 : 4));
  for (ptrdiff_t j = 0, t = 0; j < X->cols; j++) {
    for (ptrdiff_t i = 0; i < X->rows; i++) {
      if (at(X, i, j) == 0) continue;
      features[t] = (int32_t)i;
      if (dtype)
        ((double *)values)[t++] = at(X, i, j);
      else
        ((float *)values)[t++] = (float)at(X, i, j);
    }
    if (starts[j + 1] - starts[j] > to.longest) to.longest = (ptrdiff_t)(starts[j + 1] - starts[j]);
  }
  to.features = features, to.values = values;
  return to;
}

/* A step that began with X ends with X alone, read as it was: else it is refused. `other`: the same numbers, as a
   matrix or as lists. */
static void check_refusals(fnn_net *net, const fnn_matrix *X, const fnn_matrix *other, ptrdiff_t n, ptrdiff_t m,
                           int dtype, int threads) {
  double *scale = calloc((size_t)(2 * n), sizeof *scale), *mean = scale + n;
  mat A = make(2, m, dtype, 1);
  fnn_optimizer o = optimizer(FNN_SGD);
  fnn_fit fit = {.size = sizeof fit, .optimizer = &o};
  for (ptrdiff_t i = 0; i < n; i++) scale[i] = 3;
  for (int end = 0; end < 3; end++) {
    if (fnn_net_begin_step(net, &A.x, X, m, 0, threads, 0) != FNN_OK) worst = HUGE_VAL;
    if (end == 1 && fnn_net_standardise(net, mean, scale, 0, NULL, NULL, NULL, NULL) != FNN_OK) worst = HUGE_VAL;
    const int status = fnn_net_end_step(net, end == 2 ? other : X, &A.x, m, 1, &fit, threads);
    if (status != (end ? FNN_REFUSED : FNN_OK)) worst = HUGE_VAL;
  }
  free(scale), free(A.x.data);
}

/* A net is trained on a sparse X, with each optimizer, then standardised and trained again, and gives the numbers of
   one that is trained on the same X as a matrix; the bits are the same for any number of threads. */
static void check_sparse(int isa, int dtype, ptrdiff_t n, ptrdiff_t units, ptrdiff_t m) {
  const fnn_layer layers[] = {{sizeof *layers, units, {FNN_TANH, {0}}}, {sizeof *layers, 2, {FNN_SOFTMAX, {0}}}};
  mat X = make(n, m, dtype, 1), A[4], dW[4], db[4], rest[2] = {make(2, units, dtype, 0), make(2, 1, dtype, 0)};
  int32_t *codes = calloc((size_t)m, sizeof *codes);
  fill(&X);
  for (ptrdiff_t j = 0; j < m; j++) {
    codes[j] = at(&X, 0, j) > 0;
    for (ptrdiff_t i = 0; i < n; i++)
      if (uniform() < 0.6 || j == 1) put(&X, i, j, 0); /* sample 1 has no number */
  }
  double *mean = calloc((size_t)n, sizeof *mean), *scale = calloc((size_t)n, sizeof *scale);
  for (ptrdiff_t i = 0; i < n; i++) scale[i] = 2, mean[i] = i % 3 ? 0.1 : 3; /* of which one is large beside it */
  fnn_sparse lists = lists_of(&X, dtype);
  const fnn_matrix given[2] = {X.x, {&lists, 0, 0, FNN_SPARSE}};
  const fnn_targets targets = {.size = sizeof targets, .codes = codes};
  for (int run = 0; run < 4; run++) { /* the matrix, then the lists on 1, 2 and 3 threads */
    const fnn_matrix *x = &given[run > 0];
    const int threads = run ? run : 1;
    mat W = make(units, n, dtype, 0), W2 = make(2, units, dtype, 0);
    double total, ended[2 * 2];
    uint32_t *order = calloc((size_t)m, sizeof *order);
    fnn_net *net = fnn_net_new(isa, dtype, n, 2, layers, &cross_entropy);
    fnn_net_force_threads(net, threads);
    state = 5;
    fill(&W), fill(&W2);
    fnn_net_set(net, 0, FNN_W, &W.x);
    fnn_net_set(net, 1, FNN_W, &W2.x);
    fnn_optimizer o = optimizer(FNN_SGD);
    fnn_fit fit = {.size = sizeof fit, .optimizer = &o, .batch = 5, .shuffle = 1, .max_batches = 1 << 20};
    fit.order = order, fit.ended = ended, fit.max_epochs = 2;
    o.lr = 1e-3;
    for (int kind = 0; kind < 2 * FNN_OPTIMIZERS; kind++) { /* with and without weight decay */
      if (kind == FNN_OPTIMIZERS && fnn_net_standardise(net, mean, scale, 0, NULL, NULL, NULL, NULL) != FNN_OK)
        worst = HUGE_VAL;
      o.kind = kind % FNN_OPTIMIZERS, o.weight_decay = kind < FNN_OPTIMIZERS ? 0 : 0.1;
      fit.plain = kind == FNN_OPTIMIZERS;
      if (fnn_net_start_optimizer(net, 2) != FNN_OK) worst = HUGE_VAL;
      if (fnn_net_train(net, x, &targets, m, &fit, threads) != FNN_OK || fit.failed) worst = HUGE_VAL;
    }
    A[run] = make(2, m, dtype, 1), dW[run] = make(units, n, dtype, run & 1), db[run] = make(units, 1, dtype, 1);
    const fnn_matrix gradients[] = {dW[run].x, db[run].x, rest[0].x, rest[1].x};
    if (fnn_net_predict(net, &A[run].x, x, m, threads) != FNN_OK) worst = HUGE_VAL;
    if (fnn_net_loss(net, &total, x, &targets, m, threads) != FNN_OK) worst = HUGE_VAL;
    if (fnn_net_gradients(net, &total, gradients, x, &targets, m, threads) != FNN_OK) worst = HUGE_VAL;
    check_refusals(net, x, &given[!run], n, m, dtype, threads);
    fnn_net_free(net);
    free(W.x.data), free(W2.x.data), free(order);
  }
  for (int run = 1; run < 4; run++) {
    const mat *pairs[][2] = {{&A[run], &A[run > 1]}, {&dW[run], &dW[run > 1]}, {&db[run], &db[run > 1]}};
    for (int p = 0; p < 3; p++)
      for (ptrdiff_t i = 0; i < pairs[p][0]->rows; i++)
        for (ptrdiff_t j = 0; j < pairs[p][0]->cols; j++) {
          const double got = at(pairs[p][0], i, j), want = at(pairs[p][1], i, j);
          if (run > 1 && got != want) worst = HUGE_VAL;
          if (run == 1) compare(dtype, got, want, 30); /* both have gone through hundreds of steps */
        }
  }
  for (int run = 0; run < 4; run++) free(A[run].x.data), free(dW[run].x.data), free(db[run].x.data);
  free((void *)lists.values), free((void *)lists.features), free((void *)lists.starts);
  free(X.x.data), free(rest[0].x.data), free(rest[1].x.data), free(codes), free(mean), free(scale);
}

int main(void) {
  static const ptrdiff_t edges[] = {1, 2, 5, 6, 7, 13, 14, 15, 16, 17, 31, 32, 33, 65};
  int failed = 0;
  for (int isa = 0; isa < fnn_isa_total(); isa++) {
    if (!fnn_isa_available(isa)) continue;
    for (int dtype = 0; dtype < 2; dtype++) {
      worst = 0;
      state = 7;
      for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        for (int layout = 0; layout < 8; layout++)
          check_layer(isa, dtype, edges[i], edges[(i * 5 + 3 + (size_t)layout) % 14], edges[(i * 3 + 1) % 14], layout);
      check_layer(isa, dtype, 3, 2100, 5, 2);
      check_layer(isa, dtype, 5, 3, 2100, 2);
      for (ptrdiff_t n = 2; n < 40; n += 3) check_loss(isa, dtype, n, 37), check_activations(isa, dtype, n, 37);
      for (ptrdiff_t n = 2; n < 80; n += 7) check_losses(isa, dtype, n, 37);
      check_losses(isa, dtype, 1, 100);
      check_activations(isa, dtype, 1, 100);
      check_optimizers(isa, dtype, 5, 37);
      for (ptrdiff_t units = 1; units < 200; units += 33) check_sparse(isa, dtype, 3 * units % 71 + 1, units, 23);
      uint64_t bits = 0;
      for (int drops = 0; drops < 2; drops++) {
        const uint64_t alone = check_training(isa, dtype, 1, 0.1 * drops);
        for (int threads = 2; threads < 4; threads++)
          if (check_training(isa, dtype, threads, 0.1 * drops) != alone) worst = HUGE_VAL;
        bits ^= alone;
      }
      printf("%s %s worst %.3f bits %016llx\n", fnn_isa_name(isa), dtype ? "float64" : "float32", worst,
             (unsigned long long)bits);
      failed |= !(worst <= 1);
    }
  }
  return failed;
}
