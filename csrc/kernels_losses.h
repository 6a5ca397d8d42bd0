/* Losses. First the functions: for each loss that is a sum over units, a function of single units, which gives L in
   double and returns its derivative; for all units of a sample, the cross-entropy, and the losses whose targets are not
   one for each unit. Then the loops over a batch, each written once for all losses: by columns of samples (few units),
   by rows (many units), and element by element. kernels_bodies.h includes this file for each dtype. */

/* --- losses of single units: each call sets L of VL units, and returns dL/dz (form UNITS_OF_Z) or dL/da (UNITS_OF_A)
   --- */

/* Targets with label smoothing: (1 - s) y + s / classes. */
FNN_INLINE V FN(smoothed)(V y, REAL smoothing, ptrdiff_t classes) {
  return y * (1 - smoothing) + smoothing / (REAL)classes;
}

/* -p y log a - (1 - y) log(1 - a) with a = sigmoid(z), for z of any size: with p = 1 it is max(z, 0) - z y +
   log(1 + exp(-|z|)). Parameters: label_smoothing, of two classes; pos_weight p, where 0 means 1, as callers that do
   not know it write it. */
FNN_INLINE V FN(binary_cross_entropy)(V z, V y, FN(constants) c, double *L) {
  const REAL p = c.parameter[1];
  double zs[VL], ys[VL], of_y[VL];
  if (c.parameter[0] != 0) y = FN(smoothed)(y, c.parameter[0], 2);
  FN(doubles)(zs, z);
  FN(doubles)(ys, y);
  FN(doubles)(L, FN(log1p)(FN(exp)((V)((VI)z | SIGN))));
  if (p == 0 || p == 1) {
    for (int i = 0; i < VL; i++) L[i] = (zs[i] > 0 ? zs[i] : 0.0) - zs[i] * ys[i] + L[i];
    return FN(sigmoid)(z, c) - y;
  }
  for (int i = 0; i < VL; i++) of_y[i] = (p - 1.0) * ys[i] * (L[i] + (zs[i] < 0 ? -zs[i] : 0.0));
  for (int i = 0; i < VL; i++) L[i] = (zs[i] > 0 ? zs[i] : 0.0) - zs[i] * ys[i] + L[i] + of_y[i];
  return FN(sigmoid)(z, c) * (1 + (p - 1) * y) - p * y;
}

/* The parameters of a loss without label smoothing and pos_weight. A loop that is compiled with them as constants is up
   to four times as fast as one that asks for them at each vector; so it is written for both. */
static const FN(constants) FN(plain) = {{0}};
FNN_INLINE int FN(is_plain)(FN(constants) c) {
  return c.parameter[0] == 0 && (c.parameter[1] == 0 || c.parameter[1] == 1);
}
#define FOR_PLAIN_AND_OTHER(LOOP, ...)                                                                                 \
  if (FN(is_plain)(c)) {                                                                                               \
    LOOP(__VA_ARGS__, FN(plain))                                                                                       \
  } else {                                                                                                             \
    LOOP(__VA_ARGS__, c)                                                                                               \
  }

/* (a - y)^2 */
FNN_INLINE V FN(mse)(V a, V y, FN(constants) c, double *L) {
  double as[VL], ys[VL];
  (void)c;
  FN(doubles)(as, a);
  FN(doubles)(ys, y);
  for (int i = 0; i < VL; i++) L[i] = (as[i] - ys[i]) * (as[i] - ys[i]);
  return 2 * (a - y);
}

/* |a - y|; its derivative is taken as 0 where a = y, and is NaN for a NaN. */
FNN_INLINE V FN(mae)(V a, V y, FN(constants) c, double *L) {
  double as[VL], ys[VL];
  const V error = a - y;
  (void)c;
  FN(doubles)(as, a);
  FN(doubles)(ys, y);
  for (int i = 0; i < VL; i++) L[i] = as[i] > ys[i] ? as[i] - ys[i] : ys[i] - as[i];
  return FN(select)(error > 0, FN(set1)(1), FN(select)(error < 0, FN(set1)(-1), error));
}

