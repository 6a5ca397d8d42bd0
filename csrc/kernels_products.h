/* Products of matrices. A tile is a small block of the result whose sums are kept in registers; before it is stored, an
   epilogue changes it (bias, activation, update). kernels_bodies.h includes this file for each dtype. */
#define SUM_BLOCK 128 /* terms that are summed in turn; then sums of blocks are added: this keeps rounding small */
#define TALLEST (FNN_MR > FNN_MR_SINGLE ? FNN_MR : FNN_MR_SINGLE)

/* The epilogues: what is done to a tile after its sums. Each is a compile-time constant of FN(tile). DENSE_BY_COLUMNS
   and DENSE_BY_ROWS are the same for fnn_dense, with A by columns and A by rows. */
#define FORWARD 0
#define BACKWARD 1
#define UPDATE 2
#define DENSE_BY_COLUMNS 3
#define DENSE_BY_ROWS 4
#define EPILOGUES 5
#define HAS_ROWS_OF_A(epilogue) ((epilogue) == FORWARD || (epilogue) == BACKWARD || (epilogue) == DENSE_BY_ROWS)
/* Whether a tile gets all terms of its sums at once: k0 is 0, and k1 is their number. */
#define HAS_ALL_TERMS(epilogue) (FNN_WHOLE_SUMS && ((epilogue) == FORWARD || (epilogue) == BACKWARD))
#define IS_DENSE(epilogue) ((epilogue) == DENSE_BY_COLUMNS || (epilogue) == DENSE_BY_ROWS)

/* A pointer to a product of any kind. `f` points to its factors: each of these structs begins with them. */
typedef union {
  const fnn_factors *f;
  const fnn_forward *forward;
  const fnn_backward *backward;
  const fnn_weights *weights;
  const fnn_dense *dense;
} FN(any_product);

/* Row i of A, or its k-th sample: through the order if there is one. */
FNN_INLINE const REAL *FN(sample)(const fnn_factors *f, ptrdiff_t i) {
  return (const REAL *)f->A + (f->order ? (ptrdiff_t)f->order[i] : i) * f->a_step;
}

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

/* For dense tiles: FN(spread) stores a tile with any steps or columns; FN(collect) loads sums of earlier terms, with
   0 beyond the last column. They are no part of FN(tile): its constant bounds would unroll them a hundred times. */
static __attribute__((noinline)) void FN(spread)(REAL *C, ptrdiff_t row_step, ptrdiff_t column_step,
                                                 const REAL *results, ptrdiff_t width, ptrdiff_t rows,
                                                 ptrdiff_t columns) {
  for (ptrdiff_t j = 0; j < columns; j++)
    for (ptrdiff_t r = 0; r < rows; r++) C[r * row_step + j * column_step] = results[r * width + j];
}

static __attribute__((noinline)) void FN(collect)(REAL *sums, ptrdiff_t width, const REAL *C, ptrdiff_t row_step,
                                                  ptrdiff_t column_step, ptrdiff_t rows, ptrdiff_t columns) {
  for (ptrdiff_t j = 0; j < width; j++)
    for (ptrdiff_t r = 0; r < rows; r++) sums[r * width + j] = j < columns ? C[r * row_step + j * column_step] : 0;
}

/* The activation that a tile applies itself: none if slopes are kept (S), for these are handled after the tiles. */
FNN_INLINE enum fnn_activation FN(tile_activation)(const fnn_spec *g, const void *S) {
  return S ? FNN_IDENTITY : (enum fnn_activation)g->kind;
}

/* One tile: `height` rows from row i, `vectors` vectors of panel columns, terms k0..k1 of their sums. `partial` holds
   the sums of the terms before k0; if terms after k1 follow, it receives the sums. The arguments before `p` are
   compile-time constants of every call, so that the sums stay in registers. */
