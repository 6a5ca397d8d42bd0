/* A matrix times a vector. Included by kernels_bodies.h for each dtype. */

/* The dot products of VL rows of A with x. In a block each lane adds SUM_BLOCK terms; then lanes are added, then the
   blocks. If only `count` rows exist, the last one is repeated. */
FNN_INLINE V FN(dots)(const REAL *a, ptrdiff_t a_step, const REAL *x, ptrdiff_t count, ptrdiff_t k) {
  const REAL *row[VL];
  REAL few[VL + 1][VL];
  for (ptrdiff_t r = 0; r < VL; r++) row[r] = a + fnn_min(r, count - 1) * a_step;
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
    const ptrdiff_t end = fnn_min(i + SUM_BLOCK * VL, k);
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

/* y = A x, where A lies by columns and has `vectors` * VL rows. */
FNN_INLINE void FN(add_columns)(const int vectors, REAL *y, const REAL *a, ptrdiff_t a_step, const REAL *x,
                                ptrdiff_t k) {
  V total[8];
  for (ptrdiff_t i = 0, first = 1; first || i < k; first = 0) {
    const ptrdiff_t end = fnn_min(i + SUM_BLOCK, k);
    V sum[8] = {{0}};
    for (; i < end; i++)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; v++) sum[v] = FN(fma)(FN(set1)(x[i]), FN(load)(a + i * a_step + v * VL), sum[v]);
    for (int v = 0; v < vectors; v++) total[v] = first ? sum[v] : sum[v] + total[v];
  }
  for (int v = 0; v < vectors; v++) FN(store)(y + v * VL, total[v]);
}

/* The same for fewer than VL rows. */
static void FN(add_few)(REAL *y, const REAL *a, ptrdiff_t a_step, const REAL *x, ptrdiff_t rows, ptrdiff_t k) {
  REAL block[SUM_BLOCK * VL], sums[VL];
  for (ptrdiff_t i = 0, first = 1; first || i < k; i += SUM_BLOCK, first = 0) {
    const ptrdiff_t terms = fnn_min(SUM_BLOCK, k - i);
    for (ptrdiff_t t = 0; t < terms; t++)
      for (ptrdiff_t r = 0; r < VL; r++) block[t * VL + r] = r < rows ? a[(i + t) * a_step + r] : 0;
    FN(add_columns)(1, sums, block, VL, x + i, terms);
    for (ptrdiff_t r = 0; r < rows; r++) y[r] = first ? sums[r] : sums[r] + y[r];
  }
}

#define MATVEC_ROWS (8 * VL) /* rows at a time */

/* y = rows i.. of A x, where A lies by columns; `rows` is at most MATVEC_ROWS. */
FNN_INLINE void FN(sums_by_columns)(const fnn_factors *f, ptrdiff_t i, ptrdiff_t rows, REAL *y) {
  const REAL *a = (const REAL *)f->A + i, *x = f->B;
  ptrdiff_t r = 0;
  if (rows == MATVEC_ROWS) FN(add_columns)(8, y, a, f->a_step, x, f->k), r = rows;
  for (; r + VL <= rows; r += VL) FN(add_columns)(1, y + r, a + r, f->a_step, x, f->k);
  if (r < rows && rows >= VL) /* the last VL rows; some of them are computed again */
    FN(add_columns)(1, y + rows - VL, a + rows - VL, f->a_step, x, f->k);
  else if (r < rows)
    FN(add_few)(y, a, f->a_step, x, rows, f->k);
}

FNN_INLINE void FN(any_matvec)(const int by_rows, const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1) {
  const fnn_factors *f = &p->factors;
  const FN(constants) c = FN(constants_of)(&p->g);
  const V scale = FN(set1)((REAL)p->scale);
  const REAL *bias = p->row_bias;
  const enum fnn_activation g = (enum fnn_activation)p->g.kind;
  for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
    REAL y[MATVEC_ROWS + VL], *C = (REAL *)p->C + i * p->row_step;
    rows = fnn_min(MATVEC_ROWS, i1 - i);
    if (by_rows)
      for (ptrdiff_t r = 0; r < rows; r += VL)
        FN(store)(y + r, FN(dots)((const REAL *)f->A + (i + r) * f->a_step, f->a_step, f->B, rows - r, f->k));
    else
      FN(sums_by_columns)(f, i, rows, y);
    /* Vector by vector, from y to C: gcc would make a copy of a whole block a slow string instruction. */
    ptrdiff_t r = 0;
    for (; r + VL <= rows && p->row_step == 1; r += VL) {
      V z = FN(load)(y + r) * scale;
      if (bias) z += FN(load)(bias + i + r);
      FN(store)(C + r, g == FNN_IDENTITY ? z : FN(in_tile)(g, z, c));
    }
    for (; r < rows; r += VL) {
      REAL some[VL];
      const ptrdiff_t count = fnn_min(rows - r, VL);
      FN(store)(some, (V){0});
      for (ptrdiff_t j = 0; j < count; j++) some[j] = y[r + j] * (REAL)p->scale + (bias ? bias[i + r + j] : (REAL)-0.0);
      FN(store)(some, FN(in_tile)(g, FN(load)(some), c));
      for (ptrdiff_t j = 0; j < count; j++) C[(r + j) * p->row_step] = some[j];
    }
  }
}

static void FN(matvec_rows)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1) { FN(any_matvec)(1, p, i0, i1); }
static void FN(matvec_columns)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1) { FN(any_matvec)(0, p, i0, i1); }