/* e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), with e = a - y. Parameter: delta. P. J. Huber, "Robust
   estimation of a location parameter", 1964. */
FNN_INLINE V FN(huber)(V a, V y, FN(constants) c, double *L) {
  const double delta = c.parameter[0];
  double as[VL], ys[VL];
  FN(doubles)(as, a);
  FN(doubles)(ys, y);
  for (int i = 0; i < VL; i++) {
    const double e = as[i] > ys[i] ? as[i] - ys[i] : ys[i] - as[i], inner = e < delta ? e : delta;
    L[i] = inner * (e - 0.5 * inner);
  }
  return FN(clamped)(a - y, c.parameter[0]);
}

/* exp(x) as p 2^power in double, where p is near 1: exp(x) itself may be too large for a float. Beyond +-PARTS_HIGH, x
   counts as that: what is computed from it is infinite or 0 anyway. */
#define PARTS_HIGH ((REAL)1418.0)
FNN_INLINE void FN(exp_parts)(V x, double *p, int *powers) {
  VI whole;
  FN(doubles)(p, FN(reduced_expm1)(FN(clamped)(x, PARTS_HIGH), &whole) + 1);
  for (int i = 0; i < VL; i++) powers[i] = (int)whole[i];
}

/* x 2^power for |power| <= 2046, in two finite steps: so 0 stays 0. */
FNN_INLINE double FN(times_power)(double x, int power) {
  const int64_t half = power >> 1;
  const uint64_t bits[2] = {(uint64_t)(half + 1023) << 52, (uint64_t)(power - half + 1023) << 52};
  double factors[2];
  memcpy(factors, bits, sizeof factors);
  return x * factors[0] * factors[1];
}

/* exp(z) - y z; z is the logarithm of the rate. No y times z where y is 0: z may be infinite. */
FNN_INLINE V FN(poisson)(V z, V y, FN(constants) c, double *L) {
  double p[VL], zs[VL], ys[VL];
  int powers[VL];
  V d;
  (void)c;
  FN(exp_parts)(z, p, powers);
  FN(doubles)(zs, z);
  FN(doubles)(ys, y);
  for (int i = 0; i < VL; i++) {
    const double rate = FN(times_power)(p[i], powers[i]);
    L[i] = rate - (ys[i] != 0 ? ys[i] * zs[i] : 0);
    d[i] = (REAL)(rate - ys[i]);
  }
  return d;
}

/* --- all units of a sample, from A: they set L, and d to the derivative by A --- */

/* Quantile, of units with the levels q: max(q e, (q - 1) e) with e = y - a; its derivative is taken as 0 where e is 0.
   R. Koenker, G. Bassett, "Regression quantiles", 1978. */
FNN_INLINE V FN(pinball)(V a, V y, const double *q, double *L) {
  double as[VL], ys[VL];
  V d;
  FN(doubles)(as, a);
  FN(doubles)(ys, y);
  for (int i = 0; i < VL; i++) {
    const double e = ys[i] - as[i];
    L[i] = e > 0 ? q[i] * e : (q[i] - 1) * e;
    d[i] = (REAL)(e > 0 ? -q[i] : e < 0 ? 1 - q[i] : e); /* a NaN stays NaN */
  }
  return d;
}

static double FN(level)(const fnn_head *h, ptrdiff_t j) {
  return h->levels ? h->levels[j] : (double)(j + 1) / (double)(h->n + 1);
}

FNN_INLINE void FN(quantile_columns)(const fnn_head *h, V *d, const V *a, const V *y, double *L) {
  double q[VL], of_unit[VL];
  for (int i = 0; i < VL; i++) L[i] = 0;
  for (ptrdiff_t j = 0; j < h->n; j++) {
    for (int i = 0; i < VL; i++) q[i] = FN(level)(h, j);
    d[j] = FN(pinball)(a[j], y[0], q, of_unit);
    for (int i = 0; i < VL; i++) L[i] += of_unit[i];
  }
}

