/* A network: its memory, and the way of a minibatch through it. Knows layers and phases; numbers are the kernels'. */
#include <string.h>

#include "kernels.h"
#include "memory.h"
#include "parallel.h"

/* A thread more pays from about so much arithmetic on, measured between two barriers of a step. */
#define FLOP_PER_PHASE 8e5
#define FLOP_PER_PREDICT 2e6

typedef struct {
  ptrdiff_t n_in, n_out;
  int activation;
  void *WT;     /* panels of W^T (n_in x n_out): what forward multiplies by and the update changes */
  void *W;      /* panels of W (n_out x n_in), a copy for dA_prev = W^T dZ; the first layer has none */
  void *b, *db; /* n_out, padded */
} layer;

/* Rows of activations are samples: A[l] is rows x n_out of layer l, and so is dZ[l]. */
typedef struct {
  ptrdiff_t capacity; /* samples */
  void *block;
  void *X, *Y;
  void **A, **dZ;
  void *heads; /* two rows of the last layer a thread; only within a call */
  int32_t *codes;
  double *weights, *losses;
} workspace;

struct fnn_net {
  const fnn_kernels *K;
  int layers, loss;
  layer *layer;
  void *parameters; /* one block: WT, W and b of all layers */
  size_t parameter_bytes;
  workspace work;
};

/* --- memory --- */

static ptrdiff_t lines(ptrdiff_t bytes) { return fnn_up(bytes, FNN_LINE); }

/* The next piece of a block, on a cache line; with a NULL block only its size counts. */
static void *piece(char *block, ptrdiff_t *used, ptrdiff_t bytes) {
  void *p = block ? block + *used : NULL;
  *used += lines(bytes);
  return p;
}

static ptrdiff_t lay_out_parameters(fnn_net *net, char *block) {
  const fnn_kernels *K = net->K;
  ptrdiff_t used = 0;
  for (int l = 0; l < net->layers; l++) {
    layer *y = &net->layer[l];
    y->WT = piece(block, &used, y->n_in * fnn_padded(K, y->n_out) * K->size);
    y->W = l ? piece(block, &used, y->n_out * fnn_padded(K, y->n_in) * K->size) : NULL;
    y->b = piece(block, &used, fnn_padded(K, y->n_out) * K->size);
  }
  return used;
}

fnn_net *fnn_net_new(int isa, int dtype, int layers, const ptrdiff_t *sizes, const int *activations, int loss) {
  fnn_net *net = calloc(1, sizeof *net);
  if (!net) return NULL;
  net->K = fnn_isas[isa].kernels[dtype];
  net->layers = layers;
  net->loss = loss;
  net->layer = calloc((size_t)layers, sizeof *net->layer);
  if (net->layer) {
    for (int l = 0; l < layers; l++)
      net->layer[l] = (layer){.n_in = sizes[l], .n_out = sizes[l + 1], .activation = activations[l]};
    net->parameter_bytes = (size_t)lay_out_parameters(net, NULL);
    net->parameters = fnn_alloc((ptrdiff_t)net->parameter_bytes);
  }
  if (!net->parameters) {
    fnn_net_free(net);
    return NULL;
  }
  memset(net->parameters, 0, net->parameter_bytes);
  lay_out_parameters(net, net->parameters);
  return net;
}

static void free_workspace(workspace *w) {
  fnn_free(w->block);
  free(w->A);
  *w = (workspace){0};
}

void fnn_net_free(fnn_net *net) {
  if (!net) return;
  free_workspace(&net->work);
  fnn_free(net->parameters);
  free(net->layer);
  free(net);
}

