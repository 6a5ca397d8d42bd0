/* fastnn's C core. Columns are samples: element (i, j) of a matrix is unit i of sample j.

   No function keeps a pointer that it was given, and none changes what it was given as const. Sizes are counted in
   elements. Functions that return a status change nothing unless it is FNN_OK. If a size is negative, or more than
   2^48 (no memory holds that), they return FNN_NO_MEMORY. If another argument is not legal (a kind, a dtype, an
   instruction set, a layer, a struct shorter than it is here), they return FNN_REFUSED. `threads` below 1 counts as 1.

   How this interface grows. Each struct that a caller fills begins with `size`, which the caller sets to its sizeof;
   only fnn_matrix and fnn_spec have no size, and never change. A later release adds members at the end of a struct; for
   a caller that does not know them they are 0, which means "as before". Kinds, and members of the table of functions,
   are added at the end only. FASTNN_ABI changes when this is not enough. */
#ifndef FASTNN_H
#define FASTNN_H
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  FNN_OK,
  FNN_NO_MEMORY,
  FNN_REFUSED /* an argument is not legal */
};
enum fnn_dtype {
  FNN_FLOAT32,
  FNN_FLOAT64,
  FNN_UINT8,     /* only the X of a network */
  FNN_SPARSE = 8 /* only the X of a network: fnn_sparse */
};

/* --- four lists: each activation, loss, optimizer and schedule is one row of its list; new rows are added at the end.
   Every switch over kinds, and every table of kinds, is made from its list. --- */
/* clang-format off */

/* Activations g: F(NAME, name, PLACE, SLOPE, PARAMETERS).
   PLACE, where g is applied: IN_TILE, by a product to its sums while they are in registers (g is short); AFTER_TILE, by
   a product to rows that it has just stored (g is long); WHOLE_ROWS, after the product (g needs all units of a sample).
   SLOPE: FROM_A, g'(Z) is computed from A = g(Z); FROM_Z, from Z: a network then keeps g'(Z) beside A (not for
   WHOLE_ROWS, whose derivative is no number for each unit).
   PARAMETERS: the names of g's parameters, in the order of fnn_spec.parameters. Each is 0, or from FLT_MIN to FLT_MAX.
   */
#define FNN_EACH_ACTIVATION(F)                       \
  F(IDENTITY, identity, IN_TILE, FROM_A, "")         \
  F(SIGMOID, sigmoid, AFTER_TILE, FROM_A, "")        \
  F(TANH, tanh, AFTER_TILE, FROM_A, "")              \
  F(RELU, relu, IN_TILE, FROM_A, "")                 \
  F(SOFTMAX, softmax, WHOLE_ROWS, FROM_A, "")        \
  F(LEAKY_RELU, leaky_relu, AFTER_TILE, FROM_A, "slope") \
  F(ELU, elu, AFTER_TILE, FROM_A, "alpha")           \
  F(SELU, selu, AFTER_TILE, FROM_A, "")              \
  F(GELU, gelu, AFTER_TILE, FROM_Z, "approximate")   \
  F(SILU, silu, AFTER_TILE, FROM_Z, "")              \
  F(SOFTPLUS, softplus, AFTER_TILE, FROM_Z, "")

/* Losses L: F(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS).
   OUTPUT: the activation that the last layer must have, or ANY.
   TARGETS: PROBABILITIES, numbers within 0..1; CLASSES, a class, or a probability for each class; VALUES, any numbers;
   COUNTS, numbers of at least 0; ONE_VALUE, one number for all units; MEANS, a number for each of the first n / 2 units
   (n is even). With ONE_VALUE and MEANS a sample has another number of targets than units, and no class codes.
   FORM: UNITS_OF_Z, L is a sum over units of a function of z and y, whose derivative is dZ; UNITS_OF_A, the same of
   a = g(z) and y, whose derivative is dA; ROWS_OF_Z, L is a function of all z of a sample; ROWS_OF_A, the same of all
   a. */
#define FNN_EACH_LOSS(F)                                                                  \
  F(BINARY_CROSS_ENTROPY, binary_cross_entropy, SIGMOID, PROBABILITIES, UNITS_OF_Z, "label_smoothing, pos_weight") \
  F(CROSS_ENTROPY, cross_entropy, SOFTMAX, CLASSES, ROWS_OF_Z, "label_smoothing")         \
  F(MSE, mse, ANY, VALUES, UNITS_OF_A, "")                                                \
  F(MAE, mae, ANY, VALUES, UNITS_OF_A, "")                                                \
  F(HUBER, huber, ANY, VALUES, UNITS_OF_A, "delta")                                       \
  F(QUANTILE, quantile, ANY, ONE_VALUE, ROWS_OF_A, "")                                    \
  F(POISSON, poisson, IDENTITY, COUNTS, UNITS_OF_Z, "")                                   \
  F(GAUSSIAN_NLL, gaussian_nll, IDENTITY, MEANS, ROWS_OF_A, "")

