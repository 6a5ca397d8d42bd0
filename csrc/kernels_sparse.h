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

/* --- reading: values of any dtype, standardised in double --- */

FNN_INLINE REAL FN(standardised)(const fnn_sparse_standard *s, double x, int32_t k) {
  return (REAL)((x - s->of[k][0]) * s->of[k][1]);
}

/* The number at place t, which is of feature k. */
FNN_INLINE REAL FN(number)(const fnn_sparse_input *X, ptrdiff_t t, int32_t k) {
  const void *values = X->lists.values;
  double x;
  switch (X->lists.dtype) {
  case FNN_FLOAT64: x = ((const double *)values)[t]; break;
  case FNN_UINT8: x = ((const uint8_t *)values)[t]; break;
  default: x = ((const float *)values)[t];
  }
  return X->standard ? FN(standardised)(X->standard, x, k) : (REAL)x;
}

/* The numbers of a sample, block after block. */
typedef struct {
  const fnn_sparse_input *X;
  ptrdiff_t t, end;        /* the places of those that are left */
  ptrdiff_t dense;         /* of the dense features those from here on are left */
  const int32_t *features; /* of the block; `known` of them may be looked at */
  const REAL *x;
  ptrdiff_t known;
  int32_t some_features[SUM_BLOCK];
  REAL some_x[SUM_BLOCK];
} FN(numbers);

FNN_INLINE void FN(begin_sample)(FN(numbers) * r, const fnn_factors *f, ptrdiff_t i) {
  const ptrdiff_t j = FN(sparse_sample)(f, i);
  r->X = f->A, r->dense = 0;
  r->t = (ptrdiff_t)r->X->lists.starts[j], r->end = (ptrdiff_t)r->X->lists.starts[j + 1];
}

/* A block in which the dense features that the sample has no number of are 0, standardised. */
static ptrdiff_t FN(block_with_dense)(FN(numbers) * r) {
  const fnn_sparse_standard *s = r->X->standard;
  const int32_t *features = r->X->lists.features;
  ptrdiff_t count = 0;
  for (; count < SUM_BLOCK && (r->t < r->end || r->dense < s->dense_count); count++) {
    const int32_t k = r->t < r->end ? features[r->t] : INT32_MAX;
    const int32_t dense = r->dense < s->dense_count ? s->dense[r->dense] : INT32_MAX, first = k < dense ? k : dense;
    r->some_features[count] = first;
    r->some_x[count] = k == first ? FN(number)(r->X, r->t, k) : FN(standardised)(s, 0, first);
    r->t += k == first, r->dense += dense == first;
  }
  r->features = r->some_features, r->x = r->some_x, r->known = count;
  return count;
}

/* Reads the next block; returns how many numbers it has, 0 at the end. */
FNN_INLINE ptrdiff_t FN(next_block)(FN(numbers) * r) {
  const fnn_sparse_input *X = r->X;
  if (X->standard && X->standard->dense_count) return FN(block_with_dense)(r);
  const ptrdiff_t count = fnn_min(SUM_BLOCK, r->end - r->t);
  r->features = X->lists.features + r->t, r->known = r->end - r->t;
  if (!X->standard && X->lists.dtype == FNN_DOUBLE) {
    r->x = (const REAL *)X->lists.values + r->t;
  } else {
    for (ptrdiff_t i = 0; i < count; i++) r->some_x[i] = FN(number)(X, r->t + i, r->features[i]);
    r->x = r->some_x;
  }
  r->t += count;
  return count;
}

static double FN(sparse_magnitude)(const fnn_factors *f, ptrdiff_t i) {
  FN(numbers) r;
  double largest = 0;
  FN(begin_sample)(&r, f, i);
  for (ptrdiff_t count; (count = FN(next_block)(&r));) {
    const double of_block = FN(magnitude)(r.x, count, 1, count);
    largest = of_block > largest ? of_block : largest;
  }
  return largest;
}

/* --- forward --- */

/* z = W x + b of row i for a number of panels, each one or two vectors wide; both numbers are constants of every call.
 */
