/* A network: its memory, and the way of a minibatch through it. Knows layers and phases; numbers are the kernels'. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "fpmode.h"
#include "kernels.h"
#include "memory.h"
#include "optimizers.h"
#include "parallel.h"

#define KEEP_WEIGHTS 4096 /* a layer of so many is split by columns: its weights stay with a core */
#define LOSS_SUMS 8
/* Samples of a batch whose activations are packed; a chunk of more would leave the second cache. */
#define MOST_PACKED 1024
/* Samples that are so many bytes apart fall into few sets of the caches; a batch of them is copied first. */
#define BAD_STRIDE 2048

#define US_PER_THREAD 12 /* work that each thread of a prediction has at least: see the model */
#define US_PER_PHASE 6   /* and of a step, between two of its layers */

typedef struct {
  ptrdiff_t n_in, n_out;
  int activation;
  void *WT;                      /* panels of W^T (n_in x n_out): what forward multiplies by and the update changes */
  void *W;                       /* panels of W (n_out x n_in), a copy for dA_prev = W^T dZ; the first layer has none */
  int turned;                    /* the update changes W, and WT is the copy: where dW has less padding than dW^T */
  void *b;                       /* n_out, padded */
  void *moment[2], *moment_b[2]; /* the optimizer's, laid out as what the update changes, and b; what there is none
                                    of is those themselves */
} layer;

/* What a thread tells the others about its part; on a cache line of its own. */
typedef struct {
  _Alignas(FNN_LINE) int finite;
  double most_A, most_dZ, most[3];
} report;

/* Rows of activations are samples: A[l] is rows x n_out of layer l, and so is dZ[l]. */
typedef struct {
  ptrdiff_t capacity; /* samples */
  void *block;
  void *X, *Y;
  void **A, **dZ, **db; /* db[l]: n_out, padded */
  int threads;
  void *heads;  /* for each thread two rows of the last layer, */
  void *packed; /* room to pack a chunk of A, or NULL, */
  void *sums;   /* and to add up the rows of dZ, */
  ptrdiff_t sums_bytes;
  report *reports;
  int32_t *codes;
  double *weights, *losses;
} workspace;

struct fnn_net {
  const fnn_kernels *K;
  int layers, loss;
  int forced; /* threads that were asked for; 0: what pays */
  layer *layer;
  void *parameters; /* one block: WT, W and b of all layers, and as much again for each slot of moments */
  size_t parameter_bytes;
  int slots; /* of the optimizer's moments: 0 .. 2 */
  uint64_t steps;
  double most[3];    /* what no weight, and no moment of either slot, is beyond; INFINITY where that is not known */
  double first_loss; /* of the last training call */
  uint64_t kind;     /* of its work: the same for all networks of its shape */
  ptrdiff_t widest;  /* of n_0 .. n_L */
  workspace work;    /* of training: who only reads the network has one of his own */
};

static double larger(double a, double b) { return a > b ? a : b; } /* fmax is a call */

/* --- memory --- */

static ptrdiff_t lines(ptrdiff_t bytes) { return fnn_plus(bytes, FNN_LINE - 1) & -FNN_LINE; }

/* The next piece of a block, on a cache line; with a NULL block only its size counts. */
static void *piece(char *block, ptrdiff_t *used, ptrdiff_t bytes) {
  void *p = block ? block + *used : NULL;
  *used = fnn_plus(*used, lines(bytes));
  return p;
}

static ptrdiff_t matrix_bytes(const fnn_kernels *K, ptrdiff_t rows, ptrdiff_t row) {
  return fnn_times(fnn_times(rows, row), K->size);
}

/* Of few units, or few in the last panel. Padding of A_prev need not be 0: there must be none. */
static int is_turned(const fnn_kernels *K, const layer *y, int l) {
  return l && y->n_in % K->vl == 0 && y->n_out % K->nr;
}

static void *updated_weights(const layer *y) { return y->turned ? y->W : y->WT; }

/* The moments lie as far behind the weights as whole copies of those would: that which is the copy has some too, never
   used. */
static ptrdiff_t lay_out_parameters(fnn_net *net, char *block) {
  const fnn_kernels *K = net->K;
  ptrdiff_t used = 0;
  for (int l = 0; l < net->layers; l++) {
    layer *y = &net->layer[l];
    y->WT = piece(block, &used, matrix_bytes(K, y->n_in, fnn_padded(K, y->n_out)));
    y->W = l ? piece(block, &used, matrix_bytes(K, y->n_out, fnn_padded(K, y->n_in))) : NULL;
    y->b = piece(block, &used, fnn_padded(K, y->n_out) * K->size);
    for (int slot = 0; block && slot < 2; slot++) { /* without a block only its size is asked for */
      const ptrdiff_t behind = slot < net->slots ? (slot + 1) * (ptrdiff_t)net->parameter_bytes : 0;
      y->moment[slot] = (char *)updated_weights(y) + behind;
      y->moment_b[slot] = (char *)y->b + behind;
    }
  }
  return used;
}

static ptrdiff_t widest(const fnn_net *net) {
  ptrdiff_t n = net->layer[0].n_in;
  for (int l = 0; l < net->layers; l++)
    if (net->layer[l].n_out > n) n = net->layer[l].n_out;
  return n;
}

static uint64_t kind_of(const fnn_net *net) {
  uint64_t kind = fnn_kind((uint64_t)net->K->size, (uint64_t)net->loss);
  for (int l = 0; l < net->layers; l++) {
    kind = fnn_kind(fnn_kind(kind, (uint64_t)net->layer[l].n_in), (uint64_t)net->layer[l].n_out);
    kind = fnn_kind(kind, (uint64_t)net->layer[l].activation);
  }
  return kind;
}

static void forget_most(fnn_net *net) {
  for (int i = 0; i < 3; i++) net->most[i] = INFINITY;
}

