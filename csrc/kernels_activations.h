/* Activations. First the functions: for an activation of single units a pair, A = g(Z) and the slope g'(Z) (from A, or
   from Z where the list says FROM_Z); for all units of a sample, softmax. Then loops that apply them: in a tile of a
   product, row by row, or by columns of samples. kernels_bodies.h includes this file for each dtype. */

/* The parameters of an activation or a loss. */
typedef struct {
  REAL parameter[FNN_PARAMETERS];
} FN(constants);

FNN_INLINE FN(constants) FN(constants_of)(const fnn_spec *f) {
  FN(constants) c;
  for (int i = 0; i < FNN_PARAMETERS; i++) c.parameter[i] = (REAL)f->parameters[i];
  return c;
}

/* --- activations of single units; each call does a vector of VL units --- */

FNN_INLINE V FN(identity)(V z, FN(constants) c) {
  (void)c;
  return z;
}

FNN_INLINE V FN(identity_slope)(V a, FN(constants) c) {
  (void)a, (void)c;
  return FN(set1)(1);
}

FNN_INLINE V FN(sigmoid)(V z, FN(constants) c) {
  (void)c;
  const V t = FN(exp)((V)((VI)z | SIGN));
  return FN(select)(z >= 0, FN(set1)(1), t) / (1 + t);
}

FNN_INLINE V FN(sigmoid_slope)(V a, FN(constants) c) {
  (void)c;
  return a * (1 - a);
}

FNN_INLINE V FN(tanh)(V z, FN(constants) c) {
  (void)c;
  return FN(hyperbolic_tangent)(z);
}

FNN_INLINE V FN(tanh_slope)(V a, FN(constants) c) {
  (void)c;
  return (1 - a) * (1 + a);
}

/* NaN stays NaN, and -0 stays -0. */
FNN_INLINE V FN(relu)(V z, FN(constants) c) {
  (void)c;
  return FN(at_least)(z, (V){0});
}

/* 1 where a > 0, else a * 0: that is 0, or NaN if a is NaN. */
FNN_INLINE V FN(relu_slope)(V a, FN(constants) c) {
  (void)c;
  return FN(where_positive)(a, FN(set1)(1), a * 0);
}

FNN_INLINE V FN(leaky_relu)(V z, FN(constants) c) { return FN(where_positive)(z, z, z * c.parameter[0]); }

/* 1 where a > 0, the parameter `slope` where a <= 0, NaN if a is NaN. */
FNN_INLINE V FN(leaky_relu_slope)(V a, FN(constants) c) {
  return FN(where_positive)(a, FN(set1)(1), FN(select)(a <= 0, FN(set1)(c.parameter[0]), a));
}

FNN_INLINE V FN(elu)(V z, FN(constants) c) {
  return FN(where_positive)(z, z, c.parameter[0] * FN(expm1)(FN(at_most)(z, (V){0})));
}

/* 1 where a > 0, else a + alpha, which is alpha exp(z). */
FNN_INLINE V FN(elu_slope)(V a, FN(constants) c) { return FN(where_positive)(a, FN(set1)(1), a + c.parameter[0]); }

/* With these a layer keeps mean 0 and variance 1. G. Klambauer et al., "Self-normalizing neural networks", NIPS 2017.
 */
#define SELU_SCALE ((REAL)1.0507009873554804934)
#define SELU_FALL ((REAL)1.7580993408473768599) /* scale * alpha */

/* The largest z do not overflow; only infinity gives infinity. */
FNN_INLINE V FN(selu)(V z, FN(constants) c) {
  (void)c;
  const V scaled = FN(at_most)(z, FN(set1)(LARGEST / SELU_SCALE * (1 - 4 * EPSILON))) * SELU_SCALE;
  const V up = FN(select)(z > LARGEST, z, scaled);
  return FN(where_positive)(z, up, SELU_FALL * FN(expm1)(FN(at_most)(z, (V){0})));
}

FNN_INLINE V FN(selu_slope)(V a, FN(constants) c) {
  (void)c;
  return FN(where_positive)(a, FN(set1)(SELU_SCALE), a + SELU_FALL);
}

/* The sigmoids of z and of -z. */
FNN_INLINE V FN(two_sigmoids)(V z, V *of_minus) {
  const V t = FN(exp)((V)((VI)z | SIGN)), inverse = 1 / (1 + t), other = t * inverse;
  const VI up = z >= 0;
  *of_minus = FN(select)(up, other, inverse);
  return FN(select)(up, inverse, other);
}

