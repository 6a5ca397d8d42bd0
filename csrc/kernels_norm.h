/* Norms of a layer: layer norm, by rows (samples), and batch norm, by columns (units). fastnn/_numpy.py defines what
   they compute. Variances take two passes: first the mean, then the squares of what is left; so a large mean costs no
   digits. kernels_bodies.h includes this file for each dtype. */
#define NORM_ROWS 4  /* rows whose sums are made at the same time: each sum waits for its own additions only */
#define NORM_STRIP 4 /* vectors of a block's columns whose sums stay in registers */
#define NORM_GROUP 8 /* rows that are normalised before their activation: they are still in the first cache */
#define NORM_DOUBLES 64

/* The activation of rows and columns that hold gamma * zhat + beta. */
FNN_INLINE void FN(norm_activation)(const fnn_norm *p, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t j0, ptrdiff_t j1) {
  const ptrdiff_t at = i * p->row_step + j0;
  REAL *A = (REAL *)p->A + at;
  if (fnn_place_of(&p->g) == FNN_WHOLE_ROWS) return;
  if (p->S)
    FN(activation_and_slope)(A, (REAL *)p->S + at, p->row_step, &p->g, rows, j1 - j0);
  else if (p->g.kind != FNN_IDENTITY)
    FN(activation)(A, p->row_step, A, p->row_step, &p->g, rows, j1 - j0);
}

/* --- layer norm --- */

/* TERM of each element x of `count` rows, added up in SUM_LANES lanes for each row; the order is that of FN(sum_lanes).
   Padding does not count. */
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

/* Mean and 1 / sqrt(var + eps) of each of `count` rows of n (a compile-time constant, at most NORM_ROWS). */
FNN_INLINE void FN(row_statistics)(const int count, REAL *mean, REAL *rstd, const REAL *z, ptrdiff_t ld, ptrdiff_t n) {
  V lanes[NORM_ROWS][LANE_VECTORS];
  ROW_SUMS(x)
  for (int r = 0; r < count; r++) mean[r] = FN(sum_lanes)(lanes[r]) / (REAL)n;
  ROW_SUMS((x - mean[r]) * (x - mean[r]))
  for (int r = 0; r < count; r++)
    rstd[r] = (REAL)(1 / sqrt((double)(FN(sum_lanes)(lanes[r]) / (REAL)n) + FNN_NORM_EPS));
}
#undef ROW_SUMS

static void FN(layer_norm)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1) {
  const REAL *gamma = p->gamma, *beta = p->beta;
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
      for (ptrdiff_t v = 0; v < p->padded; v += VL) {
        const V x = (FN(load)(z + r * p->row_step + v) - mean[r]) * rstd[r];
        if (zhat) FN(store)(zhat + v, x);
        FN(store)(A + v, FN(fma)(FN(load)(gamma + v), x, FN(load)(beta + v)));
      }
    }
    FN(norm_activation)(p, i, rows, 0, p->padded);
  }
}

/* --- batch norm --- */

/* Mean and sum of squared deviations of `rows` rows of a block, for `vectors` vectors (a constant) of columns. */
FNN_INLINE void FN(block_statistics)(const int vectors, REAL *mean, REAL *squares, const REAL *z, ptrdiff_t ld,
                                     ptrdiff_t rows) {
  V sum[NORM_STRIP], square[NORM_STRIP];
  for (int v = 0; v < vectors; v++) sum[v] = square[v] = (V){0};
  for (ptrdiff_t r = 0; r < rows; r++)
    for (int v = 0; v < vectors; v++) sum[v] += FN(load)(z + r * ld + v * VL);
  for (int v = 0; v < vectors; v++) sum[v] *= 1 / (REAL)rows;
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
    ptrdiff_t j = j0;
    for (; j + NORM_STRIP * VL <= j1; j += NORM_STRIP * VL)
      FN(block_statistics)(NORM_STRIP, out + j, out + p->padded + j, z + j, p->row_step, rows);
    for (; j < j1; j += VL) FN(block_statistics)(1, out + j, out + p->padded + j, z + j, p->row_step, rows);
  }
}

/* For each column the blocks' two numbers, in double. */
static void FN(norm_statistics)(const fnn_norm *p, ptrdiff_t j0, ptrdiff_t j1) {
  const ptrdiff_t blocks = (p->m + p->block - 1) / p->block;
  for (ptrdiff_t j = j0, count; j < j1; j += count) {
    double mean[NORM_DOUBLES] = {0}, square[NORM_DOUBLES] = {0};
    count = fnn_min(NORM_DOUBLES, j1 - j);
    for (ptrdiff_t k = 0; k < blocks; k++) {
      const REAL *of_block = (const REAL *)p->blocks + k * 2 * p->padded + j;
      const double rows = (double)fnn_min(p->block, p->m - k * p->block);
      for (ptrdiff_t c = 0; c < count; c++) mean[c] += rows * (double)of_block[c];
    }
    for (ptrdiff_t c = 0; c < count; c++) mean[c] /= (double)p->m;
    for (ptrdiff_t k = 0; k < blocks; k++) {
      const REAL *of_block = (const REAL *)p->blocks + k * 2 * p->padded + j;
      const double rows = (double)fnn_min(p->block, p->m - k * p->block);
      for (ptrdiff_t c = 0; c < count; c++) {
        const double d = (double)of_block[c] - mean[c];
        square[c] += (double)of_block[p->padded + c] + rows * d * d;
      }
    }
    for (ptrdiff_t c = 0; c < count; c++) {
      ((REAL *)p->mean)[j + c] = (REAL)mean[c];
      ((REAL *)p->var)[j + c] = (REAL)(square[c] / (double)p->m);
    }
  }
  for (ptrdiff_t j = j0; j < j1; j += VL)
    FN(store)((REAL *)p->rstd + j, 1 / FN(sqrt)(FN(load)((REAL *)p->var + j) + (REAL)FNN_NORM_EPS));
}

