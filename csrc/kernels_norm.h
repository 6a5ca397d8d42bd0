/* Norms of a layer: layer norm, by rows (samples), and batch norm, by columns (units). fastnn/_numpy.py defines what
   they compute. Variances take two passes: first the mean, then the squares of what is left; so a large mean costs no
   digits. Means are those of differences from a first number: so they are exact if all numbers are equal. There the
   variance is 0, and an error of the mean would be multiplied by 1 / sqrt(eps) = 316. kernels_bodies.h includes this
   file for each dtype. */
#define NORM_ROWS 4  /* rows whose sums are made at the same time: each sum waits for its own additions only */
#define NORM_STRIP 4 /* vectors of a block's columns whose sums stay in registers */
#define NORM_GROUP 8 /* rows that are normalised before their activation: they are still in the first cache */

/* The activation that is applied at once, as in a tile. */
FNN_INLINE enum fnn_activation FN(norm_in_tile)(const fnn_norm *p) {
  return p->S ? FNN_IDENTITY : (enum fnn_activation)p->g.kind;
}

/* Another activation, of rows and columns that hold gamma * zhat + beta. */
FNN_INLINE void FN(norm_activation)(const fnn_norm *p, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t j0, ptrdiff_t j1) {
  const ptrdiff_t at = i * p->row_step + j0;
  REAL *A = (REAL *)p->A + at;
  if (fnn_place_of(&p->g) == FNN_WHOLE_ROWS) return;
  if (p->S)
    FN(activation_and_slope)(A, (REAL *)p->S + at, p->row_step, &p->g, rows, j1 - j0);
  else if (fnn_place_of(&p->g) == FNN_AFTER_TILE)
    FN(activation)(A, p->row_step, A, p->row_step, &p->g, rows, j1 - j0);
}

/* --- layer norm --- */

/* The sum of SUM_LANES lanes, in the order of FN(sum_lanes), but in registers: here a row is often not much longer. */
typedef REAL FN(vector_of_32) __attribute__((vector_size(32)));
typedef REAL FN(vector_of_16) __attribute__((vector_size(16)));
FNN_INLINE REAL FN(sum_in_registers)(V *lanes) {
#pragma GCC unroll 4
  for (int half = LANE_VECTORS / 2; half; half /= 2)
#pragma GCC unroll 4
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
#if FNN_VECTOR_BYTES == 64
  const union {
    V whole;
    FN(vector_of_32) half[2];
  } x = {lanes[0]};
  const FN(vector_of_32) y = x.half[0] + x.half[1];
#elif FNN_VECTOR_BYTES == 32
  const FN(vector_of_32) y = (FN(vector_of_32))lanes[0];
#endif
#if FNN_VECTOR_BYTES > 16
  const union {
    FN(vector_of_32) whole;
    FN(vector_of_16) half[2];
  } z = {y};
  const FN(vector_of_16) s = z.half[0] + z.half[1];
#else
  const FN(vector_of_16) s = (FN(vector_of_16))lanes[0];
#endif
#if FNN_DOUBLE
  return s[0] + s[1];
#else
  return (s[0] + s[2]) + (s[1] + s[3]);
#endif
}

/* TERM of each element x of `count` rows, added up in SUM_LANES lanes for each row; the order is that of
   FN(sum_lanes). Padding does not count. */
#define ROW_SUMS(TERM)                                                                                                 \
  {                                                                                                                    \
    ptrdiff_t v = 0;                                                                                                   \
    for (int r = 0; r < count; r++)                                                                                    \
      for (int q = 0; q < LANE_VECTORS; q++) lanes[r][q] = (V){0};                                                     \
    for (; v + SUM_LANES <= n; v += SUM_LANES)                                                                         \
      _Pragma("GCC unroll 8") for (int q = 0; q < LANE_VECTORS; q++)                                                   \
          _Pragma("GCC unroll 4") for (int r = 0; r < count; r++) {                                                    \
        const V x = FN(load)(z + r * ld + v + q * VL);                                                                 \
        lanes[r][q] += TERM;                                                                                           \
      }                                                                                                                \
    _Pragma("GCC unroll 8") for (int q = 0; q < LANE_VECTORS; q++) if (v + q * VL < n) {                               \
      const VI is_unit = FN(inside)(v + q * VL, n);                                                                    \
      _Pragma("GCC unroll 4") for (int r = 0; r < count; r++) {                                                        \
        const V x = FN(load)(z + r * ld + v + q * VL);                                                                 \
        lanes[r][q] += FN(select)(is_unit, TERM, (V){0});                                                              \
      }                                                                                                                \
    }                                                                                                                  \
  }

