/* One step of an optimizer on a vector of parameters: a function for each row of FNN_EACH_OPTIMIZER. fastnn/_numpy.py
   defines what they compute. kernels_bodies.h includes this file for each dtype. */

/* The numbers of one step, in the kernels' dtype. */
typedef struct {
  V keep, rate, decay, momentum, beta1, rest1, beta2, rest2, root, eps, of_gradient, of_moment;
  V scale;       /* the gradient is scale * s, where s is the sum over the samples of a batch */
  V scaled_rate; /* rate * scale */
  int at_once;   /* scaled_rate is not too large for this dtype, and may be used */
  int divides;   /* eps is so small or large that FN(quotient) could leave its range: use a plain division */
} FN(rates);

FNN_INLINE FN(rates) FN(rates_of)(const fnn_update *u) {
  return (FN(rates)){.keep = FN(set1)((REAL)u->keep),
                     .rate = FN(set1)((REAL)u->rate),
                     .decay = FN(set1)((REAL)u->decay),
                     .momentum = FN(set1)((REAL)u->momentum),
                     .beta1 = FN(set1)((REAL)u->beta1),
                     .rest1 = FN(set1)((REAL)(1 - u->beta1)),
                     .beta2 = FN(set1)((REAL)u->beta2),
                     .rest2 = FN(set1)((REAL)(1 - u->beta2)),
                     .root = FN(set1)((REAL)u->root),
                     .eps = FN(set1)((REAL)u->eps),
                     .of_gradient = FN(set1)((REAL)u->of_gradient),
                     .of_moment = FN(set1)((REAL)u->of_moment),
                     .scale = FN(set1)((REAL)u->scale),
                     .scaled_rate = FN(set1)((REAL)u->scaled_rate),
                     .at_once = u->at_once,
                     .divides = u->eps < 1e-30 || u->eps > 1e29};
}

/* n / d for 1e-30 <= d <= 1e30, within about one unit in the last place; for a larger d (the root of a moment that has
   become inf) n / 1e30. In float32 it needs no divider: these are busy with the roots. The first guess of 1 / d comes
   from the exponent and is off by 12%; two steps of Newton make that 1.4% and 0.02%; the remainder does the rest. It
   takes -d, which each term needs: so no instruction has to change a sign. */
FNN_INLINE V FN(quotient)(V n, V minus_d) {
#if FNN_DOUBLE
  return n / -minus_d;
#else
  minus_d = FN(at_least)(minus_d, FN(set1)(-1e30f));
  V r = (V)((INT)0xFEF311C3 - (VI)minus_d);
#pragma GCC unroll 2
  for (int i = 0; i < 2; i++) r = FN(fma)(r, FN(fma)(minus_d, r, FN(set1)(1)), r);
  const V q = n * r;
  return FN(fma)(FN(fma)(q, minus_d, n), r, q);
#endif
}

/* n / d, where -d is given. */
FNN_INLINE V FN(divided)(const FN(rates) * c, V n, V minus_d) {
  return c->divides ? n / -minus_d : FN(quotient)(n, minus_d);
}

/* --- one function for each optimizer: returns the new w from the old w, the sum s over samples (the gradient is
   scale * s) and the moments m1 and m2, which are updated in place --- */

/* SGD is in two parts: the tiles of products leave out the first part if `keep` is 1. */
FNN_INLINE V FN(sgd_kept)(const FN(rates) * c, V w) { return w * c->keep; }
FNN_INLINE V FN(sgd_moved)(const FN(rates) * c, V w, V s) { return FN(fma)(-c->scaled_rate, s, w); }

FNN_INLINE V FN(sgd)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  (void)m1, (void)m2;
  w = FN(sgd_kept)(c, w);
  return c->at_once ? FN(sgd_moved)(c, w, s) : FN(fma)(-c->rate, c->scale * s, w);
}

/* Stores and returns the new moment: momentum * m1 + g, where g is the gradient with its weight decay. */
FNN_INLINE V FN(new_moment)(const FN(rates) * c, V g, REAL *m1) {
  const V m = FN(fma)(c->momentum, FN(load)(m1), g);
  FN(store)(m1, m);
  return m;
}

FNN_INLINE V FN(momentum)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  (void)m2;
  const V g = FN(fma)(c->decay, w, c->scale * s);
  return FN(fma)(-c->rate, FN(new_moment)(c, g, m1), w);
}

