/* The interface of the kernels: the table of functions of one instruction set (ISA) and dtype, and the structs that
   these functions take. This is all that the other files see of the kernels. Private; callers of the library see
   fastnn.h.

   Layouts. In a buffer of activations each row is one sample: n units, then padding up to a whole vector; rows begin
   `ld` elements apart. The weights of a layer are W^T, cut into panels of nr columns. The last panel may be narrower,
   but is whole vectors. A panel holds k rows, one after the other, of `width` columns. The padding columns of weights,
   biases and dZ are 0. A kernel uses no threads of its own. Sizes are ptrdiff_t and count elements. */
#ifndef FNN_KERNELS_H
#define FNN_KERNELS_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fastnn.h"

/* With these options sigmoid(NaN) would be 0, and sums would get other bits. Contraction (-ffp-contract) changes bits,
   too, but there is no macro that tells of it. */
#if defined(__FAST_MATH__) || __FINITE_MATH_ONLY__ || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__)
#error "fastnn cannot be compiled with -ffast-math, -Ofast or a part of them: take that out, or add -fno-fast-math"
#endif

#define FNN_INLINE static inline __attribute__((always_inline, unused))

/* --- the columns of the lists in fastnn.h, as enums and look-ups --- */

enum fnn_place {
  FNN_IN_TILE,
  FNN_AFTER_TILE,
  FNN_WHOLE_ROWS
};
enum fnn_slope {
  FNN_FROM_A,
  FNN_FROM_Z
};
enum fnn_form {
  FNN_UNITS_OF_Z,
  FNN_UNITS_OF_A,
  FNN_ROWS_OF_Z,
  FNN_ROWS_OF_A
};
enum fnn_targets_kind {
  FNN_PROBABILITIES,
  FNN_CLASSES,
  FNN_VALUES,
  FNN_COUNTS,
  FNN_ONE_VALUE,
  FNN_MEANS
};

