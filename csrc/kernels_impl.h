/* The bodies of the kernels, written once; an ISA's file includes this for float and for double.
   It is given REAL, INT, FNN_DOUBLE, FN(name) and FNN_VECTOR_BYTES, FNN_MR (rows of a register tile), FNN_MR_SINGLE (of
   one that is one vector wide), FNN_CHUNK_BYTES, FNN_WHOLE_SUMS, FNN_PACK_PANELS. */
#include <float.h>

#include "simd.h"

#define NR (2 * VL)   /* columns of a panel: a tile is FNN_MR rows of two vectors */
#define SUM_BLOCK 128 /* longer products sum in blocks of this: rounding grows with the length of a running sum */
#define STRIP 32      /* vectors of a row that rowsum takes at a time: long enough reads for the memory */
#define MOST_PAIRS 48 /* of runs: bits of their number */
#define SUM_RUN 16    /* rows that rowsum adds in turn, before it adds such runs in pairs */
#define PAIRS_ROOM (12288 / FNN_VECTOR_BYTES) /* vectors of sums that wait for their pairs: a stack may be small */
#define SUM_LANES 16 /* sums along a row run in this many lanes whatever the vector, for the same bits */
#define LANE_VECTORS (SUM_LANES / VL > 0 ? SUM_LANES / VL : 1)

/* --- functions of a vector --- */
#if FNN_DOUBLE
#define SIGN INT64_MIN
#define MANTISSA 52
#define BIAS 1023
#define EXP_TERMS 13                                /* of the Taylor series: 0.347^14 / 14! < 2^-53 */
#define LOG_TERMS 17                                /* of atanh's: (1/3)^34 / 35 < 2^-53 */
#define EXP_LOW -746.0                              /* exp is 0 from here down */
#define TANH_HIGH 19.5                              /* tanh is 1 from here up */
#define LN2_HIGH 0.69314718036912381649017333984375 /* 32 bits, so that n times it is exact */
#define LN2_LOW 1.90821492927058770002e-10
#else
#define SIGN INT32_MIN
#define MANTISSA 23
#define BIAS 127
#define EXP_TERMS 7
#define LOG_TERMS 8
#define EXP_LOW -104.0f
#define TANH_HIGH 9.0f
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#endif
#define LOG2E ((REAL)1.44269504088896340736)
/* Added to a number, it leaves the nearest integer in the low bits. */
#define ROUND ((REAL)(1.5 * (double)((int64_t)1 << MANTISSA)))

/* 1/k! as far as the series goes. */
static const REAL FN(inverse_factorial)[] = {
    1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

FNN_INLINE V FN(abs)(V x) { return (V)((VI)x & ~SIGN); }
FNN_INLINE V FN(power_of_two)(VI n) { return (V)((n + BIAS) << MANTISSA); }

/* exp(r) - 1 with x = n ln 2 + r, |r| <= ln 2 / 2, by its Taylor series. */
FNN_INLINE V FN(reduced_expm1)(V x, VI *n) {
  V t = FN(fma)(x, FN(set1)(LOG2E), FN(set1)(ROUND)), whole = t - ROUND;
  *n = (VI)t - (VI)FN(set1)(ROUND);
  V r = FN(fma)(whole, FN(set1)(-LN2_HIGH), x);
  r = FN(fma)(whole, FN(set1)(-LN2_LOW), r);
  V p = FN(set1)(FN(inverse_factorial)[EXP_TERMS]);
#pragma GCC unroll 16
  for (int i = EXP_TERMS - 1; i >= 1; i--) p = FN(fma)(p, r, FN(set1)(FN(inverse_factorial)[i]));
  return p * r;
}

/* exp(x) for x <= 0, gradually down to 0. */
FNN_INLINE V FN(exp)(V x) {
  VI n;
  V p = FN(reduced_expm1)(FN(at_least)(x, FN(set1)(EXP_LOW)), &n) + 1;
  VI half = n >> 1; /* 2^n alone may be too small to be written */
  return p * FN(power_of_two)(half) * FN(power_of_two)(n - half);
}

FNN_INLINE V FN(sigmoid)(V z) {
  V t = FN(exp)((V)((VI)z | SIGN));
  return FN(select)(z >= 0, FN(set1)(1), t) / (1 + t);
}

#if FNN_DOUBLE
/* By expm1, which keeps its digits near 0: tanh z = e / (e + 2) with e = exp(2 z) - 1. */
FNN_INLINE V FN(tanh)(V z) {
  VI n;
  V a = FN(at_most)(FN(abs)(z), FN(set1)(TANH_HIGH));
  V p = FN(reduced_expm1)(a + a, &n), s = FN(power_of_two)(n);
  V e = FN(fma)(s, p, s - 1);
  return (V)((VI)(e / (e + 2)) | ((VI)z & SIGN));
}
#else
/* tanh a = a P(a^2) / Q(a^2) for a within 0..9, P(0) = Q(0) = 1: the largest relative error made small by reweighted
   least squares, 6.2e-8, and 3e-7 with all roundings; in half the time that expm1 takes. */
static const float tanh_over[] = {1.0f, 0.129225014f, 0.00292413350f, 9.29541533e-6f, -1.28541608e-8f, 1.84186667e-11f},
                   tanh_under[] = {1.0f, 0.462558016f, 0.0237773634f, 0.000228547326f};

FNN_INLINE V FN(tanh)(V z) {
  V a = FN(at_most)(FN(abs)(z), FN(set1)(TANH_HIGH));
  V q = a * a, over = FN(set1)(tanh_over[5]), under = FN(set1)(tanh_under[3]);
#pragma GCC unroll 5
  for (int i = 4; i >= 0; i--) over = FN(fma)(over, q, FN(set1)(tanh_over[i]));
#pragma GCC unroll 3
  for (int i = 2; i >= 0; i--) under = FN(fma)(under, q, FN(set1)(tanh_under[i]));
  over *= a;
  over = FN(at_most)(over, under); /* |tanh| is at most 1 */
  return (V)((VI)(over / under) | ((VI)z & SIGN));
}
#endif

/* 2 atanh(s) = log((1 + s) / (1 - s)) for |s| <= 1/3. */
FNN_INLINE V FN(twice_atanh)(V s) {
  V q = s * s, p = FN(set1)((REAL)1 / (2 * LOG_TERMS - 1));
#pragma GCC unroll 20
  for (int i = LOG_TERMS - 2; i >= 0; i--) p = FN(fma)(p, q, FN(set1)((REAL)1 / (2 * i + 1)));
  return 2 * s * p;
}

/* log(1 + t) for t in 0..1. */
FNN_INLINE V FN(log1p)(V t) { return FN(twice_atanh)(t / (t + 2)); }

/* log(x) for a normal x > 0: x = 2^n f with f around 1. */
FNN_INLINE V FN(log)(V x) {
  VI root = (VI)FN(set1)((REAL)0.70710678118654752440), n = ((VI)x - root) >> MANTISSA;
  V f = (V)((VI)x - (n << MANTISSA)), w = __builtin_convertvector(n, V);
  V p = FN(twice_atanh)((f - 1) / (f + 1));
  V sum = FN(fma)(w, FN(set1)(LN2_HIGH), FN(fma)(w, FN(set1)(LN2_LOW), p));
  return FN(select)(x - x == 0, sum, x); /* inf and NaN are their own logarithm here */
}

/* A relu'd NaN stays NaN: the comparison is false and keeps z. */
FNN_INLINE V FN(relu)(V z) { return (V)(~(z <= 0) & (VI)z); }

FNN_INLINE V FN(activate)(int g, V z) {
  switch (g) {
  case FNN_SIGMOID: return FN(sigmoid)(z);
  case FNN_TANH: return FN(tanh)(z);
  case FNN_RELU: return FN(relu)(z);
  default: return z;
  }
}

/* g'(Z) from A = g(Z); relu' is 1 above 0, else 0 times A: 0, or NaN. */
FNN_INLINE V FN(slope)(int g, V a) {
  switch (g) {
  case FNN_SIGMOID: return a * (1 - a);
  case FNN_TANH: return (1 - a) * (1 + a);
  case FNN_RELU: return FN(select)(a > 0, FN(set1)(1), a * 0);
  default: return FN(set1)(1);
  }
}

/* Sum of the lanes of a row's partial sums, halving: the same tree for every vector width. */
FNN_INLINE REAL FN(sum_lanes)(const V *lanes) {
  REAL x[LANE_VECTORS * VL];
  for (int i = 0; i < LANE_VECTORS; i++) FN(store)(x + i * VL, lanes[i]);
  for (int half = SUM_LANES / 2; half; half /= 2)
    for (int i = 0; i < half; i++) x[i] += x[i + half];
  return x[0];
}

/* All ones in the lanes of vector v of a row that are among its n elements. */
FNN_INLINE VI FN(inside)(ptrdiff_t v, ptrdiff_t n) {
  VI lane;
  for (int i = 0; i < VL; i++) lane[i] = i;
  return lane < (INT)(n - v < VL ? n - v : VL) - (VI){0};
}

/* --- optimizers: one vector of parameters w, moments and gradient g; definitions as in fastnn/_numpy.py --- */

/* The numbers of one step, in the kernels' dtype. */
typedef struct {
  V keep, rate, decay, momentum, beta1, rest1, beta2, rest2, root, eps;
  int divides; /* with this eps the divisor may be out of the range of a quotient without */
} FN(rates);

/* n / d for 1e-30 <= d <= 1e30, within about one unit in the last place, or n / 1e30 for a d beyond, as is the root of
   a moment that has become inf: float32's dividers are busy with the roots.
   The reciprocal from the exponent, off by 12%, 1.4% and 0.02% after each of Newton's steps; then the remainder. */
FNN_INLINE V FN(quotient)(V n, V d) {
#if FNN_DOUBLE
  return n / d;
#else
  d = FN(at_most)(d, FN(set1)(1e30f));
  V r = (V)(0x7EF311C3 - (VI)d);
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) r = FN(fma)(r, FN(fma)(-d, r, FN(set1)(1)), r);
  const V q = n * r;
  return FN(fma)(FN(fma)(-q, d, n), r, q);
#endif
}

