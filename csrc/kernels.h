/* The table of one ISA: all that the layers above see of the kernels. Private; callers of the library see fastnn.h.

   Layouts. A buffer of activations is sample-major: row s is one sample, `ld` elements on from the last, its first n
   elements the units and the rest, up to a whole vector, padding. Weights of a layer are W^T cut into panels of nr
   columns (the last one narrower, whole vectors): panel p holds for each of the k rows its `width` columns in a row.
   Padding columns of weights, biases and dZ are 0. Kernels are serial; sizes are ptrdiff_t, counts of elements. */
#ifndef FNN_KERNELS_H
#define FNN_KERNELS_H
#include <stddef.h>
#include <stdint.h>

#include "fastnn.h"

/* With these sigmoid(NaN) would be 0, and sums would have other bits; contraction (-ffp-contract), which does the same
   to bits, tells no macro. */
#if defined(__FAST_MATH__) || __FINITE_MATH_ONLY__ || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__)
#error "fastnn cannot be compiled with -ffast-math, -Ofast or a part of them: take that out, or add -fno-fast-math"
#endif

#define FNN_INLINE static inline __attribute__((always_inline, unused))

/* One step of an optimizer: what all parameters share. */
typedef struct {
  int kind;
  double rate;  /* lr; for the Adams lr / (1 - beta1^t) */
  double keep;  /* factor on w before the step: 1 - lr weight_decay where that is decoupled, or plain SGD's */
  double decay; /* coupled weight decay, in the gradient */
  double momentum, beta1, beta2;
  double root; /* 1 / sqrt(1 - beta2^t) */
  double eps;
} fnn_update;

/* What is done to a tile of sums before it is stored. */
enum fnn_epilogue {
  FNN_FORWARD,  /* C = g(sum + bias)                      A by rows */
  FNN_BACKWARD, /* C = sum * g'(Z), from G = g(Z)         A by rows */
  FNN_UPDATE,   /* C, weights: an optimizer's step        A by columns */
  FNN_GRADIENT, /* as FNN_DENSE                           A by columns */
  FNN_DENSE,    /* C = g(scale sum + bias), any strides   A by rows */
  FNN_EPILOGUES
};

/* C (m x n) from A (m x k) and B (k x n): each element sums over k in order, whatever the tile it falls in. */
typedef struct {
  ptrdiff_t m, n, k;
  const void *A;
  ptrdiff_t a_step; /* by rows: from row to row, elements of a row adjacent; by columns: from k to k, rows adjacent */
  const uint32_t *order; /* NULL, or which sample is row i (by rows) or k (by columns); not for FNN_GRADIENT */
  const void *B;
  ptrdiff_t b_panel, b_k; /* from panel to panel, from k to k; b_k 0: the panel's width */
  void *C;
  ptrdiff_t c_row, c_panel; /* c_row 0: the panel's width; dense: c_panel is the step from column to column */
  const void *bias;         /* forward: n, padded; dense: NULL or that */
  const void *row_bias;     /* dense: NULL, or m */
  const void *G;            /* FNN_BACKWARD: m x n, strides of C */
  int activation;           /* FNN_FORWARD, FNN_BACKWARD; softmax is left to the row functions; dense: relu alone */
  double scale;
  int go_on;                /* dense: C holds the sums of earlier terms, whole blocks of them */
  const fnn_update *update; /* FNN_UPDATE */
  void *moment[2];          /* FNN_UPDATE: laid out as C */
  void *transposed;         /* FNN_UPDATE: a copy of C by panels the other way, kept up; or NULL */
  void *room;               /* FNN_UPDATE: for a copy of `chunk` rows of A, or NULL */
  const void *packed;       /* set within: that copy, of the rows from packed_row on */
  ptrdiff_t packed_row;
} fnn_product;

/* The last layer's end: from Z the loss of each sample and dZ, in place. */
typedef struct {
  int loss, activation;
  ptrdiff_t n;
  void *Z;
  ptrdiff_t ld;
  const int32_t *codes; /* NULL: Y */
  const void *Y;        /* rows x n, padded with 0 */
  ptrdiff_t y_ld;
  const double *weights; /* NULL: 1 */
  double *losses;        /* w_i L_i */
  void *scratch;         /* two padded rows, of this caller alone */
} fnn_head;

typedef struct {
  ptrdiff_t size;       /* bytes of an element */
  ptrdiff_t vl, mr, nr; /* elements of a vector, rows of a tile, columns of a panel */
  ptrdiff_t chunk;      /* rows of C that are done panel after panel, at most */
  int packs;            /* dW may use room for a copy of so many rows of A */
  /* Rows i0..i1 and panels p0..p1 of C. */
  void (*product)(const fnn_product *p, int epilogue, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1);
  /* The dense epilogues for n = 1, with B of adjacent elements: rows i0..i1. */
  void (*matvec)(const fnn_product *p, int epilogue, ptrdiff_t i0, ptrdiff_t i1);
  /* sums[j] = scale * sum over rows of dZ[row][j], for n columns padded. With rowsum_room(rows, n) bytes of room, on a
     cache line, it reads long strips of them also where there are many rows; without (NULL) shorter ones. 0 bytes: that
     makes no difference. */
  void (*rowsum)(void *sums, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n, double scale, void *room);
  ptrdiff_t (*rowsum_room)(ptrdiff_t rows, ptrdiff_t n);
  /* out[row * step] = scale * sum of row `row` of dZ, n elements exactly. */
  void (*sums_along)(void *out, ptrdiff_t step, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n,
                     double scale);
  /* An optimizer's step on n parameters, padded, with their moments and gradients. */
  void (*update)(const fnn_update *u, void *b, void *m1, void *m2, const void *db, ptrdiff_t n);
  /* out = g(in), row by row; in place too. */
  void (*activation)(void *out, ptrdiff_t ld_out, const void *in, ptrdiff_t ld, int g, ptrdiff_t rows, ptrdiff_t n);
  /* out = dA * g'(Z) from A = g(Z), row by row; in place too. */
  void (*derivative)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A, ptrdiff_t ld_A, int g,
                     ptrdiff_t rows, ptrdiff_t n);
  /* Softmax over the rows of n, and its dZ, where samples are the columns: whole vectors of them. */
  void (*softmax_down)(void *out, ptrdiff_t ld_out, const void *Z, ptrdiff_t ld, ptrdiff_t n, ptrdiff_t columns);
  void (*softmax_slope_down)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A,
                             ptrdiff_t ld_A, ptrdiff_t n, ptrdiff_t columns);
  /* dZ over Z, and losses; returns 0 if a loss is not finite. */
  int (*head)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1);
  /* Of values y, not of the cross-entropy over units: dZ, and what a sample's loss is the sum of. */
  void (*residual)(void *out, const void *Z, const void *Y, int loss, ptrdiff_t n);
  void (*terms)(double *out, const void *Z, const void *Y, int loss, ptrdiff_t n);
  int (*within)(const void *x, ptrdiff_t n, double high);
  /* Samples first.. of a matrix (n x m, either dtype) into rows of a buffer, padded with 0; through `order` if there.
   */
  void (*gather)(void *to, ptrdiff_t ld, const fnn_matrix *from, const uint32_t *order, ptrdiff_t first, ptrdiff_t rows,
                 ptrdiff_t n);
  /* Rows of a buffer to samples first.. of a matrix (n x m, this dtype). */
  void (*scatter)(const fnn_matrix *to, ptrdiff_t first, const void *from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n);
  /* A matrix (k x n) of any strides, this dtype, into panels, and back. */
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
#endif