/* A network never keeps Z of a layer whose activation needs whole rows. */
#define ONE(NAME, name, PLACE, SLOPE, PARAMETERS)                                                                      \
  _Static_assert(FNN_##PLACE != FNN_WHOLE_ROWS || FNN_##SLOPE == FNN_FROM_A, #name ": WHOLE_ROWS needs FROM_A");
FNN_EACH_ACTIVATION(ONE)
#undef ONE

static inline enum fnn_place fnn_place_of(const fnn_spec *g) {
#define ONE(NAME, name, PLACE, SLOPE, PARAMETERS) FNN_##PLACE,
  static const unsigned char places[] = {FNN_EACH_ACTIVATION(ONE)};
#undef ONE
  return (enum fnn_place)places[g->kind];
}

static inline enum fnn_slope fnn_slope_of(const fnn_spec *g) {
#define ONE(NAME, name, PLACE, SLOPE, PARAMETERS) FNN_##SLOPE,
  static const unsigned char slopes[] = {FNN_EACH_ACTIVATION(ONE)};
#undef ONE
  return (enum fnn_slope)slopes[g->kind];
}

#define FNN_ANY (-1)
/* The activation that the last layer must have for a loss; FNN_ANY: it may have any. */
static inline int fnn_output_of(const fnn_spec *loss) {
#define ONE(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS) FNN_##OUTPUT,
  static const signed char outputs[] = {FNN_EACH_LOSS(ONE)};
#undef ONE
  return outputs[loss->kind];
}

static inline enum fnn_form fnn_form_of(const fnn_spec *loss) {
#define ONE(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS) FNN_##FORM,
  static const unsigned char forms[] = {FNN_EACH_LOSS(ONE)};
#undef ONE
  return (enum fnn_form)forms[loss->kind];
}

/* Whether a loss is a sum over units of a function of single units. */
static inline int fnn_is_of_units(const fnn_spec *loss) {
  return fnn_form_of(loss) == FNN_UNITS_OF_Z || fnn_form_of(loss) == FNN_UNITS_OF_A;
}

static inline enum fnn_targets_kind fnn_targets_of(const fnn_spec *loss) {
#define ONE(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS) FNN_##TARGETS,
  static const unsigned char kinds[] = {FNN_EACH_LOSS(ONE)};
#undef ONE
  return (enum fnn_targets_kind)kinds[loss->kind];
}

/* The rows of Y for a loss of n units. */
static inline ptrdiff_t fnn_target_rows(const fnn_spec *loss, ptrdiff_t n) {
  const enum fnn_targets_kind kind = fnn_targets_of(loss);
  return kind == FNN_ONE_VALUE ? 1 : kind == FNN_MEANS ? n / 2 : n;
}

/* Whether a loss can have n units. */
static inline int fnn_fits_units(const fnn_spec *loss, ptrdiff_t n) {
  return fnn_targets_of(loss) != FNN_MEANS || n % 2 == 0;
}

enum fnn_step_form {
  FNN_BY_SUM,
  FNN_BY_QUOTIENT,
  FNN_BY_ROOT
};

static inline enum fnn_step_form fnn_step_of(int optimizer) {
#define ONE(NAME, name, SLOTS, STEP) FNN_##STEP,
  static const unsigned char forms[] = {FNN_EACH_OPTIMIZER(ONE)};
#undef ONE
  return (enum fnn_step_form)forms[optimizer];
}

static inline int fnn_slots_of(int optimizer) {
#define ONE(NAME, name, SLOTS, STEP) SLOTS,
  static const unsigned char slots[] = {FNN_EACH_OPTIMIZER(ONE)};
#undef ONE
  return slots[optimizer];
}

static const fnn_spec fnn_identity = {FNN_IDENTITY, {0}};

/* The numbers of one step of an optimizer, the same for all parameters. */
#define FNN_STORE (-1) /* a kind that is no optimizer: the sums are stored in place of the parameters */
typedef struct {
  int kind;
  int at_once;        /* scaled_rate is not too large for the network's dtype, and may be used */
  double scale;       /* the gradient is scale times the sums that are given: 1, or 1 / the weight of the batch */
  double rate;        /* lr; for adam and adamw lr / (1 - beta1^t); for adagrad lr / (1 + (t - 1) lr_decay) */
  double scaled_rate; /* rate * scale */
  double keep;        /* 1 - lr weight_decay: sgd and adamw multiply w by it before the step */
  double decay;       /* weight_decay: all but sgd and adamw add decay * w to the gradient */
  double momentum, beta1, beta2;
  double root; /* 1 / sqrt(1 - beta2^t) */
  double eps;
  double of_gradient, of_moment; /* nadam: what moves is of_gradient * g + of_moment * m */
  int mends;                     /* clip_value or l1 is not 0 */
  double clip_value, shrink, l1; /* the gradient is shrink * (scale * sum, cut to +-clip_value) + l1 sign(w) */
} fnn_update;

/* Squares of gradients are added in blocks of so many. */
#define FNN_SQUARES 1024
/* For `squares` of numbers that are no gradients. */
#define FNN_AS_THEY_ARE (&(const fnn_update){.scale = 1, .clip_value = INFINITY})
static inline ptrdiff_t fnn_squares(ptrdiff_t n) { return (n + FNN_SQUARES - 1) / FNN_SQUARES; }

/* The factors of a product, A (m x k) and B (k x n). Each element of A B is a sum over k in a fixed order, the same in
   every tile. A lies by rows (elements of a row are adjacent) or by columns: that depends on the kernel. */
typedef struct {
  ptrdiff_t m, n, k;
  const void *A;
  ptrdiff_t a_step;      /* from row to row; if A lies by columns, from column to column */
  const uint32_t *order; /* NULL, or row i of A (by columns: column k) is sample order[i] */
  const void *B;
  int b_in_panels;  /* B is in panels of its columns; else its rows are `b_step` apart */
  ptrdiff_t b_step; /* from k to k, where it is not in panels */
} fnn_factors;

/* A (m x n) = g(product + bias), rows `row_step` apart. An activation of whole rows (softmax) is left to the caller. */
typedef struct {
  fnn_factors factors; /* of the product; its A lies by rows */
  void *A;
  void *S; /* NULL, or where the slopes g'(Z) are stored, laid out as A */
  ptrdiff_t row_step;
  const void *bias; /* n, padded */
  fnn_spec g;
} fnn_forward;

/* dZ (m x n) = product * g'(Z), where g'(Z) comes from A = g(Z) or from S. Rows of dZ, A and S are `row_step` apart. */
typedef struct {
  fnn_factors factors; /* of the product; its A lies by rows */
  void *dZ;
  ptrdiff_t row_step;
  const void *A;
  const void *S; /* the slopes g'(Z); NULL: they are computed from A */
  fnn_spec g;    /* of relu the parameter is the slope where A > 0: with dropout the factor of a unit that is kept */
} fnn_backward;

/* An optimizer's step of the weights W (m x n, in panels); the gradient is update->scale * product. */
typedef struct {
  fnn_factors factors; /* of the product; its A lies by columns */
  void *W;
  void *moment[2];          /* laid out as W */
  void *copy;               /* NULL, or a copy of W in panels of its transpose, which is updated too */
  const fnn_update *update; /* the optimizer and its numbers */
  void *room;               /* NULL, or room for a copy of `chunk` rows of A */
  const void *packed;       /* set by the kernel: this copy; it begins with row packed_row */
  ptrdiff_t packed_row;
} fnn_weights;

/* What standardises a sparse X without filling it: X = S + zeros 1^T. Of most features a number x becomes x * inverse
   in S, and all that its zeros became is in `zeros`: so Z = W S + (b + W zeros), and dW m = dZ S^T + rowsum(dZ)
   zeros^T. The `dense` features, whose mean is not small beside their spread, would lose digits by that. Of these S has
   (x - mean) * inverse of all samples, and `zeros` has 0. */
typedef struct {
  const double (*of)[2]; /* for each feature what is subtracted from a number, and by what it is multiplied then */
  const void *zeros;     /* n_0 */
  const int32_t *dense;  /* these ascend */
  ptrdiff_t dense_count;
} fnn_sparse_standard;

/* A sparse X as kernels read it. */
typedef struct {
  fnn_sparse lists;
  const fnn_sparse_standard *standard; /* NULL: X is not standardised */
} fnn_sparse_input;

/* The gradient dW^T (m features x n units, in panels) of the first layer, where X is sparse: factors.A is a
   fnn_sparse_input of the k samples, factors.B is dZ. `heads`: for each feature where the list of its numbers in the
   batch begins in `terms`, from 1 on; 0: it has none. All heads are 0 between two batches. */
typedef struct {
  fnn_factors factors;
  int32_t *heads;
  int32_t *found; /* room for the features that occur in the batch */
  void *terms;    /* FNN_TERM_BYTES for each number of the batch */
} fnn_by_features;
#define FNN_TERM_BYTES 16

/* C (m x n, any steps) = g(scale * product + bias), where g is an activation IN_TILE. */
typedef struct {
  fnn_factors factors; /* A lies by rows or by columns: there is a kernel for each; `order` is NULL */
  void *C;
  ptrdiff_t row_step, column_step;
  const void *bias;     /* NULL, or n, padded */
  const void *row_bias; /* NULL, or m */
  fnn_spec g;
  double scale;
  int adds_to_C; /* C holds the sums of earlier terms (whole blocks), and this product is added to them */
} fnn_dense;

/* The head is the end of the forward pass and the start of the backward one: the loss of each sample is computed from
   the last layer's Z, and Z becomes dZ, in place. */
#define FNN_HEAD_ROWS 3
typedef struct {
  fnn_spec loss, activation;
  ptrdiff_t n;
  void *Z;
  ptrdiff_t ld;
  const int32_t *codes;  /* the classes; NULL: the targets are Y */
  const void *Y;         /* rows x fnn_target_rows(n), laid out as Z, padded with 0 */
  const double *weights; /* NULL: all are 1 */
  const double *levels;  /* of quantile, as in fnn_targets */
  double *losses;        /* w_i L_i */
  void *scratch;         /* FNN_HEAD_ROWS padded rows that no other thread uses */
} fnn_head;

/* Outputs A of a layer with dropout: some become 0, the others are divided by the share that is kept. */
#define FNN_DROPS 65536
typedef struct {
  void *A;
  void *S;       /* NULL, or the slopes, laid out as A, which are multiplied too */
  int activates; /* A holds Z, and S nothing: g is applied first */
  fnn_spec g;
  ptrdiff_t row_step, n;
  uint32_t dropped; /* so many of FNN_DROPS */
} fnn_drop;
static inline double fnn_kept_factor(uint32_t dropped) { return FNN_DROPS / (double)(FNN_DROPS - dropped); }

/* A layer with a norm: zhat = (Z - mean) * rstd, A = g(gamma * zhat + beta), where rstd is 1 / sqrt(var + eps). Each
   row is one sample. Sums over the samples of a batch are made of the sums of blocks of `block` rows, the last one
   shorter: so they do not depend on which thread has which rows. Sums of blocks are two rows for each block, `padded`
   apart. */
typedef struct {
  ptrdiff_t m, n, padded;
  ptrdiff_t row_step; /* of Z, zhat, A, S and dZ */
  ptrdiff_t block;
  const void *Z;
  void *zhat; /* NULL: it is not kept. It may be Z, and so may A */
  void *A, *S;
  fnn_spec g; /* one of whole rows is left to the caller */
  const void *gamma, *beta;
  void *mean, *var, *rstd; /* batch norm: of each unit */
  void *sums;              /* batch norm: dgamma / m and dbeta / m; NULL: mean and rstd did not come from this batch */
  void *row_rstd;          /* layer norm: of each sample; NULL: it is not kept */
  void *blocks; /* of each block mean of Z, and sum of (Z - mean)^2; NULL: mean and rstd did not come from them */
  void *dZ;     /* dY, the derivative by gamma zhat + beta, and then dZ in its place */
  void *back;   /* of each block sum of dY * zhat, and sum of dY */
} fnn_norm;

#define FNN_DRAWS 128 /* random places that are drawn at a time */

/* What makes x of a row of n numbers (x - mean) * inverse. mean is NULL: x stays as it is. */
typedef struct {
  const double *mean, *inverse;
} fnn_standard;

typedef struct {
  ptrdiff_t size;       /* bytes of an element */
  ptrdiff_t vl, mr, nr; /* elements of a vector, rows of a tile, columns of a panel */
  ptrdiff_t chunk;      /* at most so many rows of the result are done before the next ones, panel after panel */
  int packs;            /* whether update_weights can use room for a copy of `chunk` rows of A */
  /* Products: rows i0..i1 and panels p0..p1 of the result. */
  void (*forward)(const fnn_forward *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  void (*backward)(const fnn_backward *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  void (*update_weights)(const fnn_weights *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  void (*dense_rows)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  void (*dense_columns)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  /* The product `forward` where factors.A is a fnn_sparse_input. */
  void (*sparse_forward)(const fnn_forward *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  /* Makes the lists of the features k0..k1; found[k0].. become those that occur, and it returns how many they are. */
  ptrdiff_t (*link)(const fnn_by_features *p, ptrdiff_t k0, ptrdiff_t k1);
  /* sums = rows k0..k1 of one panel of dW^T. */
  void (*feature_sums)(const fnn_by_features *p, void *sums, ptrdiff_t k0, ptrdiff_t k1, ptrdiff_t panel);
  /* sums += zeros sums_of_dZ^T, for `rows` features of one panel: the part of dW^T that a standardised X's zeros make.
   */
  void (*add_zeros)(void *sums, const void *zeros, const void *sums_of_dZ, ptrdiff_t rows, ptrdiff_t width);
  /* The largest |x| of row i of factors.A, a fnn_sparse_input; INFINITY if one is not finite. */
  double (*sparse_magnitude)(const fnn_factors *f, ptrdiff_t i);
  /* Multiplies n numbers, padded. */
  void (*rescale)(void *x, double scale, ptrdiff_t n);
  /* SGD's step of `count` features, which is one that leaves a weight whose gradient is 0 as it is. */
  void (*move_features)(const fnn_by_features *p, const fnn_update *u, void *W, const int32_t *features,
                        ptrdiff_t count);
  /* Copies rows i0..i1, panels p0..p1, of the weights W (m x n, in panels) into panels of the transpose of W. i0 is a
     multiple of vl, and so is i1, if it is not m. */
  void (*turn)(void *copy, const void *W, ptrdiff_t m, ptrdiff_t n, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0,
               ptrdiff_t p1);
  /* Dense products for n = 1; the elements of B are adjacent. */
  void (*matvec_rows)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1);
  void (*matvec_columns)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1);
  /* sums[j] = scale * sum over rows of dZ[row][j], for n columns and their padding. `room` has rowsum_room(rows, n)
     bytes and begins on a cache line: with it the kernel reads long strips even of many rows. It may be NULL:
     then strips are shorter. If rowsum_room is 0, `room` makes no difference. */
  void (*rowsum)(void *sums, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n, double scale, void *room);
  ptrdiff_t (*rowsum_room)(ptrdiff_t rows, ptrdiff_t n);
  /* out[row * step] = scale * sum of row `row` of dZ, n elements exactly. */
  void (*sums_along)(void *out, ptrdiff_t step, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n,
                     double scale);
  /* An optimizer's step on n parameters, padded, with their moments and the gradients u->scale * sums. */
  void (*update)(const fnn_update *u, void *w, void *moment_1, void *moment_2, const void *sums, ptrdiff_t n);
  /* squares[i] = the sum of the squares of block i of n gradients, which are as for `update`, before `shrink` and l1.
   */
  void (*squares)(const fnn_update *u, double *squares, const void *sums, ptrdiff_t n);
  /* average = share * average + (1 - share) * w, for whole vectors of n elements. */
  void (*average)(void *average, const void *w, double share, ptrdiff_t n);
  /* A = g(Z), row by row; in place too. */
  void (*activation)(void *A, ptrdiff_t ld_out, const void *Z, ptrdiff_t ld, const fnn_spec *g, ptrdiff_t rows,
                     ptrdiff_t n);
  /* dZ = dA * g'(Z), row by row; in place too. x is A = g(Z), or Z if g's slope is FROM_Z. */
  void (*derivative)(void *dZ, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *x, ptrdiff_t ld_x,
                     const fnn_spec *g, ptrdiff_t rows, ptrdiff_t n);
  /* Softmax, and its dZ, of samples that are the columns of n rows; `columns` is a multiple of vl. */
  void (*softmax_of_columns)(void *out, ptrdiff_t ld_out, const void *Z, ptrdiff_t ld, ptrdiff_t n, ptrdiff_t columns);
  void (*softmax_slope_of_columns)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A,
                                   ptrdiff_t ld_A, ptrdiff_t n, ptrdiff_t columns);
  /* The end of forward and the start of backward: losses and dZ of rows i0..i1. */
  void (*head)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1);
  /* dZ, and L of each unit, for losses that are sums over units; for a loss of form UNITS_OF_A the output activation is
     identity. */
  void (*loss_derivatives)(void *dZ, const void *Z, const void *Y, const fnn_spec *loss, ptrdiff_t n);
  void (*loss_values)(double *L, const void *Z, const void *Y, const fnn_spec *loss, ptrdiff_t n);
  int (*within)(const void *x, ptrdiff_t n, double high);
  /* Copies `rows` samples of a matrix (n x m, of any dtype that X may have) to rows of a buffer, padded with 0: the
     samples first.., or order[first].. if `order` is not NULL. standardise: (x - mean) * inverse of each x. */
  void (*gather)(void *to, ptrdiff_t ld, const fnn_matrix *from, const uint32_t *order, ptrdiff_t first, ptrdiff_t rows,
                 ptrdiff_t n);
  void (*standardise)(void *to, ptrdiff_t ld, const fnn_matrix *from, const uint32_t *order, ptrdiff_t first,
                      ptrdiff_t rows, ptrdiff_t n, const fnn_standard *s);
  /* Rows of n units become A * scale + shift, computed in double. */
  void (*to_units)(void *A, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n, const double *scale, const double *shift);
  /* Copies rows of a buffer to the samples first.. of a matrix (n x m, this dtype). */
  void (*scatter)(const fnn_matrix *to, ptrdiff_t first, const void *from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n);
  /* Copies a matrix (k x n) of any steps and of this dtype to panels, and back. */
  void (*pack)(void *panels, const fnn_matrix *from, ptrdiff_t k, ptrdiff_t n);
  void (*unpack)(const fnn_matrix *to, const void *panels, ptrdiff_t k, ptrdiff_t n);
  /* For a shuffle: FNN_DRAWS words of Philox, whose counters begin with (first, 0, c2, c3), and from word i a place in
     0..bound-i-1. Returns whether the shuffle has to check for words that must be rejected. */
  int (*draw)(uint32_t *places, uint32_t *words, uint32_t first, uint32_t bound, const uint32_t c2_and_c3[2],
              const uint32_t key[2]);
  /* Dropout of rows i0..i1 and units j0..j1, where row i is the sample at place i of the batch. The counters of Philox
     end with c2 and c3. */
  void (*drop)(const fnn_drop *d, const uint32_t c2_and_c3[2], const uint32_t key[2], ptrdiff_t i0, ptrdiff_t i1,
               ptrdiff_t j0, ptrdiff_t j1);
  /* Norms. Rows begin and end at blocks, columns j0..j1 at vectors. Most work on a part of a batch,
     and what they make of an element does not depend on the part.
     layer_norm: A (and zhat, row_rstd, S) of rows. batch_norm: the same of rows and columns. */
  void (*layer_norm)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1);
  void (*batch_norm)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1);
  /* The statistics of batch norm: of blocks of rows; then of all blocks: mean, the biased variance, and rstd. */
  void (*norm_blocks)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1);
  void (*norm_statistics)(const fnn_norm *p, ptrdiff_t j0, ptrdiff_t j1);
  /* Backward: the sums of blocks of rows; then of all blocks, times scale. */
  void (*norm_back_blocks)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1);
  void (*norm_back_sums)(const fnn_norm *p, void *dgamma, void *dbeta, double scale, ptrdiff_t j0, ptrdiff_t j1);
  /* dZ of rows. layer_norm_back sums up their blocks, too. */
  void (*layer_norm_back)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1);
  void (*batch_norm_back)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1);
  /* Moves running statistics of n units, padded, to those of a batch of m samples (mean NULL: not), and computes their
     rstd. */
  void (*move_running)(void *running_mean, void *running_var, void *running_rstd, const void *mean, const void *var,
                       ptrdiff_t m, ptrdiff_t n);
  /* The largest |x| of rows of n; INFINITY if one is not finite. */
  double (*magnitude)(const void *x, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n);
} fnn_kernels;