FNN_INLINE V FN(adam)(const FN(rates) * c, V w, V g, REAL *m1, REAL *m2) {
  V m = FN(fma)(c->beta1, FN(load)(m1), c->rest1 * g), v = FN(fma)(c->beta2, FN(load)(m2), c->rest2 * g * g);
  FN(store)(m1, m);
  FN(store)(m2, v);
  const V d = FN(fma)(FN(sqrt)(v), c->root, c->eps);
  /* Divided first, as in NumPy: rate * m could overflow where the step does not. */
  return FN(fma)(-c->rate, c->divides ? m / d : FN(quotient)(m, d), w);
}

FNN_INLINE V FN(updated)(const int kind, const FN(rates) * c, V w, V g, REAL *m1, REAL *m2) {
  if (kind == FNN_ADAMW) return FN(adam)(c, w * c->keep, g, m1, m2);
  if (kind == FNN_SGD) return FN(fma)(-c->rate, g, w * c->keep);
  g = FN(fma)(c->decay, w, g);
  if (kind == FNN_ADAM) return FN(adam)(c, w, g, m1, m2);
  V m = FN(fma)(c->momentum, FN(load)(m1), g);
  FN(store)(m1, m);
  return FN(fma)(-c->rate, kind == FNN_NESTEROV ? FN(fma)(c->momentum, m, g) : m, w);
}

#define UPDATE_ALL(kind)                                                                                               \
  case kind:                                                                                                           \
    for (ptrdiff_t j = 0; j < n; j += VL)                                                                              \
      FN(store)(w + j, FN(updated)(kind, &c, FN(load)(w + j), FN(load)(g + j), m1 + j, m2 + j));                       \
    break;

static __attribute__((noinline)) void FN(update)(const fnn_update *u, void *parameters, void *moment_1, void *moment_2,
                                                 const void *gradient, ptrdiff_t n) {
  REAL *w = parameters, *m1 = moment_1, *m2 = moment_2;
  const REAL *g = gradient;
  const FN(rates) c = {FN(set1)((REAL)u->keep),     FN(set1)((REAL)u->rate),        FN(set1)((REAL)u->decay),
                       FN(set1)((REAL)u->momentum), FN(set1)((REAL)u->beta1),       FN(set1)((REAL)(1 - u->beta1)),
                       FN(set1)((REAL)u->beta2),    FN(set1)((REAL)(1 - u->beta2)), FN(set1)((REAL)u->root),
                       FN(set1)((REAL)u->eps),      u->eps < 1e-30 || u->eps > 1e29};
  switch (u->kind) {
    UPDATE_ALL(FNN_SGD)
    UPDATE_ALL(FNN_MOMENTUM)
    UPDATE_ALL(FNN_NESTEROV)
    UPDATE_ALL(FNN_ADAM)
    UPDATE_ALL(FNN_ADAMW)
  }
}
#undef UPDATE_ALL

/* --- the product --- */

static ptrdiff_t FN(panel_width)(ptrdiff_t n, ptrdiff_t panel) { return fnn_at_most(fnn_up(n, VL) - panel * NR, NR); }

/* Row i of A, or its k-th sample: through the order if there is one. */
FNN_INLINE const REAL *FN(sample)(const fnn_product *p, ptrdiff_t i) {
  return (const REAL *)p->A + (p->order ? (ptrdiff_t)p->order[i] : i) * p->a_step;
}

#define TALLEST (FNN_MR > FNN_MR_SINGLE ? FNN_MR : FNN_MR_SINGLE)

/* One term of every sum of a tile. */
#define STEP(A_OF_ROW)                                                                                                 \
  {                                                                                                                    \
    V b[2];                                                                                                            \
    _Pragma("GCC unroll 2") for (int v = 0; v < vectors; v++) b[v] = FN(load)(B + v * VL);                             \
    _Pragma("GCC unroll 16") for (int r = 0; r < height; r++) {                                                        \
      const V x = FN(set1)(A_OF_ROW);                                                                                  \
      _Pragma("GCC unroll 2") for (int v = 0; v < vectors; v++) sum[r][v] = FN(fma)(x, b[v], sum[r][v]);               \
    }                                                                                                                  \
  }
#define EACH_VECTOR                                                                                                    \
  _Pragma("GCC unroll 16") for (int r = 0; r < height; r++) _Pragma("GCC unroll 2") for (int v = 0; v < vectors; v++)

/* Of dense tiles that do not lie by rows, or are narrower than a panel: out go results, in come sums of earlier terms,
   with 0 beyond the columns. Not within the tiles, where constant bounds would have them unrolled a hundred times. */
static __attribute__((noinline)) void FN(spread)(REAL *C, ptrdiff_t c_row, ptrdiff_t c_column, const REAL *results,
                                                 ptrdiff_t width, ptrdiff_t rows, ptrdiff_t columns) {
  for (ptrdiff_t j = 0; j < columns; j++)
    for (ptrdiff_t r = 0; r < rows; r++) C[r * c_row + j * c_column] = results[r * width + j];
}

static __attribute__((noinline)) void FN(collect)(REAL *sums, ptrdiff_t width, const REAL *C, ptrdiff_t c_row,
                                                  ptrdiff_t c_column, ptrdiff_t rows, ptrdiff_t columns) {
  for (ptrdiff_t j = 0; j < width; j++)
    for (ptrdiff_t r = 0; r < rows; r++) sums[r * width + j] = j < columns ? C[r * c_row + j * c_column] : 0;
}

/* One tile: `height` rows from row i, `vectors` vectors of panel columns, terms k0..k1 of their sums. `partial` has the
   sums of the terms before, and takes them if more are to come. The arguments before `p` are constants where this is
   instantiated, so that the sums live in registers. */
FNN_INLINE void FN(tile)(const int height, const int vectors, const int epilogue, const fnn_product *p, ptrdiff_t i,
                         ptrdiff_t panel, ptrdiff_t k0, ptrdiff_t k1, REAL *partial) {
  const int by_rows = epilogue == FNN_FORWARD || epilogue == FNN_BACKWARD || epilogue == FNN_DENSE;
  const int dense = epilogue == FNN_DENSE || epilogue == FNN_GRADIENT;
  const ptrdiff_t width = vectors * VL, b_k = p->b_k ? p->b_k : width, c_row = p->c_row ? p->c_row : width;
  const REAL *B = (const REAL *)p->B + panel * p->b_panel + k0 * b_k;
  REAL *C = (REAL *)p->C + i * c_row + panel * p->c_panel;
  V sum[TALLEST][2];
  EACH_VECTOR sum[r][v] = (V){0};
  if (by_rows) {
    const REAL *row[TALLEST];
#pragma GCC unroll 16
    for (int r = 0; r < height; r++) row[r] = FN(sample)(p, i + r);
    const int in_blocks = FNN_WHOLE_SUMS && epilogue != FNN_DENSE;
    REAL earlier[TALLEST * 2 * VL]; /* sums of whole blocks of terms */
    /* Is read only where a block before has written it. gcc cannot see that, and would say so of each vector of each
       tile; it takes this for a write, which it does not have to make. */
    if (in_blocks) __asm__("" : "=m"(earlier));
    for (ptrdiff_t k = k0;;) {
      const ptrdiff_t end = in_blocks ? fnn_at_most(k + SUM_BLOCK, k1) : k1;
      const int continued = k > k0;
#pragma GCC unroll 2
      for (; k < end; k++, B += b_k) STEP(row[r][k])
      if (continued) EACH_VECTOR sum[r][v] += FN(load)(earlier + (r * vectors + v) * VL);
      if (!in_blocks || k == k1) break;
      EACH_VECTOR FN(store)(earlier + (r * vectors + v) * VL, sum[r][v]);
      EACH_VECTOR sum[r][v] = (V){0};
    }
  } else {
    if (epilogue == FNN_UPDATE) /* the weights come from afar, the sums take a while */
#pragma GCC unroll 16
      for (int r = 0; r < height; r++) __builtin_prefetch(C + r * c_row, 1);
    const REAL *a = (const REAL *)p->A + i + k0 * p->a_step;
    if (epilogue == FNN_GRADIENT) {
#pragma GCC unroll 2
      for (ptrdiff_t k = k0; k < k1; k++, B += b_k, a += p->a_step) STEP(a[r])
    } else if (FNN_PACK_PANELS > 0 && p->packed) {
      a = (const REAL *)p->packed + (i - p->packed_row) * p->k + k0 * height;
      for (ptrdiff_t k = k0; k < k1; k++, B += b_k, a += height) STEP(a[r])
    } else if (p->order) {
      const REAL *A = (const REAL *)p->A + i;
#pragma GCC unroll 2
      for (ptrdiff_t k = k0; k < k1; k++, B += b_k) {
        a = A + (ptrdiff_t)p->order[k] * p->a_step;
        __builtin_prefetch(a + 2 * height - 1);
        STEP(a[r])
      }
    } else {
#pragma GCC unroll 4
      for (ptrdiff_t k = k0; k < k1; k++, B += b_k, a += p->a_step) {
        __builtin_prefetch(a + 2 * height - 1); /* the next tile's */
        STEP(a[r])
      }
    }
  }
  if (k0) EACH_VECTOR sum[r][v] += FN(load)(partial + (r * vectors + v) * VL);
  REAL results[TALLEST * 2 * VL]; /* of dense tiles */
  if (dense && !k0 && p->go_on) {
    const REAL *earlier = (const REAL *)p->C + i * c_row + panel * NR * p->c_panel;
    FN(collect)(results, width, earlier, c_row, p->c_panel, height, fnn_at_most(p->n - panel * NR, width));
    EACH_VECTOR sum[r][v] += FN(load)(results + (r * vectors + v) * VL);
  }
  if (k1 < p->k) {
    EACH_VECTOR FN(store)(partial + (r * vectors + v) * VL, sum[r][v]);
    return;
  }

  if (dense) {
    const ptrdiff_t first = panel * NR, columns = fnn_at_most(p->n - first, width), c_column = p->c_panel;
    const REAL *bias = (const REAL *)p->bias + first, *row_bias = (const REAL *)p->row_bias + i;
    const V scale = FN(set1)((REAL)p->scale);
    EACH_VECTOR sum[r][v] *= scale;
    if (p->bias) EACH_VECTOR sum[r][v] += FN(load)(bias + v * VL);
    if (p->row_bias) EACH_VECTOR sum[r][v] += row_bias[r];
    if (p->activation == FNN_RELU) EACH_VECTOR sum[r][v] = FN(relu)(sum[r][v]);
    C = (REAL *)p->C + i * c_row + first * c_column;
    if (c_column == 1 && columns == width) {
      EACH_VECTOR FN(store)(C + r * c_row + v * VL, sum[r][v]);
      return;
    }
    EACH_VECTOR FN(store)(results + (r * vectors + v) * VL, sum[r][v]);
    FN(spread)(C, c_row, c_column, results, width, height, columns);
  } else if (epilogue == FNN_FORWARD) {
    const REAL *bias = (const REAL *)p->bias + panel * NR;
    const int relu = p->activation == FNN_RELU;
    EACH_VECTOR {
      V z = sum[r][v] + FN(load)(bias + v * VL);
      FN(store)(C + r * c_row + v * VL, relu ? FN(relu)(z) : z);
    }
  } else if (epilogue == FNN_BACKWARD) {
    const REAL *G = (const REAL *)p->G + i * c_row + panel * p->c_panel;
    const int relu = p->activation == FNN_RELU;
    EACH_VECTOR {
      const ptrdiff_t at = r * c_row + v * VL;
      FN(store)(C + at, relu ? sum[r][v] * FN(slope)(FNN_RELU, FN(load)(G + at)) : sum[r][v]);
    }
  } else if (p->update->kind == FNN_SGD && p->update->rate * p->scale <= (FNN_DOUBLE ? DBL_MAX : FLT_MAX)) {
    /* A product of the two that no REAL holds, of samples of little weight, is left to the way below. */
    const V keep = FN(set1)((REAL)p->update->keep), rate = FN(set1)((REAL)(-p->update->rate * p->scale));
    if (p->update->keep != 1) /* 4% of a product of 32 terms */
      EACH_VECTOR FN(store)(C + r * c_row + v * VL, FN(load)(C + r * c_row + v * VL) * keep);
    EACH_VECTOR FN(store)(C + r * c_row + v * VL, FN(fma)(rate, sum[r][v], FN(load)(C + r * c_row + v * VL)));
  } else {
    const ptrdiff_t at = C - (REAL *)p->C;
    REAL gradient[TALLEST * 2 * VL];
    EACH_VECTOR FN(store)(gradient + (r * vectors + v) * VL, sum[r][v] * (REAL)p->scale);
    FN(update)(p->update, C, (REAL *)p->moment[0] + at, (REAL *)p->moment[1] + at, gradient, height * width);
  }
}
#undef STEP
#undef EACH_VECTOR

