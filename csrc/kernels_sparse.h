/* Products with an X that holds few numbers other than 0. Its lists are read sample by sample (forward), and feature by
   feature (gradients): FN(link) makes the second order of a batch. kernels_bodies.h includes this file for each dtype.
 */
#define SPARSE_ROWS 16 /* rows that are done before their activation: they are still in the first cache */
#define AHEAD 12       /* weights are asked for so many numbers ahead */

/* A number of the batch in the list of its feature. */
typedef struct {
  int32_t next; /* the place of the next one, from 1 on; 0: there is none */
  int32_t row;  /* its sample in the batch */
  REAL x;
} FN(term);

static ptrdiff_t FN(sparse_sample)(const fnn_factors *f, ptrdiff_t i) { return f->order ? (ptrdiff_t)f->order[i] : i; }

/* z = W x + b of row i for a number of panels, each one or two vectors wide; both numbers are constants of every call.
 */
FNN_INLINE void FN(sparse_row)(const int panels, const int vectors, const fnn_forward *p, const FN(constants) * c,
                               ptrdiff_t i, ptrdiff_t panel) {
  const fnn_factors *f = &p->factors;
  const fnn_sparse *X = f->A;
  const ptrdiff_t width = vectors * VL, panel_step = NR * f->k, j = FN(sparse_sample)(f, i);
  const ptrdiff_t end = (ptrdiff_t)X->starts[j + 1];
  const REAL *x = X->values, *B = (const REAL *)f->B + panel * panel_step, *bias = (const REAL *)p->bias + panel * NR;
  REAL *A = (REAL *)p->A + i * p->row_step + panel * NR;
  V total[4][2] = {{{0}}};
  for (ptrdiff_t t = (ptrdiff_t)X->starts[j]; t < end;) {
    const ptrdiff_t last = fnn_min(t + SUM_BLOCK, end);
    V sum[4][2] = {{{0}}};
    for (; t < last; t++) {
      const REAL *w = B + X->features[t] * width, *later = B + X->features[fnn_min(t + AHEAD, end - 1)] * width;
      const V number = FN(set1)(x[t]);
#pragma GCC unroll 4
      for (int q = 0; q < panels; q++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
          __builtin_prefetch(later + q * panel_step + v * VL);
          sum[q][v] = FN(fma)(number, FN(load)(w + q * panel_step + v * VL), sum[q][v]);
        }
    }
#pragma GCC unroll 4
    for (int q = 0; q < panels; q++)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) total[q][v] = sum[q][v] + total[q][v];
  }
#pragma GCC unroll 4
  for (int q = 0; q < panels; q++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      const V z = total[q][v] + FN(load)(bias + q * NR + v * VL);
      FN(store)(A + q * NR + v * VL, FN(in_tile)(FN(tile_activation)(&p->g, p->S), z, *c));
    }
}

/* How many panels of n columns are two vectors wide. */
static ptrdiff_t FN(wide_panels)(ptrdiff_t n) { return fnn_round_up(n, VL) / NR; }

static void FN(sparse_forward)(const fnn_forward *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1) {
  const ptrdiff_t wide = fnn_min(FN(wide_panels)(p->factors.n), p1);
  const FN(constants) c = FN(constants_of)(&p->g);
  for (ptrdiff_t first = i0, end; first < i1; first = end) {
    end = fnn_min(first + SPARSE_ROWS, i1);
    for (ptrdiff_t i = first; i < end; i++) {
      ptrdiff_t panel = p0;
      for (; panel + 4 <= wide; panel += 4) FN(sparse_row)(4, 2, p, &c, i, panel);
      for (; panel + 2 <= wide; panel += 2) FN(sparse_row)(2, 2, p, &c, i, panel);
      for (; panel < wide; panel++) FN(sparse_row)(1, 2, p, &c, i, panel);
      for (; panel < p1; panel++) FN(sparse_row)(1, 1, p, &c, i, panel);
    }
    FN(finish_forward)(p, first, end - first, p0, p1);
  }
}

/* The first number of a sample, from place `from` on, whose feature is at least k. */
static ptrdiff_t FN(first_from)(const int32_t *features, ptrdiff_t from, ptrdiff_t to, ptrdiff_t k) {
  while (from < to) {
    const ptrdiff_t middle = from + (to - from) / 2;
    if (features[middle] < k)
      from = middle + 1;
    else
      to = middle;
  }
  return from;
}

