/* Functions of a vector: exp, expm1, tanh, log, log1p, and two parts of gelu (bell, tail); the sum of its lanes; masks
   of a row's end. kernels_bodies.h includes this file for each dtype. */
#define SUM_LANES 16 /* partial sums of a row: as many for every vector size, so that all ISAs get the same bits */
#define LANE_VECTORS (SUM_LANES / VL > 0 ? SUM_LANES / VL : 1)

#if FNN_DOUBLE
#define SIGN INT64_MIN
#define MANTISSA 52
#define BIAS 1023
#define EXP_TERMS 13        /* of the Taylor series: 0.347^14 / 14! < 2^-53 */
#define LOG_TERMS 17        /* of atanh's: (1/3)^34 / 35 < 2^-53 */
#define EXP_LOW -746.0      /* exp is 0 from here down */
#define EXPM1_LOW -40.0     /* exp - 1 is -1 from here down */
#define TANH_HIGH 19.5      /* tanh is 1 from here up */
#define TANH_GELU_HIGH 22.0 /* sigmoid(-2 u) is 0 from here up, u of gelu in kernels_activations.h */
#define LARGEST DBL_MAX
#define EPSILON DBL_EPSILON
#define NORMAL_HIGH 38.7                            /* exp(-x^2 / 2) is 0 from here up */
#define LN2_HIGH 0.69314718036912381649017333984375 /* 32 bits, so that n times it is exact */
#define LN2_LOW 1.90821492927058770002e-10
#else
#define SIGN INT32_MIN
#define MANTISSA 23
#define BIAS 127
#define EXP_TERMS 7
#define LOG_TERMS 8
#define EXP_LOW -104.0f
#define EXPM1_LOW -20.0f
#define TANH_HIGH 9.0f
#define NORMAL_HIGH 14.5f
#define TANH_GELU_HIGH 12.0f
#define LARGEST FLT_MAX
#define EPSILON FLT_EPSILON
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#endif
#define LOG2E ((REAL)1.44269504088896340736)
/* Added to a number, it leaves the nearest integer in the low bits. */
#define NEAREST ((REAL)(1.5 * (double)((int64_t)1 << MANTISSA)))