/* The variance of n numbers whose squares, or sum, have left the range of float; also stores their mean. */
static __attribute__((noinline)) double FN(large_variance)(REAL *mean, const REAL *z, ptrdiff_t n) {
  double sum = 0, squares = 0;
  for (ptrdiff_t j = 0; j < n; j++) sum += (double)z[j];
  for (ptrdiff_t j = 0; j < n; j++) squares += ((double)z[j] - sum / (double)n) * ((double)z[j] - sum / (double)n);
  *mean = (REAL)(sum / (double)n);
  return squares / (double)n;
}

/* Mean and 1 / sqrt(var + eps) of each of `count` rows of n (a compile-time constant, at most NORM_ROWS). */
FNN_INLINE void FN(row_statistics)(const int count, REAL *mean, REAL *rstd, const REAL *z, ptrdiff_t ld, ptrdiff_t n) {
  V lanes[NORM_ROWS][LANE_VECTORS];
  REAL first[NORM_ROWS];
  for (int r = 0; r < count; r++) first[r] = z[r * ld];
  ROW_SUMS(x - first[r])
  for (int r = 0; r < count; r++) mean[r] = first[r] + FN(sum_in_registers)(lanes[r]) / (REAL)n;
  ROW_SUMS((x - mean[r]) * (x - mean[r]))
  double var[NORM_ROWS];
  for (int r = 0; r < count; r++) {
    var[r] = (double)(FN(sum_in_registers)(lanes[r]) / (REAL)n);
    if (!(var[r] <= DBL_MAX)) var[r] = FN(large_variance)(&mean[r], z + r * ld, n);
  }
  for (int r = 0; r < count; r++) rstd[r] = (REAL)(1 / sqrt(var[r] + FNN_NORM_EPS)); /* all rows in one vector */
}
#undef ROW_SUMS

#if !FNN_DOUBLE
/* Row i where 1 / sqrt(var + eps) is too small for a float, and z - mean may be too large: in double. */
static __attribute__((noinline)) void FN(normalise_far_row)(const fnn_norm *p, ptrdiff_t i) {
  const REAL *z = (const REAL *)p->Z + i * p->row_step;
  const FN(constants) c = FN(constants_of)(&p->g);
  REAL *A = (REAL *)p->A + i * p->row_step, *zhat = p->zhat ? (REAL *)p->zhat + i * p->row_step : A;
  double sum = 0;
  REAL mean;
  const double rstd = 1 / sqrt(FN(large_variance)(&mean, z, p->n) + FNN_NORM_EPS);
  for (ptrdiff_t j = 0; j < p->n; j++) sum += (double)z[j];
  for (ptrdiff_t j = 0; j < p->n; j++) zhat[j] = (REAL)(((double)z[j] - sum / (double)p->n) * rstd);
  for (ptrdiff_t j = p->n; j < p->padded; j++) zhat[j] = 0;
  for (ptrdiff_t v = 0; v < p->padded; v += VL) {
    const V y = FN(fma)(FN(load)((const REAL *)p->gamma + v), FN(load)(zhat + v), FN(load)((const REAL *)p->beta + v));
    FN(store)(A + v, FN(in_tile)(FN(norm_in_tile)(p), y, c));
  }
}
#endif

static void FN(layer_norm)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1) {
  const REAL *gamma = p->gamma, *beta = p->beta;
  const ptrdiff_t n = p->n, padded = p->padded; /* a store of a vector might change *p, as far as the compiler knows */
  const enum fnn_activation g = FN(norm_in_tile)(p);
  const FN(constants) c = FN(constants_of)(&p->g);
  for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
    const REAL *z = (const REAL *)p->Z + i * p->row_step;
    REAL mean[NORM_ROWS], rstd[NORM_ROWS];
    rows = i + NORM_ROWS <= i1 ? NORM_ROWS : 1;
    if (rows == NORM_ROWS)
      FN(row_statistics)(NORM_ROWS, mean, rstd, z, p->row_step, p->n);
    else
      FN(row_statistics)(1, mean, rstd, z, p->row_step, p->n);
    for (ptrdiff_t r = 0; r < rows; r++) {
      REAL *A = (REAL *)p->A + (i + r) * p->row_step;
      REAL *zhat = p->zhat ? (REAL *)p->zhat + (i + r) * p->row_step : NULL;
      if (p->row_rstd) ((REAL *)p->row_rstd)[i + r] = rstd[r];
#if !FNN_DOUBLE
      if (rstd[r] < FLT_MIN) {
        FN(normalise_far_row)(p, i + r);
        continue;
      }
#endif
      for (ptrdiff_t v = 0; v < padded; v += VL) {
        V x = (FN(load)(z + r * p->row_step + v) - mean[r]) * rstd[r];
        if (v + VL > n) x = FN(select)(FN(inside)(v, n), x, (V){0}); /* padding could overflow */
        if (zhat) FN(store)(zhat + v, x);
        FN(store)(A + v, FN(in_tile)(g, FN(fma)(FN(load)(gamma + v), x, FN(load)(beta + v)), c));
      }
    }
    FN(norm_activation)(p, i, rows, 0, p->padded);
  }
}