fnn_net *fnn_net_new(int isa, int dtype, int layers, const ptrdiff_t *sizes, const int *activations, int loss) {
  if (layers < 1) return NULL;
  for (int l = 0; l <= layers; l++)
    if (!fnn_is_size(sizes[l])) return NULL;
  fnn_net *net = calloc(1, sizeof *net);
  if (!net) return NULL;
  net->K = fnn_isas[isa].kernels[dtype];
  net->layers = layers;
  net->loss = loss;
  net->layer = calloc((size_t)layers, sizeof *net->layer);
  if (net->layer) {
    for (int l = 0; l < layers; l++) {
      net->layer[l] = (layer){.n_in = sizes[l], .n_out = sizes[l + 1], .activation = activations[l]};
      net->layer[l].turned = is_turned(net->K, &net->layer[l], l);
    }
    net->parameter_bytes = (size_t)lay_out_parameters(net, NULL);
    net->parameters = fnn_alloc((ptrdiff_t)net->parameter_bytes);
  }
  if (!net->parameters) {
    fnn_net_free(net);
    return NULL;
  }
  memset(net->parameters, 0, net->parameter_bytes);
  lay_out_parameters(net, net->parameters);
  forget_most(net);
  net->kind = kind_of(net);
  net->widest = widest(net);
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

ptrdiff_t fnn_net_width(const fnn_net *net, int l) {
  if (l < 0) l += net->layers + 1;
  return l ? net->layer[l - 1].n_out : net->layer[0].n_in;
}

/* Two rows of the last layer. */
static ptrdiff_t head_bytes(const fnn_net *net) {
  return 2 * fnn_ld(net->K, net->layer[net->layers - 1].n_out) * net->K->size;
}

/* Room of one thread for the row sums of any layer. */
static ptrdiff_t sums_bytes(const fnn_net *net, ptrdiff_t m) {
  ptrdiff_t most = 0;
  for (int l = 0; l < net->layers; l++) {
    const ptrdiff_t bytes = net->K->rowsum_room(m, fnn_padded(net->K, net->layer[l].n_out));
    if (bytes > most) most = bytes;
  }
  return most;
}

static ptrdiff_t lay_out_workspace(const fnn_net *net, workspace *w, char *block) {
  const fnn_kernels *K = net->K;
  const layer *last = &net->layer[net->layers - 1];
  const ptrdiff_t m = w->capacity;
  ptrdiff_t used = 0;
  w->X = piece(block, &used, matrix_bytes(K, m, fnn_ld(K, net->layer[0].n_in)));
  w->Y = piece(block, &used, matrix_bytes(K, m, fnn_ld(K, last->n_out)));
  for (int l = 0; l < net->layers; l++) {
    const layer *y = &net->layer[l];
    w->A[l] = piece(block, &used, matrix_bytes(K, m, fnn_ld(K, y->n_out)));
    /* The last layer's dZ is computed over its Z. */
    w->dZ[l] = y == last ? w->A[l] : piece(block, &used, matrix_bytes(K, m, fnn_ld(K, y->n_out)));
    w->db[l] = piece(block, &used, fnn_padded(K, y->n_out) * K->size);
  }
  w->codes = piece(block, &used, fnn_times(m, sizeof *w->codes));
  w->weights = piece(block, &used, fnn_times(m, sizeof *w->weights));
  w->losses = piece(block, &used, fnn_times(m, sizeof *w->losses));
  w->heads = piece(block, &used, fnn_times(w->threads, head_bytes(net)));
  w->packed = NULL;
  if (K->packs && m <= MOST_PACKED) w->packed = piece(block, &used, matrix_bytes(K, w->threads * K->chunk, m));
  w->sums_bytes = sums_bytes(net, m);
  w->sums = piece(block, &used, fnn_times(w->threads, w->sums_bytes));
  w->reports = piece(block, &used, fnn_times(w->threads, sizeof *w->reports));
  return used;
}

/* One batch's activations and what each thread needs, kept for the next call. */
static int reserve(const fnn_net *net, workspace *old, ptrdiff_t m, int threads) {
  if (old->capacity >= m && old->threads >= threads) return FNN_OK;
  workspace w = {.capacity = m > old->capacity ? m : old->capacity,
                 .threads = threads > old->threads ? threads : old->threads};
  w.A = calloc(3 * (size_t)net->layers, sizeof *w.A);
  if (!w.A) return FNN_NO_MEMORY;
  w.dZ = w.A + net->layers, w.db = w.dZ + net->layers;
  const ptrdiff_t bytes = lay_out_workspace(net, &w, NULL);
  w.block = fnn_alloc(bytes);
  free_workspace(old);
  if (!w.block) {
    free(w.A);
    return FNN_NO_MEMORY;
  }
  lay_out_workspace(net, &w, w.block);
  *old = w;
  return FNN_OK;
}

/* --- parameters --- */

/* W of a layer, or what has its shape, into panels of itself or of its transpose; and back. */
static void put_panels(const fnn_kernels *K, const layer *y, void *panels, int turned, const fnn_matrix *W) {
  const fnn_matrix transposed = {W->data, W->col, W->row, W->dtype};
  if (turned)
    K->pack(panels, W, y->n_out, y->n_in);
  else
    K->pack(panels, &transposed, y->n_in, y->n_out);
}

static void take_panels(const fnn_kernels *K, const layer *y, const void *panels, int turned, const fnn_matrix *W) {
  const fnn_matrix transposed = {W->data, W->col, W->row, W->dtype};
  if (turned)
    K->unpack(W, panels, y->n_out, y->n_in);
  else
    K->unpack(&transposed, panels, y->n_in, y->n_out);
}

void fnn_net_set(fnn_net *net, int l, const fnn_matrix *W, const fnn_matrix *b) {
  const layer *y = &net->layer[l];
  forget_most(net);
  put_panels(net->K, y, y->WT, 0, W);
  if (y->W) put_panels(net->K, y, y->W, 1, W);
  net->K->gather(y->b, 0, b, NULL, 0, 1, y->n_out);
}

void fnn_net_get(const fnn_net *net, int l, const fnn_matrix *W, const fnn_matrix *b) {
  const layer *y = &net->layer[l];
  take_panels(net->K, y, y->WT, 0, W);
  net->K->scatter(b, 0, y->b, 0, 1, y->n_out);
}

/* --- the optimizer's state: moments and a count of steps, which follow the weights in a snapshot --- */

int fnn_net_start_optimizer(fnn_net *net, int slots) {
  if (slots < 0 || slots > 2) return FNN_NO_MEMORY;
  const size_t bytes = (size_t)fnn_times(1 + slots, (ptrdiff_t)net->parameter_bytes);
  if (slots != net->slots) {
    void *block = fnn_alloc((ptrdiff_t)bytes);
    if (!block) return FNN_NO_MEMORY;
    memcpy(block, net->parameters, net->parameter_bytes);
    fnn_free(net->parameters);
    net->parameters = block;
    net->slots = slots;
    lay_out_parameters(net, block);
  }
  memset((char *)net->parameters + net->parameter_bytes, 0, bytes - net->parameter_bytes);
  net->steps = 0;
  forget_most(net);
  return FNN_OK;
}

int fnn_net_slots(const fnn_net *net) { return net->slots; }
uint64_t fnn_net_steps(const fnn_net *net) { return net->steps; }
void fnn_net_set_steps(fnn_net *net, uint64_t steps) { net->steps = steps; }

void fnn_net_set_moment(fnn_net *net, int slot, int l, const fnn_matrix *W, const fnn_matrix *b) {
  const layer *y = &net->layer[l];
  forget_most(net);
  put_panels(net->K, y, y->moment[slot], y->turned, W);
  net->K->gather(y->moment_b[slot], 0, b, NULL, 0, 1, y->n_out);
}

void fnn_net_get_moment(const fnn_net *net, int slot, int l, const fnn_matrix *W, const fnn_matrix *b) {
  const layer *y = &net->layer[l];
  take_panels(net->K, y, y->moment[slot], y->turned, W);
  net->K->scatter(b, 0, y->moment_b[slot], 0, 1, y->n_out);
}

static size_t numbers_bytes(const fnn_net *net) { return net->parameter_bytes * (size_t)(1 + net->slots); }

/* What a snapshot begins with. */
typedef struct {
  uint64_t steps, slots;
} snapshot_head;

size_t fnn_net_bytes(const fnn_net *net) { return sizeof(snapshot_head) + numbers_bytes(net); }

void fnn_net_snapshot(const fnn_net *net, void *to) {
  const snapshot_head head = {net->steps, (uint64_t)net->slots};
  memcpy(to, &head, sizeof head);
  memcpy((char *)to + sizeof head, net->parameters, numbers_bytes(net));
}

int fnn_net_restore(fnn_net *net, const void *from) {
  snapshot_head head;
  memcpy(&head, from, sizeof head);
  if ((int)head.slots != net->slots && fnn_net_start_optimizer(net, (int)head.slots)) return FNN_NO_MEMORY;
  memcpy(net->parameters, (const char *)from + sizeof head, numbers_bytes(net));
  net->steps = head.steps;
  forget_most(net);
  return FNN_OK;
}

/* What a network does, for fnn_kind. */
enum use {
  PREDICTION,
  LOSS,
  GRADIENTS,
  STEP,
  STEPS
};

/* `work` samples of it; 0: a task that tells of its batches itself. `size`: what else its time hangs on. */
static void run(const fnn_net *net, enum use use, uint64_t size, double work, int threads, fnn_task *task, void *job) {
  if (net->forced || threads == 1)
    fnn_parallel_forced(threads, task, job);
  else
    fnn_parallel(fnn_kind(fnn_kind(net->kind, use), size), work, threads, task, job);
}

/* --- forward: each thread takes its own blocks of samples through all layers, and waits for nobody --- */

typedef struct {
  const fnn_net *net;
  const fnn_matrix *X, *out; /* out NULL: the losses */
  const fnn_data *data;
  double *losses;          /* one sum a block */
  ptrdiff_t m, rows, step; /* a block has so many rows at most; threads share out whole steps of them */
  char *scratch;
  ptrdiff_t scratch_bytes; /* of one thread */
} forward_job;

/* Samples of a block: few enough for the cache; of a loss, where threads share out blocks, a quarter of all. */
static ptrdiff_t forward_rows(const fnn_kernels *K, ptrdiff_t m, int loss) {
  const ptrdiff_t most = fnn_at_most(16 * K->mr, m), quarter = fnn_up((m + 3) / 4, K->mr), few = 4 * K->mr;
  return loss ? fnn_at_most(most, quarter > few ? quarter : few) : most;
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

/* Whether the kernels can read X where it is: units adjacent, our dtype. */
static int is_readable(const fnn_kernels *K, const fnn_matrix *X) { return X->row == 1 && X->dtype == (K->size == 8); }

/* Z or A of the last layer for some samples, and where: its Z if there is a loss to take from it. */
static void *forward_block(const forward_job *job, ptrdiff_t first, ptrdiff_t rows, char *scratch) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const ptrdiff_t side = job->rows * fnn_ld(K, net->widest);
  ptrdiff_t step = job->X->col;
  void *to = scratch, *other = fnn_at(K, scratch, side);
  const void *A = fnn_at(K, job->X->data, first * step);
  if (!is_readable(K, job->X)) {
    step = fnn_ld(K, net->layer[0].n_in);
    K->gather(to, step, job->X, NULL, first, rows, net->layer[0].n_in);
    A = to;
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
  void *Y = fnn_at(K, scratch, 2 * job->rows * fnn_ld(K, net->widest)), *two_rows = fnn_at(K, Y, job->rows * ld);
  double *losses = fnn_at(K, two_rows, 2 * ld);
  ptrdiff_t from, to;
  const fnn_mode mode = fnn_flush_subnormals();
  fnn_share(job->m, job->step, fnn_team_size(team), thread, &from, &to);
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
  fnn_restore_mode(mode);
}

static int run_forward(forward_job *job, int threads) {
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  if (job->m == 0) return FNN_OK;
  job->rows = forward_rows(K, job->m, !job->out);
  job->step = job->out ? K->mr : job->rows;
  const ptrdiff_t steps = (job->m + job->step - 1) / job->step, ld = fnn_ld(K, net->layer[net->layers - 1].n_out);
  if (threads > steps) threads = (int)steps;
  /* Of rows so few no product overflows. */
  job->scratch_bytes = lines((2 * job->rows * fnn_ld(K, net->widest) + (job->rows + 2) * ld) * K->size +
                             job->rows * (ptrdiff_t)sizeof(double));
  _Alignas(FNN_LINE) char stack[FNN_STACK];
  job->scratch = fnn_scratch(stack, fnn_times(threads, job->scratch_bytes));
  if (!job->scratch) return FNN_NO_MEMORY;
  const double m = (double)job->m;
  run(net, job->out ? PREDICTION : LOSS, fnn_about(m), m, threads, forward_task, job);
  fnn_release(stack, job->scratch);
  return FNN_OK;
}

int fnn_net_predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X, ptrdiff_t m, int threads) {
  if (!fnn_is_size(m)) return FNN_NO_MEMORY;
  forward_job job = {.net = net, .X = X, .out = out, .m = m};
  return run_forward(&job, fnn_threads(threads));
}

int fnn_net_loss(const fnn_net *net, double *total, const fnn_data *data, int threads) {
  if (!fnn_is_size(data->m)) return FNN_NO_MEMORY;
  const ptrdiff_t rows = forward_rows(net->K, data->m, 1), blocks = data->m ? (data->m + rows - 1) / rows : 0;
  double *losses = fnn_alloc(fnn_times(blocks, sizeof *losses));
  forward_job job = {.net = net, .X = &data->X, .data = data, .losses = losses, .m = data->m};
  const int status = losses ? run_forward(&job, fnn_threads(threads)) : FNN_NO_MEMORY;
  if (status == FNN_OK) *total = 0;
  for (ptrdiff_t i = 0; status == FNN_OK && i < blocks; i++) *total += losses[i];
  fnn_free(losses);
  return status;
}

/* --- a training step, in phases between barriers ---

   A product is split among the threads by rows, which are samples, or by panels of columns, which are units. Work by
   rows runs on from layer to layer without waiting: a thread needs its own samples only. A layer split by columns keeps
   its weights with the core that changes them. Either way an element is summed by one thread, in one order. */

typedef struct {
  const fnn_net *net;
  workspace *work;
  fnn_net *trained; /* the same network; NULL: gradients only, and with it */
  fnn_fit *fit;
  const fnn_data *data;
  const fnn_matrix *dW, *db; /* gradients only, per layer */
  double total;
  int parted;                /* before the end, with nothing wrong: another team should go on */
  ptrdiff_t batches, epochs; /* done in this call */
} train_job;

/* One thread in a phase, and where its batch is. */
typedef struct {
  train_job *job;
  fnn_team *team;
  int thread, threads;
  ptrdiff_t m, from, to; /* the batch, and this thread's rows of it */
  const void *X;         /* of the batch; */
  ptrdiff_t x_step;
  const uint32_t *order; /* in this order, or as they stand */
  fnn_update update;
  uint64_t steps;      /* of the optimizer */
  double most[3];      /* as in fnn_net */
  int columns_pending; /* the last output was split by columns, and nobody has waited since */
} worker;

static void wait_for_columns(worker *me) {
  if (me->columns_pending) fnn_barrier(me->team, me->thread);
  me->columns_pending = 0;
}

/* The most that one thread has of n in whole panels. */
static ptrdiff_t largest_share(const fnn_kernels *K, ptrdiff_t n, int threads) {
  return fnn_at_most((fnn_panels(K, n) + threads - 1) / threads * K->nr, n);
}

/* Whether layer l's forward and update are split by columns: where that is little more work at most, and the weights
   are many. */
static int by_columns(const worker *me, int l) {
  const fnn_kernels *K = me->job->net->K;
  const layer *y = &me->job->net->layer[l];
  if (me->threads == 1 || y->n_in * y->n_out <= KEEP_WEIGHTS) return 0;
  const ptrdiff_t n = fnn_padded(K, y->n_out), rows = (me->m + me->threads - 1) / me->threads;
  const ptrdiff_t columns_cost = largest_share(K, n, me->threads) * ((me->m + K->mr - 1) / K->mr);
  const ptrdiff_t rows_cost = n * ((rows + K->mr - 1) / K->mr);
  return fnn_panels(K, n) >= me->threads && 7 * columns_cost <= 8 * rows_cost;
}

static void own_panels(const worker *me, ptrdiff_t n, ptrdiff_t *from, ptrdiff_t *to) {
  fnn_share(fnn_panels(me->job->net->K, n), 1, me->threads, me->thread, from, to);
}

/* This thread's rows of the batch's data that is not read in place. */
static void gather_batch(worker *me, ptrdiff_t first, const uint32_t *order) {
  const train_job *job = me->job;
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = job->work;
  const fnn_data *data = job->data;
  const ptrdiff_t n_in = net->layer[0].n_in, n_out = net->layer[net->layers - 1].n_out;
  const ptrdiff_t rows = me->to - me->from, at = first + me->from;
  if (is_readable(K, &data->X) && data->X.col * K->size % BAD_STRIDE) {
    me->X = order ? data->X.data : fnn_at(K, data->X.data, first * data->X.col);
    me->x_step = data->X.col;
    me->order = order ? order + first : NULL;
  } else {
    me->X = w->X;
    me->x_step = fnn_ld(K, n_in);
    me->order = NULL;
    K->gather(fnn_at(K, w->X, me->from * me->x_step), me->x_step, &data->X, order, at, rows, n_in);
    me->columns_pending = me->threads > 1; /* all rows are needed where the first layer goes by columns */
  }
  if (!data->codes) {
    const ptrdiff_t ld = fnn_ld(K, n_out);
    K->gather(fnn_at(K, w->Y, me->from * ld), ld, &data->Y, order, at, rows, n_out);
  }
  for (ptrdiff_t i = me->from; i < me->to; i++) {
    const ptrdiff_t j = order ? (ptrdiff_t)order[first + i] : first + i;
    if (data->codes) w->codes[i] = data->codes[j];
    if (data->weights) w->weights[i] = data->weights[j];
  }
}

/* Z of the last layer, A of the others. */
static void forward_layers(worker *me) {
  const fnn_net *net = me->job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = me->job->work;
  for (int l = 0; l < net->layers; l++) {
    fnn_product p = forward_product(net, l, l ? w->A[l - 1] : me->X, l ? fnn_ld(K, net->layer[l].n_in) : me->x_step,
                                    w->A[l], me->m);
    if (l == 0) p.order = me->order;
    if (l == net->layers - 1) p.activation = FNN_IDENTITY; /* the loss is taken from Z */
    if (by_columns(me, l)) {
      ptrdiff_t p0, p1;
      own_panels(me, p.n, &p0, &p1);
      if (l || me->columns_pending) fnn_barrier(me->team, me->thread); /* for all rows */
      K->product(&p, FNN_FORWARD, 0, me->m, p0, p1);
      me->columns_pending = 1;
    } else {
      wait_for_columns(me);
      K->product(&p, FNN_FORWARD, me->from, me->to, 0, fnn_panels(K, p.n));
    }
    if (p.activation == FNN_SOFTMAX) {
      wait_for_columns(me);
      void *rows = fnn_at(K, p.C, me->from * p.c_row);
      K->activation(rows, p.c_row, rows, p.c_row, FNN_SOFTMAX, me->to - me->from, p.n);
    }
  }
}

/* Losses and the last dZ of this thread's rows; 0 if a loss is not finite. */
static int output_gradient(worker *me) {
  const train_job *job = me->job;
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = me->job->work;
  const layer *last = &net->layer[net->layers - 1];
  const ptrdiff_t ld = fnn_ld(K, last->n_out);
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
                         .scratch = (char *)w->heads + me->thread * head_bytes(net)};
  wait_for_columns(me);
  return K->head(&head, me->from, me->to);
}

