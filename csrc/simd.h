/* Vector types V (of REAL) and VI (of INT), and the operations on them that C has no operator for. For arithmetic,
   comparisons and bit operations the kernels use the compiler's operators on vector types. kernels_bodies.h includes
   this file once per dtype; kernels_isa.h defines REAL, INT, FNN_DOUBLE and FN(), the ISA's file FNN_VECTOR_BYTES.
   Everything is static: a copy that is shared between ISAs could contain instructions that this CPU does not have. */
#if defined(__FMA__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define V FN(vector)
#define VI FN(integers)
#define FNN_LANES (FNN_VECTOR_BYTES / (FNN_DOUBLE ? 8 : 4))
#define VL ((ptrdiff_t)FNN_LANES)
typedef REAL V __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef INT VI __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef REAL FN(unaligned) __attribute__((vector_size(FNN_VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

FNN_INLINE V FN(load)(const REAL *p) { return (V) * (const FN(unaligned) *)p; }
FNN_INLINE void FN(store)(REAL *p, V x) { *(FN(unaligned) *)p = (FN(unaligned))x; }
/* x - 0 is x for every x, so this folds into a broadcast. */
FNN_INLINE V FN(set1)(REAL x) { return x - (V){0}; }
FNN_INLINE V FN(select)(VI mask, V a, V b) { return (V)((mask & (VI)a) | (~mask & (VI)b)); }

#if FNN_DOUBLE
#define X86(operation) operation##_pd
#define COMPARE _mm512_cmp_pd_mask
#define M512 __m512d
#define M256 __m256d
#define NEON_FMA(a, b, c) vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b))
#else
#define X86(operation) operation##_ps
#define COMPARE _mm512_cmp_ps_mask
#define M512 __m512
#define M256 __m256
#define NEON_FMA(a, b, c) vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b))
#endif

/* a b + c, with one rounding where the ISA has such an instruction. The compiler may not make such instructions by
   itself (-ffp-contract=off): it could choose other products in each kernel, and then the bits would differ. */
FNN_INLINE V FN(fma)(V a, V b, V c) {
#if FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (V)X86(_mm512_fmadd)((M512)a, (M512)b, (M512)c);
#elif FNN_VECTOR_BYTES == 64 && defined(__FMA__)
  /* The AVX-512 tiles with AVX2 registers: for tests on a CPU without AVX-512. */
  union {
    V whole;
    M256 half[2];
  } x = {a}, y = {b}, z = {c};
  for (int i = 0; i < 2; i++) z.half[i] = X86(_mm256_fmadd)(x.half[i], y.half[i], z.half[i]);
  return z.whole;
#elif FNN_VECTOR_BYTES == 32 && defined(__FMA__)
  return (V)X86(_mm256_fmadd)((M256)a, (M256)b, (M256)c);
#elif FNN_VECTOR_BYTES == 16 && defined(__aarch64__)
  return (V)NEON_FMA(a, b, c);
#else
  return a * b + c;
#endif
}

/* a where x > 0, else b, also where x is NaN. With AVX-512 gcc makes three instructions of FN(select), here two. */
FNN_INLINE V FN(where_positive)(V x, V a, V b) {
#if FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (V)X86(_mm512_mask_blend)(COMPARE((M512)x, (M512){0}, _CMP_GT_OQ), (M512)b, (M512)a);
#else
  return FN(select)(x > 0, a, b);
#endif
}

/* The smaller (at_least: the larger) of a and limit; a NaN in `a` stays NaN. That is why `a` is the second operand: if
   one operand is NaN, these instructions return the second one. */
FNN_INLINE V FN(at_most)(V a, V limit) {
#if FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (V)X86(_mm512_min)((M512)limit, (M512)a);
#elif FNN_VECTOR_BYTES == 32 && defined(__FMA__)
  return (V)X86(_mm256_min)((M256)limit, (M256)a);
#else
  return FN(select)(a > limit, limit, a);
#endif
}

FNN_INLINE V FN(at_least)(V a, V limit) {
#if FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (V)X86(_mm512_max)((M512)limit, (M512)a);
#elif FNN_VECTOR_BYTES == 32 && defined(__FMA__)
  return (V)X86(_mm256_max)((M256)limit, (M256)a);
#else
  return FN(select)(a < limit, limit, a);
#endif
}

FNN_INLINE V FN(sqrt)(V x) {
#if FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (V)X86(_mm512_sqrt)((M512)x);
#elif FNN_VECTOR_BYTES == 32 && defined(__FMA__)
  return (V)X86(_mm256_sqrt)((M256)x);
#else
  V y;
  for (int i = 0; i < VL; i++) y[i] = FNN_DOUBLE ? (REAL)sqrt((double)x[i]) : (REAL)sqrtf((float)x[i]);
  return y;
#endif
}

FNN_INLINE void FN(doubles)(double *to, V x) {
  for (int i = 0; i < VL; i++) to[i] = (double)x[i];
}

/* As many numbers as a vector has room for doubles, and these numbers as doubles. Without the instruction named, gcc 12
   converts each half by itself. */
#define FNN_DOUBLE_LANES (FNN_VECTOR_BYTES / 8)
typedef REAL FN(narrow_vector)
    __attribute__((vector_size(FNN_DOUBLE_LANES * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef double FN(doubles_vector) __attribute__((vector_size(FNN_VECTOR_BYTES)));
FNN_INLINE FN(doubles_vector) FN(widen)(FN(narrow_vector) x) {
#if !FNN_DOUBLE && FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (FN(doubles_vector))_mm512_cvtps_pd((__m256)x);
#elif !FNN_DOUBLE && FNN_VECTOR_BYTES == 32 && defined(__FMA__)
  return (FN(doubles_vector))_mm256_cvtps_pd((__m128)x);
#else
  return __builtin_convertvector(x, FN(doubles_vector));
#endif
}

/* Transposes the square whose rows are the VL vectors of x. Each round exchanges blocks across the diagonal; they are
   half as large as in the round before. */
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (VI){__VA_ARGS__})
#endif
#define ROUND(half, upper, lower)                                                                                      \
  _Pragma("GCC unroll 16") for (int i = 0; i < VL; i++) if (!(i & (half))) {                                           \
    const V a = x[i], b = x[i + (half)];                                                                               \
    x[i] = SHUFFLE(a, b, upper);                                                                                       \
    x[i + (half)] = SHUFFLE(a, b, lower);                                                                              \
  }
#define LIST(...) __VA_ARGS__
/* clang-format off */
FNN_INLINE void FN(transpose_block)(V *x) {
#if FNN_LANES == 2
  ROUND(1, LIST(0, 2), LIST(1, 3))
#elif FNN_LANES == 4
  ROUND(2, LIST(0, 1, 4, 5), LIST(2, 3, 6, 7))
  ROUND(1, LIST(0, 4, 2, 6), LIST(1, 5, 3, 7))
#elif FNN_LANES == 8
  ROUND(4, LIST(0, 1, 2, 3, 8, 9, 10, 11), LIST(4, 5, 6, 7, 12, 13, 14, 15))
  ROUND(2, LIST(0, 1, 8, 9, 4, 5, 12, 13), LIST(2, 3, 10, 11, 6, 7, 14, 15))
  ROUND(1, LIST(0, 8, 2, 10, 4, 12, 6, 14), LIST(1, 9, 3, 11, 5, 13, 7, 15))
#elif FNN_LANES == 16
  ROUND(8, LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
        LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
  ROUND(4, LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
        LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
  ROUND(2, LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
        LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
  ROUND(1, LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
        LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#endif
}
/* clang-format on */

#if FNN_LANES == 16 && defined(__AVX512F__)
/* Transposes four squares of 4 x 4: one in each quarter of the four vectors. */
FNN_INLINE void FN(transpose_squares)(const V *x, V *to) {
  const __m512 a = _mm512_unpacklo_ps((__m512)x[0], (__m512)x[1]), b = _mm512_unpackhi_ps((__m512)x[0], (__m512)x[1]);
  const __m512 c = _mm512_unpacklo_ps((__m512)x[2], (__m512)x[3]), d = _mm512_unpackhi_ps((__m512)x[2], (__m512)x[3]);
  to[0] = (V)_mm512_shuffle_ps(a, c, 0x44);
  to[1] = (V)_mm512_shuffle_ps(a, c, 0xee);
  to[2] = (V)_mm512_shuffle_ps(b, d, 0x44);
  to[3] = (V)_mm512_shuffle_ps(b, d, 0xee);
}
#endif

/* x[j] = column j of VL rows that are `step` apart, for all j < n (n <= VL); n may be rounded up to 4 or to VL, so that
   further columns of these rows are read too. */
FNN_INLINE void FN(columns_of)(V *x, const REAL *rows, ptrdiff_t step, ptrdiff_t n) {
#if FNN_LANES == 16 && defined(__AVX512F__)
  /* Masked loads do half of the shuffles: only the squares of 4 x 4 are transposed in registers. */
#pragma GCC unroll 4
  for (ptrdiff_t q = 0; q < 4; q++)
    if (4 * q < n) {
      __m512 t[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        const float *p = rows + i * step + 4 * q;
        t[i] = _mm512_castps128_ps512(_mm_loadu_ps(p));
        t[i] = _mm512_mask_broadcast_f32x4(t[i], 0x00f0, _mm_loadu_ps(p + 4 * step));
        t[i] = _mm512_mask_broadcast_f32x4(t[i], 0x0f00, _mm_loadu_ps(p + 8 * step));
        t[i] = _mm512_mask_broadcast_f32x4(t[i], 0xf000, _mm_loadu_ps(p + 12 * step));
      }
      FN(transpose_squares)((V *)t, x + 4 * q);
    }
#else
  (void)n;
#pragma GCC unroll 16
  for (ptrdiff_t r = 0; r < VL; r++) x[r] = FN(load)(rows + r * step);
  FN(transpose_block)(x);
#endif
}

/* The other direction, for 4 columns: each of the VL rows gets its 4 elements, and then 0 up to a whole vector. */
#if FNN_LANES == 16 && defined(__AVX512F__)
#define HAS_ROWS_OF_FOUR 1
FNN_INLINE void FN(rows_of_four)(REAL *rows, ptrdiff_t step, const V *x) {
  V t[4];
  FN(transpose_squares)(x, t);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const __m512 y = (__m512)t[i];
    _mm512_storeu_ps(rows + i * step, _mm512_zextps128_ps512(_mm512_castps512_ps128(y)));
    _mm512_storeu_ps(rows + (4 + i) * step, _mm512_zextps128_ps512(_mm512_extractf32x4_ps(y, 1)));
    _mm512_storeu_ps(rows + (8 + i) * step, _mm512_zextps128_ps512(_mm512_extractf32x4_ps(y, 2)));
    _mm512_storeu_ps(rows + (12 + i) * step, _mm512_zextps128_ps512(_mm512_extractf32x4_ps(y, 3)));
  }
}
#else
#define HAS_ROWS_OF_FOUR 0
#endif
#undef SHUFFLE
#undef ROUND
#undef LIST
#undef X86
#undef COMPARE
#undef M512
#undef M256
#undef NEON_FMA