/* `count` tiles below one another. */
typedef void FN(tiles_function)(const fnn_product *, ptrdiff_t i, ptrdiff_t count, ptrdiff_t panel, ptrdiff_t k0,
                                ptrdiff_t k1, REAL *partial);
#define TILES(rows, vectors, epilogue)                                                                                 \
  static __attribute__((noinline)) void FN(tiles_##rows##_##vectors##_##epilogue)(                                     \
      const fnn_product *p, ptrdiff_t i, ptrdiff_t count, ptrdiff_t panel, ptrdiff_t k0, ptrdiff_t k1,                 \
      REAL *partial) {                                                                                                 \
    for (; count; count--, i += rows, partial += rows * vectors * VL)                                                  \
      FN(tile)(rows, vectors, epilogue, p, i, panel, k0, k1, partial);                                                 \
  }
#define SINGLE(rows) TILES(rows, 1, 0) TILES(rows, 1, 1) TILES(rows, 1, 2) TILES(rows, 1, 3) TILES(rows, 1, 4)
#define DOUBLE(rows) TILES(rows, 2, 0) TILES(rows, 2, 1) TILES(rows, 2, 2) TILES(rows, 2, 3) TILES(rows, 2, 4)
FNN_EACH_SINGLE(SINGLE)
FNN_EACH_DOUBLE(DOUBLE)
#define NAME(rows, vectors, epilogue) FN(tiles_##rows##_##vectors##_##epilogue)
#define SINGLES(rows) {NAME(rows, 1, 0), NAME(rows, 1, 1), NAME(rows, 1, 2), NAME(rows, 1, 3), NAME(rows, 1, 4)},
#define DOUBLES(rows) {NAME(rows, 2, 0), NAME(rows, 2, 1), NAME(rows, 2, 2), NAME(rows, 2, 3), NAME(rows, 2, 4)},
static FN(tiles_function) *const FN(single)[FNN_MR_SINGLE][FNN_EPILOGUES] = {FNN_EACH_SINGLE(SINGLES)};
static FN(tiles_function) *const FN(pair)[FNN_MR][FNN_EPILOGUES] = {FNN_EACH_DOUBLE(DOUBLES)};
#undef TILES
#undef SINGLE
#undef DOUBLE
#undef NAME
#undef SINGLES
#undef DOUBLES

static void FN(activation)(void *out, ptrdiff_t ld_out, const void *in, ptrdiff_t ld, int g, ptrdiff_t rows,
                           ptrdiff_t n);
static void FN(derivative)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A, ptrdiff_t ld_A,
                           int g, ptrdiff_t rows, ptrdiff_t n);

/* The functions that are too long to be repeated in every tile: done to rows of panels that were just stored. */
static void FN(finish)(const fnn_product *p, int epilogue, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t p0, ptrdiff_t p1) {
  if ((p->activation != FNN_SIGMOID && p->activation != FNN_TANH) || epilogue > FNN_BACKWARD) return;
  const ptrdiff_t at = i * p->c_row + p0 * NR, n = fnn_at_most(p1 * NR, fnn_up(p->n, VL)) - p0 * NR;
  REAL *C = (REAL *)p->C + at;
  if (epilogue == FNN_FORWARD)
    FN(activation)(C, p->c_row, C, p->c_row, p->activation, rows, n);
  else
    FN(derivative)(C, p->c_row, C, p->c_row, (const REAL *)p->G + at, p->c_row, p->activation, rows, n);
}

#define ROW_PANELS 4 /* panels of a single row at a time: enough sums to hide an addition's latency */

/* Forward of one row through ROW_PANELS whole panels; same order of terms as a tile. */
static void FN(row)(const fnn_product *p, ptrdiff_t i, ptrdiff_t panel) {
  const REAL *a = FN(sample)(p, i), *B = (const REAL *)p->B + panel * p->b_panel;
  const REAL *bias = (const REAL *)p->bias + panel * NR;
  REAL *C = (REAL *)p->C + i * p->c_row + panel * p->c_panel;
  V total[ROW_PANELS][2];
  for (ptrdiff_t k = 0, first = 1; first || k < p->k; first = 0) {
    const ptrdiff_t end = fnn_at_most(k + SUM_BLOCK, p->k);
    V sum[ROW_PANELS][2] = {{{0}}};
    for (; k < end; k++) {
      const V x = FN(set1)(a[k]);
#pragma GCC unroll 4
      for (int q = 0; q < ROW_PANELS; q++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) sum[q][v] = FN(fma)(x, FN(load)(B + q * p->b_panel + k * NR + v * VL), sum[q][v]);
    }
#pragma GCC unroll 4
    for (int q = 0; q < ROW_PANELS; q++)
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) total[q][v] = first ? sum[q][v] : sum[q][v] + total[q][v];
  }
  for (int q = 0; q < ROW_PANELS; q++)
    for (int v = 0; v < 2; v++) {
      V z = total[q][v] + FN(load)(bias + q * NR + v * VL);
      FN(store)(C + q * p->c_panel + v * VL, p->activation == FNN_RELU ? FN(relu)(z) : z);
    }
}

/* Rows first.. of a buffer as columns, at least one; past the last row, that row again. */
FNN_INLINE void FN(load_columns)(V *columns, const REAL *rows, ptrdiff_t ld, ptrdiff_t count, ptrdiff_t n) {
  ptrdiff_t v = 0;
  do {
    if (count == VL) {
      FN(columns_of)(columns + v, rows + v, ld, n - v);
    } else {
#pragma GCC unroll 16
      for (ptrdiff_t r = 0; r < VL; r++) columns[v + r] = FN(load)(rows + fnn_at_most(r, count - 1) * ld + v);
      FN(transpose_block)(columns + v);
    }
  } while ((v += VL) < n);
}

/* Back again; the padding of a row becomes 0. */
FNN_INLINE void FN(store_columns)(REAL *rows, ptrdiff_t ld, V *columns, ptrdiff_t count, ptrdiff_t n) {
#if HAS_ROWS_OF_FOUR
  if (n <= 4 && count == VL) {
    for (ptrdiff_t j = n; j < 4; j++) columns[j] = (V){0};
    FN(rows_of_four)(rows, ld, columns);
    return;
  }
#endif
  for (ptrdiff_t v = 0; v < n; v += VL) {
    V block[VL];
#pragma GCC unroll 16
    for (ptrdiff_t r = 0; r < VL; r++) block[r] = v + r < n ? columns[v + r] : (V){0};
    FN(transpose_block)(block);
#pragma GCC unroll 16
    for (ptrdiff_t r = 0; r < VL; r++)
      if (r < count) FN(store)(rows + r * ld + v, block[r]);
  }
}

#define FEW_OUTPUTS (FNN_LANES == 16 ? 4 : 0) /* units; of shorter vectors a panel is not so much wider */

/* Forward to few units, rows and k in whole vectors: VL rows of A as columns, a vector of results for each unit; same
   order of terms as a tile. n is a constant at each call. */
FNN_INLINE void FN(forward_few)(const ptrdiff_t n, const fnn_product *p, ptrdiff_t i0, ptrdiff_t i1) {
  const REAL *B = p->B, *bias = p->bias;
  for (ptrdiff_t i = i0; i < i1; i += VL) {
    V total[4] = {{0}}; /* gcc does not see that there are terms, and would warn */
    for (ptrdiff_t k = 0, end; k < p->k; k = end) {
      end = fnn_at_most(k + SUM_BLOCK, p->k);
      V sum[4] = {{0}}, a[VL];
      for (ptrdiff_t t = k; t < end; t += VL) {
        FN(columns_of)(a, (const REAL *)p->A + i * p->a_step + t, p->a_step, VL);
#pragma GCC unroll 16
        for (ptrdiff_t u = 0; u < VL; u++)
#pragma GCC unroll 4
          for (ptrdiff_t j = 0; j < n; j++) sum[j] = FN(fma)(a[u], FN(set1)(B[(t + u) * VL + j]), sum[j]);
      }
      for (ptrdiff_t j = 0; j < n; j++) total[j] = k ? sum[j] + total[j] : sum[j];
    }
    for (ptrdiff_t j = 0; j < n; j++) {
      const V z = total[j] + bias[j];
      total[j] = p->activation == FNN_RELU ? FN(relu)(z) : z;
    }
    FN(store_columns)((REAL *)p->C + i * p->c_row, p->c_row, total, VL, n);
  }
}