static ptrdiff_t lay_out_workspace(fnn_net *net, workspace *w, char *block) {
  const fnn_kernels *K = net->K;
  const layer *last = &net->layer[net->layers - 1];
  const ptrdiff_t m = w->capacity;
  ptrdiff_t used = 0;
  w->X = piece(block, &used, m * fnn_ld(K, net->layer[0].n_in) * K->size);
  w->Y = piece(block, &used, m * fnn_ld(K, last->n_out) * K->size);
  for (int l = 0; l < net->layers; l++) {
    layer *y = &net->layer[l];
    w->A[l] = piece(block, &used, m * fnn_ld(K, y->n_out) * K->size);
    /* The last layer's dZ is computed over its Z. */
    w->dZ[l] = y == last ? w->A[l] : piece(block, &used, m * fnn_ld(K, y->n_out) * K->size);
    y->db = piece(block, &used, fnn_padded(K, y->n_out) * K->size);
  }
  w->codes = piece(block, &used, m * (ptrdiff_t)sizeof *w->codes);
  w->weights = piece(block, &used, m * (ptrdiff_t)sizeof *w->weights);
  w->losses = piece(block, &used, m * (ptrdiff_t)sizeof *w->losses);
  return used;
}

/* One batch's activations, kept for the next call. */
static int reserve(fnn_net *net, ptrdiff_t m) {
  if (net->work.capacity >= m) return FNN_OK;
  workspace w = {.capacity = m};
  w.A = calloc(2 * (size_t)net->layers, sizeof *w.A);
  if (!w.A) return FNN_NO_MEMORY;
  w.dZ = w.A + net->layers;
  const ptrdiff_t bytes = lay_out_workspace(net, &w, NULL);
  w.block = fnn_alloc(bytes);
  free_workspace(&net->work);
  if (!w.block) {
    free(w.A);
    return FNN_NO_MEMORY;
  }
  lay_out_workspace(net, &w, w.block);
  net->work = w;
  return FNN_OK;
}

/* --- parameters --- */

void fnn_net_set(fnn_net *net, int l, const fnn_matrix *W, const fnn_matrix *b) {
  const fnn_kernels *K = net->K;
  layer *y = &net->layer[l];
  const fnn_matrix WT = {W->data, W->col, W->row, W->dtype};
  K->pack(y->WT, &WT, y->n_in, y->n_out);
  if (y->W) K->pack(y->W, W, y->n_out, y->n_in);
  K->gather(y->b, 0, b, NULL, 0, 1, y->n_out);
}

void fnn_net_get(const fnn_net *net, int l, const fnn_matrix *W, const fnn_matrix *b) {
  const layer *y = &net->layer[l];
  const fnn_matrix WT = {W->data, W->col, W->row, W->dtype};
  net->K->unpack(&WT, y->WT, y->n_in, y->n_out);
  net->K->scatter(b, 0, y->b, 0, 1, y->n_out);
}

size_t fnn_net_bytes(const fnn_net *net) { return net->parameter_bytes; }
void fnn_net_snapshot(const fnn_net *net, void *to) { memcpy(to, net->parameters, net->parameter_bytes); }
void fnn_net_restore(fnn_net *net, const void *from) { memcpy(net->parameters, from, net->parameter_bytes); }

int fnn_net_finite(const fnn_net *net) {
  const fnn_kernels *K = net->K;
  for (int l = 0; l < net->layers; l++) {
    const layer *y = &net->layer[l];
    const ptrdiff_t padded = fnn_padded(K, y->n_out);
    if (!K->finite(y->WT, y->n_in * padded) || !K->finite(y->b, padded)) return 0;
  }
  return 1;
}

/* --- forward: each thread takes its own blocks of samples through all layers, and waits for nobody --- */

typedef struct {
  const fnn_net *net;
  const fnn_matrix *X, *out; /* out NULL: the losses */
  const fnn_data *data;
  double *losses; /* one sum a block */
  ptrdiff_t m, rows;
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} forward_job;

static ptrdiff_t forward_rows(const fnn_kernels *K, ptrdiff_t m) { return fnn_at_most(16 * K->mr, m); }

static ptrdiff_t widest(const fnn_net *net) {
  ptrdiff_t n = net->layer[0].n_in;
  for (int l = 0; l < net->layers; l++)
    if (net->layer[l].n_out > n) n = net->layer[l].n_out;
  return n;
}

