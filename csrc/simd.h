/* The SIMD vocabulary: one vector type for the REAL in force, and the few operations that the kernels are written in.
   Included once per dtype by kernels_impl.h, which sets REAL, INT, FNN_DOUBLE and FN(); the ISA's file sets
   FNN_VECTOR_BYTES. Arithmetic, comparisons and bit operations are the compiler's own on vector types; what it has no
   operator for is here. Everything is static: a shared copy could be one compiled for a CPU that is not there. */
#if defined(__FMA__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define V FN(vector)
#define VI FN(integers)
#define VL ((ptrdiff_t)(FNN_VECTOR_BYTES / sizeof(REAL)))
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
#define M512 __m512d
#define M256 __m256d
#define NEON_FMA(a, b, c) vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b))
#else
#define X86(operation) operation##_ps
#define M512 __m512
#define M256 __m256
#define NEON_FMA(a, b, c) vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b))
#endif

/* a b + c, with one rounding where the ISA has it. The compiler may not contract by itself (-ffp-contract=off): which
   products it picks need not be the same in every kernel, and then neither are the bits. */
FNN_INLINE V FN(fma)(V a, V b, V c) {
#if FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (V)X86(_mm512_fmadd)((M512)a, (M512)b, (M512)c);
#elif FNN_VECTOR_BYTES == 64 && defined(__FMA__)
  /* AVX-512's tiles in AVX2's registers: how they are tested on a CPU without AVX-512. */
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
#undef X86
#undef M512
#undef M256
#undef NEON_FMA
