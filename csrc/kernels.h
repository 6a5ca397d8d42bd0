/* The table of one instruction set: all that the layers above see of the kernels. Private; callers of the library see
   fastnn.h.

   Layouts. A buffer of activations is sample-major: row s is one sample, `ld` elements on from the last, its first n
   elements the units and the rest, up to a whole vector, padding. Weights of a layer are W^T cut into panels of nr
   columns (the last one narrower, whole vectors): panel p holds for each of the k rows its `width` columns in a row.
   Padding columns of weights, biases and dZ are 0. Kernels are serial; sizes are ptrdiff_t, counts of elements. */
#ifndef FNN_KERNELS_H
#define FNN_KERNELS_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fastnn.h"

/* With these sigmoid(NaN) would be 0, and sums would have other bits; contraction (-ffp-contract), which does the same
   to bits, tells no macro. */
#if defined(__FAST_MATH__) || __FINITE_MATH_ONLY__ || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__)
#error "fastnn cannot be compiled with -ffast-math, -Ofast or a part of them: take that out, or add -fno-fast-math"
#endif

#define FNN_INLINE static inline __attribute__((always_inline, unused))

/* --- columns of the lists --- */

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
  FNN_ROWS_OF_Z
};

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

enum fnn_step_form {
  FNN_BY_SUM,
  FNN_BY_QUOTIENT
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

/* One step of an optimizer: what all parameters share. */
#define FNN_STORE (-1) /* no optimizer: what is given is kept in the place of the parameters */
typedef struct {
  int kind;
  int at_once;        /* scaled_rate is a number of the network's dtype */
  double scale;       /* the gradient is this times what is given: 1, or the sum over a batch times 1 / its weight */
  double rate;        /* lr; for the Adams lr / (1 - beta1^t) */
  double scaled_rate; /* rate * scale */
  double keep;        /* factor on w before the step: 1 - lr weight_decay where that is decoupled, or plain SGD's */
  double decay;       /* coupled weight decay, in the gradient */
  double momentum, beta1, beta2;
  double root; /* 1 / sqrt(1 - beta2^t) */
  double eps;
} fnn_update;

/* The factors of a product, A (m x k) and B (k x n): each element of A B is a sum over k in order, whatever the tile it
   falls in. A lies by rows (elements of a row are adjacent), or by columns, as the kernel says. */
typedef struct {
  ptrdiff_t m, n, k;
  const void *A;
  ptrdiff_t a_step;      /* from row to row; of A by columns from k to k */
  const uint32_t *order; /* NULL, or which sample is row i; of A by columns, which is column k */
  const void *B;
  int b_in_panels;  /* B is in panels of its columns; else its rows are `b_step` apart */
  ptrdiff_t b_step; /* from k to k, where it is not in panels */
} fnn_factors;

/* A (m x n) = g(of + bias), rows `row_step` apart, where g is done by tiles or after them; softmax is the caller's. */
typedef struct {
  fnn_factors of; /* A by rows */
  void *A;
  void *S; /* NULL, or where the slopes g'(Z) go, as A lies */
  ptrdiff_t row_step;
  const void *bias; /* n, padded */
  fnn_spec g;
} fnn_forward;

/* dZ (m x n) = of * g'(Z), from A = g(Z), or from the slopes: rows of all are `row_step` apart. */
typedef struct {
  fnn_factors of; /* A by rows */
  void *dZ;
  ptrdiff_t row_step;
  const void *A;
  const void *S; /* the slopes g'(Z); NULL: they are computed from A */
  fnn_spec g;
} fnn_backward;

/* An optimizer's step of the weights W (m x n, in panels) with the gradient update->scale * of. */
typedef struct {
  fnn_factors of; /* A by columns */
  void *W;
  void *moment[2];          /* laid out as W */
  void *copy;               /* of W by panels the other way, kept up; or NULL */
  const fnn_update *update; /* of which optimizer, and its numbers */
  void *room;               /* for a copy of `chunk` rows of A, or NULL */
  const void *packed;       /* set by the kernel: that copy, of the rows from packed_row on */
  ptrdiff_t packed_row;
} fnn_weights;

/* C (m x n, any steps) = g(scale of + bias), where g is done by tiles. */
typedef struct {
  fnn_factors of; /* A by rows, or by columns: there is a kernel for each; no order */
  void *C;
  ptrdiff_t row_step, column_step;
  const void *bias;     /* NULL, or n, padded */
  const void *row_bias; /* NULL, or m */
  fnn_spec g;
  double scale;
  int go_on; /* C holds the sums of earlier terms, whole blocks of them */
} fnn_dense;

/* The last layer's Z becomes dZ, in place, and gives the loss of each sample. */
typedef struct {
  fnn_spec loss, activation;
  ptrdiff_t n;
  void *Z;
  ptrdiff_t ld;
  const int32_t *codes;  /* NULL: Y */
  const void *Y;         /* rows x n, as Z lies, padded with 0 */
  const double *weights; /* NULL: 1 */
  double *losses;        /* w_i L_i */
  void *scratch;         /* two padded rows, of this caller alone */
} fnn_head;

typedef struct {
  ptrdiff_t size;       /* bytes of an element */
  ptrdiff_t vl, mr, nr; /* elements of a vector, rows of a tile, columns of a panel */
  ptrdiff_t chunk;      /* rows of C that are done panel after panel, at most */
  int packs;            /* dW may use room for a copy of so many rows of A */
  /* Products: rows i0..i1 and panels p0..p1 of the result. */
  void (*forward)(const fnn_forward *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  void (*backward)(const fnn_backward *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  void (*update_weights)(const fnn_weights *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  void (*dense_rows)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  void (*dense_columns)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  /* The copy of weights (m x n, in panels) by panels the other way: of rows i0..i1 and panels p0..p1. */
  void (*turn)(void *copy, const void *W, ptrdiff_t m, ptrdiff_t n, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0,
               ptrdiff_t p1);
  /* Dense products for n = 1, with B of adjacent elements. */
  void (*matvec_rows)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1);
  void (*matvec_columns)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1);
  /* sums[j] = scale * sum over rows of dZ[row][j], for n columns padded. With rowsum_room(rows, n) bytes of room, on a
     cache line, it reads long strips of them also where there are many rows; without (NULL) shorter ones. 0 bytes: that
     makes no difference. */
  void (*rowsum)(void *sums, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n, double scale, void *room);
  ptrdiff_t (*rowsum_room)(ptrdiff_t rows, ptrdiff_t n);
  /* out[row * step] = scale * sum of row `row` of dZ, n elements exactly. */
  void (*sums_along)(void *out, ptrdiff_t step, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n,
                     double scale);
  /* An optimizer's step on n parameters, padded, with their moments and the gradients u->scale * sums. */
  void (*update)(const fnn_update *u, void *w, void *moment_1, void *moment_2, const void *sums, ptrdiff_t n);
  /* A = g(Z), row by row; in place too. */
  void (*activation)(void *A, ptrdiff_t ld_out, const void *Z, ptrdiff_t ld, const fnn_spec *g, ptrdiff_t rows,
                     ptrdiff_t n);
  /* dZ = dA * g'(Z) from A = g(Z), row by row; in place too. */
  void (*derivative)(void *dZ, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A, ptrdiff_t ld_A,
                     const fnn_spec *g, ptrdiff_t rows, ptrdiff_t n);
  /* Softmax over the rows of n, and its dZ, where samples are the columns: whole vectors of them. */
  void (*softmax_down)(void *out, ptrdiff_t ld_out, const void *Z, ptrdiff_t ld, ptrdiff_t n, ptrdiff_t columns);
  void (*softmax_slope_down)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A,
                             ptrdiff_t ld_A, ptrdiff_t n, ptrdiff_t columns);
  /* The end of forward and the begin of backward, for rows i0..i1; returns 0 if a loss is not finite. */
  int (*head)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1);
  /* Of losses that are sums over units, with an identity output where they are functions of A: dZ, and each unit's L.
   */
  void (*loss_derivatives)(void *dZ, const void *Z, const void *Y, const fnn_spec *loss, ptrdiff_t n);
  void (*loss_values)(double *L, const void *Z, const void *Y, const fnn_spec *loss, ptrdiff_t n);
  int (*within)(const void *x, ptrdiff_t n, double high);
  /* Samples first.. of a matrix (n x m, either dtype) into rows of a buffer, padded with 0; through `order` if there.
   */
  void (*gather)(void *to, ptrdiff_t ld, const fnn_matrix *from, const uint32_t *order, ptrdiff_t first, ptrdiff_t rows,
                 ptrdiff_t n);
  /* Rows of a buffer to samples first.. of a matrix (n x m, this dtype). */
  void (*scatter)(const fnn_matrix *to, ptrdiff_t first, const void *from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n);
  /* A matrix (k x n) of any steps, this dtype, into panels, and back. */
  void (*pack)(void *panels, const fnn_matrix *from, ptrdiff_t k, ptrdiff_t n);
  void (*unpack)(const fnn_matrix *to, const void *panels, ptrdiff_t k, ptrdiff_t n);
  /* The largest |x| of rows of n; INFINITY if one is not finite. */
  double (*magnitude)(const void *x, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n);
} fnn_kernels;