FNN_INLINE void FN(sparse_row)(const int panels, const int vectors, const fnn_forward *p, const FN(constants) * c,
                               ptrdiff_t i, ptrdiff_t panel) {
  const fnn_factors *f = &p->factors;
  const ptrdiff_t width = vectors * VL, panel_step = NR * f->k;
  const REAL *B = (const REAL *)f->B + panel * panel_step, *bias = (const REAL *)p->bias + panel * NR;
  REAL *A = (REAL *)p->A + i * p->row_step + panel * NR;
  V total[4][2] = {{{0}}};
  FN(numbers) r;
  FN(begin_sample)(&r, f, i);
  for (ptrdiff_t count; (count = FN(next_block)(&r));) {
    const ptrdiff_t last = r.known - 1;
    V sum[4][2] = {{{0}}};
    for (ptrdiff_t t = 0; t < count; t++) {
      const REAL *w = B + r.features[t] * width, *later = B + r.features[fnn_min(t + AHEAD, last)] * width;
      const V number = FN(set1)(r.x[t]);
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

/* --- gradients --- */

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
  const fnn_sparse_input *X = f->A;
  const int32_t *features = X->lists.features, *dense = X->standard ? X->standard->dense : NULL;
  const ptrdiff_t all_dense = X->standard ? X->standard->dense_count : 0;
  const ptrdiff_t first_dense = FN(first_from)(dense, 0, all_dense, k0), high = fnn_min(k1, INT32_MAX);
  FN(term) *terms = p->terms;
  ptrdiff_t found = 0, before = 0; /* numbers of the samples after this one: other threads have these places, too */
  for (ptrdiff_t i = f->k; i-- > 0;) {
    const ptrdiff_t j = FN(sparse_sample)(f, i);
    const ptrdiff_t from = (ptrdiff_t)X->lists.starts[j], to = (ptrdiff_t)X->lists.starts[j + 1];
    ptrdiff_t t = FN(first_from)(features, from, to, k0), d = first_dense;
    for (;;) {
      const int32_t stored = t < to ? features[t] : INT32_MAX, always = d < all_dense ? dense[d] : INT32_MAX;
      const int32_t k = stored < always ? stored : always;
      if (k >= high) break;
      const ptrdiff_t place = before + (k == stored ? t - from : to - from + d);
      const REAL x = k == stored ? FN(number)(X, t, k) : FN(standardised)(X->standard, 0, k);
      terms[place] = (FN(term)){p->heads[k], (int32_t)i, x};
      if (!p->heads[k]) p->found[k0 + found++] = k;
      p->heads[k] = (int32_t)place + 1;
      t += k == stored, d += k == always;
    }
    before += to - from + all_dense;
  }
  if (8 * found < k1 - k0) return found;
  found = 0; /* in order the weights are read quicker */
  for (ptrdiff_t k = k0; k < k1; k++) {
    p->found[k0 + found] = (int32_t)k;
    found += p->heads[k] != 0;
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

static void FN(add_zeros)(void *sums, const void *zeros, const void *sums_of_dZ, ptrdiff_t rows, ptrdiff_t width) {
  const REAL *z = zeros, *dZ = sums_of_dZ;
  REAL *to = sums;
  for (ptrdiff_t k = 0; k < rows; k++, to += width)
    for (ptrdiff_t v = 0; v < width; v += VL)
      FN(store)(to + v, FN(fma)(FN(set1)(z[k]), FN(load)(dZ + v), FN(load)(to + v)));
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
  const FN(term) *terms = p->terms;
  const FN(rates) c = FN(rates_of)(u);
  for (ptrdiff_t i = 0; i < count; i++) {
    const ptrdiff_t k = features[i], later = features[fnn_min(i + AHEAD, count - 1)];
    const ptrdiff_t soon = features[fnn_min(i + AHEAD / 2, count - 1)];
    __builtin_prefetch(&terms[p->heads[later] - 1]);
    __builtin_prefetch(&terms[terms[p->heads[soon] - 1].next - 1]);
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