FNN_INLINE void FN(tile)(const int height, const int vectors, const int epilogue, FN(any_product) p, ptrdiff_t i,
                         ptrdiff_t panel, ptrdiff_t k0, ptrdiff_t k1, REAL *partial) {
  const fnn_factors *f = p.f;
  const ptrdiff_t width = vectors * VL, b_step = f->b_in_panels ? width : f->b_step;
  const REAL *B = (const REAL *)f->B + panel * NR * (f->b_in_panels ? f->k : 1) + k0 * b_step;
  V sum[TALLEST][2];
  EACH_VECTOR sum[r][v] = (V){0};
  if (HAS_ROWS_OF_A(epilogue)) {
    const REAL *row[TALLEST];
#pragma GCC unroll 16
    for (int r = 0; r < height; r++) row[r] = FN(sample)(f, i + r);
    const int in_blocks = HAS_ALL_TERMS(epilogue);
    REAL earlier[TALLEST * 2 * VL]; /* sums of whole blocks of terms */
    /* `earlier` is read only after an earlier block has written it. gcc cannot see that and would warn for each vector
       of each tile. This empty instruction says that `earlier` is written; it costs nothing. */
    if (in_blocks) __asm__("" : "=m"(earlier));
    for (ptrdiff_t k = k0;;) {
      const ptrdiff_t end = in_blocks ? fnn_min(k + SUM_BLOCK, k1) : k1;
      const int continued = k > k0;
#pragma GCC unroll 2
      for (; k < end; k++, B += b_step) STEP(row[r][k])
      if (continued) EACH_VECTOR sum[r][v] += FN(load)(earlier + (r * vectors + v) * VL);
      if (!in_blocks || k == k1) break;
      EACH_VECTOR FN(store)(earlier + (r * vectors + v) * VL, sum[r][v]);
      EACH_VECTOR sum[r][v] = (V){0};
    }
  } else {
    const REAL *a = (const REAL *)f->A + i + k0 * f->a_step;
    if (epilogue == DENSE_BY_COLUMNS) {
#pragma GCC unroll 2
      for (ptrdiff_t k = k0; k < k1; k++, B += b_step, a += f->a_step) STEP(a[r])
    } else {
      const fnn_weights *q = p.weights;
      REAL *W = (REAL *)q->W + panel * NR * f->m + i * width;
#pragma GCC unroll 16
      for (int r = 0; r < height; r++) __builtin_prefetch(W + r * width, 1); /* it arrives while the sums are made */
      if (FNN_PACK_PANELS > 0 && q->packed) {
        a = (const REAL *)q->packed + (i - q->packed_row) * f->k + k0 * height;
        for (ptrdiff_t k = k0; k < k1; k++, B += b_step, a += height) STEP(a[r])
      } else if (f->order) {
        const REAL *A = (const REAL *)f->A + i;
#pragma GCC unroll 2
        for (ptrdiff_t k = k0; k < k1; k++, B += b_step) {
          a = A + (ptrdiff_t)f->order[k] * f->a_step;
          __builtin_prefetch(a + 2 * height - 1);
          STEP(a[r])
        }
      } else {
#pragma GCC unroll 4
        for (ptrdiff_t k = k0; k < k1; k++, B += b_step, a += f->a_step) {
          __builtin_prefetch(a + 2 * height - 1); /* A for the next tile */
          STEP(a[r])
        }
      }
    }
  }
  if (!HAS_ALL_TERMS(epilogue) && k0) EACH_VECTOR sum[r][v] += FN(load)(partial + (r * vectors + v) * VL);
  REAL results[TALLEST * 2 * VL]; /* used by dense tiles only */
  if (IS_DENSE(epilogue) && !k0 && p.dense->adds_to_C) {
    const fnn_dense *q = p.dense;
    const REAL *earlier = (const REAL *)q->C + i * q->row_step + panel * NR * q->column_step;
    FN(collect)(results, width, earlier, q->row_step, q->column_step, height, fnn_min(f->n - panel * NR, width));
    EACH_VECTOR sum[r][v] += FN(load)(results + (r * vectors + v) * VL);
  }
  if (!HAS_ALL_TERMS(epilogue) && k1 < f->k) {
    EACH_VECTOR FN(store)(partial + (r * vectors + v) * VL, sum[r][v]);
    return;
  }

  if (IS_DENSE(epilogue)) {
    const fnn_dense *q = p.dense;
    const ptrdiff_t first = panel * NR, columns = fnn_min(f->n - first, width);
    const REAL *bias = (const REAL *)q->bias + first, *row_bias = (const REAL *)q->row_bias + i;
    const V scale = FN(set1)((REAL)q->scale);
    const FN(constants) c = FN(constants_of)(&q->g);
    REAL *C = (REAL *)q->C + i * q->row_step + first * q->column_step;
    EACH_VECTOR sum[r][v] *= scale;
    if (q->bias) EACH_VECTOR sum[r][v] += FN(load)(bias + v * VL);
    if (q->row_bias) EACH_VECTOR sum[r][v] += row_bias[r];
    EACH_VECTOR sum[r][v] = FN(in_tile)((enum fnn_activation)q->g.kind, sum[r][v], c);
    if (q->column_step == 1 && columns == width) {
      EACH_VECTOR FN(store)(C + r * q->row_step + v * VL, sum[r][v]);
      return;
    }
    EACH_VECTOR FN(store)(results + (r * vectors + v) * VL, sum[r][v]);
    FN(spread)(C, q->row_step, q->column_step, results, width, height, columns);
  } else if (epilogue == FORWARD) {
    const fnn_forward *q = p.forward;
    const REAL *bias = (const REAL *)q->bias + panel * NR;
    const FN(constants) c = FN(constants_of)(&q->g);
    REAL *A = (REAL *)q->A + i * q->row_step + panel * NR;
    const ptrdiff_t row_step = q->row_step;
    const enum fnn_activation g = FN(tile_activation)(&q->g, q->S);
    EACH_VECTOR FN(store)(A + r * row_step + v * VL, FN(in_tile)(g, sum[r][v] + FN(load)(bias + v * VL), c));
  } else if (epilogue == BACKWARD) {
    const fnn_backward *q = p.backward;
    const FN(constants) c = FN(constants_of)(&q->g);
    const ptrdiff_t at = i * q->row_step + panel * NR, row_step = q->row_step;
    const REAL *A = (const REAL *)q->A + at;
    REAL *dZ = (REAL *)q->dZ + at;
    const enum fnn_activation g = FN(tile_activation)(&q->g, q->S);
    EACH_VECTOR FN(store)(dZ + r * row_step + v * VL, FN(slope_in_tile)(g, sum[r][v], A + r * row_step + v * VL, c));
  } else {
    const fnn_weights *q = p.weights;
    const ptrdiff_t at = panel * NR * f->m + i * width;
    REAL *W = (REAL *)q->W + at;
    if (q->update->kind == FNN_SGD && q->update->at_once) { /* SGD is short enough to be a part of every tile */
      const FN(rates) rates = FN(rates_of)(q->update);
      if (q->update->keep != 1) /* to skip it saves 4% of the time of a product of 32 terms */
        EACH_VECTOR FN(store)(W + r * width + v * VL, FN(sgd_kept)(&rates, FN(load)(W + r * width + v * VL)));
      __asm__("" ::
                  : "memory"); /* or gcc loads all of W before the branch, and spills it: 4% of a product of 32 terms */
      EACH_VECTOR FN(store)(W + r * width + v * VL, FN(sgd_moved)(&rates, FN(load)(W + r * width + v * VL), sum[r][v]));
    } else {
      REAL sums[TALLEST * 2 * VL];
      EACH_VECTOR FN(store)(sums + (r * vectors + v) * VL, sum[r][v]);
      FN(update)(q->update, W, (REAL *)q->moment[0] + at, (REAL *)q->moment[1] + at, sums, height * width);
    }
  }
}
#undef STEP
#undef EACH_VECTOR