#define FEW_TERMS 16            /* of a product that is no more than the memory's work: C is written row after row */
#define MOST_ROWS (16 * FNN_MR) /* of a chunk; a multiple of every VL, so that weights transpose by whole blocks */
/* Tiles whose sums of a block of terms wait for the next block, on the stack: a panel's part of B is read again for the
   others. */
#define TILES_AT_ONCE (FNN_MR * FNN_VECTOR_BYTES > 512 ? 8 : 16)

/* Rows that stay in the second cache while panel after panel passes by. */
static ptrdiff_t FN(chunk)(const fnn_product *p, int epilogue) {
  if (p->k <= FEW_TERMS && (epilogue == FNN_DENSE || epilogue == FNN_GRADIENT)) return FNN_MR; /* writing is all */
  if (epilogue == FNN_UPDATE || epilogue == FNN_GRADIENT) return MOST_ROWS;
  const ptrdiff_t tiles = FNN_CHUNK_BYTES / (ptrdiff_t)sizeof(REAL) / (p->k + 1) / FNN_MR;
  return FNN_MR * (tiles < 4 ? 4 : fnn_at_most(tiles, 16));
}

static void FN(transpose)(REAL *W, const REAL *WT, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t i0, ptrdiff_t i1,
                          ptrdiff_t panel);

/* A by columns, `rows` from row i on, tile after tile and in these k after k: else a tile reads a piece of a cache line
   at each k, from as many pages as there are samples. */
static void FN(pack_rows)(const fnn_product *p, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t tiles) {
  const ptrdiff_t height = rows / tiles, end = i + rows;
  REAL *to = p->room;
  for (ptrdiff_t t = 0, h; t < tiles; t++, i += h) {
    h = height + (t < rows % tiles);
    const int whole =
        i + FNN_MR + VL <= end; /* what is copied beyond the tile is a row of A still, and overwritten here */
    for (ptrdiff_t k = 0; k < p->k; k++, to += h) {
      const REAL *a = FN(sample)(p, k) + i;
      if (whole)
        for (ptrdiff_t r = 0; r < FNN_MR; r += VL) FN(store)(to + r, FN(load)(a + r));
      else
        for (ptrdiff_t r = 0; r < h; r++) to[r] = a[r];
    }
  }
}

static void FN(product)(const fnn_product *p, int epilogue, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1) {
  const ptrdiff_t whole = (i1 - i0) & -VL;
  if (FEW_OUTPUTS && epilogue == FNN_FORWARD && p->n <= FEW_OUTPUTS && p->k % VL == 0 && p->k && !p->order && whole) {
    if (p->n <= 2) /* one is done as two, three as four: padding costs less than code */
      FN(forward_few)(2, p, i0, i0 + whole);
    else
      FN(forward_few)(4, p, i0, i0 + whole);
    FN(finish)(p, epilogue, i0, whole, p0, p1);
    i0 += whole;
  }
  const ptrdiff_t chunk = FN(chunk)(p, epilogue);
  const ptrdiff_t terms = FNN_WHOLE_SUMS && epilogue <= FNN_BACKWARD ? p->k : SUM_BLOCK;
  const int packs = epilogue == FNN_UPDATE && FNN_PACK_PANELS > 0 && p->room && p1 - p0 >= FNN_PACK_PANELS;
  fnn_product packed;
  if (packs) packed = *p, packed.packed = p->room;
  REAL partial[TILES_AT_ONCE * (FNN_MR * NR > FNN_MR_SINGLE * VL ? FNN_MR * NR : FNN_MR_SINGLE * VL)];
  for (ptrdiff_t c0 = i0; c0 < i1; c0 += chunk) {
    const ptrdiff_t rows = fnn_at_most(chunk, i1 - c0);
    ptrdiff_t panel = p0;
    if (rows == 1 && epilogue == FNN_FORWARD)
      for (; panel + ROW_PANELS <= p1 && (panel + ROW_PANELS) * NR <= fnn_up(p->n, VL); panel += ROW_PANELS)
        FN(row)(p, c0, panel);
    if (packs) {
      FN(pack_rows)(p, c0, rows, (rows + FNN_MR - 1) / FNN_MR);
      packed.packed_row = c0;
    }
    for (; panel < p1; panel++) {
      const ptrdiff_t width = FN(panel_width)(p->n, panel), most = width == VL ? FNN_MR_SINGLE : FNN_MR;
      /* Rows in even parts: a last tile of one row would take nearly as long as a full one. */
      const ptrdiff_t tiles = (rows + most - 1) / most, height = rows / tiles, taller = rows % tiles;
      const ptrdiff_t at_once = p->k > terms && tiles > TILES_AT_ONCE ? TILES_AT_ONCE : tiles;
      FN(tiles_function) *const *one = width == VL ? FN(single)[height - 1] : FN(pair)[height - 1];
      FN(tiles_function) *const *more = one + FNN_EPILOGUES;
      const fnn_product *q = packs && width == NR ? &packed : p;
      ptrdiff_t count = at_once, tall = taller; /* all of them, where their sums need no room */
      for (ptrdiff_t t = 0, i = c0; t < tiles; t += count, i += count * height + tall) {
        if (at_once < tiles) {
          count = fnn_at_most(at_once, tiles - t);
          tall = t < taller ? fnn_at_most(count, taller - t) : 0;
        }
        const ptrdiff_t tall_rows = tall * (height + 1);
        for (ptrdiff_t k = 0, end; k == 0 || k < p->k; k = end) {
          end = fnn_at_most(k + terms, p->k); /* of B, so much stays in the first cache */
          if (tall) more[epilogue](q, i, tall, panel, k, end, partial);
          one[epilogue](q, i + tall_rows, count - tall, panel, k, end, partial + tall_rows * width);
          if (end == p->k) break;
        }
      }
      if (epilogue == FNN_UPDATE && p->transposed)
        FN(transpose)(p->transposed, (const REAL *)p->C + panel * p->c_panel, p->m, p->n, c0, c0 + rows, panel);
    }
    FN(finish)(p, epilogue, c0, rows, p0, p1);
  }
}

/* --- a matrix times a vector --- */

/* VL rows of A times x, along the rows: SUM_BLOCK terms in each lane, then the lanes, then the blocks. Past the last of
   `count` rows, that row again. */
FNN_INLINE V FN(dots)(const REAL *a, ptrdiff_t a_step, const REAL *x, ptrdiff_t count, ptrdiff_t k) {
  const REAL *row[VL];
  REAL few[VL + 1][VL];
  for (ptrdiff_t r = 0; r < VL; r++) row[r] = a + fnn_at_most(r, count - 1) * a_step;
  if (k < VL) {
    for (ptrdiff_t i = 0; i < VL; i++) few[VL][i] = i < k ? x[i] : 0;
    for (ptrdiff_t r = 0; r < VL; r++) {
      for (ptrdiff_t i = 0; i < VL; i++) few[r][i] = i < k ? row[r][i] : 0;
      row[r] = few[r];
    }
    x = few[VL], k = VL;
  }
  V total = {0};
  for (ptrdiff_t i = 0; i < k;) {
    const ptrdiff_t end = fnn_at_most(i + SUM_BLOCK * VL, k);
    V sum[VL];
#pragma GCC unroll 16
    for (ptrdiff_t r = 0; r < VL; r++) sum[r] = (V){0};
    for (; i + VL <= end; i += VL) {
      const V factors = FN(load)(x + i);
#pragma GCC unroll 16
      for (ptrdiff_t r = 0; r < VL; r++) sum[r] = FN(fma)(factors, FN(load)(row[r] + i), sum[r]);
    }
    if (i < end) { /* the last vector's terms that are not in the sum yet */
      const VI rest = ~FN(inside)(0, VL - (end - i));
      const V factors = (V)(rest & (VI)FN(load)(x + end - VL));
      for (ptrdiff_t r = 0; r < VL; r++) sum[r] = FN(fma)(factors, (V)(rest & (VI)FN(load)(row[r] + end - VL)), sum[r]);
      i = end;
    }
    FN(transpose_block)(sum);
    for (ptrdiff_t half = VL / 2; half; half /= 2)
      for (ptrdiff_t r = 0; r < half; r++) sum[r] += sum[r + half];
    total += sum[0];
  }
  return total;
}

/* A lies by columns; rows of `vectors` vectors. */
FNN_INLINE void FN(add_columns)(const int vectors, REAL *y, const REAL *a, ptrdiff_t a_step, const REAL *x,
                                ptrdiff_t k) {
  V total[8];
  for (ptrdiff_t i = 0, first = 1; first || i < k; first = 0) {
    const ptrdiff_t end = fnn_at_most(i + SUM_BLOCK, k);
    V sum[8] = {{0}};
    for (; i < end; i++)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; v++) sum[v] = FN(fma)(FN(set1)(x[i]), FN(load)(a + i * a_step + v * VL), sum[v]);
    for (int v = 0; v < vectors; v++) total[v] = first ? sum[v] : sum[v] + total[v];
  }
  for (int v = 0; v < vectors; v++) FN(store)(y + v * VL, total[v]);
}

/* The same for fewer rows than lanes. */
static void FN(add_few)(REAL *y, const REAL *a, ptrdiff_t a_step, const REAL *x, ptrdiff_t rows, ptrdiff_t k) {
  REAL block[SUM_BLOCK * VL], sums[VL];
  for (ptrdiff_t i = 0, first = 1; first || i < k; i += SUM_BLOCK, first = 0) {
    const ptrdiff_t terms = fnn_at_most(SUM_BLOCK, k - i);
    for (ptrdiff_t t = 0; t < terms; t++)
      for (ptrdiff_t r = 0; r < VL; r++) block[t * VL + r] = r < rows ? a[(i + t) * a_step + r] : 0;
    FN(add_columns)(1, sums, block, VL, x + i, terms);
    for (ptrdiff_t r = 0; r < rows; r++) y[r] = first ? sums[r] : sums[r] + y[r];
  }
}