/* The samples from the last to the first, so that each list is in their order. */
static ptrdiff_t FN(link)(const fnn_by_features *p, ptrdiff_t k0, ptrdiff_t k1) {
  const fnn_factors *f = &p->factors;
  const fnn_sparse *X = f->A;
  const REAL *x = X->values;
  FN(term) *terms = p->terms;
  ptrdiff_t found = 0, before = 0; /* numbers of the samples after this one: other threads have these places, too */
  for (ptrdiff_t i = f->k; i-- > 0;) {
    const ptrdiff_t j = FN(sparse_sample)(f, i), from = (ptrdiff_t)X->starts[j], to = (ptrdiff_t)X->starts[j + 1];
    for (ptrdiff_t t = FN(first_from)(X->features, from, to, k0); t < to && X->features[t] < k1; t++) {
      const int32_t k = X->features[t];
      const ptrdiff_t place = before + t - from;
      terms[place] = (FN(term)){p->heads[k], (int32_t)i, x[t]};
      if (!p->heads[k]) p->found[k0 + found++] = k;
      p->heads[k] = (int32_t)place + 1;
    }
    before += to - from;
  }
  return found;
}

/* total = the sum of x dZ over the samples of feature k, for a number of panels of dZ's columns. */
FNN_INLINE void FN(sum_of_feature)(const int panels, const int vectors, V total[4][2], const fnn_by_features *p,
                                   ptrdiff_t k, ptrdiff_t panel) {
  const fnn_factors *f = &p->factors;
  const FN(term) *terms = p->terms;
  const REAL *dZ = (const REAL *)f->B + panel * NR;
  for (int q = 0; q < panels; q++)
    for (int v = 0; v < vectors; v++) total[q][v] = (V){0};
  for (int32_t at = p->heads[k]; at;) {
    V sum[4][2] = {{{0}}};
    for (int count = 0; count < SUM_BLOCK && at; count++) {
      const FN(term) *term = &terms[at - 1];
      const REAL *row = dZ + term->row * f->b_step;
      const V number = FN(set1)(term->x);
#pragma GCC unroll 4
      for (int q = 0; q < panels; q++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[q][v] = FN(fma)(number, FN(load)(row + q * NR + v * VL), sum[q][v]);
      at = term->next;
    }
#pragma GCC unroll 4
    for (int q = 0; q < panels; q++)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) total[q][v] = sum[q][v] + total[q][v];
  }
}

static void FN(feature_sums)(const fnn_by_features *p, void *sums, ptrdiff_t k0, ptrdiff_t k1, ptrdiff_t panel) {
  REAL *to = sums;
  V total[4][2];
  for (ptrdiff_t k = k0; k < k1; k++) {
    if (panel < FN(wide_panels)(p->factors.n)) {
      FN(sum_of_feature)(1, 2, total, p, k, panel);
      FN(store)(to, total[0][0]);
      FN(store)(to + VL, total[0][1]);
      to += NR;
    } else {
      FN(sum_of_feature)(1, 1, total, p, k, panel);
      FN(store)(to, total[0][0]);
      to += VL;
    }
  }
}

static void FN(rescale)(void *x, double scale, ptrdiff_t n) {
  REAL *to = x;
  for (ptrdiff_t j = 0; j < n; j++) to[j] *= (REAL)scale;
}

FNN_INLINE void FN(move_feature)(const int panels, const int vectors, const fnn_by_features *p, const FN(rates) * c,
                                 REAL *W, ptrdiff_t k, ptrdiff_t panel) {
  const ptrdiff_t panel_step = NR * p->factors.m;
  V total[4][2];
  FN(sum_of_feature)(panels, vectors, total, p, k, panel);
#pragma GCC unroll 4
  for (int q = 0; q < panels; q++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      REAL *w = W + (panel + q) * panel_step + k * vectors * VL + v * VL;
      FN(store)(w, FN(sgd)(c, FN(load)(w), total[q][v], NULL, NULL));
    }
}

static void FN(move_features)(const fnn_by_features *p, const fnn_update *u, void *W, const int32_t *features,
                              ptrdiff_t count) {
  const ptrdiff_t wide = FN(wide_panels)(p->factors.n), panels = (p->factors.n + NR - 1) / NR;
  const FN(rates) c = FN(rates_of)(u);
  for (ptrdiff_t i = 0; i < count; i++) {
    const ptrdiff_t k = features[i], later = features[fnn_min(i + AHEAD, count - 1)];
    for (ptrdiff_t panel = 0; panel < wide; panel++)
      for (int v = 0; v < 2; v++) __builtin_prefetch((REAL *)W + panel * NR * p->factors.m + later * NR + v * VL, 1);
    ptrdiff_t panel = 0;
    for (; panel + 4 <= wide; panel += 4) FN(move_feature)(4, 2, p, &c, W, k, panel);
    for (; panel + 2 <= wide; panel += 2) FN(move_feature)(2, 2, p, &c, W, k, panel);
    for (; panel < wide; panel++) FN(move_feature)(1, 2, p, &c, W, k, panel);
    for (; panel < panels; panel++) FN(move_feature)(1, 1, p, &c, W, k, panel);
  }
}

#undef SPARSE_ROWS
#undef AHEAD
