/* A network as the files network_*.c see it: layers, parameters, the memory of a batch. Private; callers of the library
   see fastnn.h. network_parameters.c holds the numbers; network_forward.c predicts; network_plan.c plans a training
   step, network_step.c runs it, network_train.c runs many; network_sparse.c does the first layer of a sparse X;
   network_bounds.c makes sure that a step leaves all numbers finite; network_threads.c chooses the number of threads.
 */
#ifndef FNN_NETWORK_H
#define FNN_NETWORK_H
#include <stdatomic.h>

#include "kernels.h"
#include "memory.h"
#include "parallel.h"

#define FNN_SLOTS 2 /* moments that an optimizer may have for each parameter */

typedef struct {
  ptrdiff_t n_in, n_out;
  fnn_spec activation;
  uint32_t dropped; /* dropout: so many of FNN_DROPS outputs */
  int frozen;
  void *WT;   /* panels of W^T (n_in x n_out): forward multiplies by them, and the update changes them */
  void *W;    /* panels of W (n_out x n_in), a copy for dA_prev = W^T dZ; NULL in the first layer */
  int turned; /* the update changes W instead, and WT is the copy: for layers where dW has less padding than dW^T */
  void *b;    /* n_out, padded */
  int norm;   /* of enum fnn_norm_kind */
  int before; /* how many trained parameters the layers before have together */
  /* With a norm, laid out as b; the last three with batch norm: running statistics, and 1 / sqrt(var + eps). The
     moments of gamma and beta are as far behind them as those of b are behind b. */
  void *gamma, *beta, *mean, *var, *rstd;
  void *moment[FNN_SLOTS], *moment_b[FNN_SLOTS]; /* of the optimizer; laid out as the weights that the update changes,
                                                    and as b. If a slot does not exist, they point to these instead */
} fnn_layer_state;

/* What a thread tells the other threads about its part. Each report has its own cache line. */
typedef struct {
  _Alignas(FNN_LINE) double largest_A, largest_dZ;
  double largest[1 + FNN_SLOTS];         /* of its share of the weights, and of each slot of moments */
  double largest_sum, largest_statistic; /* of norms: sums of dgamma and dbeta; statistics of the batch */
} fnn_report;

/* Memory of a batch for a layer with a norm. */
typedef struct {
  void *zhat;           /* rows x n_out: first Z, and then zhat */
  void *rstd;           /* layer norm: of each sample */
  void *blocks, *back;  /* sums of blocks of rows: fnn_norm */
  void *dgamma, *dbeta; /* n_out, padded */
  ptrdiff_t rows;       /* batch norm: where in a thread's norm_rows its 5 rows are: mean, var, rstd and two sums */
} fnn_norm_room;

/* Memory of a batch. Rows of activations are samples: A[l] is rows x n_out of layer l, and so is dZ[l]. */
typedef struct {
  ptrdiff_t capacity; /* samples */
  void *block;
  void *X, *Y;
  void **A, **dZ, **db; /* db[l]: n_out, padded */
  void *of_zeros;       /* a row: Z of the first layer for fnn_sparse_standard.zeros */
  void **S;             /* S[l]: the slopes g'(Z) of layer l if they are kept; else NULL. With dropout and an activation
                           of whole rows it is a copy of A from before the dropout; with relu there is none */
  int copies_X;         /* there is memory for X */
  int keeps_slopes;     /* S has room for every layer whose activation has slopes */
  int threads;          /* each thread has its own part of heads, packed, sums, reports and plans */
  void *heads;          /* scratch rows of the last layer */
  void *packed;         /* room for a packed chunk of A; or NULL */
  void *sums;           /* room to add up the rows of dZ */
  ptrdiff_t sums_bytes; /* of one thread */
  fnn_report *reports;
  char *plans; /* two plans of its step, plan_bytes each */
  ptrdiff_t plan_bytes;
  int32_t *codes;
  double *weights, *losses;
  double *of_weights; /* the sums of the squares of all W, each of FNN_SQUARES numbers */
  ptrdiff_t of_weights_count;
  fnn_norm_room *norm; /* of each layer; NULL: no layer has a norm */
  void *norm_rows;
  ptrdiff_t norm_bytes;     /* of one thread */
  void *sparse;             /* NULL, or memory for the lists of a sparse X's features: fnn_by_features */
  ptrdiff_t terms_capacity; /* numbers of a batch that they have room for */
  void **dW; /* room for gradients, laid out as the weights that the update changes; or NULL: they are not stored */
  ptrdiff_t blocks;    /* how many there are of the next */
  void *of_dX;         /* room for panels of W of the first layer and behind it dX as rows; or NULL */
  unsigned char *loud; /* beside it, for diagnostics: 1 for each unit, of all layers, that dropout found not quiet */
  double *squares; /* sums of squares, each of FNN_SQUARES numbers: of gradients, and behind them as many of updates and
                      as many of weights */
} fnn_workspace;

