/* Vectors for random numbers. A lane has 64 bits: a 32-bit word in its low half, and in its high half anything. So a
   product of two words has room. kernels_random.h includes this file, once per instruction set. */
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define WIDE_LANES (FNN_VECTOR_BYTES / 8)
typedef uint64_t wide __attribute__((vector_size(FNN_VECTOR_BYTES)));
typedef uint32_t narrow __attribute__((vector_size(FNN_VECTOR_BYTES), aligned(4), may_alias));

/* The product of the low halves. */
FNN_INLINE wide product_of_words(wide a, wide b) {
#if FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif FNN_VECTOR_BYTES == 32 && defined(__AVX2__)
  return (wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif FNN_VECTOR_BYTES == 16 && defined(__SSE2__)
  return (wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif FNN_VECTOR_BYTES == 16 && defined(__aarch64__)
  return (wide)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
  return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
#endif
}

/* The high halves in the place of the low ones. CPUs with AVX-512 may have one port for products and shifts, which
   shuffles leave free. */
FNN_INLINE wide high_words(wide a) {
#if FNN_VECTOR_BYTES == 64 && defined(__AVX512F__)
  return (wide)_mm512_shuffle_epi32((__m512i)a, _MM_PERM_CDAB);
#elif FNN_VECTOR_BYTES == 32 && defined(__AVX2__)
  return (wide)_mm256_shuffle_epi32((__m256i)a, 0xB1);
#else
  return a >> 32;
#endif
}

/* The low halves of both, in turns: even[0], odd[0], even[1], odd[1] ... */
FNN_INLINE narrow in_turns(wide even, wide odd) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  return (narrow)(even << 32 | (odd & 0xFFFFFFFF));
#else
  return (narrow)((even & 0xFFFFFFFF) | odd << 32);
#endif
}