/* Optimizers: F(NAME, name, SLOTS, STEP).
   SLOTS: how many moments it keeps for each parameter.
   STEP: BY_SUM, a step is at most lr * (gradient + moment); BY_QUOTIENT, a step is
   lr * moment_1 / (sqrt(moment_2) + eps), with the bias of both moments corrected (NADAM has a share of the gradient
   beside moment_1); BY_ROOT, a step is lr * gradient / (sqrt(moment_1) + eps), or lr times a moment_2 that adds such quotients. */
#define FNN_EACH_OPTIMIZER(F)             \
  F(SGD, sgd, 0, BY_SUM)                  \
  F(MOMENTUM, momentum, 1, BY_SUM)        \
  F(NESTEROV, nesterov, 1, BY_SUM)        \
  F(ADAM, adam, 2, BY_QUOTIENT)           \
  F(ADAMW, adamw, 2, BY_QUOTIENT)         \
  F(NADAM, nadam, 2, BY_QUOTIENT)         \
  F(RMSPROP, rmsprop, 1, BY_ROOT)         \
  F(RMSPROP_MOMENTUM, rmsprop_momentum, 2, BY_ROOT) \
  F(ADAGRAD, adagrad, 1, BY_ROOT)

/* Schedules, the learning rate as a function of time: F(NAME, name, PARAMETERS). The formulas are in schedules.h. */
#define FNN_EACH_SCHEDULE(F)                           \
  F(STEP, step, "lr, every, factor")                   \
  F(EXPONENTIAL, exponential, "lr, factor")            \
  F(INVERSE_SCALING, inverse_scaling, "lr, power")     \
  F(COSINE, cosine, "lr, length, warmup, final")       \
  F(ONE_CYCLE, one_cycle, "lr, length")

#define FNN_KIND(NAME, ...) FNN_##NAME,
#define FNN_ONE_MORE(...) +1
enum fnn_activation { FNN_EACH_ACTIVATION(FNN_KIND) };
enum fnn_loss_kind { FNN_EACH_LOSS(FNN_KIND) };
enum fnn_optimizer_kind { FNN_EACH_OPTIMIZER(FNN_KIND) };
enum fnn_schedule_kind { FNN_EACH_SCHEDULE(FNN_KIND) };
enum { FNN_ACTIVATIONS = 0 FNN_EACH_ACTIVATION(FNN_ONE_MORE) };
enum { FNN_LOSSES = 0 FNN_EACH_LOSS(FNN_ONE_MORE) };
enum { FNN_OPTIMIZERS = 0 FNN_EACH_OPTIMIZER(FNN_ONE_MORE) };
enum { FNN_SCHEDULES = 0 FNN_EACH_SCHEDULE(FNN_ONE_MORE) };
/* clang-format on */

/* An activation or a loss with its parameters. */
#define FNN_PARAMETERS 2
typedef struct {
  int kind;
  double parameters[FNN_PARAMETERS];
} fnn_spec;

/* Row `index` of a list as text: "name(parameter, parameter) SLOPE" of an activation, "name(...) OUTPUT TARGETS" of a
   loss, "name SLOTS" of an optimizer, "name(...)" of a schedule, with the words above. NULL if there is no such row. */
const char *fnn_activation_row(int index);
const char *fnn_loss_row(int index);
const char *fnn_optimizer_row(int index);
const char *fnn_schedule_row(int index);

/* Element (i, j) is data[i * row_step + j * column_step]; steps may be negative or 0. */
typedef struct {
  void *data;
  ptrdiff_t row_step, column_step;
  int dtype;
} fnn_matrix;

/* X with few numbers other than 0: sample j has values[t] in row features[t], for starts[j] <= t < starts[j + 1]; all
   its other numbers are 0. The features of a sample ascend, and lie within 0..n_0-1; this is not checked. It is given
   as a fnn_matrix of dtype FNN_SPARSE whose data point to it. */
typedef struct {
  size_t size;
  int dtype; /* of the values: FNN_FLOAT32, FNN_FLOAT64 or FNN_UINT8 */
  ptrdiff_t m;
  const void *values;
  const int32_t *features;
  const int64_t *starts;
  ptrdiff_t longest; /* no sample has more numbers */
} fnn_sparse;

/* Copies the lists of a sparse X (n_in x m) that has `count` numbers: features and starts, whose elements are integers
   of so many bytes, 4 or 8. Returns FNN_REFUSED if the starts do not rise from 0 to `count`, or a feature is not within
   0..n_in-1; then nothing that was copied may be used. *longest = the most numbers of a sample; *ascends = whether the
   features of each sample ascend. */
int fnn_sparse_lists(int32_t *features, int64_t *starts, ptrdiff_t *longest, int *ascends, const void *from_features,
                     int feature_bytes, const void *from_starts, int start_bytes, ptrdiff_t n_in, ptrdiff_t m,
                     ptrdiff_t count, int threads);