FNN_INLINE V FN(nesterov)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  (void)m2;
  const V g = FN(fma)(c->decay, w, c->scale * s), m = FN(new_moment)(c, g, m1);
  return FN(fma)(-c->rate, FN(fma)(c->momentum, m, g), w);
}

/* Stores the new moments of adam, and returns the first one; minus_d becomes -(sqrt(v) root + eps). */
FNN_INLINE V FN(adam_moments)(const FN(rates) * c, V g, REAL *m1, REAL *m2, V *minus_d) {
  const V m = FN(fma)(c->beta1, FN(load)(m1), c->rest1 * g), v = FN(fma)(c->beta2, FN(load)(m2), c->rest2 * g * g);
  FN(store)(m1, m);
  FN(store)(m2, v);
  *minus_d = FN(fma)(FN(sqrt)(v), -c->root, -c->eps);
  return m;
}

FNN_INLINE V FN(adam_step)(const FN(rates) * c, V w, V g, REAL *m1, REAL *m2) {
  V minus_d, m = FN(adam_moments)(c, g, m1, m2, &minus_d);
  /* The division comes first, as in fastnn/_numpy.py: rate * m could overflow although the step does not. */
  return FN(fma)(-c->rate, FN(divided)(c, m, minus_d), w);
}

FNN_INLINE V FN(adam)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  return FN(adam_step)(c, w, FN(fma)(c->decay, w, c->scale * s), m1, m2);
}

FNN_INLINE V FN(adamw)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  return FN(adam_step)(c, w * c->keep, c->scale * s, m1, m2);
}

FNN_INLINE V FN(nadam)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  const V g = FN(fma)(c->decay, w, c->scale * s);
  V minus_d, m = FN(adam_moments)(c, g, m1, m2, &minus_d);
  return FN(fma)(-c->rate, FN(divided)(c, FN(fma)(c->of_moment, m, c->of_gradient * g), minus_d), w);
}

/* g / (sqrt(v) + eps), where v = beta2 v + (1 - beta2) g^2 is stored. */
FNN_INLINE V FN(over_root)(const FN(rates) * c, V g, REAL *moment) {
  const V v = FN(fma)(c->beta2, FN(load)(moment), c->rest2 * g * g);
  FN(store)(moment, v);
  return FN(divided)(c, g, -FN(sqrt)(v) - c->eps);
}

FNN_INLINE V FN(rmsprop)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  (void)m2;
  return FN(fma)(-c->rate, FN(over_root)(c, FN(fma)(c->decay, w, c->scale * s), m1), w);
}

FNN_INLINE V FN(rmsprop_momentum)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  const V step = FN(over_root)(c, FN(fma)(c->decay, w, c->scale * s), m1);
  return FN(fma)(-c->rate, FN(new_moment)(c, step, m2), w);
}

FNN_INLINE V FN(adagrad)(const FN(rates) * c, V w, V s, REAL *m1, REAL *m2) {
  const V g = FN(fma)(c->decay, w, c->scale * s), v = FN(fma)(g, g, FN(load)(m1));
  (void)m2;
  FN(store)(m1, v);
  return FN(fma)(-c->rate, FN(divided)(c, g, -FN(sqrt)(v) - c->eps), w);
}

/* A number of the gradient with clip_value. */
FNN_INLINE REAL FN(cut)(REAL x, REAL most) { return x > most ? most : x < -most ? -most : x; }

/* The gradient of n parameters w with clip_value, shrink and l1. */
static void FN(mend)(const fnn_update *u, REAL *g, const REAL *w, const REAL *s, ptrdiff_t n) {
  const REAL scale = (REAL)u->scale, most = (REAL)u->clip_value, shrink = (REAL)u->shrink, l1 = (REAL)u->l1;
  for (ptrdiff_t j = 0; j < n; j++) {
    const REAL x = FN(cut)(scale * s[j], most);
    g[j] = shrink * x + (w[j] > 0 ? l1 : w[j] < 0 ? -l1 : 0);
  }
}

static void FN(update)(const fnn_update *u, void *parameters, void *moment_1, void *moment_2, const void *sums,
                       ptrdiff_t n);