FNN_INLINE V FN(silu)(V z, FN(constants) c) {
  (void)c;
  V rest;
  return z * FN(two_sigmoids)(z, &rest);
}

FNN_INLINE V FN(silu_slope)(V z, FN(constants) c) {
  (void)c;
  V rest;
  const V s = FN(two_sigmoids)(z, &rest);
  return FN(fma)(z * s, rest, s);
}

FNN_INLINE V FN(softplus)(V z, FN(constants) c) {
  (void)c;
  return FN(at_least)(z, (V){0}) + FN(log1p)(FN(exp)((V)((VI)z | SIGN)));
}

FNN_INLINE V FN(softplus_slope)(V z, FN(constants) c) { return FN(sigmoid)(z, c); }

/* z within +-high, which keeps NaN. */
FNN_INLINE V FN(clamped)(V z, REAL high) { return FN(at_least)(FN(at_most)(z, FN(set1)(high)), FN(set1)(-high)); }

#define GELU_1 ((REAL)1.5957691216057307117)  /* 2 sqrt(2 / pi) */
#define GELU_3 ((REAL)0.07135481627260024846) /* 0.044715 of it */

/* gelu(z) = z Phi(z), where Phi is the distribution function of N(0, 1); if it is approximate, Phi(z) = (1 + tanh(u)) /
   2 = sigmoid(2 u), u = sqrt(2 / pi) (z + 0.044715 z^3). Stores the slope. D. Hendrycks, K. Gimpel, 2016. */
FNN_INLINE V FN(gelu_and_slope)(V z, FN(constants) c, V *slope) {
  if (c.parameter[0] != 0) {
    const V x = FN(clamped)(z, TANH_GELU_HIGH), q = x * x;
    V rest;
    const V s = FN(two_sigmoids)(x * FN(fma)(q, FN(set1)(GELU_3), FN(set1)(GELU_1)), &rest);
    *slope = FN(fma)(x * s * rest, FN(fma)(q, FN(set1)(3 * GELU_3), FN(set1)(GELU_1)), s);
    return FN(at_least)(z, FN(set1)(-TANH_GELU_HIGH)) * s;
  }
  const V x = FN(clamped)(z, NORMAL_HIGH), far = FN(abs)(x), bell = FN(bell)(far);
  const V tail = bell * FN(tail_over_bell)(far), phi = FN(where_positive)(x, 1 - tail, tail);
  *slope = FN(fma)(x * (REAL)0.39894228040143267794, bell, phi);
  return FN(at_least)(z, FN(set1)(-NORMAL_HIGH)) * phi;
}

FNN_INLINE V FN(gelu)(V z, FN(constants) c) {
  V slope;
  return FN(gelu_and_slope)(z, c, &slope);
}

FNN_INLINE V FN(gelu_slope)(V z, FN(constants) c) {
  V slope;
  FN(gelu_and_slope)(z, c, &slope);
  return slope;
}

/* --- all units of a sample: softmax --- */

#define FEW 32 /* samples of at most so many units are done by columns, longer ones by rows */

FNN_INLINE V FN(largest)(const V *z, ptrdiff_t n) {
  V top = z[0];
  for (ptrdiff_t j = 1; j < n; j++) top = FN(select)(z[j] > top, z[j], top);
  return top;
}

/* VL samples, z[j] holds unit j of each: Z becomes A = exp(Z - max Z) / sum. The cross-entropy needs max_z and sum. */
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

FNN_INLINE void FN(softmax_slope_columns)(V *d, const V *a, ptrdiff_t n) {
  V sum = {0};
  for (ptrdiff_t j = 0; j < n; j++) sum = FN(fma)(d[j], a[j], sum);
  for (ptrdiff_t j = 0; j < n; j++) d[j] = a[j] * (d[j] - sum);
}

/* Softmax of one row: exp(z - max z) divided by the sum of these. The padding becomes 0. */
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

/* dZ of softmax for one row: A * (dA - sum(dA * A)). */
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

static void FN(softmax_rows)(REAL *to, ptrdiff_t ld_out, const REAL *from, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n) {
  REAL unused[2];
  for (ptrdiff_t r = 0; r < rows && n > FEW; r++)
    FN(softmax_row)(to + r * ld_out, from + r * ld, n, unused, unused + 1);
  for (ptrdiff_t r = 0; r < rows && n <= FEW; r += VL) {
    const ptrdiff_t count = fnn_min(rows - r, VL);
    V z[FEW], top, sum;
    FN(load_columns)(z, from + r * ld, ld, count, n);
    FN(softmax_columns)(z, n, &top, &sum);
    FN(store_any_columns)(to + r * ld_out, ld_out, z, count, n);
  }
}