#define MATVEC_ROWS (8 * VL) /* at a time */

static void FN(matvec)(const fnn_product *p, int epilogue, ptrdiff_t i0, ptrdiff_t i1) {
  const REAL *A = p->A, *x = p->B;
  for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
    REAL y[MATVEC_ROWS + VL];
    rows = fnn_at_most(MATVEC_ROWS, i1 - i);
    if (epilogue == FNN_GRADIENT) {
      ptrdiff_t r = 0;
      const REAL *a = A + i;
      if (rows == MATVEC_ROWS) FN(add_columns)(8, y, a, p->a_step, x, p->k), r = rows;
      for (; r + VL <= rows; r += VL) FN(add_columns)(1, y + r, a + r, p->a_step, x, p->k);
      if (r < rows && rows >= VL) /* the last ones, and some again */
        FN(add_columns)(1, y + rows - VL, a + rows - VL, p->a_step, x, p->k);
      else if (r < rows)
        FN(add_few)(y, a, p->a_step, x, rows, p->k);
    } else {
      for (ptrdiff_t r = 0; r < rows; r += VL)
        FN(store)(y + r, FN(dots)(A + (i + r) * p->a_step, p->a_step, x, rows - r, p->k));
    }
    for (ptrdiff_t r = 0; r < rows; r++) {
      REAL z = y[r] * (REAL)p->scale;
      if (p->row_bias) z += ((const REAL *)p->row_bias)[i + r];
      if (p->activation == FNN_RELU && z <= 0) z = 0;
      ((REAL *)p->C)[(i + r) * p->c_row] = z;
    }
  }
}

/* --- row by row --- */

/* Sums of up to SUM_RUN rows, each in turn: by four rows, so that long rows are read in long strips, or short ones in
   registers. */
FNN_INLINE void FN(sum_run)(V *sum, const REAL *p, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t vectors) {
  ptrdiff_t r = 0;
  if (vectors == 4) {
    V four[4] = {{0}};
    for (; r < rows; r++, p += ld)
      for (int v = 0; v < 4; v++) four[v] += FN(load)(p + v * VL);
    for (int v = 0; v < 4; v++) sum[v] = four[v];
    return;
  }
  for (ptrdiff_t v = 0; v < vectors; v++) sum[v] = (V){0};
  for (; r + 4 <= rows; r += 4, p += 4 * ld)
    for (ptrdiff_t v = 0; v < vectors; v++) {
      const REAL *q = p + v * VL;
      if (v % (64 / FNN_VECTOR_BYTES) == 0)
        for (ptrdiff_t i = 4; i < 8; i++) __builtin_prefetch(q + i * ld);
      sum[v] = sum[v] + FN(load)(q) + FN(load)(q + ld) + FN(load)(q + 2 * ld) + FN(load)(q + 3 * ld);
    }
  for (; r < rows; r++, p += ld)
    for (ptrdiff_t v = 0; v < vectors; v++) sum[v] += FN(load)(p + v * VL);
}

/* The sum of run number `run` into the stack of pairs, of which there is one for each bit that is set in the number of
   runs, each of `vectors` vectors; returns its new depth. */
FNN_INLINE int FN(push_run)(V *pairs, int depth, V *sum, ptrdiff_t vectors, ptrdiff_t run) {
  for (ptrdiff_t merged = run; merged & 1; merged >>= 1) {
    depth--;
    for (ptrdiff_t v = 0; v < vectors; v++) sum[v] += pairs[depth * vectors + v];
  }
  for (ptrdiff_t v = 0; v < vectors; v++) pairs[depth * vectors + v] = sum[v];
  return depth + 1;
}

/* Sums of `vectors` vectors of columns, up to STRIP; a constant where it is small. Pairwise over runs of rows (N. J.
   Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 4.2): the error grows with the logarithm of
   the rows, where a running float32 sum of a whole data set would lose its digits. */
FNN_INLINE void FN(sum_of_rows)(ptrdiff_t vectors, REAL *sums, const REAL *dZ, ptrdiff_t ld, ptrdiff_t rows,
                                double scale, V *pairs) {
  V sum[STRIP];
  int depth = 0;
  ptrdiff_t row = 0, run = 0;
  if (vectors == 1) /* else a run's additions wait for one another */
    for (; row + 4 * SUM_RUN <= rows; row += 4 * SUM_RUN) {
      V four[4] = {{0}};
      for (ptrdiff_t r = 0; r < SUM_RUN; r++)
        for (int i = 0; i < 4; i++) four[i] += FN(load)(dZ + (row + i * SUM_RUN + r) * ld);
      for (int i = 0; i < 4; i++) depth = FN(push_run)(pairs, depth, four + i, 1, run++);
    }
  for (; row < rows; row += SUM_RUN, run++) {
    FN(sum_run)(sum, dZ + row * ld, ld, fnn_at_most(SUM_RUN, rows - row), vectors);
    depth = FN(push_run)(pairs, depth, sum, vectors, run);
  }
  for (ptrdiff_t v = 0; v < vectors; v++) {
    V total = {0};
    for (int level = depth; level--;) total += pairs[level * vectors + v];
    FN(store)(sums + v * VL, total * (REAL)scale);
  }
}

/* How many sums of a column wait for their pairs, at most. */
FNN_INLINE ptrdiff_t FN(waiting)(ptrdiff_t rows) {
  ptrdiff_t bits = 1;
  while (bits < MOST_PAIRS && (ptrdiff_t)SUM_RUN << bits <= rows) bits++;
  return bits;
}

static ptrdiff_t FN(rowsum_room)(ptrdiff_t rows, ptrdiff_t n) {
  const ptrdiff_t vectors = fnn_at_most(STRIP, fnn_up(n, VL) / VL) * FN(waiting)(rows);
  return vectors <= PAIRS_ROOM ? 0 : vectors * (ptrdiff_t)sizeof(V);
}

static void FN(rowsum)(void *sums, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n, double scale,
                       void *room) {
  V few[PAIRS_ROOM], *pairs = room ? room : few;
  const ptrdiff_t strip = room ? STRIP : fnn_at_most(STRIP, PAIRS_ROOM / FN(waiting)(rows));
  for (ptrdiff_t j = 0, vectors; j < n; j += vectors * VL) {
    REAL *out = (REAL *)sums + j;
    const REAL *in = (const REAL *)dZ + j;
    vectors = fnn_at_most((fnn_up(n, VL) - j) / VL, strip);
    switch (vectors) {
    case 1: FN(sum_of_rows)(1, out, in, ld, rows, scale, pairs); break;
    case 2: FN(sum_of_rows)(2, out, in, ld, rows, scale, pairs); break;
    case 3: FN(sum_of_rows)(3, out, in, ld, rows, scale, pairs); break;
    case 4: FN(sum_of_rows)(4, out, in, ld, rows, scale, pairs); break;
    default: FN(sum_of_rows)(vectors, out, in, ld, rows, scale, pairs);
    }
  }
}

/* The same along rows in memory: 4 VL lanes, over runs and pairs of them, then the lanes. */
static void FN(sums_along)(void *out, ptrdiff_t step, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n,
                           double scale) {
  const REAL *p = dZ;
  for (ptrdiff_t row = 0; row < rows; row++, p += ld) {
    V pairs[MOST_PAIRS * 4], total[4] = {{0}};
    int depth = 0;
    ptrdiff_t j = 0;
    for (ptrdiff_t run = 0; j + 4 * VL <= n; run++) {
      const ptrdiff_t end = fnn_at_most(j + SUM_RUN * 4 * VL, n);
      V sum[4] = {{0}};
      for (; j + 4 * VL <= end; j += 4 * VL)
        for (int v = 0; v < 4; v++) sum[v] += FN(load)(p + j + v * VL);
      depth = FN(push_run)(pairs, depth, sum, 4, run);
    }
    while (depth--)
      for (int v = 0; v < 4; v++) total[v] += pairs[depth * 4 + v];
    for (; j + VL <= n; j += VL) total[0] += FN(load)(p + j);
    REAL lanes[VL];
    FN(store)(lanes, (total[0] + total[1]) + (total[2] + total[3]));
    for (; j < n; j++) lanes[j % VL] += p[j];
    for (ptrdiff_t half = VL / 2; half; half /= 2)
      for (ptrdiff_t i = 0; i < half; i++) lanes[i] += lanes[i + half];
    ((REAL *)out)[row * step] = lanes[0] * (REAL)scale;
  }
}

/* --- few units: VL samples at a time, a vector holding one unit of each --- */

#define FEW 32 /* units */

FNN_INLINE V FN(largest)(const V *z, ptrdiff_t n) {
  V top = z[0];
  for (ptrdiff_t j = 1; j < n; j++) top = FN(select)(z[j] > top, z[j], top);
  return top;
}

/* Z becomes A = exp(Z - max Z) / sum; returns what cross entropy needs of it. */
FNN_INLINE void FN(softmax_columns)(V *z, ptrdiff_t n, V *max_z, V *sum) {
  V whole = {0};
  const V top = FN(largest)(z, n);
  for (ptrdiff_t j = 0; j < n; j++) {
    z[j] = FN(exp)(z[j] - top);
    whole += z[j];
  }
  const V inverse = 1 / whole;
  for (ptrdiff_t j = 0; j < n; j++) z[j] *= inverse;
  *max_z = top;
  *sum = whole;
}

/* --- rows of many units --- */

/* A row of softmax: exp(z - max z) over its sum. Padding comes out 0. */
FNN_INLINE void FN(softmax_row)(REAL *out, const REAL *z, ptrdiff_t n, REAL *max_z, REAL *sum) {
  V largest = FN(set1)(-(REAL)INFINITY);
  for (ptrdiff_t v = 0; v < n; v += VL) {
    V x = FN(select)(FN(inside)(v, n), FN(load)(z + v), FN(set1)(-(REAL)INFINITY));
    largest = FN(select)(x > largest, x, largest);
  }
  REAL top = largest[0];
  for (int i = 1; i < VL; i++) top = largest[i] > top ? largest[i] : top;
  V lanes[LANE_VECTORS];
  for (int i = 0; i < LANE_VECTORS; i++) lanes[i] = (V){0};
  for (ptrdiff_t v = 0, lane = 0; v < n; v += VL, lane = (lane + 1) % LANE_VECTORS) {
    V e = FN(exp)(FN(load)(z + v) - top);
    e = FN(select)(FN(inside)(v, n), e, (V){0});
    FN(store)(out + v, e);
    lanes[lane] += e;
  }
  const REAL whole = FN(sum_lanes)(lanes);
  for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(out + v, FN(load)(out + v) / whole);
  *max_z = top;
  *sum = whole;
}