static double FN(quantile_row)(const fnn_head *h, REAL *d, const REAL *a, const REAL *y) {
  double L = 0, q[VL], of_unit[VL];
  for (ptrdiff_t v = 0; v < h->n; v += VL) {
    for (ptrdiff_t i = 0; i < VL; i++) q[i] = FN(level)(h, fnn_min(v + i, h->n - 1));
    const V slopes = FN(pinball)(FN(load)(a + v), FN(set1)(y[0]), q, of_unit);
    FN(store)(d + v, FN(select)(FN(inside)(v, h->n), slopes, (V){0}));
    for (ptrdiff_t i = 0; i < fnn_min(h->n - v, VL); i++) L += of_unit[i];
  }
  return L;
}

/* Gaussian_nll: (s + e^2 exp(-s)) / 2 with e = mean - y, where s is the logarithm of the variance. The derivatives are
   e exp(-s) and (1 - e^2 exp(-s)) / 2. With u = e exp(-s / 2) no factor overflows before the product does. D. Nix,
   A. Weigend, "Estimating the mean and variance of the target probability distribution", 1994. */
FNN_INLINE void FN(gaussian)(V *d_mean, V *d_s, V mean, V s, V y, double *L) {
  double p[VL], means[VL], logs[VL], ys[VL];
  int powers[VL];
  FN(exp_parts)(s * (REAL)-0.5, p, powers);
  FN(doubles)(means, mean);
  FN(doubles)(logs, s);
  FN(doubles)(ys, y);
  for (int i = 0; i < VL; i++) {
    const double u = FN(times_power)((means[i] - ys[i]) * p[i], powers[i]), square = 0.5 * u * u;
    L[i] = 0.5 * logs[i] + square;
    (*d_mean)[i] = (REAL)FN(times_power)(u * p[i], powers[i]);
    (*d_s)[i] = (REAL)(0.5 - square);
  }
}

FNN_INLINE void FN(gaussian_nll_columns)(const fnn_head *h, V *d, const V *a, const V *y, double *L) {
  const ptrdiff_t k = h->n / 2;
  double of_pair[VL];
  for (int i = 0; i < VL; i++) L[i] = 0;
  for (ptrdiff_t j = 0; j < k; j++) {
    FN(gaussian)(&d[j], &d[k + j], a[j], a[k + j], y[j], of_pair);
    for (int i = 0; i < VL; i++) L[i] += of_pair[i];
  }
}

static double FN(gaussian_nll_row)(const fnn_head *h, REAL *d, const REAL *a, const REAL *y) {
  const ptrdiff_t k = h->n / 2;
  double L = 0, of_pair[VL];
  for (ptrdiff_t v = 0; v < k; v += VL) { /* the log-variances do not begin at a whole vector */
    const ptrdiff_t count = fnn_min(k - v, VL);
    const size_t bytes = (size_t)count * sizeof *d;
    V mean = {0}, s = {0}, d_mean, d_s;
    memcpy(&mean, a + v, bytes);
    memcpy(&s, a + k + v, bytes);
    FN(gaussian)(&d_mean, &d_s, mean, s, FN(load)(y + v), of_pair);
    memcpy(d + v, &d_mean, bytes);
    memcpy(d + k + v, &d_s, bytes);
    for (ptrdiff_t i = 0; i < count; i++) L += of_pair[i];
  }
  return L;
}

/* --- all units of a sample, from Z: the cross-entropy L = -sum(y log a) with a = softmax(z), where y may be a single
   class; dZ = a sum(y) - y. It is computed as L = sum(y (top - z)) + sum(y) log(whole), where top is the largest z, and
   whole is sum(exp(z - top)): this does not overflow for any z. --- */