typedef struct {
  const char *name;
  int (*here)(void);                 /* whether this CPU has it */
  const fnn_kernels *const *kernels; /* by dtype */
} fnn_isa;

/* Best last. */
extern const fnn_isa fnn_isas[];
extern const int fnn_isa_count;

/* --- the border: what a caller gives is checked once, where it comes in --- */
static inline int fnn_is_isa(int isa) { return isa >= 0 && isa < fnn_isa_count; }
static inline int fnn_is_dtype(int dtype) { return dtype == FNN_FLOAT32 || dtype == FNN_FLOAT64; }
static inline int fnn_is_optimizer(int kind) { return kind >= 0 && kind < FNN_OPTIMIZERS; }
/* --- checks.c: a row of the list, with parameters that the row takes --- */
int fnn_is_activation(const fnn_spec *g);
int fnn_is_loss(const fnn_spec *loss);
/* Whether these matrices are of one dtype. */
int fnn_have_one_dtype(const fnn_matrix *const *all, int count);
#define FNN_HAVE_ONE_DTYPE(...)                                                                                        \
  fnn_have_one_dtype((const fnn_matrix *const[]){__VA_ARGS__},                                                         \
                     (int)(sizeof((const fnn_matrix *const[]){__VA_ARGS__}) / sizeof(const fnn_matrix *)))