/* A row of softmax's dZ = A * (dA - sum(dA * A)). */
FNN_INLINE void FN(softmax_slope_row)(REAL *out, const REAL *dA, const REAL *A, ptrdiff_t n) {
  V lanes[LANE_VECTORS];
  for (int i = 0; i < LANE_VECTORS; i++) lanes[i] = (V){0};
  for (ptrdiff_t v = 0, lane = 0; v < n; v += VL, lane = (lane + 1) % LANE_VECTORS) {
    V x = FN(load)(dA + v) * FN(load)(A + v);
    lanes[lane] += FN(select)(FN(inside)(v, n), x, (V){0});
  }
  const REAL sum = FN(sum_lanes)(lanes);
  for (ptrdiff_t v = 0; v < n; v += VL) {
    V x = FN(load)(A + v) * (FN(load)(dA + v) - sum);
    FN(store)(out + v, FN(select)(FN(inside)(v, n), x, (V){0}));
  }
}

/* The same two where a row holds a unit of all samples, `columns` of them in whole vectors: a strip of them at a time,
   in long reads. */
static void FN(softmax_down)(void *out, ptrdiff_t ld_out, const void *in, ptrdiff_t ld, ptrdiff_t n,
                             ptrdiff_t columns) {
  for (ptrdiff_t c = 0; c < columns; c += STRIP * VL) {
    const ptrdiff_t vectors = fnn_at_most(columns - c, STRIP * VL) / VL;
    const REAL *z = (const REAL *)in + c;
    REAL *to = (REAL *)out + c;
    V top[STRIP], sum[STRIP];
    for (ptrdiff_t v = 0; v < vectors; v++) top[v] = FN(load)(z + v * VL), sum[v] = (V){0};
    for (ptrdiff_t j = 1; j < n; j++)
      for (ptrdiff_t v = 0; v < vectors; v++) {
        const V x = FN(load)(z + j * ld + v * VL);
        top[v] = FN(select)(x > top[v], x, top[v]);
      }
    for (ptrdiff_t j = 0; j < n; j++)
      for (ptrdiff_t v = 0; v < vectors; v++) {
        const V e = FN(exp)(FN(load)(z + j * ld + v * VL) - top[v]);
        FN(store)(to + j * ld_out + v * VL, e);
        sum[v] += e;
      }
    for (ptrdiff_t v = 0; v < vectors; v++) sum[v] = 1 / sum[v];
    for (ptrdiff_t j = 0; j < n; j++)
      for (ptrdiff_t v = 0; v < vectors; v++) {
        REAL *e = to + j * ld_out + v * VL;
        FN(store)(e, FN(load)(e) * sum[v]);
      }
  }
}

static void FN(softmax_slope_down)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A,
                                   ptrdiff_t ld_A, ptrdiff_t n, ptrdiff_t columns) {
  for (ptrdiff_t c = 0; c < columns; c += STRIP * VL) {
    const ptrdiff_t vectors = fnn_at_most(columns - c, STRIP * VL) / VL;
    const REAL *d = (const REAL *)dA + c, *a = (const REAL *)A + c;
    REAL *to = (REAL *)out + c;
    V sum[STRIP];
    for (ptrdiff_t v = 0; v < vectors; v++) sum[v] = (V){0};
    for (ptrdiff_t j = 0; j < n; j++)
      for (ptrdiff_t v = 0; v < vectors; v++)
        sum[v] = FN(fma)(FN(load)(d + j * ld_dA + v * VL), FN(load)(a + j * ld_A + v * VL), sum[v]);
    for (ptrdiff_t j = 0; j < n; j++)
      for (ptrdiff_t v = 0; v < vectors; v++)
        FN(store)(to + j * ld_out + v * VL,
                  FN(load)(a + j * ld_A + v * VL) * (FN(load)(d + j * ld_dA + v * VL) - sum[v]));
  }
}

static void FN(activation)(void *out, ptrdiff_t ld_out, const void *in, ptrdiff_t ld, int g, ptrdiff_t rows,
                           ptrdiff_t n) {
  REAL *to = out, unused[2];
  const REAL *from = in;
  if (g == FNN_SOFTMAX && n <= FEW) {
    for (ptrdiff_t r = 0; r < rows; r += VL) {
      const ptrdiff_t count = fnn_at_most(rows - r, VL);
      V z[FEW], top, sum;
      FN(load_columns)(z, from + r * ld, ld, count, n);
      FN(softmax_columns)(z, n, &top, &sum);
      FN(store_columns)(to + r * ld_out, ld_out, z, count, n);
    }
    return;
  }
  for (ptrdiff_t r = 0; r < rows; r++, to += ld_out, from += ld) {
    if (g == FNN_SOFTMAX)
      FN(softmax_row)(to, from, n, unused, unused + 1);
    else if (g == FNN_TANH)
      for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, FN(tanh)(FN(load)(from + v)));
    else if (g == FNN_SIGMOID)
      for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, FN(sigmoid)(FN(load)(from + v)));
    else
      for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, FN(activate)(g, FN(load)(from + v)));
  }
}

static void FN(derivative)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A, ptrdiff_t ld_A,
                           int g, ptrdiff_t rows, ptrdiff_t n) {
  REAL *to = out;
  const REAL *d = dA, *a = A;
  if (g == FNN_SOFTMAX && n <= FEW) {
    for (ptrdiff_t r = 0; r < rows; r += VL) {
      const ptrdiff_t count = fnn_at_most(rows - r, VL);
      V x[FEW], y[FEW], sum = {0};
      FN(load_columns)(x, d + r * ld_dA, ld_dA, count, n);
      FN(load_columns)(y, a + r * ld_A, ld_A, count, n);
      for (ptrdiff_t j = 0; j < n; j++) sum = FN(fma)(x[j], y[j], sum);
      for (ptrdiff_t j = 0; j < n; j++) x[j] = y[j] * (x[j] - sum);
      FN(store_columns)(to + r * ld_out, ld_out, x, count, n);
    }
    return;
  }
  for (ptrdiff_t r = 0; r < rows; r++, to += ld_out, d += ld_dA, a += ld_A) {
    if (g == FNN_SOFTMAX)
      FN(softmax_slope_row)(to, d, a, n);
    else
      for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, FN(load)(d + v) * FN(slope)(g, FN(load)(a + v)));
  }
}

/* --- losses: L of one sample in double, dZ over its Z; y is the row of targets, or NULL for a code --- */

static double FN(cross_entropy_row)(REAL *z, ptrdiff_t n, const REAL *y, int32_t code, double *sum) {
  REAL top, whole;
  double loss = 0;
  if (!y) {
    const double truth = z[code];
    FN(softmax_row)(z, z, n, &top, &whole);
    z[code] -= 1;
    *sum = whole; /* its logarithm is taken for many rows at once */
    return (double)top - truth;
  }
  REAL mass = 0;
  top = z[0];
  for (ptrdiff_t j = 1; j < n; j++) top = z[j] > top ? z[j] : top;
  for (ptrdiff_t j = 0; j < n; j++) {
    if (y[j] != 0) loss += (double)y[j] * ((double)top - z[j]); /* 0 times an infinite distance is 0 */
    mass += y[j];
  }
  FN(softmax_row)(z, z, n, &top, &whole);
  for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(z + v, FN(load)(z + v) * mass - FN(load)(y + v));
  *sum = whole;
  return loss;
}

static double FN(binary_cross_entropy_row)(REAL *z, ptrdiff_t n, const REAL *y) {
  double loss = 0;
  for (ptrdiff_t v = 0; v < n; v += VL) {
    V x = FN(load)(z + v), target = FN(load)(y + v);
    V rest = FN(log1p)(FN(exp)((V)((VI)x | SIGN)));
    /* -y log a - (1-y) log(1-a) = max(z, 0) - z y + log(1 + exp(-|z|)), for z of any size */
    for (ptrdiff_t i = 0; i < fnn_at_most(n - v, VL); i++)
      loss += (x[i] > 0 ? (double)x[i] : 0.0) - (double)x[i] * target[i] + rest[i];
    FN(store)(z + v, FN(select)(FN(inside)(v, n), FN(sigmoid)(x) - target, (V){0}));
  }
  return loss;
}

static double FN(mse_row)(REAL *z, ptrdiff_t n, const REAL *y, int g, REAL *a) {
  double loss = 0;
  FN(activation)(a, 0, z, 0, g, 1, n);
  for (ptrdiff_t j = 0; j < n; j++) {
    double error = (double)a[j] - y[j];
    loss += error * error;
  }
  for (ptrdiff_t v = 0; v < n; v += VL)
    FN(store)(z + v, FN(select)(FN(inside)(v, n), 2 * (FN(load)(a + v) - FN(load)(y + v)), (V){0}));
  FN(derivative)(z, 0, z, 0, a, 0, g, 1, n);
  for (ptrdiff_t j = n; j < fnn_up(n, VL); j++) z[j] = 0; /* the slope of padding is no number's */
  return loss;
}

#define HEAD_ROWS 32 /* rows whose logarithms are taken together */