/* --- instruction sets (ISAs): numbered from 0, the simplest first --- */
int fnn_isa_total(void);           /* how many were compiled */
const char *fnn_isa_name(int isa); /* "generic", "avx2", ...; NULL: there is no such ISA */
int fnn_isa_available(int isa);    /* whether this CPU can run it: only then give it to the functions below */
int fnn_isa_best(void);            /* the best one that this CPU can run */

/* --- threads --- */
int fnn_has_openmp(void);
const char *fnn_compiler(void);
int fnn_openmp_limit(void); /* how many threads OpenMP grants the calling thread; 1 without OpenMP */
/* To how many cores OpenMP binds the threads of a team (OMP_PROC_BIND, OMP_PLACES); 0: it binds no thread, and they run
   where the calling thread may run. */
int fnn_openmp_procs(void);

/* --- random numbers --- */
/* Philox4x32-10: out = four words from a counter of four and a key of two. */
void fnn_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);
/* The order in which an epoch visits m samples (m < 2^32). */
void fnn_permutation(uint32_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch);

/* --- one layer. All matrices of a call have one dtype; it runs on at most `threads` threads --- */
/* One element of an activation or of a loss takes about the time of so many FLOP of a product. */
#define FNN_FUNCTION_WORK 32
#define FNN_WORK_PER_THREAD 2e6 /* FLOP; below this a second thread's start costs more than it brings */
/* out (n_out x m) = g(W A_prev + b); W (n_out x n_in), A_prev (n_in x m), b (n_out x 1). With in_order the terms are
   added in the same order as in a network, which gives the same bits; else in the order that is quickest. */
int fnn_linear_forward(int isa, const fnn_matrix *out, const fnn_matrix *W, const fnn_matrix *A_prev,
                       const fnn_matrix *b, const fnn_spec *activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m,
                       int in_order, int threads);
/* dW (n_out x n_in) = dZ A_prev^T / m; db (n_out x 1) = rowsum(dZ) / m. If W is not NULL, dA_prev (n_in x m) = W^T dZ
   times g' of `activation`, which is the one that made A_prev; one whose slope is FROM_Z is refused. */
int fnn_linear_backward(int isa, const fnn_matrix *dW, const fnn_matrix *db, const fnn_matrix *dA_prev,
                        const fnn_matrix *dZ, const fnn_matrix *A_prev, const fnn_matrix *W, const fnn_spec *activation,
                        ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads);
/* out (n x m) = g(Z). */
int fnn_activation_forward(int isa, const fnn_matrix *out, const fnn_matrix *Z, const fnn_spec *activation, ptrdiff_t n,
                           ptrdiff_t m, int threads);
/* out (n x m) = dA * g'(Z); x is A = g(Z), or Z if g's slope is FROM_Z. */
int fnn_activation_backward(int isa, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *x,
                            const fnn_spec *activation, ptrdiff_t n, ptrdiff_t m, int threads);
/* out (n x 1) = the sum of each row of dZ (n x m). */
int fnn_rowsum(int isa, const fnn_matrix *out, const fnn_matrix *dZ, ptrdiff_t n, ptrdiff_t m, int threads);

/* The targets of m samples: class codes (m), each a column of Y with one 1, else 0; or Y (n x m, either dtype) if codes
   is NULL: of a loss with ONE_VALUE 1 x m, with MEANS n / 2 x m. The weights of the samples (m); NULL: each weight
   is 1. The levels of quantile (n), within 0..1; NULL: 1 / (n + 1), 2 / (n + 1), ... */
typedef struct {
  size_t size;
  const int32_t *codes;
  fnn_matrix Y;
  const double *weights;
  const double *levels;
} fnn_targets;

/* From Z (n x m): losses (m) = w_i L_i, and dZ (n x m) = the derivative of w_i L_i. One of the two may be NULL. */
int fnn_loss(int isa, double *losses, const fnn_matrix *dZ, const fnn_matrix *Z, const fnn_targets *targets,
             const fnn_spec *loss, ptrdiff_t n, ptrdiff_t m, int threads);
/* The sum of x[i] / whole. */
double fnn_shares(const double *x, ptrdiff_t m, double whole);
/* Copies m integers of 4 or 8 bytes to `codes`; returns whether all are within 0..n-1. */
int fnn_codes(int32_t *codes, const void *from, int bytes, ptrdiff_t m, ptrdiff_t n);
/* Whether n adjacent elements are all finite and within 0..high; 0 if an argument is not legal. */
int fnn_within(int isa, const void *x, int dtype, ptrdiff_t n, double high);
/* The largest |x| of a matrix (n x m), one of whose steps is 1; INFINITY if one is not finite, or an argument is not
   legal. */
double fnn_magnitude(int isa, const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m);

/* The learning rate as a function of time. The parameters are those of the row, in its order; none is negative. */
#define FNN_SCHEDULE_PARAMETERS 4
typedef struct {
  size_t size;
  int kind;
  int per_step; /* the time is the count of steps; else it is fnn_fit.time */
  double parameters[FNN_SCHEDULE_PARAMETERS];
} fnn_schedule;