/* Whether these are targets: codes of classes, or Y of either dtype. */
static inline int fnn_are_targets(const fnn_targets *targets) {
  return targets->codes || fnn_is_dtype(targets->Y.dtype);
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

static inline ptrdiff_t fnn_at_most(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t fnn_up(ptrdiff_t n, ptrdiff_t step) { return (n + step - 1) / step * step; }
/* Of powers of two, vl and nr: divisions would be a good part of a small network's step. */
static inline ptrdiff_t fnn_padded(const fnn_kernels *K, ptrdiff_t n) { return (n + K->vl - 1) & -K->vl; }
static inline ptrdiff_t fnn_panels(const fnn_kernels *K, ptrdiff_t n) {
  return (n + K->nr - 1) >> __builtin_ctzll((unsigned long long)K->nr);
}
/* An odd number of cache lines, so that a column of a buffer does not fall into few sets of the cache. */
static inline ptrdiff_t fnn_ld(const fnn_kernels *K, ptrdiff_t n) {
  const ptrdiff_t line = K->size == 4 ? 16 : 8;
  return ((n + line - 1) & -line) | line;
}
static inline void *fnn_at(const fnn_kernels *K, const void *p, ptrdiff_t i) { return (char *)p + i * K->size; }

/* `head` for rows that are samples first.. : their targets go to its Y, where they are not codes. */
static inline void fnn_take_losses(const fnn_kernels *K, fnn_head head, const fnn_targets *targets, ptrdiff_t first,
                                   ptrdiff_t rows) {
  if (!targets->codes) K->gather((void *)head.Y, head.ld, &targets->Y, NULL, first, rows, head.n);
  if (targets->codes) head.codes = targets->codes + first;
  if (targets->weights) head.weights = targets->weights + first;
  K->head(&head, 0, rows);
}
#endif