static void FN(head_rows)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1) {
  const ptrdiff_t n = h->n, padded = fnn_up(n, VL);
  for (ptrdiff_t first = i0; first < i1; first += HEAD_ROWS) {
    const ptrdiff_t rows = fnn_at_most(i1 - first, HEAD_ROWS);
    REAL sums[HEAD_ROWS + 64 / sizeof(REAL)], masses[HEAD_ROWS];
    for (ptrdiff_t r = 0; r < HEAD_ROWS; r++) sums[r] = 1;
    for (ptrdiff_t r = 0; r < rows; r++) {
      const ptrdiff_t i = first + r;
      REAL *z = (REAL *)h->Z + i * h->ld;
      const REAL *y = h->codes ? NULL : (const REAL *)h->Y + i * h->y_ld;
      double loss, sum = 1;
      masses[r] = 1;
      if (h->loss == FNN_CROSS_ENTROPY) {
        loss = FN(cross_entropy_row)(z, n, y, y ? 0 : h->codes[i], &sum);
        sums[r] = (REAL)sum;
        if (y) {
          masses[r] = 0;
          for (ptrdiff_t j = 0; j < n; j++) masses[r] += y[j];
        }
      } else {
        REAL *one_hot = h->scratch;
        if (!y) {
          for (ptrdiff_t j = 0; j < padded; j++) one_hot[j] = 0;
          one_hot[h->codes[i]] = 1;
          y = one_hot;
        }
        loss = h->loss == FNN_MSE ? FN(mse_row)(z, n, y, h->activation, one_hot + padded)
                                  : FN(binary_cross_entropy_row)(z, n, y);
      }
      h->losses[i] = loss;
    }
    if (h->loss == FNN_CROSS_ENTROPY)
      for (ptrdiff_t v = 0; v < rows; v += VL) {
        V logs = FN(log)(FN(load)(sums + v));
        for (ptrdiff_t r = v; r < fnn_at_most(v + VL, rows); r++)
          h->losses[first + r] += (double)masses[r] * logs[r - v];
      }
    for (ptrdiff_t r = 0; r < rows; r++) {
      const ptrdiff_t i = first + r;
      if (h->weights) {
        REAL *z = (REAL *)h->Z + i * h->ld;
        for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(z + v, FN(load)(z + v) * (REAL)h->weights[i]);
        h->losses[i] *= h->weights[i];
      }
    }
  }
}

/* Codes of VL samples, of which `count` are there; the others' are of no unit. */
FNN_INLINE VI FN(load_codes)(const int32_t *codes, ptrdiff_t count) {
  typedef int32_t words __attribute__((vector_size(4 * FNN_LANES)));
  words few;
  if (count == VL) {
    memcpy(&few, codes, sizeof few);
  } else {
    for (ptrdiff_t r = 0; r < VL; r++) few[r] = r < count ? codes[r] : -1;
  }
  return __builtin_convertvector(few, VI);
}

/* w_i L_i of VL samples, of which `count` are there, and dZ over their Z. */
static void FN(head_columns)(const fnn_head *h, ptrdiff_t first, ptrdiff_t count) {
  const ptrdiff_t n = h->n;
  REAL *Z = (REAL *)h->Z + first * h->ld;
  V z[FEW], y[FEW];
  double loss[VL], terms[VL];
  for (int r = 0; r < VL; r++) loss[r] = 0;
  FN(load_columns)(z, Z, h->ld, count, n);
  VI codes = {0};
  if (h->codes) {
    codes = FN(load_codes)(h->codes + first, count);
    for (ptrdiff_t j = 0; j < n; j++) y[j] = FN(select)(codes == (INT)j, FN(set1)(1), (V){0});
  } else {
    FN(load_columns)(y, (const REAL *)h->Y + first * h->y_ld, h->y_ld, count, n);
  }
#define ADD_TO_LOSS(term)                                                                                              \
  {                                                                                                                    \
    FN(doubles)(terms, term);                                                                                          \
    for (int r = 0; r < VL; r++) loss[r] += terms[r];                                                                  \
  }
  if (h->loss == FNN_CROSS_ENTROPY) {
    V top, sum, mass = FN(set1)(1);
    if (h->codes) {
      V truth = {0};
      for (ptrdiff_t j = 0; j < n; j++) truth = FN(select)(codes == (INT)j, z[j], truth);
      FN(softmax_columns)(z, n, &top, &sum);
      FN(doubles)(loss, truth);
      FN(doubles)(terms, top);
      for (int r = 0; r < VL; r++) loss[r] = terms[r] - loss[r];
      for (ptrdiff_t j = 0; j < n; j++) z[j] -= y[j];
    } else {
      FN(doubles)(terms, FN(largest)(z, n));
      mass = (V){0};
      for (ptrdiff_t j = 0; j < n; j++) {
        double zs[VL], ys[VL];
        FN(doubles)(zs, z[j]);
        FN(doubles)(ys, y[j]);
        for (int r = 0; r < VL; r++)
          if (ys[r] != 0) loss[r] += ys[r] * (terms[r] - zs[r]); /* 0 times an infinite distance is 0 */
        mass += y[j];
      }
      FN(softmax_columns)(z, n, &top, &sum);
      for (ptrdiff_t j = 0; j < n; j++) z[j] = z[j] * mass - y[j];
    }
    ADD_TO_LOSS(mass * FN(log)(sum))
  } else if (h->loss == FNN_BINARY_CROSS_ENTROPY) {
    for (ptrdiff_t j = 0; j < n; j++) {
      /* -y log a - (1-y) log(1-a) = max(z, 0) - z y + log(1 + exp(-|z|)), for z of any size */
      const V x = z[j];
      double xs[VL], ys[VL];
      FN(doubles)(xs, x);
      FN(doubles)(ys, y[j]);
      FN(doubles)(terms, FN(log1p)(FN(exp)((V)((VI)x | SIGN))));
      for (int r = 0; r < VL; r++) loss[r] += (xs[r] > 0 ? xs[r] : 0.0) - xs[r] * ys[r] + terms[r];
      z[j] = FN(sigmoid)(x) - y[j];
    }
  } else {
    V a[FEW], unused;
    for (ptrdiff_t j = 0; j < n; j++) a[j] = FN(activate)(h->activation, z[j]);
    if (h->activation == FNN_SOFTMAX) FN(softmax_columns)(a, n, &unused, &unused);
    V sum = {0};
    for (ptrdiff_t j = 0; j < n; j++) {
      double as[VL], ys[VL];
      FN(doubles)(as, a[j]);
      FN(doubles)(ys, y[j]);
      for (int r = 0; r < VL; r++) loss[r] += (as[r] - ys[r]) * (as[r] - ys[r]);
      z[j] = 2 * (a[j] - y[j]);
      if (h->activation == FNN_SOFTMAX)
        sum += z[j] * a[j];
      else
        z[j] *= FN(slope)(h->activation, a[j]);
    }
    for (ptrdiff_t j = 0; j < n && h->activation == FNN_SOFTMAX; j++) z[j] = a[j] * (z[j] - sum);
  }
#undef ADD_TO_LOSS
  if (h->weights) {
    V w = {0};
    for (ptrdiff_t r = 0; r < count; r++)
      ((REAL *)&w)[r] = (REAL)h->weights[first + r], loss[r] *= h->weights[first + r];
    for (ptrdiff_t j = 0; j < n; j++) z[j] *= w;
  }
  if (count == VL)
    memcpy(h->losses + first, loss, sizeof loss);
  else
    for (ptrdiff_t r = 0; r < count; r++) h->losses[first + r] = loss[r];
  FN(store_columns)(Z, h->ld, z, count, n);
}

static int FN(head)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1) {
  if (h->n <= FEW)
    for (ptrdiff_t i = i0; i < i1; i += VL) FN(head_columns)(h, i, fnn_at_most(i1 - i, VL));
  else
    FN(head_rows)(h, i0, i1);
  int finite = 1;
  for (ptrdiff_t i = i0; i < i1; i++) finite &= h->losses[i] - h->losses[i] == 0;
  return finite;
}

/* --- losses of values, element by element, wherever a sample lies --- */

/* dZ: of the binary cross-entropy sigmoid(z) - y, of mse 2 (z - y). */
static void FN(residual)(void *out, const void *Z, const void *Y, int loss, ptrdiff_t n) {
  REAL *to = out;
  const REAL *z = Z, *y = Y;
  if (loss == FNN_MSE)
    for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, 2 * (FN(load)(z + v) - FN(load)(y + v)));
  else
    for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, FN(sigmoid)(FN(load)(z + v)) - FN(load)(y + v));
}

/* The terms whose sum over its units is a sample's loss. */
static void FN(terms)(double *out, const void *Z, const void *Y, int loss, ptrdiff_t n) {
  const REAL *z = Z, *y = Y;
  if (loss == FNN_MSE) {
    for (ptrdiff_t j = 0; j < n; j++) {
      const double error = (double)z[j] - y[j];
      out[j] = error * error;
    }
    return;
  }
  for (ptrdiff_t v = 0; v < n; v += VL) {
    REAL rest[VL];
    FN(store)(rest, FN(log1p)(FN(exp)((V)((VI)FN(load)(z + v) | SIGN))));
    for (ptrdiff_t j = 0; j < VL; j++) out[v + j] = rest[j];
  }
  for (ptrdiff_t j = 0; j < n; j++) out[j] += (z[j] > 0 ? (double)z[j] : 0.0) - (double)z[j] * y[j];
}

/* Whether all are numbers within 0..high. */
static int FN(within)(const void *x, ptrdiff_t n, double high) {
  const REAL *p = x;
  const V top = FN(set1)((REAL)high);
  VI good = ~(VI){0};
  ptrdiff_t i = 0;
  for (; i + VL <= n; i += VL) {
    const V y = FN(load)(p + i);
    good &= (y >= 0) & (y <= top) & (y - y == 0);
  }
  int all = 1;
  for (; i < n; i++) all &= p[i] >= 0 && p[i] <= (REAL)high && p[i] - p[i] == 0;
  for (int l = 0; l < VL; l++) all &= good[l] != 0;
  return all;
}

/* --- moving --- */

/* One body for both source dtypes: `from` is a constant at each call. */
#define GATHER_ROWS(FROM)                                                                                              \
  for (ptrdiff_t r = 0; r < rows; r++, out += ld) {                                                                    \
    const FROM *in = (const FROM *)from->data + (order ? (ptrdiff_t)order[first + r] : first + r) * from->col;         \
    if (from->row == 1)                                                                                                \
      for (ptrdiff_t j = 0; j < n; j++) out[j] = (REAL)in[j];                                                          \
    else                                                                                                               \
      for (ptrdiff_t j = 0; j < n; j++) out[j] = (REAL)in[j * from->row];                                              \
    for (ptrdiff_t j = n; j < fnn_up(n, VL); j++) out[j] = 0;                                                          \
  }

/* to[r][c] = from[c][r] for r < rows, c < columns. Rows of `to` are whole vectors, filled up with 0, if `pad`; else
   rows of `from` are, and read to their end. */
