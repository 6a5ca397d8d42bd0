/* Random words and random places for a shuffle, many at a time. It is the same for both dtypes: kernels_isa.h includes
   this file once. The loops are plain C, which the compiler turns into vectors (with -O3). */
#include "philox.h"

#define COUNTERS (FNN_DRAWS / 4) /* each gives four words */

/* words[4 i + j] = word j of fnn_philox for the counter (c0[i], c1[i], c2, c3). */
static inline void philox_of_counters(uint32_t *words, const uint32_t *first, const uint32_t *second,
                                      const uint32_t c2_and_c3[2], const uint32_t key[2]) {
  uint32_t c0[COUNTERS], c1[COUNTERS], c2[COUNTERS], c3[COUNTERS], k0 = key[0], k1 = key[1];
  for (int i = 0; i < COUNTERS; i++) c0[i] = first[i], c1[i] = second[i], c2[i] = c2_and_c3[0], c3[i] = c2_and_c3[1];
  for (int round = 0; round < FNN_PHILOX_ROUNDS; round++) {
    for (int i = 0; i < COUNTERS; i++) fnn_philox_round(&c0[i], &c1[i], &c2[i], &c3[i], k0, k1);
    fnn_philox_next_keys(&k0, &k1);
  }
  for (int i = 0; i < COUNTERS; i++)
    words[4 * i] = c0[i], words[4 * i + 1] = c1[i], words[4 * i + 2] = c2[i], words[4 * i + 3] = c3[i];
}

static int draw(uint32_t *places, uint32_t *words, uint32_t first, uint32_t bound, const uint32_t c2_and_c3[2],
                const uint32_t key[2]) {
  uint32_t rejected = 0, c0[COUNTERS], c1[COUNTERS];
  for (int i = 0; i < COUNTERS; i++) c0[i] = first + (uint32_t)i, c1[i] = 0;
  philox_of_counters(words, c0, c1, c2_and_c3, key);
  for (uint32_t i = 0; i < FNN_DRAWS; i++) {
    const uint64_t product = (uint64_t)words[i] * (bound - i);
    places[i] = (uint32_t)(product >> 32);
    rejected |= ((uint32_t)product < bound) & (i < bound); /* beyond `bound` there is no place to draw */
  }
  return rejected != 0;
}