static fnn_product forward_product(const fnn_net *net, int l, const void *A, ptrdiff_t a_step, void *C, ptrdiff_t m) {
  const fnn_kernels *K = net->K;
  const layer *y = &net->layer[l];
  return (fnn_product){.m = m,
                       .n = y->n_out,
                       .k = y->n_in,
                       .A = A,
                       .a_step = a_step,
                       .B = y->WT,
                       .b_panel = y->n_in * K->nr,
                       .C = C,
                       .c_row = fnn_ld(K, y->n_out),
                       .c_panel = K->nr,
                       .bias = y->b,
                       .activation = y->activation};
}

/* X as the kernels read it: in place where units are adjacent and the dtype is ours, else gathered into `to`. */
static const void *input_rows(const fnn_net *net, const fnn_matrix *X, const int64_t *order, ptrdiff_t first, void *to,
                              ptrdiff_t *step) {
  const fnn_kernels *K = net->K;
  if (X->row == 1 && X->dtype == (K->size == 8) && !order) {
    *step = X->col;
    return fnn_at(K, X->data, first * X->col);
  }
  *step = fnn_ld(K, net->layer[0].n_in);
  return to;
}

/* Z or A of the last layer for some samples, and where: its Z if there is a loss to take from it. */
static void *forward_block(const forward_job *job, ptrdiff_t first, ptrdiff_t rows, char *scratch) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const ptrdiff_t side = job->rows * fnn_ld(K, widest(net));
  ptrdiff_t step;
  void *to = scratch, *other = fnn_at(K, scratch, side);
  const void *A = input_rows(net, job->X, NULL, first, to, &step);
  if (A == to) {
    K->gather(to, step, job->X, NULL, first, rows, net->layer[0].n_in);
    to = other, other = scratch;
  }
  for (int l = 0; l < net->layers; l++) {
    fnn_product p = forward_product(net, l, A, step, to, rows);
    if (l == net->layers - 1 && !job->out) p.activation = FNN_IDENTITY;
    K->product(&p, FNN_FORWARD, 0, rows, 0, fnn_panels(K, p.n));
    if (p.activation == FNN_SOFTMAX) K->activation(to, p.c_row, to, p.c_row, FNN_SOFTMAX, rows, p.n);
    A = to, step = p.c_row;
    to = other, other = (void *)A;
  }
  return (void *)A;
}

static void forward_task(void *arg, fnn_team *team, int thread) {
  const forward_job *job = arg;
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const layer *last = &net->layer[net->layers - 1];
  const ptrdiff_t ld = fnn_ld(K, last->n_out);
  char *scratch = job->scratch + thread * job->scratch_bytes;
  void *Y = fnn_at(K, scratch, 2 * job->rows * fnn_ld(K, widest(net))), *two_rows = fnn_at(K, Y, job->rows * ld);
  double *losses = fnn_at(K, two_rows, 2 * ld);
  ptrdiff_t from, to;
  fnn_share(job->m, job->rows, fnn_team_size(team), thread, &from, &to);
  for (ptrdiff_t first = from, rows; first < to; first += rows) {
    rows = fnn_at_most(job->rows, to - first);
    void *A = forward_block(job, first, rows, scratch);
    if (job->out) {
      K->scatter(job->out, first, A, ld, rows, last->n_out);
      continue;
    }
    const fnn_data *data = job->data;
    if (!data->codes) K->gather(Y, ld, &data->Y, NULL, first, rows, last->n_out);
    const fnn_head head = {.loss = net->loss,
                           .activation = last->activation,
                           .n = last->n_out,
                           .Z = A,
                           .ld = ld,
                           .codes = data->codes ? data->codes + first : NULL,
                           .Y = Y,
                           .y_ld = ld,
                           .weights = data->weights ? data->weights + first : NULL,
                           .losses = losses,
                           .scratch = two_rows};
    K->head(&head, 0, rows);
    double sum = 0;
    for (ptrdiff_t r = 0; r < rows; r++) sum += losses[r];
    job->losses[first / job->rows] = sum; /* blocks are the same for any number of threads */
  }
}