/* --- batch norm --- */

/* OF_STRIP(vectors, j) for strips of so many vectors (a constant) from column j on, from j0 to j1. The last strip may
   do columns of the one before it again: that takes less time than narrow strips, whose sums wait for one another. */
#define EACH_STRIP(j0, j1, OF_STRIP)                                                                                   \
  {                                                                                                                    \
    const ptrdiff_t all = (j1) - (j0), wide = all >= NORM_STRIP * VL ? NORM_STRIP * VL : fnn_min(all, 2 * VL);         \
    for (ptrdiff_t next = (j0), j; next < (j1); next += wide) {                                                        \
      j = fnn_min(next, (j1) - wide);                                                                                  \
      if (wide > 2 * VL)                                                                                               \
        OF_STRIP(NORM_STRIP, j)                                                                                        \
      else if (wide > VL)                                                                                              \
        OF_STRIP(2, j)                                                                                                 \
      else                                                                                                             \
        OF_STRIP(1, j)                                                                                                 \
    }                                                                                                                  \
  }

/* Mean and sum of squared deviations of `rows` rows of a block, for `vectors` vectors (a constant) of columns. */
FNN_INLINE void FN(block_statistics)(const int vectors, REAL *mean, REAL *squares, const REAL *z, ptrdiff_t ld,
                                     ptrdiff_t rows) {
  V first[NORM_STRIP], sum[NORM_STRIP], square[NORM_STRIP];
  for (int v = 0; v < vectors; v++) first[v] = FN(load)(z + v * VL), sum[v] = square[v] = (V){0};
  for (ptrdiff_t r = 1; r < rows; r++)
    for (int v = 0; v < vectors; v++) sum[v] += FN(load)(z + r * ld + v * VL) - first[v];
  for (int v = 0; v < vectors; v++) sum[v] = FN(fma)(sum[v], FN(set1)(1 / (REAL)rows), first[v]);
  for (ptrdiff_t r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) {
      const V d = FN(load)(z + r * ld + v * VL) - sum[v];
      square[v] = FN(fma)(d, d, square[v]);
    }
  for (int v = 0; v < vectors; v++) {
    FN(store)(mean + v * VL, sum[v]);
    FN(store)(squares + v * VL, square[v]);
  }
}

static void FN(norm_blocks)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1) {
  for (ptrdiff_t i = i0; i < i1; i += p->block) {
    REAL *out = (REAL *)p->blocks + i / p->block * 2 * p->padded;
    const REAL *z = (const REAL *)p->Z + i * p->row_step;
    const ptrdiff_t rows = fnn_min(p->block, i1 - i);
#define OF_STRIP(vectors, j) FN(block_statistics)(vectors, out + j, out + p->padded + j, z + j, p->row_step, rows);
    EACH_STRIP(j0, j1, OF_STRIP)
#undef OF_STRIP
  }
}

/* Numbers of FNN_DOUBLE_LANES columns as doubles, and these doubles as numbers. */
FNN_INLINE FN(doubles_vector) FN(widened)(const REAL *x) { return FN(widen)(*(const FN(narrow_vector) *)x); }
FNN_INLINE void FN(narrow)(REAL *to, FN(doubles_vector) x) {
  *(FN(narrow_vector) *)to = __builtin_convertvector(x, FN(narrow_vector));
}