/* A function that does `count` tiles, one below the other. */
typedef void FN(tiles_function)(FN(any_product), ptrdiff_t i, ptrdiff_t count, ptrdiff_t panel, ptrdiff_t k0,
                                ptrdiff_t k1, REAL *partial);
#define TILES(rows, vectors, epilogue)                                                                                 \
  static __attribute__((noinline)) void FN(tiles_##rows##_##vectors##_##epilogue)(                                     \
      FN(any_product) p, ptrdiff_t i, ptrdiff_t count, ptrdiff_t panel, ptrdiff_t k0, ptrdiff_t k1, REAL *partial) {   \
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
static FN(tiles_function) *const FN(single)[FNN_MR_SINGLE][EPILOGUES] = {FNN_EACH_SINGLE(SINGLES)};
static FN(tiles_function) *const FN(pair)[FNN_MR][EPILOGUES] = {FNN_EACH_DOUBLE(DOUBLES)};
#undef TILES
#undef SINGLE
#undef DOUBLE
#undef NAME
#undef SINGLES
#undef DOUBLES

/* Activations that are too long to be a part of every tile, and those whose slopes are kept: they are applied to rows
   that tiles have just stored, while these are still in the cache. */
static void FN(finish_forward)(const fnn_forward *p, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t p0, ptrdiff_t p1) {
  const ptrdiff_t n = fnn_min(p1 * NR, fnn_round_up(p->factors.n, VL)) - p0 * NR, at = i * p->row_step + p0 * NR;
  REAL *A = (REAL *)p->A + at;
  if (p->S)
    FN(activation_and_slope)(A, (REAL *)p->S + at, p->row_step, &p->g, rows, n);
  else if (fnn_place_of(&p->g) == FNN_AFTER_TILE)
    FN(activation)(A, p->row_step, A, p->row_step, &p->g, rows, n);
}

static void FN(finish_backward)(const fnn_backward *p, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t p0, ptrdiff_t p1) {
  const ptrdiff_t n = fnn_min(p1 * NR, fnn_round_up(p->factors.n, VL)) - p0 * NR, at = i * p->row_step + p0 * NR;
  REAL *dZ = (REAL *)p->dZ + at;
  if (p->S)
    FN(times_slope)(dZ, (const REAL *)p->S + at, p->row_step, rows, n);
  else if (fnn_place_of(&p->g) == FNN_AFTER_TILE)
    FN(derivative)(dZ, p->row_step, dZ, p->row_step, (const REAL *)p->A + at, p->row_step, &p->g, rows, n);
}

#define ROW_PANELS 4 /* panels that a single row does at a time: enough sums to hide the latency of an addition */

/* The forward product of one row with ROW_PANELS panels of full width; the order of terms is that of a tile. */
static void FN(row)(const fnn_forward *p, ptrdiff_t i, ptrdiff_t panel) {
  const fnn_factors *f = &p->factors;
  const ptrdiff_t panel_step = NR * f->k;
  const REAL *a = FN(sample)(f, i), *B = (const REAL *)f->B + panel * panel_step;
  const REAL *bias = (const REAL *)p->bias + panel * NR;
  const FN(constants) c = FN(constants_of)(&p->g);
  REAL *A = (REAL *)p->A + i * p->row_step + panel * NR;
  V total[ROW_PANELS][2];
  for (ptrdiff_t k = 0, first = 1; first || k < f->k; first = 0) {
    const ptrdiff_t end = fnn_min(k + SUM_BLOCK, f->k);
    V sum[ROW_PANELS][2] = {{{0}}};
    for (; k < end; k++) {
      const V x = FN(set1)(a[k]);
#pragma GCC unroll 4
      for (int q = 0; q < ROW_PANELS; q++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) sum[q][v] = FN(fma)(x, FN(load)(B + q * panel_step + k * NR + v * VL), sum[q][v]);
    }
#pragma GCC unroll 4
    for (int q = 0; q < ROW_PANELS; q++)
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) total[q][v] = first ? sum[q][v] : sum[q][v] + total[q][v];
  }
  for (int q = 0; q < ROW_PANELS; q++)
    for (int v = 0; v < 2; v++) {
      const V z = total[q][v] + FN(load)(bias + q * NR + v * VL);
      FN(store)(A + q * NR + v * VL, FN(in_tile)(FN(tile_activation)(&p->g, p->S), z, c));
    }
}