static int run_forward(forward_job *job, int threads) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  if (job->m == 0) return FNN_OK;
  job->rows = forward_rows(K, job->m);
  const ptrdiff_t blocks = (job->m + job->rows - 1) / job->rows, ld = fnn_ld(K, net->layer[net->layers - 1].n_out);
  if (threads > blocks) threads = (int)blocks;
  job->scratch_bytes = lines((2 * job->rows * fnn_ld(K, widest(net)) + (job->rows + 2) * ld) * K->size +
                             job->rows * (ptrdiff_t)sizeof(double));
  job->scratch = fnn_alloc(threads * job->scratch_bytes);
  if (!job->scratch) return FNN_NO_MEMORY;
  fnn_parallel(threads, forward_task, job);
  fnn_free(job->scratch);
  return FNN_OK;
}

int fnn_net_predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X, ptrdiff_t m, int threads) {
  forward_job job = {.net = net, .X = X, .out = out, .m = m};
  return run_forward(&job, threads);
}

int fnn_net_loss(const fnn_net *net, double *total, const fnn_data *data, int threads) {
  const ptrdiff_t rows = forward_rows(net->K, data->m), blocks = data->m ? (data->m + rows - 1) / rows : 0;
  double *losses = fnn_alloc(blocks * (ptrdiff_t)sizeof *losses);
  forward_job job = {.net = net, .X = &data->X, .data = data, .losses = losses, .m = data->m};
  const int status = losses ? run_forward(&job, threads) : FNN_NO_MEMORY;
  *total = 0;
  for (ptrdiff_t i = 0; status == FNN_OK && i < blocks; i++) *total += losses[i];
  fnn_free(losses);
  return status;
}

/* --- a training step, in phases between barriers --- */

typedef struct {
  fnn_net *net;
  const fnn_data *data;
  fnn_fit *fit;              /* NULL: gradients only */
  const fnn_matrix *dW, *db; /* gradients only, per layer */
  double total;
  int *finite; /* per thread */
} train_job;

/* One thread's part of a product: panels if they split evenly, so that weights stay with their core; else rows. Any
   split gives the same numbers: an element of the result is summed by one thread. */
typedef struct {
  ptrdiff_t i0, i1, p0, p1;
} part;

static part split(const fnn_kernels *K, ptrdiff_t m, ptrdiff_t n, const fnn_team *team, int thread) {
  const int threads = fnn_team_size(team);
  const ptrdiff_t panels = fnn_panels(K, n), tiles = (m + K->mr - 1) / K->mr;
  part s = {0, m, 0, panels};
  if (panels % threads == 0 || (panels + threads - 1) / threads * tiles < panels * ((tiles + threads - 1) / threads))
    fnn_share(panels, 1, threads, thread, &s.p0, &s.p1);
  else
    fnn_share(m, K->mr, threads, thread, &s.i0, &s.i1);
  return s;
}

static void run_part(const fnn_kernels *K, const fnn_product *p, int epilogue, fnn_team *team, int thread) {
  const part s = split(K, p->m, p->n, team, thread);
  K->product(p, epilogue, s.i0, s.i1, s.p0, s.p1);
}

/* This thread's share of the batch's data that is not read in place. */
static void gather_batch(const train_job *job, const int64_t *order, ptrdiff_t first, ptrdiff_t i0, ptrdiff_t i1,
                         int gather_X) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = &net->work;
  const fnn_data *data = job->data;
  const ptrdiff_t n_in = net->layer[0].n_in, n_out = net->layer[net->layers - 1].n_out;
  if (gather_X)
    K->gather(fnn_at(K, w->X, i0 * fnn_ld(K, n_in)), fnn_ld(K, n_in), &data->X, order, first + i0, i1 - i0, n_in);
  if (!data->codes)
    K->gather(fnn_at(K, w->Y, i0 * fnn_ld(K, n_out)), fnn_ld(K, n_out), &data->Y, order, first + i0, i1 - i0, n_out);
  for (ptrdiff_t i = i0; i < i1; i++) {
    const ptrdiff_t j = order ? order[first + i] : first + i;
    if (data->codes) w->codes[i] = data->codes[j];
    if (data->weights) w->weights[i] = data->weights[j];
  }
}