/* For VL samples; z[j] and y[j] hold unit j of each sample. Z becomes dZ. */
FNN_INLINE void FN(cross_entropy_columns)(V *z, const V *y, ptrdiff_t n, int one_class, double *L) {
  double tops[VL], logs[VL];
  V top, whole, mass = FN(set1)(1);
  FN(doubles)(tops, FN(largest)(z, n));
  if (one_class) {
    V truth = {0};
    for (ptrdiff_t j = 0; j < n; j++) truth = FN(select)(y[j] != 0, z[j], truth);
    FN(doubles)(L, truth);
    for (int i = 0; i < VL; i++) L[i] = tops[i] - L[i];
  } else {
    mass = (V){0};
    for (int i = 0; i < VL; i++) L[i] = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
      double zs[VL], ys[VL];
      FN(doubles)(zs, z[j]);
      FN(doubles)(ys, y[j]);
      for (int i = 0; i < VL; i++)
        if (ys[i] != 0) L[i] += ys[i] * (tops[i] - zs[i]); /* without the test 0 times infinity would be NaN */
      mass += y[j];
    }
  }
  FN(softmax_columns)(z, n, &top, &whole);
  for (ptrdiff_t j = 0; j < n; j++) z[j] = z[j] * mass - y[j];
  FN(doubles)(logs, mass * FN(log)(whole));
  for (int i = 0; i < VL; i++) L[i] += logs[i];
}

/* For one sample, with targets y or (y is NULL) the class `code`: z becomes dZ. Returns L without its last term sum(y)
   log(whole); the caller takes the logarithms of many rows at once. */
static double FN(cross_entropy_row)(REAL *z, ptrdiff_t n, const REAL *y, int32_t code, REAL *mass, REAL *whole) {
  REAL top;
  double L = 0;
  *mass = 1;
  if (!y) {
    const double truth = z[code];
    FN(softmax_row)(z, z, n, &top, whole);
    z[code] -= 1;
    return (double)top - truth;
  }
  *mass = 0;
  top = z[0];
  for (ptrdiff_t j = 1; j < n; j++) top = z[j] > top ? z[j] : top;
  for (ptrdiff_t j = 0; j < n; j++) {
    if (y[j] != 0) L += (double)y[j] * ((double)top - z[j]); /* without the test 0 times infinity would be NaN */
    *mass += y[j];
  }
  FN(softmax_row)(z, z, n, &top, whole);
  for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(z + v, FN(load)(z + v) * *mass - FN(load)(y + v));
  return L;
}

/* In the switches below the code for a loss depends on its FORM only: before each switch, OF_<FORM>(name) says what is
   done for that form. */
#define CASE(NAME, name, OUTPUT, TARGETS, FORM, PARAMETERS)                                                            \
  case FNN_##NAME: {                                                                                                   \
    OF_##FORM(name)                                                                                                    \
  } break;

/* The losses of single units: L of `count` numbers x, which are whole vectors, and the derivatives d by them; d may be
   x. One function for few units and for many. */
static __attribute__((noinline)) void FN(units)(REAL *d, double *L, const void *x, const void *y, const fnn_spec *loss,
                                                ptrdiff_t count) {
  const FN(constants) c = FN(constants_of)(loss);
  const REAL *at = x, *targets = y;
#define EACH_ELEMENT(name, c)                                                                                          \
  for (ptrdiff_t v = 0; v < count; v += VL)                                                                            \
    FN(store)(d + v, FN(name)(FN(load)(at + v), FN(load)(targets + v), c, L + v));
#define OF_UNITS_OF_Z(name) FOR_PLAIN_AND_OTHER(EACH_ELEMENT, name)
#define OF_UNITS_OF_A(name) EACH_ELEMENT(name, c)
#define OF_ROWS_OF_A(name)
#define OF_ROWS_OF_Z(name)
  switch ((enum fnn_loss_kind)loss->kind) { FNN_EACH_LOSS(CASE) }
#undef OF_ROWS_OF_Z
#undef OF_ROWS_OF_A
#undef OF_UNITS_OF_A
#undef OF_UNITS_OF_Z
#undef EACH_ELEMENT
}

/* --- few units: VL samples at a time; a vector holds one unit of each --- */

/* The codes of `count` samples, as VL integers; the remaining ones are -1, which is the code of no unit. */
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

/* Copies Z to `kept`, where the slope of the output activation is computed from Z: Z is about to become dA. */
FNN_INLINE int FN(keep_columns)(V *kept, const V *z, const fnn_spec *g, ptrdiff_t n) {
  const int from_z = fnn_slope_of(g) == FNN_FROM_Z;
  for (ptrdiff_t j = 0; from_z && j < n; j++) kept[j] = z[j];
  return from_z;
}