/* --- the last panel, if it has few columns: a tile would compute a whole vector for them. Here a vector holds one
   column of VL rows instead. Terms are added in the same order as in a tile. --- */

#define FEW_COLUMNS (!FNN_DOUBLE && FNN_LANES >= 8 ? 4 : 0) /* 0: short vectors waste little, so this is off */

/* The columns of a panel if they are few, else 0 (1 is computed as 2, and 3 as 4: that costs less than more code). */
static ptrdiff_t FN(few_columns)(const fnn_factors *f, ptrdiff_t panel) {
  const ptrdiff_t n = f->n - panel * NR;
  return n > FEW_COLUMNS ? 0 : n <= 2 ? 2 : 4;
}

/* n columns of a forward product, for rows i0..i1. The number of rows and k are multiples of VL: it loads VL rows of A
   as columns. n and whether A has an order are compile-time constants. */
FNN_INLINE void FN(forward_few)(const ptrdiff_t n, const int in_order, const fnn_forward *p, ptrdiff_t i0, ptrdiff_t i1,
                                ptrdiff_t panel) {
  const fnn_factors *f = &p->factors;
  const REAL *B = (const REAL *)f->B + panel * NR * f->k, *bias = (const REAL *)p->bias + panel * NR;
  const FN(constants) c = FN(constants_of)(&p->g);
  for (ptrdiff_t i = i0; i < i1; i += VL) {
    V total[4] = {{0}}; /* gcc does not know that f->k > 0, and would warn */
    for (ptrdiff_t k = 0, end; k < f->k; k = end) {
      end = fnn_min(k + SUM_BLOCK, f->k);
      V sum[4] = {{0}}, a[VL];
      for (ptrdiff_t t = k; t < end; t += VL) {
        if (in_order) {
#pragma GCC unroll 16
          for (ptrdiff_t r = 0; r < VL; r++) a[r] = FN(load)(FN(sample)(f, i + r) + t);
          FN(transpose_block)(a);
        } else {
          FN(columns_of)(a, (const REAL *)f->A + i * f->a_step + t, f->a_step, VL);
        }
#pragma GCC unroll 16
        for (ptrdiff_t u = 0; u < VL; u++)
#pragma GCC unroll 4
          for (ptrdiff_t j = 0; j < n; j++) sum[j] = FN(fma)(a[u], FN(set1)(B[(t + u) * VL + j]), sum[j]);
      }
      for (ptrdiff_t j = 0; j < n; j++) total[j] = k ? sum[j] + total[j] : sum[j];
    }
    for (ptrdiff_t j = 0; j < n; j++) total[j] = FN(in_tile)(FN(tile_activation)(&p->g, p->S), total[j] + bias[j], c);
    FN(store_columns)((REAL *)p->A + i * p->row_step + panel * NR, p->row_step, total, VL, n);
  }
}