static void forward_layers(const fnn_net *net, const void *X, ptrdiff_t x_step, ptrdiff_t m, fnn_team *team,
                           int thread) {
  const fnn_kernels *K = net->K;
  const workspace *w = &net->work;
  const void *A = X;
  ptrdiff_t step = x_step, from, to;
  for (int l = 0; l < net->layers; l++) {
    fnn_product p = forward_product(net, l, A, step, w->A[l], m);
    const int last = l == net->layers - 1;
    if (last) p.activation = FNN_IDENTITY; /* the loss is taken from Z */
    run_part(K, &p, FNN_FORWARD, team, thread);
    fnn_barrier(team);
    if (p.activation == FNN_SOFTMAX) {
      fnn_share(m, 1, fnn_team_size(team), thread, &from, &to);
      void *rows = fnn_at(K, p.C, from * p.c_row);
      K->activation(rows, p.c_row, rows, p.c_row, FNN_SOFTMAX, to - from, p.n);
      fnn_barrier(team);
    }
    A = w->A[l], step = p.c_row;
  }
}

/* This thread's share of losses and of the last dZ; 0 if one of its losses is not finite. */
static int output_gradient(const train_job *job, ptrdiff_t m, fnn_team *team, int thread) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = &net->work;
  const layer *last = &net->layer[net->layers - 1];
  const ptrdiff_t ld = fnn_ld(K, last->n_out);
  ptrdiff_t from, to;
  fnn_share(m, 1, fnn_team_size(team), thread, &from, &to);
  const fnn_head head = {.loss = net->loss,
                         .activation = last->activation,
                         .n = last->n_out,
                         .Z = w->A[net->layers - 1],
                         .ld = ld,
                         .codes = job->data->codes ? w->codes : NULL,
                         .Y = w->Y,
                         .y_ld = ld,
                         .weights = job->data->weights ? w->weights : NULL,
                         .losses = w->losses,
                         .scratch = fnn_at(K, w->heads, thread * 2 * ld)};
  return K->head(&head, from, to);
}

/* dZ of layer l - 1 from that of layer l. */
static void backward_layer(const fnn_net *net, int l, ptrdiff_t m, fnn_team *team, int thread) {
  const fnn_kernels *K = net->K;
  const workspace *w = &net->work;
  const layer *y = &net->layer[l];
  const int g = net->layer[l - 1].activation;
  const ptrdiff_t ld = fnn_ld(K, y->n_in);
  const fnn_product p = {.m = m,
                         .n = y->n_in,
                         .k = y->n_out,
                         .A = w->dZ[l],
                         .a_step = fnn_ld(K, y->n_out),
                         .B = y->W,
                         .b_panel = y->n_out * K->nr,
                         .C = w->dZ[l - 1],
                         .c_row = ld,
                         .c_panel = K->nr,
                         .G = w->A[l - 1],
                         .activation = g == FNN_SOFTMAX ? FNN_IDENTITY : g};
  run_part(K, &p, FNN_BACKWARD, team, thread);
  fnn_barrier(team);
  if (g == FNN_SOFTMAX) {
    ptrdiff_t from, to;
    fnn_share(m, 1, fnn_team_size(team), thread, &from, &to);
    void *d = fnn_at(K, w->dZ[l - 1], from * ld);
    K->derivative(d, ld, d, ld, fnn_at(K, w->A[l - 1], from * ld), ld, FNN_SOFTMAX, to - from, y->n_in);
    fnn_barrier(team);
  }
}