/* An update with mended gradients, block by block. */
static void FN(update_mended)(const fnn_update *u, REAL *w, REAL *m1, REAL *m2, const REAL *s, ptrdiff_t n) {
  enum {
    BLOCK = 256
  };
  V room[BLOCK / VL];
  REAL *g = (REAL *)room;
  fnn_update rest = *u;
  rest.mends = 0, rest.scale = 1, rest.scaled_rate = u->rate, rest.at_once = 1;
  for (ptrdiff_t j = 0; j < n; j += BLOCK) {
    FN(mend)(u, g, w + j, s + j, fnn_min(BLOCK, n - j));
    FN(update)(&rest, w + j, m1 + j, m2 + j, g, fnn_min(BLOCK, n - j));
  }
}

#define SQUARE_LANES 16

/* lanes[i] += x_i^2 in double, for the 16 numbers x of a gradient that begin at s. */
FNN_INLINE void FN(add_squares)(const int cuts, FN(doubles_vector) * lanes, const REAL *s, REAL scale, REAL most) {
#pragma GCC unroll 8
  for (int i = 0; i < SQUARE_LANES / FNN_DOUBLE_LANES; i++) {
    FN(narrow_vector) x = *(const FN(narrow_vector) *)(s + FNN_DOUBLE_LANES * i) * scale;
    if (cuts)
      for (int j = 0; j < FNN_DOUBLE_LANES; j++) x[j] = FN(cut)(x[j], most);
    const FN(doubles_vector) wide = FN(widen)(x);
    lanes[i] += wide * wide;
  }
}

/* The lanes are 16 for each instruction set, and nothing is fused: so all of them give the same bits for the same
   array. (The weights of a layer lie in panels, whose width depends on the instruction set.) */
static void FN(squares)(const fnn_update *u, double *squares, const void *sums, ptrdiff_t n) {
  const REAL *s = sums, scale = (REAL)u->scale, most = (REAL)u->clip_value;
  const int cuts = most < (REAL)INFINITY;
  for (ptrdiff_t from = 0; from < n; from += FNN_SQUARES) {
    const ptrdiff_t to = fnn_min(from + FNN_SQUARES, n), whole = from + (to - from) / SQUARE_LANES * SQUARE_LANES;
    FN(doubles_vector) lanes[SQUARE_LANES / FNN_DOUBLE_LANES] = {{0}};
    if (cuts)
      for (ptrdiff_t j = from; j < whole; j += SQUARE_LANES) FN(add_squares)(1, lanes, s + j, scale, most);
    else
      for (ptrdiff_t j = from; j < whole; j += SQUARE_LANES) FN(add_squares)(0, lanes, s + j, scale, most);
    double each[SQUARE_LANES], total = 0;
    memcpy(each, lanes, sizeof each);
    for (ptrdiff_t j = whole; j < to; j++) {
      const REAL x = FN(cut)(scale * s[j], most);
      each[j - whole] += (double)x * (double)x;
    }
    for (int i = 0; i < SQUARE_LANES; i++) total += each[i];
    squares[from / FNN_SQUARES] = total;
  }
}

#undef SQUARE_LANES

static void FN(average)(void *average, const void *parameters, double share, ptrdiff_t n) {
  REAL *a = average;
  const REAL *w = parameters;
  const V rest = FN(set1)((REAL)(1 - share));
  for (ptrdiff_t j = 0; j < n; j += VL) {
    const V old = FN(load)(a + j);
    FN(store)(a + j, FN(fma)(rest, FN(load)(w + j) - old, old));
  }
}

/* n parameters, whole vectors of them. */
static __attribute__((noinline)) void FN(update)(const fnn_update *u, void *parameters, void *moment_1, void *moment_2,
                                                 const void *sums, ptrdiff_t n) {
  REAL *w = parameters, *m1 = moment_1, *m2 = moment_2;
  const REAL *s = sums;
  if (u->kind == FNN_STORE) {
    memcpy(w, s, (size_t)n * sizeof(REAL));
    return;
  }
  if (u->mends) {
    FN(update_mended)(u, w, m1, m2, s, n);
    return;
  }
  const FN(rates) c = FN(rates_of)(u);
#define CASE(NAME, name, SLOTS, STEP)                                                                                  \
  case FNN_##NAME:                                                                                                     \
    for (ptrdiff_t j = 0; j < n; j += VL)                                                                              \
      FN(store)(w + j, FN(name)(&c, FN(load)(w + j), FN(load)(s + j), m1 + j, m2 + j));                                \
    break;
  switch ((enum fnn_optimizer_kind)u->kind) { FNN_EACH_OPTIMIZER(CASE) }
#undef CASE
}