static void FN(batch_norm)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1) {
  const REAL *mean = p->mean, *rstd = p->rstd, *gamma = p->gamma, *beta = p->beta;
  for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
    rows = fnn_min(NORM_GROUP, i1 - i);
    for (ptrdiff_t r = i; r < i + rows; r++) {
      const REAL *z = (const REAL *)p->Z + r * p->row_step;
      REAL *A = (REAL *)p->A + r * p->row_step, *zhat = p->zhat ? (REAL *)p->zhat + r * p->row_step : NULL;
      for (ptrdiff_t j = j0; j < j1; j += VL) {
        const V x = (FN(load)(z + j) - FN(load)(mean + j)) * FN(load)(rstd + j);
        if (zhat) FN(store)(zhat + j, x);
        FN(store)(A + j, FN(fma)(FN(load)(gamma + j), x, FN(load)(beta + j)));
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
    ptrdiff_t j = 0;
    for (; j + NORM_STRIP * VL <= p->padded; j += NORM_STRIP * VL)
      FN(back_block)(NORM_STRIP, out + j, out + p->padded + j, dY + j, zhat + j, p->row_step, rows);
    for (; j < p->padded; j += VL) FN(back_block)(1, out + j, out + p->padded + j, dY + j, zhat + j, p->row_step, rows);
  }
}

static void FN(norm_back_sums)(const fnn_norm *p, void *dgamma, void *dbeta, double scale, ptrdiff_t j0, ptrdiff_t j1) {
  const ptrdiff_t blocks = (p->m + p->block - 1) / p->block;
  for (ptrdiff_t j = j0, count; j < j1; j += count) {
    double product[NORM_DOUBLES] = {0}, sum[NORM_DOUBLES] = {0};
    count = fnn_min(NORM_DOUBLES, j1 - j);
    for (ptrdiff_t k = 0; k < blocks; k++) {
      const REAL *of_block = (const REAL *)p->back + k * 2 * p->padded + j;
      for (ptrdiff_t c = 0; c < count; c++) {
        product[c] += (double)of_block[c];
        sum[c] += (double)of_block[p->padded + c];
      }
    }
    for (ptrdiff_t c = 0; c < count; c++) {
      ((REAL *)dgamma)[j + c] = (REAL)(product[c] * scale);
      ((REAL *)dbeta)[j + c] = (REAL)(sum[c] * scale);
    }
  }
}

/* dZ = rstd (d - mean(d) - zhat mean(d zhat)) with d = gamma dY, the means over the units of the sample. */
FNN_INLINE void FN(layer_norm_back_row)(const fnn_norm *p, REAL *dZ, const REAL *zhat, REAL rstd) {
  const REAL *gamma = p->gamma;
  V sums[LANE_VECTORS], products[LANE_VECTORS];
  for (int q = 0; q < LANE_VECTORS; q++) sums[q] = products[q] = (V){0};
  for (ptrdiff_t v = 0; v < p->padded; v += SUM_LANES) /* gamma is 0 in the padding */
#pragma GCC unroll 8
    for (int q = 0; q < LANE_VECTORS; q++)
      if (LANE_VECTORS == 1 || v + q * VL < p->padded) {
        const V d = FN(load)(dZ + v + q * VL) * FN(load)(gamma + v + q * VL);
        sums[q] += d;
        products[q] = FN(fma)(d, FN(load)(zhat + v + q * VL), products[q]);
      }
  const REAL mean = FN(sum_lanes)(sums) / (REAL)p->n, slope = FN(sum_lanes)(products) / (REAL)p->n;
  ptrdiff_t v = 0;
  for (; v < p->padded; v += VL) {
    const V d = FN(load)(dZ + v) * FN(load)(gamma + v) - mean;
    FN(store)(dZ + v, rstd * FN(fma)(-FN(load)(zhat + v), FN(set1)(slope), d));
  }
  for (v = p->n; v < p->padded; v++) dZ[v] = 0;
}

static void FN(layer_norm_back)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1) {
  for (ptrdiff_t i = i0; i < i1; i += p->block) {
    const ptrdiff_t end = fnn_min(i + p->block, i1);
    FN(norm_back_blocks)(p, i, end);
    for (ptrdiff_t r = i; r < end; r++)
      FN(layer_norm_back_row)(p, (REAL *)p->dZ + r * p->row_step, (const REAL *)p->zhat + r * p->row_step,
                              ((const REAL *)p->row_rstd)[r]);
  }
}

/* dZ = gamma rstd (dY - dbeta / m - zhat dgamma / m); without sums gamma rstd dY. */
static void FN(batch_norm_back)(const fnn_norm *p, ptrdiff_t i0, ptrdiff_t i1) {
  const REAL *rstd = p->rstd, *gamma = p->gamma, *of_gamma = p->sums;
  for (ptrdiff_t i = i0; i < i1; i++) {
    REAL *dZ = (REAL *)p->dZ + i * p->row_step;
    const REAL *zhat = (const REAL *)p->zhat + i * p->row_step;
    for (ptrdiff_t j = 0; j < p->padded; j += VL) {
      V d = FN(load)(dZ + j);
      if (p->sums) d = FN(fma)(-FN(load)(zhat + j), FN(load)(of_gamma + j), d - FN(load)(of_gamma + p->padded + j));
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