/* The settings of an optimizer, defined as in PyTorch. Its state (moments, steps) is kept by a network, or by the
   caller of fnn_optimizer_update. */
typedef struct {
  size_t size;
  int kind;
  double lr, weight_decay, momentum, beta1, beta2, eps; /* beta2: alpha of rmsprop */
  double lr_decay, momentum_decay;                      /* of adagrad, of nadam */
  /* What is done to the gradient g before all else; 0: nothing. In this order: each number of g is cut to
     -clip_value .. clip_value; g is multiplied by clip_norm / (norm + 1e-6) if that is below 1, where norm is the root
     of the sum of all squares; l1 * sign(w) is added to the gradient of W. fnn_optimizer_update ignores clip_norm: it
     does not know the other gradients. */
  double clip_value, clip_norm, l1;
  int spares_b;                 /* weight_decay does not act on b */
  const fnn_schedule *schedule; /* it replaces lr; NULL: lr is constant. Only fnn_net_train takes one */
} fnn_optimizer;

/* Makes step number t (the first is 1) with the gradient dw: changes w (n x m) and its moments in place. A moment that
   the kind does not have is NULL. */
int fnn_optimizer_update(int isa, const fnn_optimizer *o, uint64_t t, const fnn_matrix *w, const fnn_matrix *moment_1,
                         const fnn_matrix *moment_2, const fnn_matrix *dw, ptrdiff_t n, ptrdiff_t m, int threads);

/* --- a network --- */
typedef struct fnn_net fnn_net;

/* A layer. In an array of layers each one takes as many bytes as `size` of the first one says. */
typedef struct {
  size_t size;
  ptrdiff_t units;
  fnn_spec activation;
  double dropout; /* the share of its outputs that training makes 0, within 0..1; 0 in the last layer */
  int frozen;     /* training leaves its parameters and their moments as they are */
  int norm;       /* of enum fnn_norm_kind; FNN_NO_NORM in the last layer */
} fnn_layer;
/* A norm comes before the activation: zhat = (Z - mean) / sqrt(var + FNN_NORM_EPS), A = g(gamma zhat + beta).
   FNN_LAYER_NORM: mean and variance of each sample, over its units. FNN_BATCH_NORM: those of each unit; in training
   over the samples of a batch of two or more, otherwise (and in a frozen layer) the running ones. The latter move by
   FNN_NORM_MOMENTUM of the way to the mean and the unbiased variance of each batch. */
enum fnn_norm_kind {
  FNN_NO_NORM,
  FNN_LAYER_NORM,
  FNN_BATCH_NORM
};
#define FNN_NORM_EPS 1e-5
#define FNN_NORM_MOMENTUM 0.1
/* A layer's parameters, in the order of this list. */
enum fnn_parameter {
  FNN_W,     /* n_out x n_in */
  FNN_B,     /* n_out x 1, as are those below */
  FNN_GAMMA, /* with a norm */
  FNN_BETA,
  FNN_RUNNING_MEAN, /* with batch norm; these two are not trained, and have no gradients and no moments */
  FNN_RUNNING_VAR
};

/* A network with n_in inputs and `count` layers; all parameters are 0, but gamma and the running variance are 1. NULL:
   no memory, or an argument is not legal. */
fnn_net *fnn_net_new(int isa, int dtype, ptrdiff_t n_in, int count, const fnn_layer *layers, const fnn_spec *loss);
void fnn_net_free(fnn_net *net);
/* The units of layer l = 0..L, where 0 are the inputs; a negative l counts from the end (-1 is L). */
ptrdiff_t fnn_net_width(const fnn_net *net, int l);
/* How many trained parameters a layer has: 2 (W, b), or with a norm 4 (W, b, gamma, beta). Here and below `layer` is 0
   for the first layer after the inputs. */
int fnn_net_parameters(const fnn_net *net, int layer);
/* Set or get a parameter of a layer, as a matrix of the network's dtype. */
int fnn_net_set(fnn_net *net, int layer, int parameter, const fnn_matrix *from);
int fnn_net_get(const fnn_net *net, int layer, int parameter, const fnn_matrix *to);
/* The optimizer's state. start_optimizer begins a new one: no steps, and 0..2 moments (slots) of each parameter, 0.
   The others get or set the number of slots, the count of steps, and one moment of a parameter. */
int fnn_net_start_optimizer(fnn_net *net, int slots);
int fnn_net_slots(const fnn_net *net);
uint64_t fnn_net_steps(const fnn_net *net);
void fnn_net_set_steps(fnn_net *net, uint64_t steps);
int fnn_net_set_moment(fnn_net *net, int slot, int layer, int parameter, const fnn_matrix *from);
int fnn_net_get_moment(const fnn_net *net, int slot, int layer, int parameter, const fnn_matrix *to);
/* The count of updates in the network's life, which dropout depends on. */
uint64_t fnn_net_updates(const fnn_net *net);
void fnn_net_set_updates(fnn_net *net, uint64_t updates);
/* Sets whether a layer is frozen. */
int fnn_net_freeze(fnn_net *net, int layer, int frozen);
/* From now on X is read as (x - x_mean) / x_scale (n_0 numbers of each), Y, where it is no code, as (y - y_mean) /
   y_scale (`targets` of each: as many as the loss reads of a sample), and predictions are written as a * a_scale +
   a_shift (n_L of each). All are computed in double, also in a network of floats. Each pair may be NULL, with 0
   targets: then those numbers stay as they are. Scales are above 0. Losses and gradients are those of the standardised
   numbers. */