static void FN(softmax_slope_rows)(REAL *to, ptrdiff_t ld_out, const REAL *d, ptrdiff_t ld_d, const REAL *a,
                                   ptrdiff_t ld_a, ptrdiff_t rows, ptrdiff_t n) {
  for (ptrdiff_t r = 0; r < rows && n > FEW; r++) FN(softmax_slope_row)(to + r * ld_out, d + r * ld_d, a + r * ld_a, n);
  for (ptrdiff_t r = 0; r < rows && n <= FEW; r += VL) {
    const ptrdiff_t count = fnn_min(rows - r, VL);
    V x[FEW], y[FEW];
    FN(load_columns)(x, d + r * ld_d, ld_d, count, n);
    FN(load_columns)(y, a + r * ld_a, ld_a, count, n);
    FN(softmax_slope_columns)(x, y, n);
    FN(store_any_columns)(to + r * ld_out, ld_out, x, count, n);
  }
}

/* Softmax and its dZ where a row holds one unit of all samples, and `columns`, the number of samples, is a multiple of
   VL. They work on strips of STRIP vectors, so that memory is read in long pieces. */
static void FN(softmax_of_columns)(void *out, ptrdiff_t ld_out, const void *in, ptrdiff_t ld, ptrdiff_t n,
                                   ptrdiff_t columns) {
  for (ptrdiff_t c = 0; c < columns; c += STRIP * VL) {
    const ptrdiff_t vectors = fnn_min(columns - c, STRIP * VL) / VL;
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

static void FN(softmax_slope_of_columns)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *A,
                                         ptrdiff_t ld_A, ptrdiff_t n, ptrdiff_t columns) {
  for (ptrdiff_t c = 0; c < columns; c += STRIP * VL) {
    const ptrdiff_t vectors = fnn_min(columns - c, STRIP * VL) / VL;
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

/* --- in a tile: the activations IN_TILE; for all others the sums stay as they are, and g is applied later --- */

#define CASE_IN_TILE(NAME, name, SLOPE)                                                                                \
  case FNN_##NAME: SLOPE(name) break;
#define CASE_AFTER_TILE(NAME, name, SLOPE)                                                                             \
  case FNN_##NAME: break;
#define CASE_WHOLE_ROWS(NAME, name, SLOPE) CASE_AFTER_TILE(NAME, name, SLOPE)
#define CASE(NAME, name, PLACE, SLOPE, PARAMETERS) CASE_##PLACE(NAME, name, SLOPE)

FNN_INLINE V FN(in_tile)(enum fnn_activation g, V z, FN(constants) c) {
#define FROM_A(name) return FN(name)(z, c);
#define FROM_Z(name) FROM_A(name)
  switch (g) { FNN_EACH_ACTIVATION(CASE) }
#undef FROM_A
#undef FROM_Z
  return z;
}

/* dA * g'(Z), where the slope is computed from A; that of relu is fnn_backward's parameter. A slope FROM_Z is kept by
   the forward pass, and not computed here. */
FNN_INLINE V FN(slope_in_tile)(enum fnn_activation g, V dA, const REAL *A, FN(constants) c) {
#define FROM_A(name) return dA * FN(name##_slope)(FN(load)(A), c);
#define FROM_Z(name)
  if (g == FNN_RELU) return dA * FN(where_positive)(FN(load)(A), FN(set1)(c.parameter[0]), FN(load)(A) * 0);
  switch (g) { FNN_EACH_ACTIVATION(CASE) }
#undef FROM_A
#undef FROM_Z
  return dA;
}
#undef CASE_IN_TILE
#undef CASE_AFTER_TILE
#undef CASE_WHOLE_ROWS
#undef CASE

/* --- for many samples: by rows of n units; or, for few units, by columns, where a vector holds one unit of VL samples.
   Input and output may be the same memory. --- */

#define CASE_IN_TILE(name, SLOPE) UNITS(name, SLOPE)
#define CASE_AFTER_TILE(name, SLOPE) UNITS(name, SLOPE)
#define CASE_WHOLE_ROWS(name, SLOPE) ROWS(name)
#define CASE(NAME, name, PLACE, SLOPE, PARAMETERS)                                                                     \
  case FNN_##NAME: CASE_##PLACE(name, SLOPE) break;

/* A = g(Z) */
static void FN(activation)(void *out, ptrdiff_t ld_out, const void *in, ptrdiff_t ld, const fnn_spec *g, ptrdiff_t rows,
                           ptrdiff_t n) {
  const FN(constants) c = FN(constants_of)(g);
  REAL *to = out;
  const REAL *from = in;
#define UNITS(name, SLOPE)                                                                                             \
  for (ptrdiff_t r = 0; r < rows; r++, to += ld_out, from += ld)                                                       \
    for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, FN(name)(FN(load)(from + v), c));
#define ROWS(name) FN(name##_rows)(to, ld_out, from, ld, rows, n);
  switch ((enum fnn_activation)g->kind) { FNN_EACH_ACTIVATION(CASE) }
#undef UNITS
#undef ROWS
}

static void FN(activation_columns)(V *a, const V *z, const fnn_spec *g, ptrdiff_t n) {
  V unused;
#define UNITS(name, SLOPE) FN(activation)(a, 0, z, 0, g, 1, n * VL);
#define ROWS(name)                                                                                                     \
  a[0] = z[0]; /* n is at least 1, but gcc does not know that and would warn */                                        \
  for (ptrdiff_t j = 1; j < n; j++) a[j] = z[j];                                                                       \
  FN(name##_columns)(a, n, &unused, &unused);
  switch ((enum fnn_activation)g->kind) { FNN_EACH_ACTIVATION(CASE) }
#undef UNITS
#undef ROWS
}

/* dZ = dA * g'(Z), where x is A = g(Z), or Z if the list says FROM_Z. */
static void FN(derivative)(void *out, ptrdiff_t ld_out, const void *dA, ptrdiff_t ld_dA, const void *x, ptrdiff_t ld_x,
                           const fnn_spec *g, ptrdiff_t rows, ptrdiff_t n) {
  const FN(constants) c = FN(constants_of)(g);
  REAL *to = out;
  const REAL *d = dA, *from = x;
#define UNITS(name, SLOPE)                                                                                             \
  for (ptrdiff_t r = 0; r < rows; r++, to += ld_out, d += ld_dA, from += ld_x)                                         \
    for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, FN(load)(d + v) * FN(name##_slope)(FN(load)(from + v), c));
#define ROWS(name) FN(name##_slope_rows)(to, ld_out, d, ld_dA, from, ld_x, rows, n);
  switch ((enum fnn_activation)g->kind) { FNN_EACH_ACTIVATION(CASE) }
#undef UNITS
#undef ROWS
}

/* dA becomes dZ = dA * g'(Z), where x is A, or Z if the list says FROM_Z. */
static void FN(derivative_columns)(V *d, const V *x, const fnn_spec *g, ptrdiff_t n) {
#define UNITS(name, SLOPE) FN(derivative)(d, 0, d, 0, x, 0, g, 1, n * VL);
#define ROWS(name) FN(name##_slope_columns)(d, x, n);
  switch ((enum fnn_activation)g->kind) { FNN_EACH_ACTIVATION(CASE) }
#undef UNITS
#undef ROWS
}

/* Z becomes A = g(Z), and S is the slope g'(Z). */
#define FROM_A(name) a = FN(name)(z, c), s = FN(name##_slope)(a, c)
#define FROM_Z(name) a = FN(name)(z, c), s = FN(name##_slope)(z, c)
#define ROWS(name) /* nothing: softmax has no slope of a single unit; FN(derivative) does the whole row */
static __attribute__((noinline)) void FN(activation_and_slope)(REAL *A, REAL *S, ptrdiff_t ld, const fnn_spec *g,
                                                               ptrdiff_t rows, ptrdiff_t n) {
  const FN(constants) c = FN(constants_of)(g);
#define UNITS(name, SLOPE)                                                                                             \
  for (ptrdiff_t r = 0; r < rows; r++, A += ld, S += ld)                                                               \
    for (ptrdiff_t v = 0; v < n; v += VL) {                                                                            \
      const V z = FN(load)(A + v), SLOPE(name);                                                                        \
      FN(store)(A + v, a);                                                                                             \
      FN(store)(S + v, s);                                                                                             \
    }
  switch ((enum fnn_activation)g->kind) { FNN_EACH_ACTIVATION(CASE) }
#undef UNITS
}
#undef FROM_A
#undef FROM_Z
#undef ROWS
#undef CASE_IN_TILE
#undef CASE_AFTER_TILE
#undef CASE_WHOLE_ROWS
#undef CASE

/* dZ = dA * S, in place. */
static void FN(times_slope)(REAL *d, const REAL *S, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n) {
  for (ptrdiff_t r = 0; r < rows; r++, d += ld, S += ld)
    for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(d + v, FN(load)(d + v) * FN(load)(S + v));
}