/* Sets L of VL samples; their Z (in z) becomes dZ. */
FNN_INLINE void FN(loss_columns)(const fnn_head *h, V *z, const V *y, int one_class, double *L) {
  const ptrdiff_t n = h->n;
  double of_units[FEW * VL];
  V room[FEW], kept[FEW];
  V *a = h->activation.kind == FNN_IDENTITY ? z : room; /* the usual output of values, whose A is Z */
#define SUM_OVER_UNITS(x)                                                                                              \
  FN(units)((REAL *)z, of_units, x, y, &h->loss, n * VL);                                                              \
  for (int i = 0; i < VL; i++) L[i] = 0;                                                                               \
  for (ptrdiff_t j = 0; j < n; j++)                                                                                    \
    for (int i = 0; i < VL; i++) L[i] += of_units[j * VL + i];
#define OF_UNITS_OF_Z(name) SUM_OVER_UNITS(z)
#define FROM_A(...)                                                                                                    \
  const int from_z = FN(keep_columns)(kept, z, &h->activation, n);                                                     \
  if (a != z) FN(activation_columns)(a, z, &h->activation, n);                                                         \
  __VA_ARGS__                                                                                                          \
  if (a != z) FN(derivative_columns)(z, from_z ? kept : a, &h->activation, n);
#define OF_UNITS_OF_A(name) FROM_A(SUM_OVER_UNITS(a))
#define OF_ROWS_OF_A(name) FROM_A(FN(name##_columns)(h, z, a, y, L);)
#define OF_ROWS_OF_Z(name) FN(name##_columns)(z, y, n, one_class, L);
  switch ((enum fnn_loss_kind)h->loss.kind) { FNN_EACH_LOSS(CASE) }
#undef OF_ROWS_OF_Z
#undef OF_ROWS_OF_A
#undef OF_UNITS_OF_A
#undef FROM_A
#undef OF_UNITS_OF_Z
#undef SUM_OVER_UNITS
}

/* Label smoothing of cross_entropy; not inline, so that the usual loss without it is not slower. */
static __attribute__((noinline)) void FN(smooth_columns)(const fnn_head *h, V *y) {
  for (ptrdiff_t j = 0; j < h->n; j++) y[j] = FN(smoothed)(y[j], (REAL)h->loss.parameters[0], h->n);
}

/* Stores w_i L_i of `count` samples (1..VL) from sample `first` on; their Z becomes dZ. */
static void FN(head_columns)(const fnn_head *h, ptrdiff_t first, ptrdiff_t count) {
  const ptrdiff_t n = h->n;
  REAL *Z = (REAL *)h->Z + first * h->ld;
  V z[FEW], y[FEW];
  double L[VL];
  FN(load_columns)(z, Z, h->ld, count, n);
  if (h->codes) {
    const VI codes = FN(load_codes)(h->codes + first, count);
    for (ptrdiff_t j = 0; j < n; j++) y[j] = FN(select)(codes == (INT)j, FN(set1)(1), (V){0});
  } else {
    FN(load_columns)(y, (const REAL *)h->Y + first * h->ld, h->ld, count, fnn_target_rows(&h->loss, n));
  }
  int one_class = h->codes != NULL;
  if (h->loss.kind == FNN_CROSS_ENTROPY && h->loss.parameters[0] != 0) one_class = 0, FN(smooth_columns)(h, y);
  FN(loss_columns)(h, z, y, one_class, L);
  if (h->weights) {
    V w = {0};
    for (ptrdiff_t r = 0; r < count; r++) ((REAL *)&w)[r] = (REAL)h->weights[first + r], L[r] *= h->weights[first + r];
    for (ptrdiff_t j = 0; j < n; j++) z[j] *= w;
  }
  if (count == VL)
    memcpy(h->losses + first, L, sizeof L);
  else
    for (ptrdiff_t r = 0; r < count; r++) h->losses[first + r] = L[r];
  FN(store_any_columns)(Z, h->ld, z, count, n);
}

/* --- many units: row by row --- */

#define UNITS_AT_ONCE 256 /* a multiple of every VL */

/* Returns L of one sample for a loss of single units, or from A; z becomes dZ, its padding 0. `a`: scratch, two rows.
 */