/* For each column the blocks' two numbers, in double. */
static void FN(norm_statistics)(const fnn_norm *p, ptrdiff_t j0, ptrdiff_t j1) {
  const ptrdiff_t m = p->m, block = p->block, padded = p->padded;
  for (ptrdiff_t j = j0; j < j1; j += FNN_DOUBLE_LANES) {
    FN(doubles_vector) mean = {0}, square = {0};
    const REAL *x = (const REAL *)p->blocks + j;
    for (ptrdiff_t i = 0; i < m; i += block, x += 2 * padded) mean += (double)fnn_min(block, m - i) * FN(widened)(x);
    mean /= (double)m;
    x = (const REAL *)p->blocks + j;
    for (ptrdiff_t i = 0; i < m; i += block, x += 2 * padded) {
      const FN(doubles_vector) d = FN(widened)(x) - mean;
      square += FN(widened)(x + padded) + (double)fnn_min(block, m - i) * d * d;
    }
    FN(narrow)((REAL *)p->mean + j, mean);
    FN(narrow)((REAL *)p->var + j, square / (double)m);
  }
  for (ptrdiff_t j = j0; j < j1; j += VL)
    FN(store)((REAL *)p->rstd + j, 1 / FN(sqrt)(FN(load)((REAL *)p->var + j) + (REAL)FNN_NORM_EPS));
}

static void FN(batch_norm)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1) {
  const REAL *mean = p->mean, *rstd = p->rstd, *gamma = p->gamma, *beta = p->beta;
  const enum fnn_activation g = FN(norm_in_tile)(p);
  const FN(constants) c = FN(constants_of)(&p->g);
  for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
    rows = fnn_min(NORM_GROUP, i1 - i);
    for (ptrdiff_t r = i; r < i + rows; r++) {
      const REAL *z = (const REAL *)p->Z + r * p->row_step;
      REAL *A = (REAL *)p->A + r * p->row_step, *zhat = p->zhat ? (REAL *)p->zhat + r * p->row_step : NULL;
      for (ptrdiff_t j = j0; j < j1; j += VL) {
        const V x = (FN(load)(z + j) - FN(load)(mean + j)) * FN(load)(rstd + j);
        if (zhat) FN(store)(zhat + j, x);
        FN(store)(A + j, FN(in_tile)(g, FN(fma)(FN(load)(gamma + j), x, FN(load)(beta + j)), c));
      }
    }
    FN(norm_activation)(p, i, rows, j0, j1);
  }
}

/* --- backward --- */

/* The sums of dY * zhat and of dY over `rows` rows, for `vectors` vectors (a constant) of columns. */
FNN_INLINE void FN(back_block)(const int vectors, REAL *dgamma, REAL *dbeta, const REAL *dY, const REAL *zhat,
                               ptrdiff_t ld, ptrdiff_t rows) {
  V product[NORM_STRIP], sum[NORM_STRIP];
  for (int v = 0; v < vectors; v++) product[v] = sum[v] = (V){0};
  for (ptrdiff_t r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) {
      const V d = FN(load)(dY + r * ld + v * VL);
      product[v] = FN(fma)(d, FN(load)(zhat + r * ld + v * VL), product[v]);
      sum[v] += d;
    }
  for (int v = 0; v < vectors; v++) {
    FN(store)(dgamma + v * VL, product[v]);
    FN(store)(dbeta + v * VL, sum[v]);
  }
}

static void FN(norm_back_blocks)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1) {
  for (ptrdiff_t i = i0; i < i1; i += p->block) {
    REAL *out = (REAL *)p->back + i / p->block * 2 * p->padded;
    const REAL *dY = (const REAL *)p->dZ + i * p->row_step, *zhat = (const REAL *)p->zhat + i * p->row_step;
    const ptrdiff_t rows = fnn_min(p->block, i1 - i);
#define OF_STRIP(vectors, j) FN(back_block)(vectors, out + j, out + p->padded + j, dY + j, zhat + j, p->row_step, rows);
    EACH_STRIP(0, p->padded, OF_STRIP)
#undef OF_STRIP
  }
}

static void FN(norm_back_sums)(const fnn_norm *p, void *dgamma, void *dbeta, double scale, ptrdiff_t j0, ptrdiff_t j1) {
  const ptrdiff_t m = p->m, block = p->block, padded = p->padded;
  for (ptrdiff_t j = j0; j < j1; j += FNN_DOUBLE_LANES) {
    FN(doubles_vector) product = {0}, sum = {0};
    const REAL *x = (const REAL *)p->back + j;
    for (ptrdiff_t i = 0; i < m; i += block, x += 2 * padded) product += FN(widened)(x), sum += FN(widened)(x + padded);
    FN(narrow)((REAL *)dgamma + j, product * scale);
    FN(narrow)((REAL *)dbeta + j, sum * scale);
  }
}

/* dZ = rstd (d - mean(d) - zhat mean(d zhat)) with d = gamma dY, the means over the units of the sample; for `count`
   rows (a compile-time constant, at most NORM_ROWS). The padding of dZ becomes 0. */