int fnn_net_standardise(fnn_net *net, const double *x_mean, const double *x_scale, ptrdiff_t targets,
                        const double *y_mean, const double *y_scale, const double *a_scale, const double *a_shift);
/* From now on keep an exponential moving average of all parameters, which begins with the present ones; it is part of
   the optimizer's state, and ends with it. An update makes it share * average + (1 - share) * parameter. */
int fnn_net_start_average(fnn_net *net, double share);
double fnn_net_average_share(const fnn_net *net); /* 0: there is no average */
int fnn_net_set_average(fnn_net *net, int layer, int parameter, const fnn_matrix *from);
int fnn_net_get_average(const fnn_net *net, int layer, int parameter, const fnn_matrix *to);
/* A copy of all that training changes (parameters, running statistics, moments, average, steps, updates): its bytes;
   make it; set the network back to it. */
size_t fnn_net_bytes(const fnn_net *net);
void fnn_net_snapshot(const fnn_net *net, void *to);
int fnn_net_restore(fnn_net *net, const void *from);

/* From now on use exactly so many threads, even if other programs keep cores busy; 0: as many as pay. */
void fnn_net_force_threads(fnn_net *net, int threads);
/* How many threads to use for m samples, or for training with such batches (of 0 samples: for fnn_net_update): the
   forced number, else as many as pay; within 1..limit. */
int fnn_net_forward_threads(const fnn_net *net, ptrdiff_t m, int limit);
int fnn_net_train_threads(const fnn_net *net, ptrdiff_t batch, int limit);
/* The same for a call of many batches. It may be more: the call itself measures whether a team pays. */
int fnn_net_fit_threads(const fnn_net *net, ptrdiff_t batch, int limit);

/* In what follows X (n_0 x m) is of either dtype, FNN_UINT8, or FNN_SPARSE. */
/* out (n_L x m) = A[L]. Many threads may call it on one network. */
int fnn_net_predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X, ptrdiff_t m, int threads);
/* *total = sum of w_i L_i. Many threads may call it on one network. */
int fnn_net_loss(const fnn_net *net, double *total, const fnn_matrix *X, const fnn_targets *targets, ptrdiff_t m,
                 int threads);
/* *total = sum of w_i L_i; gradients[] = the gradient of the mean loss for the trained parameters of layer 0 (W, b,
   with a norm gamma and beta), then of layer 1, ... They are 0 if there is no sample, or every weight is 0. Many
   threads may call it on one network. */
int fnn_net_gradients(const fnn_net *net, double *total, const fnn_matrix *gradients, const fnn_matrix *X,
                      const fnn_targets *targets, ptrdiff_t m, int threads);
/* The same as the next update of fnn_net_train would have it, with the m samples as its batch: with dropout, and with
   the statistics of this batch in batch norm. It changes nothing. */
int fnn_net_training_gradients(const fnn_net *net, double *total, const fnn_matrix *gradients, const fnn_matrix *X,
                               const fnn_targets *targets, ptrdiff_t m, uint64_t mask_seed, int threads);
/* From dA (n_L x m, either dtype), the derivatives of each sample's w_i L_i by the outputs, where the sum of w_i is
   `weight`: gradients[] as fnn_net_gradients gives them, and dX (n_0 x m), the derivatives of each sample's w_i L_i by
   X, unless it is NULL. With in_training as fnn_net_training_gradients. in_training = FNN_MOVES_RUNNING does that, too,
   and moves the running statistics of batch norm as that update does: then no other call may use the network
   meanwhile. */
#define FNN_MOVES_RUNNING 2
int fnn_net_backward(const fnn_net *net, const fnn_matrix *gradients, const fnn_matrix *dX, const fnn_matrix *X,
                     const fnn_matrix *dA, ptrdiff_t m, double weight, int in_training, uint64_t mask_seed,
                     int threads);
/* A (n_L x m) = the outputs as the next update of fnn_net_train would have them, with the m samples as its batch. */
int fnn_net_training_outputs(const fnn_net *net, const fnn_matrix *A, const fnn_matrix *X, ptrdiff_t m,
                             uint64_t mask_seed, int threads);
/* out (n x m) = gamma zhat + beta of a layer with a norm, from its Z (n x m), with the running statistics. */
int fnn_net_normalise(const fnn_net *net, int layer, const fnn_matrix *out, const fnn_matrix *Z, ptrdiff_t m);