static double FN(units_row)(const fnn_head *h, REAL *z, const REAL *y, REAL *a) {
  const ptrdiff_t n = h->n, padded = fnn_round_up(n, VL);
  const int from_z = fnn_slope_of(&h->activation) == FNN_FROM_Z;
  double L = 0, of_units[UNITS_AT_ONCE];
#define SUM_OVER_UNITS(x)                                                                                              \
  for (ptrdiff_t v = 0; v < n; v += UNITS_AT_ONCE) {                                                                   \
    FN(units)(z + v, of_units, (x) + v, y + v, &h->loss, fnn_min(padded - v, UNITS_AT_ONCE));                          \
    for (ptrdiff_t i = 0; i < fnn_min(n - v, UNITS_AT_ONCE); i++) L += of_units[i];                                    \
  }
#define OF_UNITS_OF_Z(name) SUM_OVER_UNITS(z)
#define FROM_A(...)                                                                                                    \
  if (from_z) memcpy(a + padded, z, (size_t)padded * sizeof *z); /* z is about to become dA */                         \
  FN(activation)(a, 0, z, 0, &h->activation, 1, n);                                                                    \
  __VA_ARGS__                                                                                                          \
  FN(derivative)(z, 0, z, 0, from_z ? a + padded : a, 0, &h->activation, 1, n);
#define OF_UNITS_OF_A(name) FROM_A(SUM_OVER_UNITS(a))
#define OF_ROWS_OF_A(name) FROM_A(L = FN(name##_row)(h, z, a, y);)
#define OF_ROWS_OF_Z(name)
  switch ((enum fnn_loss_kind)h->loss.kind) { FNN_EACH_LOSS(CASE) }
#undef OF_ROWS_OF_Z
#undef OF_ROWS_OF_A
#undef OF_UNITS_OF_A
#undef FROM_A
#undef OF_UNITS_OF_Z
#undef SUM_OVER_UNITS
  for (ptrdiff_t j = n; j < padded; j++) z[j] = 0; /* the derivative of padding may be NaN */
  return L;
}

/* The targets of sample i as a row: its row of Y; or, from its code, zeros and a 1, written to `room`. */
static const REAL *FN(targets_row)(const fnn_head *h, ptrdiff_t i, REAL *room) {
  if (!h->codes) return (const REAL *)h->Y + i * h->ld;
  for (ptrdiff_t j = 0; j < fnn_round_up(h->n, VL); j++) room[j] = 0;
  room[h->codes[i]] = 1;
  return room;
}

static void FN(units_rows)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1) {
  REAL *room = h->scratch, *a = room + fnn_round_up(h->n, VL);
  for (ptrdiff_t i = i0; i < i1; i++)
    h->losses[i] = FN(units_row)(h, (REAL *)h->Z + i * h->ld, FN(targets_row)(h, i, room), a);
}

#define ROWS_AT_ONCE 32 /* the logarithms of so many rows are taken together */

/* The targets of sample i with label smoothing, written to `soft`, whose padding becomes 0. */
static const REAL *FN(smoothed_row)(const fnn_head *h, ptrdiff_t i, REAL *room, REAL *soft, REAL smoothing) {
  const REAL *y = FN(targets_row)(h, i, room);
  for (ptrdiff_t v = 0; v < h->n; v += VL) {
    const V all = FN(smoothed)(FN(load)(y + v), smoothing, h->n);
    FN(store)(soft + v, FN(select)(FN(inside)(v, h->n), all, (V){0}));
  }
  return soft;
}