typedef struct {
  const char *name;
  int (*here)(void);                 /* whether this CPU has it */
  const fnn_kernels *const *kernels; /* by dtype */
} fnn_isa;

/* The ISAs that were compiled; the best one is the last. */
extern const fnn_isa fnn_isas[];
extern const int fnn_isa_count;

/* --- checks of what a caller gives: made once, in the public functions --- */
static inline int fnn_is_isa(int isa) { return isa >= 0 && isa < fnn_isa_count; }
static inline int fnn_is_dtype(int dtype) { return dtype == FNN_FLOAT32 || dtype == FNN_FLOAT64; }
static inline int fnn_is_dtype_of_X(int dtype) { return fnn_is_dtype(dtype) || dtype == FNN_UINT8; }
static inline int fnn_is_optimizer(int kind) { return kind >= 0 && kind < FNN_OPTIMIZERS; }
/* --- checks.c: a row of the list, with parameters that the row takes --- */
int fnn_is_activation(const fnn_spec *g);
int fnn_is_loss(const fnn_spec *loss);
/* Whether n numbers can be standardised by these: neither is there, or both, finite, and scales above 0. */
int fnn_is_standard(const double *mean, const double *scale, ptrdiff_t n);
/* Whether these matrices are of one dtype. */
int fnn_have_one_dtype(const fnn_matrix *const *all, int count);
#define FNN_HAVE_ONE_DTYPE(...)                                                                                        \
  fnn_have_one_dtype((const fnn_matrix *const[]){__VA_ARGS__},                                                         \
                     (int)(sizeof((const fnn_matrix *const[]){__VA_ARGS__}) / sizeof(const fnn_matrix *)))