/* n columns of dW, and their update, for `vectors` vectors of rows from row i on; n and vectors are constants. */
FNN_INLINE void FN(update_few)(const ptrdiff_t n, const int vectors, const fnn_weights *p, ptrdiff_t i,
                               ptrdiff_t panel) {
  const fnn_factors *f = &p->factors;
  const REAL *B = (const REAL *)f->B + panel * NR;
  const ptrdiff_t at = panel * NR * f->m + i * VL;
  V total[4][4] = {{{0}}};
  for (ptrdiff_t k = 0, end; k < f->k; k = end) {
    end = fnn_min(k + SUM_BLOCK, f->k);
    V sum[4][4] = {{{0}}};
    for (ptrdiff_t t = k; t < end; t++) {
      const REAL *a = FN(sample)(f, t) + i, *b = B + t * f->b_step;
#pragma GCC unroll 4
      for (ptrdiff_t j = 0; j < n; j++) {
        const V x = FN(set1)(b[j]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) sum[v][j] = FN(fma)(FN(load)(a + v * VL), x, sum[v][j]);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
#pragma GCC unroll 4
      for (ptrdiff_t j = 0; j < n; j++) total[v][j] = k ? sum[v][j] + total[v][j] : sum[v][j];
  }
  REAL sums[4 * VL * VL];
  for (int v = 0; v < vectors; v++) FN(store_columns)(sums + v * VL * VL, VL, total[v], VL, n);
  FN(update)(p->update, (REAL *)p->W + at, (REAL *)p->moment[0] + at, (REAL *)p->moment[1] + at, sums,
             vectors * VL * VL);
}

/* Functions, for each needs a large frame: inline, these would be the frame of all products. */
static __attribute__((noinline)) void FN(update_2_1)(const fnn_weights *p, ptrdiff_t i, ptrdiff_t panel) {
  FN(update_few)(2, 1, p, i, panel);
}
static __attribute__((noinline)) void FN(update_4_1)(const fnn_weights *p, ptrdiff_t i, ptrdiff_t panel) {
  FN(update_few)(4, 1, p, i, panel);
}
static __attribute__((noinline)) void FN(update_2_4)(const fnn_weights *p, ptrdiff_t i, ptrdiff_t panel) {
  FN(update_few)(2, 4, p, i, panel);
}
static __attribute__((noinline)) void FN(update_4_4)(const fnn_weights *p, ptrdiff_t i, ptrdiff_t panel) {
  FN(update_few)(4, 4, p, i, panel);
}

/* These do as many of `rows` rows from row i on as they can, and return how many: 0 if the panel has more columns. */
static ptrdiff_t FN(forward_last)(const fnn_forward *p, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t panel) {
  const ptrdiff_t whole = rows & -VL, few = p->factors.k % VL ? 0 : FN(few_columns)(&p->factors, panel);
  if (!FEW_COLUMNS || !few || !p->factors.k) return 0;
  if (p->factors.order)
    FN(forward_few)(4, 1, p, i, i + whole, panel);
  else if (few == 2)
    FN(forward_few)(2, 0, p, i, i + whole, panel);
  else
    FN(forward_few)(4, 0, p, i, i + whole, panel);
  return whole;
}

static ptrdiff_t FN(update_last)(const fnn_weights *p, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t panel) {
  const ptrdiff_t few = FN(few_columns)(&p->factors, panel);
  ptrdiff_t done = 0;
  if (!FEW_COLUMNS || !few) return 0;
  for (; done + 4 * VL <= rows; done += 4 * VL) (few == 2 ? FN(update_2_4) : FN(update_4_4))(p, i + done, panel);
  for (; done + VL <= rows; done += VL) (few == 2 ? FN(update_2_1) : FN(update_4_1))(p, i + done, panel);
  return done;
}

#define FEW_TERMS 16            /* with so few terms a product takes the time of writing C: it does row after row */
#define MOST_ROWS (16 * FNN_MR) /* of a chunk; a multiple of every VL, so that weights transpose by whole blocks */
_Static_assert(MOST_ROWS % VL == 0, "FN(turn) needs whole vectors of rows");
/* So many tiles keep their sums of a block of terms on the stack until the next block; for the tiles after them the
   panel of B is read again. */
#define TILES_AT_ONCE (FNN_MR * FNN_VECTOR_BYTES > 512 ? 8 : 16)

/* How many rows of A form a chunk: it should stay in the second cache while it is multiplied by panel after panel. */
static ptrdiff_t FN(chunk)(const fnn_factors *f, int epilogue) {
  if (f->k <= FEW_TERMS && IS_DENSE(epilogue)) return FNN_MR; /* writing C takes all the time */
  if (!HAS_ROWS_OF_A(epilogue)) return MOST_ROWS;
  const ptrdiff_t tiles = FNN_CHUNK_BYTES / (ptrdiff_t)sizeof(REAL) / (f->k + 1) / FNN_MR;
  return FNN_MR * (tiles < 4 ? 4 : fnn_min(tiles, 16));
}

/* Copies `rows` rows of A (by columns) from row i on, in the order in which tiles read them: tile after tile, and in a
   tile k after k. Without the copy a tile would read a piece of a cache line for each k, from as many pages as samples.
 */
static void FN(pack_rows)(const fnn_weights *p, ptrdiff_t i, ptrdiff_t rows, ptrdiff_t tiles) {
  const ptrdiff_t height = rows / tiles, end = i + rows;
  REAL *to = p->room;
  for (ptrdiff_t t = 0, h; t < tiles; t++, i += h) {
    h = height + (t < rows % tiles);
    const int whole =
        i + FNN_MR + VL <= end; /* then whole vectors may be copied: the next copy overwrites what is beyond the tile */
    for (ptrdiff_t k = 0; k < p->factors.k; k++, to += h) {
      const REAL *a = FN(sample)(&p->factors, k) + i;
      if (whole)
        for (ptrdiff_t r = 0; r < FNN_MR; r += VL) FN(store)(to + r, FN(load)(a + r));
      else
        for (ptrdiff_t r = 0; r < h; r++) to[r] = a[r];
    }
  }
}

/* Computes `rows` rows, from row c0 on, of one panel of the result. */
static void FN(panel)(FN(any_product) p, int epilogue, ptrdiff_t c0, ptrdiff_t rows, ptrdiff_t panel, REAL *partial) {
  const ptrdiff_t k_all = p.f->k, terms = HAS_ALL_TERMS(epilogue) ? k_all : SUM_BLOCK;
  const ptrdiff_t width = FN(panel_width)(p.f->n, panel), most = width == VL ? FNN_MR_SINGLE : FNN_MR;
  /* Rows in even parts: a last tile of one row would take nearly as long as a full one. */
  const ptrdiff_t tiles = (rows + most - 1) / most, height = rows / tiles, taller = rows % tiles;
  const ptrdiff_t at_once = k_all > terms && tiles > TILES_AT_ONCE ? TILES_AT_ONCE : tiles;
  FN(tiles_function) *const *one = width == VL ? FN(single)[height - 1] : FN(pair)[height - 1];
  FN(tiles_function) *const *more = one + EPILOGUES;
  ptrdiff_t count = at_once, tall = taller; /* all tiles at once, if no sums have to wait for a next block */
  for (ptrdiff_t t = 0, i = c0; t < tiles; t += count, i += count * height + tall) {
    if (at_once < tiles) {
      count = fnn_min(at_once, tiles - t);
      tall = t < taller ? fnn_min(count, taller - t) : 0;
    }
    const ptrdiff_t tall_rows = tall * (height + 1);
    for (ptrdiff_t k = 0, end; k == 0 || k < k_all; k = end) {
      end = fnn_min(k + terms, k_all); /* this part of the panel of B stays in the first cache */
      if (tall) more[epilogue](p, i, tall, panel, k, end, partial);
      one[epilogue](p, i + tall_rows, count - tall, panel, k, end, partial + tall_rows * width);
      if (end == k_all) break;
    }
  }
}

#define PARTIAL_SUMS (TILES_AT_ONCE * (FNN_MR * NR > FNN_MR_SINGLE * VL ? FNN_MR * NR : FNN_MR_SINGLE * VL))

static void FN(forward)(const fnn_forward *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1) {
  const FN(any_product) any = {.forward = p};
  const fnn_factors *f = &p->factors;
  const ptrdiff_t chunk = FN(chunk)(f, FORWARD) & (FEW_COLUMNS ? -VL : -1);
  REAL partial[PARTIAL_SUMS];
  for (ptrdiff_t c0 = i0; c0 < i1; c0 += chunk) {
    const ptrdiff_t rows = fnn_min(chunk, i1 - c0);
    ptrdiff_t panel = p0;
    for (; rows == 1 && panel + ROW_PANELS <= p1 && (panel + ROW_PANELS) * NR <= fnn_round_up(f->n, VL);
         panel += ROW_PANELS)
      FN(row)(p, c0, panel);
    for (; panel < p1; panel++) {
      const ptrdiff_t done = FN(forward_last)(p, c0, rows, panel);
      if (done < rows) FN(panel)(any, FORWARD, c0 + done, rows - done, panel, partial);
    }
    FN(finish_forward)(p, c0, rows, p0, p1);
  }
}

static void FN(backward)(const fnn_backward *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1) {
  const FN(any_product) any = {.backward = p};
  const ptrdiff_t chunk = FN(chunk)(&p->factors, BACKWARD);
  REAL partial[PARTIAL_SUMS];
  for (ptrdiff_t c0 = i0; c0 < i1; c0 += chunk) {
    const ptrdiff_t rows = fnn_min(chunk, i1 - c0);
    for (ptrdiff_t panel = p0; panel < p1; panel++) FN(panel)(any, BACKWARD, c0, rows, panel, partial);
    FN(finish_backward)(p, c0, rows, p0, p1);
  }
}

static void FN(update_weights)(const fnn_weights *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1) {
  const FN(any_product) any = {.weights = p};
  const fnn_factors *f = &p->factors;
  const int packs = FNN_PACK_PANELS > 0 && p->room && p1 - p0 >= FNN_PACK_PANELS;
  REAL partial[PARTIAL_SUMS];
  fnn_weights packed;
  if (packs) packed = *p, packed.packed = p->room;
  const FN(any_product) any_packed = {.weights = &packed};
  for (ptrdiff_t c0 = i0; c0 < i1; c0 += MOST_ROWS) {
    const ptrdiff_t rows = fnn_min(MOST_ROWS, i1 - c0);
    if (packs) {
      FN(pack_rows)(p, c0, rows, (rows + FNN_MR - 1) / FNN_MR);
      packed.packed_row = c0;
    }
    for (ptrdiff_t panel = p0; panel < p1; panel++) {
      const int is_whole = FN(panel_width)(f->n, panel) == NR;
      const ptrdiff_t done = FN(update_last)(p, c0, rows, panel);
      if (done < rows) FN(panel)(packs && is_whole ? any_packed : any, UPDATE, c0 + done, rows - done, panel, partial);
      if (p->copy) FN(turn)(p->copy, p->W, f->m, f->n, c0, c0 + rows, panel, panel + 1);
    }
  }
}

FNN_INLINE void FN(any_dense)(const int epilogue, const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0,
                              ptrdiff_t p1) {
  const FN(any_product) any = {.dense = p};
  const ptrdiff_t chunk = FN(chunk)(&p->factors, epilogue);
  REAL partial[PARTIAL_SUMS];
  for (ptrdiff_t c0 = i0; c0 < i1; c0 += chunk)
    for (ptrdiff_t panel = p0; panel < p1; panel++)
      FN(panel)(any, epilogue, c0, fnn_min(chunk, i1 - c0), panel, partial);
}

static void FN(dense_rows)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1) {
  FN(any_dense)(DENSE_BY_ROWS, p, i0, i1, p0, p1);
}

static void FN(dense_columns)(const fnn_dense *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1) {
  FN(any_dense)(DENSE_BY_COLUMNS, p, i0, i1, p0, p1);
}
