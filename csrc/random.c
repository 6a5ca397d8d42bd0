/* Philox4x32-10 and the shuffle that is drawn from it; fastnn/_philox.py is the readable definition.
   J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "fastnn.h"

enum {
  PERMUTATION = 1
};

void fnn_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)p1;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

void fnn_permutation(int64_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch) {
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  uint32_t words[4] = {0};
  for (ptrdiff_t i = 0; i < m; i++) order[i] = i;
  for (ptrdiff_t i = 0; i < m - 1; i++) {
    const uint64_t bound = (uint64_t)(m - i);
    uint32_t counter[4] = {(uint32_t)(i / 4), 0, (uint32_t)epoch, PERMUTATION};
    if (i % 4 == 0) fnn_philox(words, counter, key);
    uint64_t product = words[i % 4] * bound;
    /* D. Lemire, 2019: unbiased in 0..bound-1. Only a low half under the bound can be one to reject. */
    if ((uint32_t)product < bound) {
      const uint64_t threshold = ((uint64_t)1 << 32) % bound;
      while ((uint32_t)product < threshold) {
        uint32_t again[4];
        counter[1]++; /* the next attempt's word for the same place */
        fnn_philox(again, counter, key);
        product = again[i % 4] * bound;
      }
    }
    const ptrdiff_t last = m - 1 - i, j = (ptrdiff_t)(product >> 32);
    const int64_t swap = order[last];
    order[last] = order[j];
    order[j] = swap;
  }
}