/* A workspace that is kept for the next call that only reads the network. */
typedef struct {
  _Atomic(fnn_workspace *) kept; /* NULL: there is none, or a call uses it */
} fnn_spare;

struct fnn_net {
  const fnn_kernels *K;
  int layers;
  fnn_spec loss;
  int forced; /* threads that were asked for; 0: what pays */
  fnn_layer_state *layer;
  void *parameters; /* one block: WT, W and b of all layers; as much again for each slot, and for the average */
  size_t parameter_bytes;
  ptrdiff_t freezes;    /* how often a layer was frozen, or the reverse: plans depend on it */
  int slots;            /* of the optimizer's moments: 0 .. FNN_SLOTS */
  double average_share; /* of the old average in the new one; 0: no average is kept */
  /* A step of two calls (fnn_net_begin_step): the part that its next call makes, for so many samples. FNN_WHOLE_STEP:
     no step has begun, or the network has changed since. */
  int next_part;
  ptrdiff_t begun;
  int begun_with_lists; /* whether X of that step is sparse */
  uint64_t begun_seed;  /* of its masks */
  uint64_t steps;
  uint64_t updates;            /* in the network's life */
  double bound[1 + FNN_SLOTS]; /* of |parameter|: bound[0]; of |moment| of slot i: bound[1 + i]; INFINITY: not known */
  double first_loss;           /* of the last training call */
  uint64_t kind;               /* a hash of its shape, for fnn_parallel: how fast its work is */
  ptrdiff_t widest;            /* the largest of n_0 .. n_L */
  ptrdiff_t widest_layer;      /* the largest of n_1 .. n_L */
  int norms;                   /* how many layers have a norm */
  /* What standardises X and Y when they are read; and makes A scale * A + shift in predictions, unless scale is NULL.
   */
  fnn_standard of_X, of_Y;
  fnn_sparse_standard of_sparse; /* what standardises a sparse X; `of` is NULL as of_X.mean is */
  const double *scale, *shift;
  double *standards; /* the memory of all of these */
  fnn_spare *spare;
  fnn_workspace work; /* used by training; functions that only read the network use a workspace of their own */
};

static inline ptrdiff_t fnn_lines(ptrdiff_t bytes) { return fnn_plus(bytes, FNN_LINE - 1) & -FNN_LINE; }
static inline double fnn_larger(double a, double b) { return a > b ? a : b; } /* fmax is a call */
static inline void *fnn_updated_weights(const fnn_layer_state *y) { return y->turned ? y->W : y->WT; }
/* Rows of a block of sums over the m samples of a batch: enough blocks for many threads, but not many more. */
static inline ptrdiff_t fnn_norm_block(ptrdiff_t m) {
  ptrdiff_t rows = 4;
  while (rows < 32 && m > 32 * rows) rows *= 2;
  return rows;
}
/* The most blocks of a batch of at most m samples. */
static inline ptrdiff_t fnn_norm_blocks(ptrdiff_t m) { return m > 32 * 32 ? (m + 31) / 32 : 32; }
/* A thread's rows of a batch. With norms they begin and end at blocks. */
static inline void fnn_share_rows(const fnn_net *net, ptrdiff_t m, int threads, int thread, ptrdiff_t *from,
                                  ptrdiff_t *to) {
  fnn_share(m, net->norms ? fnn_norm_block(m) : 1, threads, thread, from, to);
}
/* Rows and columns of fnn_updated_weights, and of their moments and gradients: the shape of W^T, or of W if turned. */
static inline ptrdiff_t fnn_updated_rows(const fnn_layer_state *y) { return y->turned ? y->n_out : y->n_in; }
static inline ptrdiff_t fnn_updated_columns(const fnn_layer_state *y) { return y->turned ? y->n_in : y->n_out; }
static inline ptrdiff_t fnn_updated_padded(const fnn_kernels *K, const fnn_layer_state *y) {
  return fnn_padded(K, fnn_updated_columns(y));
}
/* The numbers of the average lie as the parameters do, so many bytes behind them. */
static inline size_t fnn_average_at(const fnn_net *net) { return net->parameter_bytes * (size_t)(1 + net->slots); }
static inline const fnn_layer_state *fnn_last(const fnn_net *net) { return &net->layer[net->layers - 1]; }
/* Whether x is of the network's dtype. */
static inline int fnn_is_own_dtype(const fnn_net *net, const fnn_matrix *x) {
  return x->dtype == (net->K->size == 8 ? FNN_FLOAT64 : FNN_FLOAT32);
}
/* Whether the kernels can read X where it is: units adjacent, our dtype, not standardised. */
static inline int fnn_is_readable(const fnn_net *net, const fnn_matrix *X) {
  return X->row_step == 1 && X->dtype == (net->K->size == 8) && !net->of_X.mean;
}