/* Whether these are targets of a loss: Y of either dtype, or codes of classes, unless Y has other rows than units. */
static inline int fnn_are_targets(const fnn_targets *targets, const fnn_spec *loss) {
  const enum fnn_targets_kind kind = fnn_targets_of(loss);
  return targets->codes ? kind != FNN_ONE_VALUE && kind != FNN_MEANS : fnn_is_dtype(targets->Y.dtype);
}
/* Copy a caller's struct, which begins with its size, into one of ours: members that the caller does not know are 0.
   Returns whether it has at least the members up to `last`, those of ABI 2. */
#define FNN_TAKE(ours, given, last)                                                                                    \
  fnn_take(&(ours), sizeof(ours), given, offsetof(__typeof__(ours), last) + sizeof((ours).last))
static inline int fnn_take(void *ours, size_t size, const void *given, size_t least) {
  size_t theirs;
  memcpy(&theirs, given, sizeof theirs);
  if (theirs < least) return 0;
  if (theirs < size) memset((char *)ours + theirs, 0, size - theirs);
  memcpy(ours, given, theirs < size ? theirs : size);
  return 1;
}

/* As FNN_TAKE, for a struct that is only read: without a copy if the caller's has all of our members. The struct, or
   NULL if it is too short; `room` is for a copy. */
