/* The random numbers of Philox4x32-10, and the shuffle that uses them; fastnn/_philox.py is their readable
   definition. */
#include "random.h"

#include "philox.h"

void fnn_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < FNN_PHILOX_ROUNDS; round++) {
    fnn_philox_round(&c0, &c1, &c2, &c3, k0, k1);
    fnn_philox_next_keys(&k0, &k1);
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* A number in 0..bound-1 without bias, from word i; if that is rejected, from the same word of the next attempt.
   D. Lemire, 2019: it may have to be rejected if the low half of the product is < bound. */
static uint32_t place(uint32_t word, ptrdiff_t i, uint64_t bound, uint32_t epoch, const uint32_t key[2]) {
  uint64_t product = word * bound;
  if ((uint32_t)product < bound) {
    const uint64_t threshold = ((uint64_t)1 << 32) % bound;
    for (uint32_t attempt = 1; (uint32_t)product < threshold; attempt++) {
      const uint32_t counter[4] = {(uint32_t)(i / 4), attempt, epoch, FNN_PERMUTATION};
      uint32_t again[4];
      fnn_philox(again, counter, key);
      product = again[i % 4] * bound;
    }
  }
  return (uint32_t)(product >> 32);
}

void fnn_draw_order(const fnn_kernels *K, uint32_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch) {
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, c2_and_c3[2] = {(uint32_t)epoch, FNN_PERMUTATION};
  uint32_t words[FNN_DRAWS], places[FNN_DRAWS];
  for (ptrdiff_t i = 0; i < m; i++) order[i] = (uint32_t)i;
  for (ptrdiff_t first = 0; first < m - 1; first += FNN_DRAWS) {
    const ptrdiff_t count = fnn_min(m - 1 - first, FNN_DRAWS);
    if (K->draw(places, words, (uint32_t)(first / 4), (uint32_t)(m - first), c2_and_c3, key))
      for (ptrdiff_t i = 0; i < count; i++)
        places[i] = place(words[i], first + i, (uint64_t)(m - first - i), (uint32_t)epoch, key);
    uint32_t *last = order + m - 1 - first;
    for (ptrdiff_t i = 0; i < count; i++) {
      const uint32_t swap = last[-i];
      last[-i] = order[places[i]];
      order[places[i]] = swap;
    }
  }
}

void fnn_permutation(uint32_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch) {
  fnn_draw_order(fnn_isas[fnn_isa_best()].kernels[FNN_FLOAT32], order, m, seed, epoch);
}