/* --- network_parameters.c --- */
/* Gives `work` memory for a batch of m samples and so many threads; does nothing if it has enough. There is room for
   slopes in layers whose slope is FROM_Z; with `keeps_slopes` in every hidden layer whose activation has slopes. With
   `copies_X` there is room for X. */
int fnn_reserve(const fnn_net *net, fnn_workspace *work, ptrdiff_t m, int threads, int keeps_slopes, int copies_X);
/* Gives `work` memory for the gradients of all weights (dW), and for sums of squares. */
int fnn_reserve_gradients(const fnn_net *net, fnn_workspace *work);
void fnn_release_workspace(fnn_workspace *work);
/* A workspace for a call that only reads the network, perhaps with memory already; NULL: no memory. And its end. */
fnn_workspace *fnn_borrow_workspace(const fnn_net *net);
void fnn_give_back_workspace(const fnn_net *net, fnn_workspace *work);
/* Bytes of the scratch memory of fnn_head for the last layer. */
ptrdiff_t fnn_head_bytes(const fnn_net *net);

/* --- network_sparse.c --- */
static inline const fnn_sparse *fnn_sparse_of(const fnn_matrix *X) { return X->data; }
/* X as kernels read it. */
static inline fnn_sparse_input fnn_sparse_input_of(const fnn_net *net, const fnn_matrix *X) {
  return (fnn_sparse_input){*fnn_sparse_of(X), net->of_sparse.of ? &net->of_sparse : NULL};
}
/* Derives of_sparse from of_X; `room` is for fnn_sparse_room(n_0) numbers. */
static inline ptrdiff_t fnn_sparse_room(ptrdiff_t n_in) { return 4 * n_in; }
void fnn_standardise_sparse(fnn_net *net, double *room);
/* Makes the row `of_zeros`, its panels p0..p1. */
fnn_forward fnn_zeros_product(const fnn_net *net, void *of_zeros);
/* Whether X may be the X of a network, of m samples. */
int fnn_is_input(const fnn_matrix *X, ptrdiff_t m);
/* How many numbers m samples of X have, on average. */
double fnn_terms(const fnn_sparse *X, ptrdiff_t m);
/* Gives `work` memory for the features of a batch of m samples of X; with `repeats` a batch may have a sample twice. */
int fnn_reserve_sparse(const fnn_net *net, fnn_workspace *work, const fnn_sparse *X, ptrdiff_t m, int repeats);

/* --- network_plan.c --- */
/* Bytes of one thread's plan. */
ptrdiff_t fnn_plan_bytes(const fnn_net *net);
/* Marks a plan as not compiled. */
void fnn_clear_plan(void *plan);

/* --- network_threads.c --- */
enum fnn_use {
  FNN_PREDICTION,
  FNN_LOSSES_ONLY,
  FNN_GRADIENTS,
  FNN_FORWARD_OF_STEP,
  FNN_BACKWARD,
  FNN_ONE_STEP,
  FNN_MANY_STEPS
};
/* Runs a task of the network. `work`: its number of samples; 0 if the task calls fnn_unit_done for each batch. `size`:
   a hash of what else its time depends on. */
void fnn_run(const fnn_net *net, enum fnn_use use, uint64_t size, double work, int threads, fnn_task *task, void *job);
/* A hash of what the time for m samples of X depends on. */
static inline uint64_t fnn_kind_of_X(const fnn_matrix *X, double m) {
  return X->dtype == FNN_SPARSE ? ~fnn_exponent(m) : fnn_exponent(m);
}
/* How many of `threads`, which a dense X would get, pay for m samples of X. */
int fnn_sparse_threads(const fnn_net *net, enum fnn_use use, const fnn_matrix *X, ptrdiff_t m, int threads);

/* --- network_norm.c --- */
/* The norm of layer l with its parameters and, for batch norm, the running statistics; not yet where its data are. */
fnn_norm fnn_norm_of(const fnn_net *net, int l);
/* Z of layer l, `rows` rows, becomes A in place, except for an activation of whole rows. */
void fnn_normalise(const fnn_net *net, int l, void *Z, ptrdiff_t rows, const fnn_spec *g);
/* Sets gamma and the running variance of all layers to 1. */
void fnn_start_norms(const fnn_net *net);
/* Computes what is derived from the running variance of a layer. */
void fnn_derive_rstd(const fnn_net *net, int l);

/* --- network_forward.c --- */
/* The product A = g(A_prev W^T + b) of layer l for m samples; rows of A_prev are a_step apart (or A_prev is a
   fnn_sparse_input). */
fnn_forward fnn_forward_product(const fnn_net *net, int l, const void *A_prev, ptrdiff_t a_step, void *A, ptrdiff_t m);
#endif