#define FNN_TAKEN(room, given, last)                                                                                   \
  ((const __typeof__(room) *)fnn_taken(&(room), sizeof(room), given,                                                   \
                                       offsetof(__typeof__(room), last) + sizeof((room).last)))
static inline const void *fnn_taken(void *room, size_t size, const void *given, size_t least) {
  size_t theirs;
  memcpy(&theirs, given, sizeof theirs);
  if (theirs >= size) return given;
  return fnn_take(room, size, given, least) ? room : NULL;
}

/* *x, copied member by member. An assignment would read two members at once, and so wait until both have been written,
   by a caller that did it just before: 10 ns. */
static inline fnn_matrix fnn_same(const fnn_matrix *x) {
  return (fnn_matrix){x->data, x->row_step, x->column_step, x->dtype};
}

static inline ptrdiff_t fnn_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t fnn_round_up(ptrdiff_t n, ptrdiff_t step) { return (n + step - 1) / step * step; }
/* vl and nr are powers of two, so these need no divisions, which would be a good part of a small network's step. */
static inline ptrdiff_t fnn_padded(const fnn_kernels *K, ptrdiff_t n) { return (n + K->vl - 1) & -K->vl; }
static inline ptrdiff_t fnn_panels(const fnn_kernels *K, ptrdiff_t n) {
  return (n + K->nr - 1) >> __builtin_ctzll((unsigned long long)K->nr);
}
/* The distance `ld` of the rows of a buffer with n units: an odd number of cache lines, so that a column of the buffer
   is spread over all sets of the cache. */