/* 1/k! as far as the series goes. */
static const REAL FN(inverse_factorial)[] = {
    1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

FNN_INLINE V FN(abs)(V x) { return (V)((VI)x & ~SIGN); }
FNN_INLINE V FN(power_of_two)(VI n) { return (V)((n + BIAS) << MANTISSA); }

/* r of x = n ln 2 + r, |r| <= ln 2 / 2. */
FNN_INLINE V FN(reduced)(V x, VI *n) {
  V t = FN(fma)(x, FN(set1)(LOG2E), FN(set1)(NEAREST)), whole = t - NEAREST;
  *n = (VI)t - (VI)FN(set1)(NEAREST);
  V r = FN(fma)(whole, FN(set1)(-LN2_HIGH), x);
  return FN(fma)(whole, FN(set1)(-LN2_LOW), r);
}

/* exp(r) - 1 for such an r, by its Taylor series. */
FNN_INLINE V FN(expm1_series)(V r) {
  V p = FN(set1)(FN(inverse_factorial)[EXP_TERMS]);
#pragma GCC unroll 16
  for (int i = EXP_TERMS - 1; i >= 1; i--) p = FN(fma)(p, r, FN(set1)(FN(inverse_factorial)[i]));
  return p * r;
}

FNN_INLINE V FN(reduced_expm1)(V x, VI *n) { return FN(expm1_series)(FN(reduced)(x, n)); }

/* 2^n p, in two steps: 2^n alone may be below the normal numbers. */
FNN_INLINE V FN(scaled)(V p, VI n) {
  VI half = n >> 1;
  return p * FN(power_of_two)(half) * FN(power_of_two)(n - half);
}

/* exp(x) for x <= 0. Very small results are subnormal, and the smallest are 0. */
FNN_INLINE V FN(exp)(V x) {
  VI n;
  V p = FN(reduced_expm1)(FN(at_least)(x, FN(set1)(EXP_LOW)), &n) + 1;
  return FN(scaled)(p, n);
}

/* exp(x) - 1 for x <= 0. */
FNN_INLINE V FN(expm1)(V x) {
  VI n;
  V p = FN(reduced_expm1)(FN(at_least)(x, FN(set1)(EXPM1_LOW)), &n), s = FN(power_of_two)(n);
  return FN(fma)(s, p, s - 1);
}

/* exp(-x^2 / 2) for x in 0..NORMAL_HIGH. The square of the upper half of the digits of x is exact: a rounded square
   would cost the digits that its size has. */
FNN_INLINE V FN(bell)(V x) {
  const V high = (V)((VI)x >> (MANTISSA / 2 + 1) << (MANTISSA / 2 + 1)), rest = (x - high) * (x + high);
  VI n;
  const V r = FN(fma)(rest, FN(set1)((REAL)-0.5), FN(reduced)(high * high * (REAL)-0.5, &n));
  return FN(scaled)(FN(expm1_series)(r) + 1, n);
}

/* Phi(-x) / bell(x) for x in 0..NORMAL_HIGH, where Phi is the distribution function of N(0, 1): a polynomial in
   t = (x - k) / (x + k), divided by x + k. Interpolation at Chebyshev's points gave the coefficients: the largest
   relative error of the polynomial is 1.3e-8 for float, 2.4e-17 for double. */
#if FNN_DOUBLE
#define TAIL_MIDDLE 6.0
static const double tail_terms_f64[] = {
    0.777351771893362175,      -0.701009029590865478,   0.568968891814788802,    -0.413903585775597713,
    0.267974245841375328,      -0.152680232064310757,   0.0751719156749852567,   -0.0309853155088777695,
    0.0100298205735855275,     -0.00213160521693621769, 0.000032870450453869381, 0.000181360566398488915,
    -0.0000647537070947924246, 1.07466899902920169e-6,  6.80057664212090979e-6,  -1.79670852593207916e-6,
    -4.35873520610380109e-7,   3.04925644171714992e-7,  1.28780410976896524e-8,  -3.78264826149071646e-8,
    3.35744095397358751e-11,   2.68674799999450584e-9};
#else
#define TAIL_MIDDLE 4.0f
static const float tail_terms_f32[] = {0.755285138f,    -0.607896608f,   0.38713668f,     -0.186522943f,
                                       0.0604065193f,   -0.00752760167f, -0.00352409658f, 0.00156986534f,
                                       0.000196038774f, -0.000122442026f};
#endif
#define TAIL_TERMS (int)(sizeof FN(tail_terms) / sizeof *FN(tail_terms))

FNN_INLINE V FN(tail_over_bell)(V x) {
  const V inverse = 1 / (x + TAIL_MIDDLE), t = (x - TAIL_MIDDLE) * inverse;
  V p = FN(set1)(FN(tail_terms)[TAIL_TERMS - 1]);
#pragma GCC unroll 24
  for (int i = TAIL_TERMS - 2; i >= 0; i--) p = FN(fma)(p, t, FN(set1)(FN(tail_terms)[i]));
  return p * inverse;
}

#if FNN_DOUBLE
/* tanh z = e / (e + 2) with e = exp(2 z) - 1; e comes from expm1, which is accurate also near 0. */
FNN_INLINE V FN(hyperbolic_tangent)(V z) {
  VI n;
  V a = FN(at_most)(FN(abs)(z), FN(set1)(TANH_HIGH));
  V p = FN(reduced_expm1)(a + a, &n), s = FN(power_of_two)(n);
  V e = FN(fma)(s, p, s - 1);
  return (V)((VI)(e / (e + 2)) | ((VI)z & SIGN));
}
#else
/* tanh a = a P(a^2) / Q(a^2) for a within 0..9, P(0) = Q(0) = 1. Reweighted least squares gave the coefficients: the
   largest relative error is 6.2e-8, and 3e-7 with all roundings. It takes half the time of the form with expm1. */
static const float tanh_over[] = {1.0f, 0.129225014f, 0.00292413350f, 9.29541533e-6f, -1.28541608e-8f, 1.84186667e-11f},
                   tanh_under[] = {1.0f, 0.462558016f, 0.0237773634f, 0.000228547326f};

FNN_INLINE V FN(hyperbolic_tangent)(V z) {
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

/* The sum of the SUM_LANES partial sums of a row. Each round adds the upper half to the lower half: the order of the
   additions is the same for every vector size. */
FNN_INLINE REAL FN(sum_lanes)(const V *lanes) {
  REAL x[LANE_VECTORS * VL];
  for (int i = 0; i < LANE_VECTORS; i++) FN(store)(x + i * VL, lanes[i]);
  for (int half = SUM_LANES / 2; half; half /= 2)
    for (int i = 0; i < half; i++) x[i] += x[i + half];
  return x[0];
}

/* A mask for the vector that starts at element v of a row of n: all ones in the lanes whose element is below n. */
FNN_INLINE VI FN(inside)(ptrdiff_t v, ptrdiff_t n) {
  VI lane;
  for (int i = 0; i < VL; i++) lane[i] = i;
  return lane < (INT)(n - v < VL ? n - v : VL) - (VI){0};
}

/* Factors of dropout's mask: `scale` for a unit that is kept, for which `kept` holds FN(mask_value), else 0. */
FNN_INLINE V FN(mask_factors)(const int32_t *kept, V scale) {
#if FNN_DOUBLE
  typedef int32_t half __attribute__((vector_size(FNN_VECTOR_BYTES / 2), aligned(4), may_alias));
  return (V)(__builtin_convertvector(*(const half *)kept, VI) & (VI)scale);
#else
  (void)scale;
  return FN(load)((const REAL *)kept);
#endif
}

FNN_INLINE int32_t FN(mask_value)(V scale) { return FNN_DOUBLE ? -1 : (int32_t)((VI)scale)[0]; }