static void FN(cross_entropy_rows)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1) {
  const REAL smoothing = FN(constants_of)(&h->loss).parameter[0];
  REAL *room = h->scratch, *soft = room + fnn_round_up(h->n, VL);
  for (ptrdiff_t first = i0; first < i1; first += ROWS_AT_ONCE) {
    const ptrdiff_t rows = fnn_min(i1 - first, ROWS_AT_ONCE);
    REAL wholes[ROWS_AT_ONCE + 64 / sizeof(REAL)], masses[ROWS_AT_ONCE];
    for (ptrdiff_t r = rows; r < fnn_round_up(rows, VL); r++) wholes[r] = 1;
    for (ptrdiff_t r = 0; r < rows; r++) {
      const ptrdiff_t i = first + r;
      const REAL *y = smoothing != 0 ? FN(smoothed_row)(h, i, room, soft, smoothing)
                      : h->codes     ? NULL
                                     : (const REAL *)h->Y + i * h->ld;
      h->losses[i] =
          FN(cross_entropy_row)((REAL *)h->Z + i * h->ld, h->n, y, h->codes ? h->codes[i] : 0, &masses[r], &wholes[r]);
    }
    for (ptrdiff_t v = 0; v < rows; v += VL) {
      const V logs = FN(log)(FN(load)(wholes + v));
      for (ptrdiff_t r = v; r < fnn_min(v + VL, rows); r++) h->losses[first + r] += (double)masses[r] * logs[r - v];
    }
  }
}

static void FN(head_rows)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1) {
#define OF_UNITS_OF_Z(name) FN(units_rows)(h, i0, i1);
#define OF_UNITS_OF_A(name) FN(units_rows)(h, i0, i1);
#define OF_ROWS_OF_A(name) FN(units_rows)(h, i0, i1);
#define OF_ROWS_OF_Z(name) FN(name##_rows)(h, i0, i1);
  switch ((enum fnn_loss_kind)h->loss.kind) { FNN_EACH_LOSS(CASE) }
#undef OF_ROWS_OF_Z
#undef OF_ROWS_OF_A
#undef OF_UNITS_OF_A
#undef OF_UNITS_OF_Z
  for (ptrdiff_t i = i0; h->weights && i < i1; i++) {
    REAL *z = (REAL *)h->Z + i * h->ld;
    for (ptrdiff_t v = 0; v < h->n; v += VL) FN(store)(z + v, FN(load)(z + v) * (REAL)h->weights[i]);
    h->losses[i] *= h->weights[i];
  }
}

static void FN(head)(const fnn_head *h, ptrdiff_t i0, ptrdiff_t i1) {
  if (h->n <= FEW)
    for (ptrdiff_t i = i0; i < i1; i += VL) FN(head_columns)(h, i, fnn_min(i1 - i, VL));
  else
    FN(head_rows)(h, i0, i1);
}

/* --- element by element, so that the layout of samples does not matter: for losses that are sums over units of a
   function of z, or of a where a = z (an identity output) --- */

#define OF_UNITS_OF_Z(name) FOR_PLAIN_AND_OTHER(EACH_ELEMENT, name)
#define OF_UNITS_OF_A(name) EACH_ELEMENT(name, c)
#define OF_ROWS_OF_A(name)
#define OF_ROWS_OF_Z(name)

static void FN(loss_derivatives)(void *out, const void *Z, const void *Y, const fnn_spec *loss, ptrdiff_t n) {
  const FN(constants) c = FN(constants_of)(loss);
  REAL *to = out;
  const REAL *z = Z, *y = Y;
  double unused[VL];
#define EACH_ELEMENT(name, c)                                                                                          \
  for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(to + v, FN(name)(FN(load)(z + v), FN(load)(y + v), c, unused));
  switch ((enum fnn_loss_kind)loss->kind) { FNN_EACH_LOSS(CASE) }
#undef EACH_ELEMENT
}

static void FN(loss_values)(double *out, const void *Z, const void *Y, const fnn_spec *loss, ptrdiff_t n) {
  const FN(constants) c = FN(constants_of)(loss);
  const REAL *z = Z, *y = Y;
#define EACH_ELEMENT(name, c)                                                                                          \
  for (ptrdiff_t v = 0; v < n; v += VL) (void)FN(name)(FN(load)(z + v), FN(load)(y + v), c, out + v);
  switch ((enum fnn_loss_kind)loss->kind) { FNN_EACH_LOSS(CASE) }
#undef EACH_ELEMENT
}
#undef OF_ROWS_OF_Z
#undef OF_ROWS_OF_A
#undef OF_UNITS_OF_A
#undef OF_UNITS_OF_Z
#undef FOR_PLAIN_AND_OTHER
#undef CASE