/* dZ of layer l - 1 from that of layer l, for this thread's rows. */
static void backward_layer(worker *me, int l) {
  const fnn_net *net = me->job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = me->job->work;
  const layer *y = &net->layer[l];
  const int g = net->layer[l - 1].activation;
  const ptrdiff_t ld = fnn_ld(K, y->n_in);
  const fnn_product p = {.m = me->m,
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
  K->product(&p, FNN_BACKWARD, me->from, me->to, 0, fnn_panels(K, p.n));
  if (g == FNN_SOFTMAX) {
    void *d = fnn_at(K, w->dZ[l - 1], me->from * ld);
    K->derivative(d, ld, d, ld, fnn_at(K, w->A[l - 1], me->from * ld), ld, FNN_SOFTMAX, me->to - me->from, y->n_in);
  }
}

/* This thread's part of dW^T of layer l, or of dW where that is turned: rows and panels. */
static void share_update(const worker *me, int l, ptrdiff_t m, ptrdiff_t n, ptrdiff_t *i0, ptrdiff_t *i1, ptrdiff_t *p0,
                         ptrdiff_t *p1) {
  const fnn_kernels *K = me->job->net->K;
  const ptrdiff_t by_rows_cost = largest_share(K, m, me->threads) * n;
  const ptrdiff_t by_panels_cost = largest_share(K, n, me->threads) * m;
  *i0 = 0, *i1 = m, *p0 = 0, *p1 = fnn_panels(K, n);
  if (by_columns(me, l) ? !me->job->net->layer[l].turned : by_panels_cost < by_rows_cost)
    own_panels(me, n, p0, p1);
  else
    fnn_share(m, K->nr, me->threads, me->thread, i0, i1);
}

/* dW and db of layer l: into the weights, or out to the caller. */
static void update_layer(worker *me, int l, double scale) {
  const train_job *job = me->job;
  const fnn_net *net = job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = me->job->work;
  const layer *y = &net->layer[l];
  const ptrdiff_t ld = fnn_ld(K, y->n_out), x_step = l ? fnn_ld(K, y->n_in) : me->x_step;
  const void *A_prev = l ? w->A[l - 1] : me->X, *dZ = w->dZ[l];
  const ptrdiff_t m = y->turned ? y->n_out : y->n_in, n = y->turned ? y->n_in : y->n_out;
  fnn_product p = {.m = m,
                   .n = n,
                   .k = me->m,
                   .A = y->turned ? dZ : A_prev,
                   .a_step = y->turned ? ld : x_step,
                   .order = l ? NULL : me->order,
                   .B = y->turned ? A_prev : dZ,
                   .b_panel = K->nr,
                   .b_k = y->turned ? x_step : ld,
                   .C = updated_weights(y),
                   .c_panel = m * K->nr,
                   .scale = scale,
                   .update = &me->update,
                   .moment = {y->moment[0], y->moment[1]},
                   .transposed = y->turned ? y->WT : y->W,
                   .room = w->packed ? fnn_at(K, w->packed, me->thread * K->chunk * me->m) : NULL};
  ptrdiff_t i0, i1, p0, p1, from, to;
  share_update(me, l, m, n, &i0, &i1, &p0, &p1);
  fnn_share(fnn_padded(K, y->n_out), K->vl, me->threads, me->thread, &from, &to);
  void *db = fnn_at(K, w->db[l], from);
  void *room = w->sums_bytes ? (char *)w->sums + me->thread * w->sums_bytes : NULL;
  if (from < to) K->rowsum(db, fnn_at(K, w->dZ[l], from), ld, me->m, to - from, scale, room);
  if (job->fit) {
    K->product(&p, FNN_UPDATE, i0, i1, p0, p1);
    if (from < to)
      K->update(&me->update, fnn_at(K, y->b, from), fnn_at(K, y->moment_b[0], from), fnn_at(K, y->moment_b[1], from),
                db, to - from);
  } else {
    p.C = job->dW[l].data;
    p.c_row = y->turned ? job->dW[l].row : job->dW[l].col;
    p.c_panel = y->turned ? job->dW[l].col : job->dW[l].row;
    K->product(&p, FNN_GRADIENT, i0, i1, p0, p1);
    if (from < y->n_out) {
      const fnn_matrix out = {fnn_at(K, job->db[l].data, from * job->db[l].row), job->db[l].row, 0, job->db[l].dtype};
      K->scatter(&out, 0, db, 0, 1, fnn_at_most(to, y->n_out) - from);
    }
  }
}

/* The batch's sum of losses, in an order of its own: LOSS_SUMS running sums, in turn. */
static double sum_of_losses(const double *losses, ptrdiff_t m) {
  double sums[LOSS_SUMS] = {0}, total = 0;
  ptrdiff_t i = 0;
  for (; i + LOSS_SUMS <= m; i += LOSS_SUMS)
    for (int j = 0; j < LOSS_SUMS; j++) sums[j] += losses[i + j];
  for (; i < m; i++) sums[i % LOSS_SUMS] += losses[i];
  for (int j = 0; j < LOSS_SUMS; j++) total += sums[j];
  return total;
}

static double weight_of(const fnn_data *data, const uint32_t *order, ptrdiff_t first, ptrdiff_t m) {
  double weight = 0;
  if (!data->weights) return (double)m;
  for (ptrdiff_t i = 0; i < m; i++) weight += data->weights[order ? (ptrdiff_t)order[first + i] : first + i];
  return weight;
}

/* --- no step out of the floats ---

   A step that is cautious bounds what it would make of the weights and moments before it makes it, from the largest
   numbers that go into it: so that a call of one step need not keep a copy of them all to go back to. */

/* The largest |A|, X included, and |dZ| of this thread's rows. */
static void measure(worker *me) {
  const fnn_net *net = me->job->net;
  const fnn_kernels *K = net->K;
  const workspace *w = me->job->work;
  const ptrdiff_t rows = me->to - me->from, n_in = net->layer[0].n_in;
  report *mine = &w->reports[me->thread];
  double A = 1, dZ = 0; /* db is as dW with A = 1 */
  for (ptrdiff_t i = me->from; me->order && i < me->to; i++)
    A = larger(A, K->magnitude(fnn_at(K, me->X, me->order[i] * me->x_step), 0, 1, n_in));
  if (!me->order) A = larger(A, K->magnitude(fnn_at(K, me->X, me->from * me->x_step), me->x_step, rows, n_in));
  for (int l = 0; l < net->layers; l++) {
    const ptrdiff_t n = net->layer[l].n_out, ld = fnn_ld(K, n);
    dZ = larger(dZ, K->magnitude(fnn_at(K, w->dZ[l], me->from * ld), ld, rows, fnn_padded(K, n)));
    if (l < net->layers - 1) A = larger(A, K->magnitude(fnn_at(K, w->A[l], me->from * ld), ld, rows, n));
  }
  mine->most_A = A;
  mine->most_dZ = dZ;
}

/* Whether an update with this batch keeps all finite for certain; if so, `most` is what bounds them then. */
static int is_safe(worker *me, const fnn_update *u, double weight) {
  const double limit = me->job->net->K->size == 4 ? 1e30 : 1e290; /* products of two such may overflow; sums do not */
  double A = 0, dZ = 0;
  for (int t = 0; t < me->threads; t++) {
    A = larger(A, me->job->work->reports[t].most_A);
    dZ = larger(dZ, me->job->work->reports[t].most_dZ);
  }
  const double sum = (double)me->m * A * dZ, *most = me->most;
  double g = sum / weight, w = most[0], m = most[1], v = most[2], step;
  /* What is cast to the network's dtype; a number that becomes inf there makes NaN of a weight that is 0. */
  if (!(u->rate < limit && fabs(u->keep) < limit && u->decay < limit && u->eps < limit && u->root < limit)) return 0;
  if (u->kind != FNN_SGD && u->kind != FNN_ADAMW) g += u->decay * w;
  if (u->kind == FNN_ADAM || u->kind == FNN_ADAMW) {
    if (!(u->eps > 1 / limit)) return 0;
    m = u->beta1 * m + (1 - u->beta1) * g;
    v = u->beta2 * v + (1 - u->beta2) * g * g;
    step = m / u->eps;
    if (!(sqrt(v) * u->root + u->eps < limit)) return 0;
  } else {
    m = u->momentum * m + g;
    step = g + m;
  }
  w = larger(1, fabs(u->keep)) * w + u->rate * step;
  if (!(sum < limit && g * g < limit && m < limit && v < limit && step < limit && w < limit)) return 0;
  me->most[0] = w, me->most[1] = m, me->most[2] = v;
  return 1;
}

enum step_result {
  STEP_DONE,
  STEP_FAILED, /* a loss is not finite */
  STEP_UNSAFE  /* cautious, and a weight might not be */
};

/* One batch, `m` samples from place `first` of the epoch on. Every thread returns the same; only STEP_DONE has made the
   update. Each way out ends with a barrier: what follows writes to what the others may still read here. */
static int step(worker *me, const uint32_t *order, ptrdiff_t first, ptrdiff_t m) {
  train_job *job = me->job;
  const fnn_net *net = job->net;
  const double weight = weight_of(job->data, order, first, m);
  if (weight == 0) { /* a batch that counts for nothing is skipped */
    fnn_barrier(me->team, me->thread);
    return STEP_DONE;
  }
  me->m = m;
  me->columns_pending = 0;
  fnn_share(m, 1, me->threads, me->thread, &me->from, &me->to);
  gather_batch(me, first, order);
  forward_layers(me);
  job->work->reports[me->thread].finite = output_gradient(me);
  for (int l = net->layers - 1; l >= 1; l--) backward_layer(me, l);
  if (job->fit && job->fit->cautious) measure(me);
  fnn_barrier(me->team, me->thread);
  int result = STEP_DONE;
  if (job->fit) {
    for (int t = 0; t < me->threads; t++)
      if (!job->work->reports[t].finite) result = STEP_FAILED;
    me->update = fnn_update_of(net->K, &job->fit->optimizer, me->steps + 1);
    if (!result && job->fit->cautious && !is_safe(me, &me->update, weight)) result = STEP_UNSAFE;
    if (result) {
      fnn_barrier(me->team, me->thread);
      return result;
    }
    me->steps++;
  }
  if (me->thread == 0) {
    job->total = sum_of_losses(job->work->losses, m);
    if (job->fit) {
      job->fit->loss_sum += job->total;
      job->fit->weight_sum += weight;
      if (job->trained->first_loss != job->trained->first_loss) job->trained->first_loss = job->total / weight;
    }
  }
  /* Samples of so little weight count as 0 in float32, which times inf would be NaN. */
  const double most = net->K->size == 4 ? FLT_MAX : DBL_MAX, scale = 1.0 / weight < most ? 1.0 / weight : most;
  for (int l = net->layers - 1; l >= 0; l--) update_layer(me, l, scale);
  fnn_barrier(me->team, me->thread);
  return STEP_DONE;
}

static void gradients_task(void *arg, fnn_team *team, int thread) {
  train_job *job = arg;
  worker me = {.job = job, .team = team, .thread = thread, .threads = fnn_team_size(team)};
  const fnn_mode mode = fnn_flush_subnormals();
  step(&me, NULL, 0, job->data->m);
  fnn_restore_mode(mode);
}

/* The largest of a share of the weights (i = 0), or of a slot of moments. */
static double largest_parameter(const fnn_net *net, int i, int threads, int thread) {
  const ptrdiff_t all = (ptrdiff_t)net->parameter_bytes / net->K->size;
  ptrdiff_t from, to;
  fnn_share(all, 16, threads, thread, &from, &to);
  return i > net->slots ? 0 : net->K->magnitude(fnn_at(net->K, net->parameters, i * all + from), 0, 1, to - from);
}

static int is_measured_finite(const fnn_net *net) {
  return net->most[0] < INFINITY && net->most[1] < INFINITY && net->most[2] < INFINITY;
}

/* Batch after batch. All threads count alike; thread 0 writes to `fit`. */
static void train_task(void *arg, fnn_team *team, int thread) {
  train_job *job = arg;
  fnn_net *net = job->trained;
  fnn_fit *fit = job->fit;
  worker me = {.job = job, .team = team, .thread = thread, .threads = fnn_team_size(team), .steps = net->steps};
  memcpy(me.most, net->most, sizeof me.most);
  const ptrdiff_t m = job->data->m;
  ptrdiff_t position = fit->position, batches = job->batches, epochs = job->epochs;
  uint64_t epoch = fit->epoch;
  int order_is_valid = fit->order_is_valid, result = STEP_DONE, parted = 0;
  const fnn_mode mode = fnn_flush_subnormals();
  fnn_barrier(team, thread); /* all have read where they start */
  while (batches < fit->max_batches && epochs < fit->max_epochs && !parted) {
    if (fit->shuffle && !(order_is_valid && position)) {
      if (thread == 0) fnn_permutation(fit->order, m, fit->seed, epoch);
      order_is_valid = 1;
      fnn_unit_starts(team, thread);
    }
    const ptrdiff_t rows = fnn_at_most(fit->batch, m - position);
    me.m = 0;
    result = step(&me, fit->shuffle ? fit->order : NULL, position, rows);
    if (result) break;
    batches++;
    position += rows;
    if (position == m) {
      if (thread == 0) {
        fit->ended[2 * epochs] = fit->loss_sum;
        fit->ended[2 * epochs + 1] = fit->weight_sum;
        fit->loss_sum = fit->weight_sum = 0;
      }
      position = 0, epoch++, epochs++;
    }
    /* A batch that is short, or was skipped, says nothing of the others. */
    parted = fnn_unit_done(team, thread, rows == fit->batch && me.m == rows ? (double)rows : 0);
  }
  const int measures = !fit->cautious && !fit->unchecked;
  for (int i = 0; i < 3 && measures; i++)
    job->work->reports[thread].most[i] = largest_parameter(net, i, me.threads, thread);
  fnn_barrier(team, thread);
  if (thread == 0) {
    for (int i = 0; i < 3; i++) {
      net->most[i] = fit->cautious ? me.most[i] : fit->unchecked ? INFINITY : 0;
      for (int t = 0; t < me.threads && measures; t++)
        net->most[i] = larger(net->most[i], job->work->reports[t].most[i]);
    }
    fit->failed = result == STEP_FAILED;
    fit->unsafe = result == STEP_UNSAFE;
    fit->finite = fit->unchecked || is_measured_finite(net);
    fit->position = position;
    fit->epoch = epoch;
    fit->ended_count = epochs;
    fit->order_is_valid = order_is_valid && position;
    job->parted = parted;
    job->batches = batches;
    job->epochs = epochs;
    net->steps = me.steps;
  }
  fnn_restore_mode(mode);
}

static void measure_parameters(fnn_net *net) {
  for (int i = 0; i < 3; i++) net->most[i] = largest_parameter(net, i, 1, 0);
}

double fnn_net_first_loss(const fnn_net *net) { return net->first_loss; }

int fnn_net_finite(fnn_net *net) {
  if (!is_measured_finite(net)) measure_parameters(net);
  return is_measured_finite(net);
}

/* What the time of a batch hangs on, besides the network. */
static uint64_t size_of(const fnn_data *data, ptrdiff_t batch, const fnn_optimizer *optimizer) {
  const uint64_t data_kind = (uint64_t)(data->X.dtype + 2 * (data->X.row == 1) + 4 * (data->codes != NULL));
  return fnn_kind(fnn_kind((uint64_t)batch, (uint64_t)optimizer->kind),
                  fnn_kind(data_kind, fnn_about((double)data->m)));
}

int fnn_net_train(fnn_net *net, const fnn_data *data, fnn_fit *fit, int threads) {
  if (!fnn_is_size(data->m) || fit->batch < 1 || fit->position < 0 || fit->position > data->m) return FNN_NO_MEMORY;
  threads = fnn_threads(threads);
  train_job job = {.net = net, .work = &net->work, .trained = net, .fit = fit, .data = data};
  net->first_loss = NAN;
  const ptrdiff_t batch = fnn_at_most(fit->batch, data->m);
  if (reserve(net, &net->work, batch, threads)) return FNN_NO_MEMORY;
  /* A single step is another kind than those of a long call: its team has to gather. */
  const int single = fit->max_batches == 1;
  const uint64_t size = threads > 1 ? size_of(data, batch, &fit->optimizer) : 0;
  const int known = net->most[0] < INFINITY;
  if (fit->cautious && !known) measure_parameters(net);
  do run(net, single ? STEP : STEPS, size, single ? (double)batch : 0, threads, train_task, &job);
  while (job.parted);
  if (fit->unsafe && known) { /* perhaps only by what the bounds have grown to, step by step */
    measure_parameters(net);
    run(net, STEP, 0, 0, 1, train_task, &job);
  }
  return FNN_OK;
}

/* Whether all samples count for nothing; what is subnormal is taken as 0. */
static int weigh_nothing(const fnn_data *data) {
  ptrdiff_t i = 0;
  while (data->weights && i < data->m && !(data->weights[i] >= DBL_MIN)) i++;
  return data->weights && i == data->m;
}

static void fill_with_0(const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m) {
  for (ptrdiff_t i = 0; i < n; i++)
    for (ptrdiff_t j = 0; j < m; j++)
      if (x->dtype == FNN_FLOAT64)
        ((double *)x->data)[i * x->row + j * x->col] = 0;
      else
        ((float *)x->data)[i * x->row + j * x->col] = 0;
}

int fnn_net_gradients(const fnn_net *net, double *total, const fnn_matrix *dW, const fnn_matrix *db,
                      const fnn_data *data, int threads) {
  if (!fnn_is_size(data->m)) return FNN_NO_MEMORY;
  threads = fnn_threads(threads);
  if (weigh_nothing(data)) {
    for (int l = 0; l < net->layers; l++) {
      fill_with_0(&dW[l], net->layer[l].n_out, net->layer[l].n_in);
      fill_with_0(&db[l], net->layer[l].n_out, 1);
    }
    *total = 0;
    return FNN_OK;
  }
  workspace work = {0};
  train_job job = {.net = net, .work = &work, .data = data, .dW = dW, .db = db};
  if (reserve(net, &work, data->m, threads)) return FNN_NO_MEMORY;
  const double m = (double)data->m;
  run(net, GRADIENTS, fnn_about(m), m, threads, gradients_task, &job);
  *total = job.total;
  free_workspace(&work);
  return FNN_OK;
}

/* --- how many threads --- */

void fnn_net_force_threads(fnn_net *net, int threads) { net->forced = threads < 0 ? 0 : threads; }

static int threads_for(const fnn_net *net, double threads, int limit) {
  if (net->forced > 0) threads = net->forced;
  /* A jump that is foreseen: what follows a number that is picked waits until that is computed. */
  if (__builtin_expect(threads < 2 || limit < 2, 1)) return 1;
  return threads < limit ? (int)threads : limit;
}

/* The model. What one thread needs in microseconds, about: fitted to 239 shapes of 4 us to 2 ms (depth 1 to 4, width 8
   to 512, batches of 8 to 1024) on one core of Zen 3 with AVX2; half of them are within 9%. `products` is 1 for
   forward, 3 with both gradients. A second thread began to pay within fit from 14 to 20 us on, in train_step, where
   the team has to gather, from 24 us with one layer to 60 us with four: so there is a least share for each layer and
   one more. Vectors of 64 bytes multiply in about half the time (Emerald Rapids), and the rest stays.
   benchmarks/threads.py checks the choice. */
static double microseconds(const fnn_net *net, ptrdiff_t m, int products) {
  const fnn_kernels *K = net->K;
  const double wide = K->size == 8 ? 2 : 1, term = K->vl * K->size == 64 ? 1.25e-5 : 2.3e-5;
  double us = 0.014 * (double)m; /* the loss */
  for (int l = 0; l < net->layers; l++) {
    const double n_in = (double)net->layer[l].n_in, n_out = (double)fnn_padded(K, net->layer[l].n_out);
    const int here = l || products == 1 ? products : 2; /* no dX */
    us += wide * (term * here * (double)m * n_in * n_out + 1.8e-4 * products * (double)m * n_out);
    if (products > 1) us += wide * 2e-4 * n_in * n_out; /* the update */
  }
  return us;
}

int fnn_net_forward_threads(const fnn_net *net, ptrdiff_t m, int limit) {
  return threads_for(net, microseconds(net, m, 1) / US_PER_THREAD, limit);
}

static double training_threads(const fnn_net *net, ptrdiff_t batch) {
  return microseconds(net, batch, 3) / (US_PER_PHASE * (net->layers + 1));
}

/* In a call of many batches a second thread is tried where it may just pay: what was measured decides then, in time. */
int fnn_net_fit_threads(const fnn_net *net, ptrdiff_t batch, int limit) {
  const double threads = training_threads(net, batch);
  return threads_for(net, threads < 2 && threads > 0.35 ? 2 : threads, limit);
}

int fnn_net_train_threads(const fnn_net *net, ptrdiff_t batch, int limit) {
  return threads_for(net, training_threads(net, batch), limit);
}
