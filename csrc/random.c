/* The random numbers of Philox4x32-10, and the shuffle that uses them; fastnn/_philox.py is their readable definition.
   J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "fastnn.h"

enum {
  PERMUTATION = 1 /* the last word of the counter: numbers that are used for a permutation */
};

/* One of ten rounds on a counter. */
static inline void philox_round(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0, uint32_t k1) {
  const uint64_t p0 = (uint64_t)0xD2511F53u * *c0, p1 = (uint64_t)0xCD9E8D57u * *c2;
  *c0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0;
  *c1 = (uint32_t)p1;
  *c2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
  *c3 = (uint32_t)p0;
}

/* The keys of the next round. */
static inline void next_keys(uint32_t *k0, uint32_t *k1) {
  *k0 += 0x9E3779B9u;
  *k1 += 0xBB67AE85u;
}

void fnn_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    philox_round(&c0, &c1, &c2, &c3, k0, k1);
    next_keys(&k0, &k1);
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

enum {
  LANES = 32 /* counters at a time, in loops that the compiler turns into vectors */
};

/* fnn_philox for counters (first + i, 0, c2, c3), i = 0..LANES-1; word j of counter i is words[4 i + j]. */
static void philox_lanes(uint32_t *words, uint32_t first, uint32_t c2_of_all, uint32_t c3_of_all, const uint32_t *key) {
  uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES], k0 = key[0], k1 = key[1];
  for (int i = 0; i < LANES; i++) c0[i] = first + (uint32_t)i, c1[i] = 0, c2[i] = c2_of_all, c3[i] = c3_of_all;
  for (int round = 0; round < 10; round++) {
    for (int i = 0; i < LANES; i++) philox_round(&c0[i], &c1[i], &c2[i], &c3[i], k0, k1);
    next_keys(&k0, &k1);
  }
  for (int i = 0; i < LANES; i++)
    words[4 * i] = c0[i], words[4 * i + 1] = c1[i], words[4 * i + 2] = c2[i], words[4 * i + 3] = c3[i];
}

void fnn_permutation(uint32_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch) {
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  uint32_t words[4 * LANES];
  for (ptrdiff_t i = 0; i < m; i++) order[i] = (uint32_t)i;
  for (ptrdiff_t first = 0; first < m - 1; first += 4 * LANES) {
    philox_lanes(words, (uint32_t)(first / 4), (uint32_t)epoch, PERMUTATION, key);
    const ptrdiff_t end = first + 4 * LANES < m - 1 ? first + 4 * LANES : m - 1;
    for (ptrdiff_t i = first; i < end; i++) {
      const uint64_t bound = (uint64_t)(m - i);
      uint64_t product = words[i - first] * bound;
      /* D. Lemire, 2019: a number in 0..bound-1 without bias. It may have to be rejected if the low half is < bound. */
      if ((uint32_t)product < bound) {
        const uint64_t threshold = ((uint64_t)1 << 32) % bound;
        for (uint32_t attempt = 1; (uint32_t)product < threshold; attempt++) {
          const uint32_t counter[4] = {(uint32_t)(i / 4), attempt, (uint32_t)epoch, PERMUTATION};
          uint32_t again[4]; /* the next attempt's word for the same place */
          fnn_philox(again, counter, key);
          product = again[i % 4] * bound;
        }
      }
      const ptrdiff_t last = m - 1 - i, j = (ptrdiff_t)(product >> 32);
      const uint32_t swap = order[last];
      order[last] = order[j];
      order[j] = swap;
    }
  }
}