FNN_INLINE void FN(layer_norm_back_rows)(const int count, const fnn_norm *p, ptrdiff_t i) {
  const ptrdiff_t n = p->n, padded = p->padded, ld = p->row_step;
  const REAL *gamma = p->gamma, *zhat = (const REAL *)p->zhat + i * ld, *rstd = (const REAL *)p->row_rstd + i;
  REAL *dZ = (REAL *)p->dZ + i * ld, mean[NORM_ROWS], slope[NORM_ROWS];
  V sums[NORM_ROWS][LANE_VECTORS], products[NORM_ROWS][LANE_VECTORS];
  for (int r = 0; r < count; r++)
    for (int q = 0; q < LANE_VECTORS; q++) sums[r][q] = products[r][q] = (V){0};
  for (ptrdiff_t v = 0; v < padded; v += SUM_LANES) /* gamma is 0 in the padding */
#pragma GCC unroll 8
    for (int q = 0; q < LANE_VECTORS; q++)
      if (LANE_VECTORS == 1 || v + q * VL < padded) {
        const ptrdiff_t at = v + q * VL;
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
          const V d = FN(load)(dZ + r * ld + at) * FN(load)(gamma + at);
          sums[r][q] += d;
          products[r][q] = FN(fma)(d, FN(load)(zhat + r * ld + at), products[r][q]);
        }
      }
  for (int r = 0; r < count; r++) {
    mean[r] = FN(sum_in_registers)(sums[r]) / (REAL)n;
    slope[r] = FN(sum_in_registers)(products[r]) / (REAL)n;
  }
  const VI is_unit = FN(inside)(padded - VL, n);
  for (int r = 0; r < count; r++) {
    for (ptrdiff_t v = 0; v < padded; v += VL) {
      const V d = FN(load)(dZ + r * ld + v) * FN(load)(gamma + v) - mean[r];
      FN(store)(dZ + r * ld + v, rstd[r] * FN(fma)(-FN(load)(zhat + r * ld + v), FN(set1)(slope[r]), d));
    }
    REAL *last = dZ + r * ld + padded - VL;
    FN(store)(last, FN(select)(is_unit, FN(load)(last), (V){0}));
  }
}

static void FN(layer_norm_back)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1) {
  for (ptrdiff_t i = i0; i < i1; i += p->block) {
    const ptrdiff_t end = fnn_min(i + p->block, i1);
    FN(norm_back_blocks)(p, i, end);
    ptrdiff_t r = i;
    for (; r + NORM_ROWS <= end; r += NORM_ROWS) FN(layer_norm_back_rows)(NORM_ROWS, p, r);
    for (; r < end; r++) FN(layer_norm_back_rows)(1, p, r);
  }
}

/* dZ = gamma rstd (dY - dbeta / m - zhat dgamma / m); without sums gamma rstd dY. */
static void FN(batch_norm_back)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1) {
  const REAL *rstd = p->rstd, *gamma = p->gamma, *of_gamma = p->sums;
  const ptrdiff_t padded = p->padded;
  for (ptrdiff_t i = i0; i < i1; i++) {
    REAL *dZ = (REAL *)p->dZ + i * p->row_step;
    const REAL *zhat = (const REAL *)p->zhat + i * p->row_step;
    for (ptrdiff_t j = 0; j < padded; j += VL) {
      V d = FN(load)(dZ + j);
      if (of_gamma) d = FN(fma)(-FN(load)(zhat + j), FN(load)(of_gamma + j), d - FN(load)(of_gamma + padded + j));
      FN(store)(dZ + j, FN(load)(gamma + j) * FN(load)(rstd + j) * d);
    }
  }
}

static void FN(move_running)(void *running_mean, void *running_var, void *running_rstd, const void *mean,
                             const void *var, ptrdiff_t m, ptrdiff_t n) {
  const V rest = FN(set1)((REAL)(1 - FNN_NORM_MOMENTUM)), of_mean = FN(set1)((REAL)FNN_NORM_MOMENTUM);
  const V of_var = FN(set1)((REAL)(FNN_NORM_MOMENTUM * (double)m / (double)(m - 1)));
  REAL *a = running_mean, *s = running_var, *r = running_rstd;
  for (ptrdiff_t j = 0; j < n; j += VL) {
    V square = FN(load)(s + j);
    if (mean) {
      FN(store)(a + j, FN(fma)(rest, FN(load)(a + j), of_mean * FN(load)((const REAL *)mean + j)));
      square = FN(fma)(rest, square, of_var * FN(load)((const REAL *)var + j));
      FN(store)(s + j, square);
    }
    FN(store)(r + j, 1 / FN(sqrt)(square + (REAL)FNN_NORM_EPS));
  }
}