FNN_INLINE void FN(copy_transposed)(REAL *to, ptrdiff_t to_step, const REAL *from, ptrdiff_t from_step, ptrdiff_t rows,
                                    ptrdiff_t columns, const int pad) {
  for (ptrdiff_t c = 0; c < columns; c += VL) {
    const ptrdiff_t wide = fnn_at_most(VL, columns - c);
    ptrdiff_t r = 0;
    for (; (pad ? r + VL <= rows : wide == VL && r < rows); r += VL) {
      V block[VL];
      if (wide == VL) {
#pragma GCC unroll 16
        for (ptrdiff_t i = 0; i < VL; i++) block[i] = FN(load)(from + (c + i) * from_step + r);
      } else {
        for (ptrdiff_t i = 0; i < VL; i++) block[i] = i < wide ? FN(load)(from + (c + i) * from_step + r) : (V){0};
      }
      FN(transpose_block)(block);
      if (r + VL <= rows) {
#pragma GCC unroll 16
        for (ptrdiff_t i = 0; i < VL; i++) FN(store)(to + (r + i) * to_step + c, block[i]);
      } else {
        for (ptrdiff_t i = 0; i < rows - r; i++) FN(store)(to + (r + i) * to_step + c, block[i]);
      }
    }
    for (; r < rows; r++)
      for (ptrdiff_t i = 0; i < (pad ? VL : wide); i++)
        to[r * to_step + c + i] = i < wide ? from[(c + i) * from_step + r] : 0;
  }
}

/* Rows of n elements, each behind the last (n apart), into whole vectors or out of them. What a vector reaches beyond
   its row is of the rows that follow, as long as there are enough: how many rows that is true of. */
FNN_INLINE ptrdiff_t FN(rows_before_end)(ptrdiff_t rows, ptrdiff_t n) {
  const ptrdiff_t beyond = (fnn_up(n, VL) + n - 1) / n - 1;
  return rows > beyond ? rows - beyond : 0;
}

static void FN(gather)(void *to, ptrdiff_t ld, const fnn_matrix *from, const uint32_t *order, ptrdiff_t first,
                       ptrdiff_t rows, ptrdiff_t n) {
  REAL *out = to;
  if (from->dtype == FNN_DOUBLE && !order) {
    const REAL *in = (const REAL *)from->data + first * from->col;
    if (from->col == 1 && from->row != 1) {
      FN(copy_transposed)(out, ld, in, from->row, rows, n, 1);
      return;
    }
    if (from->row == 1 && from->col == n && n) {
      const ptrdiff_t most = FN(rows_before_end)(rows, n);
      for (ptrdiff_t r = 0; r < most; r++, in += n, out += ld)
        for (ptrdiff_t v = 0; v < n; v += VL)
          FN(store)(out + v, FN(select)(FN(inside)(v, n), FN(load)(in + v), (V){0}));
      first += most, rows -= most;
    }
  }
  if (from->dtype == FNN_FLOAT64) {
    GATHER_ROWS(double)
  } else {
    GATHER_ROWS(float)
  }
}
#undef GATHER_ROWS

static void FN(scatter)(const fnn_matrix *to, ptrdiff_t first, const void *from, ptrdiff_t ld, ptrdiff_t rows,
                        ptrdiff_t n) {
  const REAL *in = from;
  if (to->col == 1 && to->row != 1) {
    FN(copy_transposed)((REAL *)to->data + first, to->row, in, ld, n, rows, 0);
    return;
  }
  if (to->row == 1 && to->col == n && n) {
    const ptrdiff_t most = FN(rows_before_end)(rows, n);
    REAL *out = (REAL *)to->data + first * n;
    for (ptrdiff_t r = 0; r < most; r++, in += ld, out += n)
      for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(out + v, FN(load)(in + v));
    first += most, rows -= most;
  }
  for (ptrdiff_t r = 0; r < rows; r++, in += ld) {
    REAL *out = (REAL *)to->data + (first + r) * to->col;
    if (to->row == 1)
      memcpy(out, in, (size_t)n * sizeof(REAL));
    else
      for (ptrdiff_t j = 0; j < n; j++) out[j * to->row] = in[j];
  }
}

static void FN(pack)(void *panels, const fnn_matrix *from, ptrdiff_t k, ptrdiff_t n) {
  REAL *to = panels;
  ptrdiff_t first = 0, panel = 0;
  if (from->col == 1 && from->row != 1) { /* row after row, into all of the whole panels */
    panel = n / NR, first = panel * NR;
    for (ptrdiff_t r = 0; r < k; r++)
      for (ptrdiff_t j = 0; j < first; j += VL)
        FN(store)(to + j / NR * NR * k + r * NR + j % NR, FN(load)((const REAL *)from->data + r * from->row + j));
    to += first * k;
  }
  for (; first < n; first += NR, panel++) {
    const ptrdiff_t width = FN(panel_width)(n, panel), columns = fnn_at_most(n - first, width);
    const REAL *in = (const REAL *)from->data + first * from->col;
    if (from->row == 1) {
      FN(copy_transposed)(to, width, in, from->col, k, columns, 1);
    } else {
      for (ptrdiff_t r = 0; r < k; r++)
        for (ptrdiff_t j = 0; j < columns; j++) to[r * width + j] = in[r * from->row + j * from->col];
    }
    for (ptrdiff_t r = 0; r < k && columns < width; r++)
      for (ptrdiff_t j = columns; j < width; j++) to[r * width + j] = 0;
    to += k * width;
  }
}

static void FN(unpack)(const fnn_matrix *to, const void *panels, ptrdiff_t k, ptrdiff_t n) {
  const REAL *in = panels;
  for (ptrdiff_t first = 0, panel = 0; first < n; first += NR, panel++) {
    const ptrdiff_t width = FN(panel_width)(n, panel), columns = fnn_at_most(n - first, width);
    REAL *out = (REAL *)to->data + first * to->col;
    for (ptrdiff_t j = 0; j < columns; j++)
      for (ptrdiff_t r = 0; r < k; r++) out[r * to->row + j * to->col] = in[r * width + j];
    in += k * width;
  }
}

/* A panel of W^T, rows i0..i1, into the panels of W that it crosses. */
static void FN(transpose)(REAL *W, const REAL *WT, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t i0, ptrdiff_t i1,
                          ptrdiff_t panel) {
  const ptrdiff_t width = FN(panel_width)(n_out, panel), columns = fnn_at_most(n_out - panel * NR, width);
  for (ptrdiff_t i = i0, end; i < i1; i = end) {
    const ptrdiff_t to_panel = i / NR, to_width = FN(panel_width)(n_in, to_panel);
    REAL *out = W + to_panel * NR * n_out + panel * NR * to_width + i % NR;
    end = fnn_at_most(fnn_up(i + 1, VL), i1);
    ptrdiff_t j = 0;
    if (end - i == VL)
      for (; j + VL <= columns; j += VL) {
        V block[VL];
#pragma GCC unroll 16
        for (int r = 0; r < VL; r++) block[r] = FN(load)(WT + (i + r) * width + j);
        FN(transpose_block)(block);
#pragma GCC unroll 16
        for (int r = 0; r < VL; r++) FN(store)(out + (j + r) * to_width, block[r]);
      }
    for (; j < columns; j++)
      for (ptrdiff_t r = i; r < end; r++) out[j * to_width + r - i] = WT[r * width + j];
  }
}

/* Without their signs floats are in the order of their bits, with inf and then the NaNs above all numbers. */
static double FN(magnitude)(const void *x, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n) {
  VI most[4] = {{0}};
  INT rest = 0;
  if (ld == n) n *= rows, rows = 1;
  for (ptrdiff_t r = 0; r < rows; r++) {
    const REAL *p = (const REAL *)x + r * ld;
    ptrdiff_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL)
      for (int v = 0; v < 4; v++) {
        const VI bits = (VI)FN(load)(p + j + v * VL) & ~SIGN;
        most[v] = (VI)FN(select)(bits > most[v], (V)bits, (V)most[v]);
      }
    for (; n >= VL && j < n; j += VL) { /* the last vector reaches back */
      const VI bits = (VI)FN(load)(p + fnn_at_most(j, n - VL)) & ~SIGN;
      most[0] = (VI)FN(select)(bits > most[0], (V)bits, (V)most[0]);
    }
    for (; j < n; j++) {
      INT bits;
      memcpy(&bits, p + j, sizeof bits);
      rest = (bits & ~SIGN) > rest ? bits & ~SIGN : rest;
    }
  }
  for (int v = 0; v < 4; v++)
    for (int l = 0; l < VL; l++) rest = most[v][l] > rest ? most[v][l] : rest;
  REAL largest;
  memcpy(&largest, &rest, sizeof largest);
  return largest - largest == 0 ? (double)largest : (double)INFINITY;
}

static const fnn_kernels FN(table) = {
    .size = sizeof(REAL),
    .vl = VL,
    .mr = FNN_MR,
    .nr = NR,
    .chunk = MOST_ROWS,
    .packs = FNN_PACK_PANELS > 0,
    .product = FN(product),
    .matvec = FN(matvec),
    .rowsum = FN(rowsum),
    .rowsum_room = FN(rowsum_room),
    .sums_along = FN(sums_along),
    .update = FN(update),
    .activation = FN(activation),
    .derivative = FN(derivative),
    .softmax_down = FN(softmax_down),
    .softmax_slope_down = FN(softmax_slope_down),
    .head = FN(head),
    .residual = FN(residual),
    .terms = FN(terms),
    .within = FN(within),
    .gather = FN(gather),
    .scatter = FN(scatter),
    .pack = FN(pack),
    .unpack = FN(unpack),
    .magnitude = FN(magnitude),
};

#undef V
#undef VI
#undef VL
#undef FNN_LANES
#undef NR
#undef SUM_BLOCK
#undef STRIP
#undef SUM_RUN
#undef SUM_LANES
#undef LANE_VECTORS
#undef MANTISSA
#undef BIAS
#undef EXP_TERMS
#undef LOG_TERMS
#undef EXP_LOW
#undef TANH_HIGH
#undef LN2_HIGH
#undef LN2_LOW
#undef LOG2E
#undef SIGN
#undef ROUND
#undef HEAD_ROWS
#undef FEW
#undef FEW_OUTPUTS
#undef HAS_ROWS_OF_FOUR
#undef ROW_PANELS
#undef MOST_PAIRS
#undef PAIRS_ROOM
#undef TILES_AT_ONCE
#undef TALLEST
#undef MATVEC_ROWS
#undef MOST_ROWS
#undef FEW_TERMS