/* What is measured of a layer in a step. A frozen layer has no gradient (NaN), and its update is 0. */
enum fnn_diagnostic {
  FNN_GRADIENT_NORM, /* of dW and db (with a norm dgamma and dbeta) together; after clip_value, before clip_norm */
  FNN_UPDATE_NORM,   /* of the change of W */
  FNN_WEIGHT_NORM,   /* of W after it */
  FNN_QUIET_UNITS,   /* the share of units that are 0 (relu), or whose slope is below 1% of the largest (sigmoid, tanh),
                        for all samples, before dropout; NaN for other activations, and in the last layer */
  FNN_DIAGNOSTICS
};

/* A training call: first its settings, then its progress, which the call updates. */
typedef struct {
  size_t size;
  const fnn_optimizer *optimizer;
  ptrdiff_t batch;
  int shuffle;
  uint64_t seed;
  ptrdiff_t max_batches, max_epochs; /* where to stop */
  int cautious;                      /* make no update that could leave a weight or a moment not finite */
  int unchecked;                     /* do not check whether all are finite at the end: `finite` is 1 */
  int plain;                         /* gradients are stored before the update: the same bits, slower */
  uint32_t *order;                   /* m numbers, if shuffle; the caller keeps them between calls */
  int order_is_valid;                /* `order` is the order of this epoch */
  uint64_t epoch;
  ptrdiff_t position; /* samples of this epoch that are done */
  double loss_sum, weight_sum;
  int failed; /* the loss of a batch, sum of w_i L_i, was not finite; that batch made no update */
  int unsafe; /* cautious: a batch could have made a number not finite; it made no update, and training stopped */
  int finite; /* at the end all weights, moments and running statistics are finite */
  /* Two numbers, sum of w_i L_i and sum of w_i, for each epoch that ended. */
  double *ended;
  ptrdiff_t ended_count;
  const uint32_t *samples; /* NULL, or the m samples of X that an epoch visits: any, also more than once */
  uint64_t mask_seed;      /* of dropout */
  double *diagnostics;     /* NULL, or FNN_DIAGNOSTICS numbers for each layer, of the last batch of this call */
  /* For a learning rate that changes. The time of a batch is `time` + the epochs that ended in this call + the share of
     this epoch's samples that came before the batch. */
  double time;             /* at the call's start: epochs that ended with the optimizer's state */
  const double *rates;     /* NULL, or the learning rate of each batch of this call: it replaces lr and schedule */
  double *ended_rates;     /* NULL, or room for the learning rate of the last step of each epoch that ended */
  double rate;             /* the learning rate of the last step, of an earlier call if this one makes none */
  ptrdiff_t before, whole; /* if `whole` is not 0: X are samples `before`.. of an epoch of `whole` samples */
  /* What scikit-learn defines in another way than PyTorch; all of it is 0 otherwise. */
  double penalty;     /* penalty / 2 times the sum of the squares of all W is added to a batch's sum of w_i L_i, and so
                         to its loss and gradient; the optimizer has no weight_decay then, and is not adamw */
  double loss_factor; /* of all losses; 0: as 1 */
  int eps_with_v;     /* adam and its kind: eps is added to sqrt(v), before that is divided by sqrt(1 - beta2^t) */
  double reported_factor; /* of the losses in loss_sum and `ended`, instead of loss_factor; 0: as loss_factor */
  ptrdiff_t samples_step; /* `samples` of the next epoch lie so many numbers after those of this one; 0: the same */
} fnn_fit;

/* Whether all weights and moments are finite. */
int fnn_net_finite(fnn_net *net);
/* The mean loss of the first batch of the last training call, before its update; NaN if no batch made an update. */
double fnn_net_first_loss(const fnn_net *net);
/* Trains with mini-batches. Before that, fnn_net_start_optimizer must have given the network enough moments. */
int fnn_net_train(fnn_net *net, const fnn_matrix *X, const fnn_targets *targets, ptrdiff_t m, fnn_fit *fit,
                  int threads);

/* The next two make one update of fnn_net_train with a loss of the caller's own. begin_step computes the outputs A as
   fnn_net_training_outputs does, and keeps what the update needs; end_step makes the update from dA, which is as for
   fnn_net_backward, and from the same X. If the network changed in between, end_step returns FNN_REFUSED. After an
   unsafe step (fnn_fit.cautious) it can be called again. Of fnn_fit both end_step and update use optimizer, cautious,
   unchecked, plain, time, before and whole, and set failed, unsafe, finite and rate. end_step uses diagnostics, too, if
   begin_step took `notes` for them (not 0). */
int fnn_net_begin_step(fnn_net *net, const fnn_matrix *A, const fnn_matrix *X, ptrdiff_t m, uint64_t mask_seed,
                       int threads, int notes);
int fnn_net_end_step(fnn_net *net, const fnn_matrix *X, const fnn_matrix *dA, ptrdiff_t m, double weight, fnn_fit *fit,
                     int threads);
/* One update from the caller's gradients, which are as fnn_net_gradients gives them. Running statistics stay. */
int fnn_net_update(fnn_net *net, const fnn_matrix *gradients, fnn_fit *fit, int threads);
/* Whether a dW of this layer is written and read faster if its rows, not its columns, are in one piece each. */
int fnn_net_gradient_by_rows(const fnn_net *net, int layer);