/* dW and db of layer l: into the weights, or out to the caller. */
static void update_layer(const train_job *job, int l, const void *A_prev, ptrdiff_t a_step, ptrdiff_t m, double scale,
                         fnn_team *team, int thread) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = &net->work;
  const layer *y = &net->layer[l];
  const ptrdiff_t ld = fnn_ld(K, y->n_out);
  fnn_product p = {.m = y->n_in,
                   .n = y->n_out,
                   .k = m,
                   .A = A_prev,
                   .a_step = a_step,
                   .B = w->dZ[l],
                   .b_panel = K->nr,
                   .b_k = ld,
                   .C = y->WT,
                   .c_panel = y->n_in * K->nr,
                   .scale = scale};
  ptrdiff_t from, to;
  fnn_share(fnn_padded(K, y->n_out), K->vl, fnn_team_size(team), thread, &from, &to);
  void *db = fnn_at(K, y->db, from);
  if (from < to) K->rowsum(db, fnn_at(K, w->dZ[l], from), ld, m, to - from, scale);
  if (job->fit) {
    p.lr = job->fit->lr;
    p.weight_decay = job->fit->weight_decay;
    run_part(K, &p, FNN_SGD, team, thread);
    if (from < to) K->update_bias(fnn_at(K, y->b, from), db, to - from, p.lr, p.weight_decay);
    if (y->W) {
      const part s = split(K, p.m, p.n, team, thread);
      K->transpose(y->W, y->WT, y->n_in, y->n_out, s.i0, s.i1, s.p0, s.p1);
    }
  } else {
    p.C = job->dW[l].data;
    p.c_row = job->dW[l].col;
    p.c_panel = job->dW[l].row;
    run_part(K, &p, FNN_GRADIENT, team, thread);
    if (from < y->n_out) {
      const fnn_matrix out = {fnn_at(K, job->db[l].data, from * job->db[l].row), job->db[l].row, 0, job->db[l].dtype};
      K->scatter(&out, 0, db, 0, 1, fnn_at_most(to, y->n_out) - from);
    }
  }
}

/* One batch, `m` samples from place `first` of the epoch on. Every thread returns the same: 0 if a loss is not finite,
   with no update made. */
static int step(train_job *job, const int64_t *order, ptrdiff_t first, ptrdiff_t m, fnn_team *team, int thread) {
  fnn_net *net = job->net;
  const workspace *w = &net->work;
  const int threads = fnn_team_size(team);
  ptrdiff_t from, to, x_step;
  const void *X = input_rows(net, &job->data->X, order, first, w->X, &x_step);
  fnn_share(m, 1, threads, thread, &from, &to);
  gather_batch(job, order, first, from, to, X == w->X);
  fnn_barrier(team);

  double weight = (double)m;
  if (job->data->weights) {
    weight = 0;
    for (ptrdiff_t i = 0; i < m; i++) weight += w->weights[i];
    if (weight == 0) { /* a batch that counts for nothing is skipped */
      fnn_barrier(team);
      return 1;
    }
  }
  forward_layers(net, X, x_step, m, team, thread);
  job->finite[thread] = output_gradient(job, m, team, thread);
  fnn_barrier(team);
  int finite = 1;
  for (int t = 0; t < threads; t++) finite &= job->finite[t];
  if (!finite && job->fit) return 0;
  if (thread == 0) {
    double total = 0;
    for (ptrdiff_t i = 0; i < m; i++) total += w->losses[i];
    job->total = total;
    if (job->fit) {
      job->fit->loss_sum += total;
      job->fit->weight_sum += weight;
    }
  }
  for (int l = net->layers - 1; l >= 0; l--) {
    if (l) backward_layer(net, l, m, team, thread);
    const void *A_prev = l ? w->A[l - 1] : X;
    update_layer(job, l, A_prev, l ? fnn_ld(net->K, net->layer[l].n_in) : x_step, m, 1.0 / weight, team, thread);
  }
  fnn_barrier(team);
  return 1;
}