static inline ptrdiff_t fnn_ld(const fnn_kernels *K, ptrdiff_t n) {
  const ptrdiff_t line = K->size == 4 ? 16 : 8;
  return ((n + line - 1) & -line) | line;
}
static inline void *fnn_at(const fnn_kernels *K, const void *p, ptrdiff_t i) { return (char *)p + i * K->size; }

/* Copies samples to rows of a buffer as K->gather does, standardised if there is a mean. */
static inline void fnn_read(const fnn_kernels *K, void *to, ptrdiff_t ld, const fnn_matrix *from, const uint32_t *order,
                            ptrdiff_t first, ptrdiff_t rows, ptrdiff_t n, const fnn_standard *s) {
  if (s->mean)
    K->standardise(to, ld, from, order, first, rows, n, s);
  else
    K->gather(to, ld, from, order, first, rows, n);
}

/* Calls K->head for `rows` samples from `first` on, with their codes and weights; if there are no codes, their targets
   are read into head.Y. */
static inline void fnn_take_losses(const fnn_kernels *K, fnn_head head, const fnn_targets *targets,
                                   const fnn_standard *of_targets, ptrdiff_t first, ptrdiff_t rows) {
  const ptrdiff_t n_y = fnn_target_rows(&head.loss, head.n);
  if (!targets->codes) fnn_read(K, (void *)head.Y, head.ld, &targets->Y, NULL, first, rows, n_y, of_targets);
  if (targets->codes) head.codes = targets->codes + first;
  if (targets->weights) head.weights = targets->weights + first;
  head.levels = targets->levels;
  K->head(&head, 0, rows);
}
#endif