/* --- the same functions without linking: a table of them, for packages that find fastnn at run time --- */

/* The public functions that packages may find at run time, by their names without fnn_. New ones are added at the end,
 * and so in fnn_api. */
/* clang-format off */
#define FNN_EACH_FUNCTION(F) \
  F(isa_total) F(isa_name) F(isa_available) F(isa_best) F(has_openmp) F(compiler) F(openmp_limit) \
  F(philox) F(permutation) \
  F(linear_forward) F(linear_backward) F(activation_forward) F(activation_backward) F(rowsum) \
  F(loss) F(shares) F(codes) F(within) F(optimizer_update) \
  F(net_new) F(net_free) F(net_width) F(net_set) F(net_get) \
  F(net_start_optimizer) F(net_slots) F(net_steps) F(net_set_steps) F(net_set_moment) F(net_get_moment) \
  F(net_bytes) F(net_snapshot) F(net_restore) F(net_force_threads) F(net_forward_threads) F(net_train_threads) \
  F(net_predict) F(net_loss) F(net_gradients) F(net_train) F(net_finite) \
  F(openmp_procs) F(magnitude) F(net_first_loss) F(net_fit_threads) \
  F(net_parameters) F(activation_row) F(loss_row) F(optimizer_row) F(abi_number) \
  F(net_updates) F(net_set_updates) \
  F(net_freeze) F(net_start_average) F(net_average_share) F(net_set_average) F(net_get_average) \
  F(schedule_row) \
  F(net_training_gradients) F(net_normalise) \
  F(net_backward) F(net_training_outputs) F(net_begin_step) F(net_end_step) F(net_update) \
  F(net_standardise)
/* clang-format on */

/* Raised when a function changes, or a struct changes in another way than by new members at its end. A larger table
   with the same abi can be used like this one. */
#define FASTNN_ABI 2

/* The functions above as pointers, written in plain C for any compiler. api.c does not compile unless their types are
   the same. */