static void gradients_task(void *arg, fnn_team *team, int thread) {
  train_job *job = arg;
  step(job, NULL, 0, job->data->m, team, thread);
}

/* Batch after batch. All threads count alike; thread 0 writes to `fit`. */
static void train_task(void *arg, fnn_team *team, int thread) {
  train_job *job = arg;
  fnn_fit *fit = job->fit;
  const ptrdiff_t m = job->data->m;
  ptrdiff_t position = fit->position, epochs = 0;
  uint64_t epoch = fit->epoch;
  int order_is_valid = fit->order_is_valid;
  fnn_barrier(team); /* all have read where they start */
  for (ptrdiff_t batch = 0; batch < fit->max_batches && epochs < fit->max_epochs; batch++) {
    if (fit->shuffle && !(order_is_valid && position)) {
      if (thread == 0) fnn_permutation(fit->order, m, fit->seed, epoch);
      order_is_valid = 1;
      fnn_barrier(team);
    }
    const ptrdiff_t rows = fnn_at_most(fit->batch, m - position);
    const int done = step(job, fit->shuffle ? fit->order : NULL, position, rows, team, thread);
    if (done) position += rows;
    if (thread == 0) {
      fit->failed = !done;
      if (position == m) {
        fit->ended[2 * epochs] = fit->loss_sum;
        fit->ended[2 * epochs + 1] = fit->weight_sum;
        fit->loss_sum = fit->weight_sum = 0;
      }
    }
    if (!done) break;
    if (position == m) position = 0, epoch++, epochs++;
  }
  if (thread == 0) {
    fit->position = position;
    fit->epoch = epoch;
    fit->ended_count = epochs;
    fit->order_is_valid = order_is_valid && position;
  }
}

static int run_training(train_job *job, fnn_task *task, ptrdiff_t batch, int threads) {
  fnn_net *net = job->net;
  const ptrdiff_t two_rows = 2 * fnn_ld(net->K, net->layer[net->layers - 1].n_out) * net->K->size;
  int status = reserve(net, batch);
  job->finite = malloc((size_t)threads * sizeof *job->finite);
  net->work.heads = fnn_alloc(threads * two_rows);
  if (!job->finite || !net->work.heads) status = FNN_NO_MEMORY;
  if (status == FNN_OK) fnn_parallel(threads, task, job);
  free(job->finite);
  fnn_free(net->work.heads);
  net->work.heads = NULL;
  return status;
}

int fnn_net_train(fnn_net *net, const fnn_data *data, fnn_fit *fit, int threads) {
  train_job job = {.net = net, .data = data, .fit = fit};
  return run_training(&job, train_task, fnn_at_most(fit->batch, data->m), threads);
}

int fnn_net_gradients(fnn_net *net, double *total, const fnn_matrix *dW, const fnn_matrix *db, const fnn_data *data,
                      int threads) {
  train_job job = {.net = net, .data = data, .dW = dW, .db = db};
  const int status = run_training(&job, gradients_task, data->m, threads);
  *total = job.total;
  return status;
}

/* --- how many threads --- */

static int threads_for(double threads, int limit, int forced) {
  if (forced > 0) return forced;
  return threads < 1 ? 1 : threads < limit ? (int)threads : limit;
}

/* Of one pass of products: forward makes one, a training step three. */
static double flop_of(const fnn_net *net, ptrdiff_t m) {
  double flop = 0;
  for (int l = 0; l < net->layers; l++) flop += 2.0 * (double)m * net->layer[l].n_in * net->layer[l].n_out;
  return flop;
}

int fnn_net_forward_threads(const fnn_net *net, ptrdiff_t m, int limit, int forced) {
  return threads_for(flop_of(net, m) / FLOP_PER_PREDICT, limit, forced);
}

int fnn_net_train_threads(const fnn_net *net, ptrdiff_t batch, int limit, int forced) {
  const int phases = 2 * net->layers + 1;
  return threads_for(3 * flop_of(net, batch) / phases / FLOP_PER_PHASE, limit, forced);
}
