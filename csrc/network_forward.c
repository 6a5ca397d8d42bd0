/* Predictions and losses: each thread takes its own blocks of samples through all layers, and waits for nobody; but
   the zeros of a sparse X that is standardised come first, once for all samples. */
#include "fpmode.h"
#include "network.h"

typedef struct {
  const fnn_net *net;
  const fnn_matrix *X, *out; /* out is NULL: losses are wanted */
  fnn_targets targets;
  double *losses;          /* one sum for each block */
  ptrdiff_t widest;        /* the most units of a buffer: a sparse X needs none */
  ptrdiff_t m, rows, step; /* a block has at most `rows` rows; each thread gets a multiple of `step` rows */
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
  void *of_zeros;          /* as fnn_workspace.of_zeros; NULL: X is not sparse or not standardised */
} forward_job;

/* Samples of a block: few enough for the cache. For a loss, whose blocks are shared by threads, about a quarter of all
   samples at most. */
static ptrdiff_t rows_of_block(const fnn_kernels *K, ptrdiff_t m, int loss) {
  const ptrdiff_t most = fnn_min(16 * K->mr, m), quarter = fnn_round_up((m + 3) / 4, K->mr), few = 4 * K->mr;
  return loss ? fnn_min(most, quarter > few ? quarter : few) : most;
}

fnn_forward fnn_forward_product(const fnn_net *net, int l, const void *A_prev, ptrdiff_t a_step, void *A, ptrdiff_t m) {
  const fnn_kernels *K = net->K;
  const fnn_layer_state *y = &net->layer[l];
  return (fnn_forward){
      .factors = {.m = m, .n = y->n_out, .k = y->n_in, .A = A_prev, .a_step = a_step, .B = y->WT, .b_in_panels = 1},
      .A = A,
      .row_step = fnn_ld(K, y->n_out),
      .bias = y->b,
      .g = y->activation};
}

/* Computes all layers for `rows` samples from `first` on. Returns where the last layer is: its A, or its Z if losses
   are wanted. */
static void *forward_block(const forward_job *job, ptrdiff_t first, ptrdiff_t rows, char *scratch) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const ptrdiff_t side = job->rows * fnn_ld(K, job->widest);
  const int is_sparse = job->X->dtype == FNN_SPARSE;
  ptrdiff_t step = job->X->column_step;
  void *to = scratch, *other = fnn_at(K, scratch, side);
  void *A = NULL; /* of the layer before */
  fnn_sparse_input sparse;
  const void *X = &sparse;
  if (is_sparse) {
    sparse = fnn_sparse_input_of(net, job->X);
    sparse.lists.starts += first;
  } else if (fnn_is_readable(net, job->X)) {
    X = fnn_at(K, job->X->data, first * step);
  } else {
    step = fnn_ld(K, net->layer[0].n_in);
    fnn_read(K, to, step, job->X, NULL, first, rows, net->layer[0].n_in, &net->of_X);
    X = to;
    to = other, other = scratch;
  }
  for (int l = 0; l < net->layers; l++) {
    fnn_forward p = fnn_forward_product(net, l, l ? A : X, step, to, rows);
    if (l == net->layers - 1 && !job->out) p.g = fnn_identity;
    if (!l && job->of_zeros) p.bias = job->of_zeros;
    const fnn_spec g = p.g;
    if (net->layer[l].norm) p.g = fnn_identity;
    (l || !is_sparse ? K->forward : K->sparse_forward)(&p, 0, rows, 0, fnn_panels(K, p.factors.n));
    if (net->layer[l].norm) fnn_normalise(net, l, to, rows, &g), p.g = g;
    if (fnn_place_of(&p.g) == FNN_WHOLE_ROWS) K->activation(to, p.row_step, to, p.row_step, &p.g, rows, p.factors.n);
    A = to, step = p.row_step;
    to = other, other = A;
  }
  return A;
}

/* What the first layer makes of the zeros of a standardised sparse X: each thread some units. */
static void go_through_zeros(const forward_job *job, fnn_member *me) {
  const fnn_forward p = fnn_zeros_product(job->net, job->of_zeros);
  ptrdiff_t p0, p1;
  fnn_share(fnn_panels(job->net->K, p.factors.n), 1, me->size, me->thread, &p0, &p1);
  if (p0 < p1) job->net->K->forward(&p, 0, 1, p0, p1);
  fnn_barrier(me);
}