typedef struct {
  uint32_t abi, size; /* FASTNN_ABI and bytes of the table, as it was compiled */
  int (*isa_total)(void);
  const char *(*isa_name)(int isa);
  int (*isa_available)(int isa);
  int (*isa_best)(void);
  int (*has_openmp)(void);
  const char *(*compiler)(void);
  int (*openmp_limit)(void);
  void (*philox)(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);
  void (*permutation)(uint32_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch);
  int (*linear_forward)(int isa, const fnn_matrix *out, const fnn_matrix *W, const fnn_matrix *A_prev,
                        const fnn_matrix *b, const fnn_spec *activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m,
                        int in_order, int threads);
  int (*linear_backward)(int isa, const fnn_matrix *dW, const fnn_matrix *db, const fnn_matrix *dA_prev,
                         const fnn_matrix *dZ, const fnn_matrix *A_prev, const fnn_matrix *W,
                         const fnn_spec *activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads);
  int (*activation_forward)(int isa, const fnn_matrix *out, const fnn_matrix *Z, const fnn_spec *activation,
                            ptrdiff_t n, ptrdiff_t m, int threads);
  int (*activation_backward)(int isa, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *x,
                             const fnn_spec *activation, ptrdiff_t n, ptrdiff_t m, int threads);
  int (*rowsum)(int isa, const fnn_matrix *out, const fnn_matrix *dZ, ptrdiff_t n, ptrdiff_t m, int threads);
  int (*loss)(int isa, double *losses, const fnn_matrix *dZ, const fnn_matrix *Z, const fnn_targets *targets,
              const fnn_spec *loss, ptrdiff_t n, ptrdiff_t m, int threads);
  double (*shares)(const double *x, ptrdiff_t m, double whole);
  int (*codes)(int32_t *codes, const void *from, int bytes, ptrdiff_t m, ptrdiff_t n);
  int (*within)(int isa, const void *x, int dtype, ptrdiff_t n, double high);
  int (*optimizer_update)(int isa, const fnn_optimizer *o, uint64_t t, const fnn_matrix *w, const fnn_matrix *moment_1,
                          const fnn_matrix *moment_2, const fnn_matrix *dw, ptrdiff_t n, ptrdiff_t m, int threads);
  fnn_net *(*net_new)(int isa, int dtype, ptrdiff_t n_in, int count, const fnn_layer *layers, const fnn_spec *loss);
  void (*net_free)(fnn_net *net);
  ptrdiff_t (*net_width)(const fnn_net *net, int l);
  int (*net_set)(fnn_net *net, int layer, int parameter, const fnn_matrix *from);
  int (*net_get)(const fnn_net *net, int layer, int parameter, const fnn_matrix *to);
  int (*net_start_optimizer)(fnn_net *net, int slots);
  int (*net_slots)(const fnn_net *net);
  uint64_t (*net_steps)(const fnn_net *net);
  void (*net_set_steps)(fnn_net *net, uint64_t steps);
  int (*net_set_moment)(fnn_net *net, int slot, int layer, int parameter, const fnn_matrix *from);
  int (*net_get_moment)(const fnn_net *net, int slot, int layer, int parameter, const fnn_matrix *to);
  size_t (*net_bytes)(const fnn_net *net);
  void (*net_snapshot)(const fnn_net *net, void *to);
  int (*net_restore)(fnn_net *net, const void *from);
  void (*net_force_threads)(fnn_net *net, int threads);
  int (*net_forward_threads)(const fnn_net *net, ptrdiff_t m, int limit);
  int (*net_train_threads)(const fnn_net *net, ptrdiff_t batch, int limit);
  int (*net_predict)(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X, ptrdiff_t m, int threads);
  int (*net_loss)(const fnn_net *net, double *total, const fnn_matrix *X, const fnn_targets *targets, ptrdiff_t m,
                  int threads);
  int (*net_gradients)(const fnn_net *net, double *total, const fnn_matrix *gradients, const fnn_matrix *X,
                       const fnn_targets *targets, ptrdiff_t m, int threads);
  int (*net_train)(fnn_net *net, const fnn_matrix *X, const fnn_targets *targets, ptrdiff_t m, fnn_fit *fit,
                   int threads);
  int (*net_finite)(fnn_net *net);
  int (*openmp_procs)(void);
  double (*magnitude)(int isa, const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m);
  double (*net_first_loss)(const fnn_net *net);
  int (*net_fit_threads)(const fnn_net *net, ptrdiff_t batch, int limit);
  int (*net_parameters)(const fnn_net *net, int layer);
  const char *(*activation_row)(int index);
  const char *(*loss_row)(int index);
  const char *(*optimizer_row)(int index);
  int (*abi_number)(void);
  uint64_t (*net_updates)(const fnn_net *net);
  void (*net_set_updates)(fnn_net *net, uint64_t updates);
  int (*net_freeze)(fnn_net *net, int layer, int frozen);
  int (*net_start_average)(fnn_net *net, double share);
  double (*net_average_share)(const fnn_net *net);
  int (*net_set_average)(fnn_net *net, int layer, int parameter, const fnn_matrix *from);
  int (*net_get_average)(const fnn_net *net, int layer, int parameter, const fnn_matrix *to);
  const char *(*schedule_row)(int index);
  int (*net_training_gradients)(const fnn_net *net, double *total, const fnn_matrix *gradients, const fnn_matrix *X,
                                const fnn_targets *targets, ptrdiff_t m, uint64_t mask_seed, int threads);
  int (*net_normalise)(const fnn_net *net, int layer, const fnn_matrix *out, const fnn_matrix *Z, ptrdiff_t m);
  int (*net_backward)(const fnn_net *net, const fnn_matrix *gradients, const fnn_matrix *dX, const fnn_matrix *X,
                      const fnn_matrix *dA, ptrdiff_t m, double weight, int in_training, uint64_t mask_seed,
                      int threads);
  int (*net_training_outputs)(const fnn_net *net, const fnn_matrix *A, const fnn_matrix *X, ptrdiff_t m,
                              uint64_t mask_seed, int threads);
  int (*net_begin_step)(fnn_net *net, const fnn_matrix *A, const fnn_matrix *X, ptrdiff_t m, uint64_t mask_seed,
                        int threads, int notes);
  int (*net_end_step)(fnn_net *net, const fnn_matrix *X, const fnn_matrix *dA, ptrdiff_t m, double weight, fnn_fit *fit,
                      int threads);
  int (*net_update)(fnn_net *net, const fnn_matrix *gradients, fnn_fit *fit, int threads);
  int (*net_standardise)(fnn_net *net, const double *x_mean, const double *x_scale, ptrdiff_t targets,
                         const double *y_mean, const double *y_scale, const double *a_scale, const double *a_shift);
} fnn_api;

const fnn_api *fnn_get_api(void);
/* FASTNN_ABI as the core was compiled. A caller that finds functions by name has to compare it with the interface that
   it was written for; fnn_abi_number itself exists since 2. */
int fnn_abi_number(void);
/* The address of the function fnn_<name>, for callers that do not use a C compiler; NULL if there is none. */
void *fnn_function(const char *name);

#ifdef Py_PYTHON_H
/* The table of the installed fastnn; on failure NULL, and a Python exception is set. The caller must hold the GIL. */
static inline const fnn_api *fastnn_import(void) {
  const fnn_api *api = (const fnn_api *)PyCapsule_Import("fastnn._core.C_API", 0);
  if (api && (api->abi != FASTNN_ABI || api->size < sizeof(fnn_api))) {
    PyErr_Format(PyExc_ImportError, "the installed fastnn has the C interface %d of %d bytes, wanted %d of at least %d",
                 (int)api->abi, (int)api->size, FASTNN_ABI, (int)sizeof(fnn_api));
    return NULL;
  }
  return api;
}
#endif

#ifdef __cplusplus
}
#endif
#endif