static void forward_task(void *arg, fnn_member *me) {
  const forward_job *job = arg;
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const fnn_layer_state *last = fnn_last(net);
  const ptrdiff_t ld = fnn_ld(K, last->n_out);
  char *scratch = job->scratch + me->thread * job->scratch_bytes;
  void *Y = fnn_at(K, scratch, 2 * job->rows * fnn_ld(K, job->widest)), *spare = fnn_at(K, Y, job->rows * ld);
  double *losses = fnn_at(K, spare, FNN_HEAD_ROWS * ld);
  ptrdiff_t from, to;
  const fnn_mode mode = fnn_flush_subnormals();
  if (job->of_zeros) go_through_zeros(job, me);
  fnn_share(job->m, job->step, me->size, me->thread, &from, &to);
  for (ptrdiff_t first = from, rows; first < to; first += rows) {
    rows = fnn_min(job->rows, to - first);
    void *A = forward_block(job, first, rows, scratch);
    if (job->out) {
      if (net->scale) K->to_units(A, ld, rows, last->n_out, net->scale, net->shift);
      K->scatter(job->out, first, A, ld, rows, last->n_out);
      continue;
    }
    const fnn_head head = {.loss = net->loss,
                           .activation = last->activation,
                           .n = last->n_out,
                           .Z = A,
                           .ld = ld,
                           .Y = Y,
                           .losses = losses,
                           .scratch = spare};
    fnn_take_losses(K, head, &job->targets, &net->of_Y, first, rows);
    double sum = 0;
    for (ptrdiff_t r = 0; r < rows; r++) sum += losses[r];
    job->losses[first / job->rows] = sum; /* blocks are the same for any number of threads */
  }
  fnn_restore_mode(mode);
}

static int run_forward(forward_job *job, int threads) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  if (job->m == 0) return FNN_OK;
  threads = fnn_sparse_threads(net, job->out ? FNN_PREDICTION : FNN_LOSSES_ONLY, job->X, job->m, threads);
  job->widest = job->X->dtype == FNN_SPARSE ? net->widest_layer : net->widest;
  job->rows = rows_of_block(K, job->m, !job->out);
  job->step = job->out ? K->mr : job->rows;
  const ptrdiff_t steps = (job->m + job->step - 1) / job->step, ld = fnn_ld(K, fnn_last(net)->n_out);
  if (threads > steps) threads = (int)steps;
  /* A block has so few rows that these products cannot overflow. */
  job->scratch_bytes = fnn_lines((2 * job->rows * fnn_ld(K, job->widest) + (job->rows + FNN_HEAD_ROWS) * ld) * K->size +
                                 job->rows * (ptrdiff_t)sizeof(double));
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  const int has_zeros = job->X->dtype == FNN_SPARSE && net->of_sparse.of;
  const ptrdiff_t row_bytes = has_zeros ? fnn_ld(K, net->layer[0].n_out) * K->size : 0;
  const ptrdiff_t bytes = fnn_times(threads, job->scratch_bytes);
  job->scratch = fnn_scratch(stack, fnn_plus(bytes, row_bytes));
  if (!job->scratch) return FNN_NO_MEMORY;
  if (has_zeros) job->of_zeros = job->scratch + bytes;
  const double m = (double)job->m;
  fnn_run(net, job->out ? FNN_PREDICTION : FNN_LOSSES_ONLY, fnn_kind_of_X(job->X, m), m, threads, forward_task, job);
  fnn_release(stack, job->scratch);
  return FNN_OK;
}

int fnn_net_predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X, ptrdiff_t m, int threads) {
  if (!fnn_is_size(m)) return FNN_NO_MEMORY;
  if (!fnn_is_input(X, m) || !fnn_is_own_dtype(net, out)) return FNN_REFUSED;
  forward_job job = {.net = net, .X = X, .out = out, .m = m};
  return run_forward(&job, fnn_threads(threads));
}

int fnn_net_loss(const fnn_net *net, double *total, const fnn_matrix *X, const fnn_targets *targets, ptrdiff_t m,
                 int threads) {
  if (!fnn_is_size(m)) return FNN_NO_MEMORY;
  forward_job job = {.net = net, .X = X, .m = m};
  if (!FNN_TAKE(job.targets, targets, weights) || !fnn_are_targets(&job.targets, &net->loss)) return FNN_REFUSED;
  if (!fnn_is_input(X, m)) return FNN_REFUSED;
  const ptrdiff_t rows = rows_of_block(net->K, m, 1), blocks = m ? (m + rows - 1) / rows : 0;
  double *losses = job.losses = fnn_alloc(fnn_times(blocks, sizeof *losses));
  const int status = losses ? run_forward(&job, fnn_threads(threads)) : FNN_NO_MEMORY;
  if (status == FNN_OK) *total = 0;
  for (ptrdiff_t i = 0; status == FNN_OK && i < blocks; i++) *total += losses[i];
  fnn_free(losses);
  return status;
}
