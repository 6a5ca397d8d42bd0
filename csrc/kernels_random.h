/* Random words, random places for a shuffle, and which units dropout keeps: many at a time. It is the same for both
   dtypes: kernels_isa.h includes this file once. */
#include "philox.h"
#include "simd_words.h"

#define COUNTERS 16                  /* of a block of words; a multiple of the lanes of `narrow` */
#define BLOCK_UNITS (8 * COUNTERS)   /* units of dropout that get their bits from a block: 16 bits for each */
#define TWO_VECTORS (2 * WIDE_LANES) /* counters that are computed at a time, half of them in each vector */
#define WORDS(words, j, i) ((words) + COUNTERS * (j) + (i)) /* word j of counter i of a block */

/* The keys of each round; in memory, whence an instruction can fill a vector with one as a part of its work. */
typedef struct {
  uint64_t of_round[FNN_PHILOX_ROUNDS][2];
} philox_keys;

static void make_keys(philox_keys *keys, const uint32_t key[2]) {
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < FNN_PHILOX_ROUNDS; round++) {
    keys->of_round[round][0] = k0, keys->of_round[round][1] = k1;
    fnn_philox_next_keys(&k0, &k1);
  }
}

/* All four words of fnn_philox for the counters (first + i, c2, c3), i < COUNTERS, where `first` has 64 bits. The
   counters differ in word 0 only, so half of the first two rounds is the same for all. */
FNN_INLINE void block_of_words(uint32_t *words, uint64_t first, const uint32_t c2_and_c3[2], const philox_keys *keys) {
  static const uint64_t twice_lane[] = {0, 2, 4, 6, 8, 10, 12, 14};
  wide even;
  memcpy(&even, twice_lane, sizeof even);
  const wide zero = {0}, factor_0 = zero + FNN_PHILOX_FACTOR_0, factor_2 = zero + FNN_PHILOX_FACTOR_2;
  const uint64_t of_c2 = (uint64_t)FNN_PHILOX_FACTOR_2 * c2_and_c3[0];
  const uint32_t c0 = (uint32_t)((of_c2 ^ first) >> 32) ^ (uint32_t)keys->of_round[0][0]; /* after a round */
  const uint64_t of_c0 = (uint64_t)FNN_PHILOX_FACTOR_0 * c0;
  for (int i = 0; i < COUNTERS; i += TWO_VECTORS) {
    wide c[2][4];
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; odd++) {
      const wide p0 = product_of_words(even + (first + (uint64_t)(i + odd)), factor_0);
      const wide p2 = product_of_words(high_words(p0) ^ (c2_and_c3[1] ^ keys->of_round[0][1]), factor_2);
      c[odd][0] = high_words(p2) ^ ((uint32_t)of_c2 ^ keys->of_round[1][0]), c[odd][1] = p2;
      c[odd][2] = p0 ^ ((of_c0 >> 32) ^ keys->of_round[1][1]), c[odd][3] = zero + of_c0;
    }
    for (int round = 2; round < FNN_PHILOX_ROUNDS; round++) {
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; odd++) {
        const wide p0 = product_of_words(c[odd][0], factor_0), p2 = product_of_words(c[odd][2], factor_2);
        c[odd][0] = high_words(p2) ^ c[odd][1] ^ (zero + keys->of_round[round][0]), c[odd][1] = p2;
        c[odd][2] = high_words(p0) ^ c[odd][3] ^ (zero + keys->of_round[round][1]), c[odd][3] = p0;
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) *(narrow *)WORDS(words, j, i) = in_turns(c[0][j], c[1][j]);
  }
}

static int draw(uint32_t *places, uint32_t *words, uint32_t first, uint32_t bound, const uint32_t c2_and_c3[2],
                const uint32_t key[2]) {
  uint32_t rejected = 0, block[4 * COUNTERS];
  philox_keys keys;
  make_keys(&keys, key);
  for (uint32_t done = 0; done < FNN_DRAWS / 4; done += COUNTERS) {
    block_of_words(block, first + done, c2_and_c3, &keys);
    for (uint32_t i = 0; i < COUNTERS; i++)
      for (uint32_t j = 0; j < 4; j++) words[4 * (done + i) + j] = *WORDS(block, j, i);
  }
  for (uint32_t i = 0; i < FNN_DRAWS; i++) {
    const uint64_t product = (uint64_t)words[i] * (bound - i);
    places[i] = (uint32_t)(product >> 32);
    rejected |= ((uint32_t)product < bound) & (i < bound); /* beyond `bound` there is no place to draw */
  }
  return rejected != 0;
}

/* Which of the units of block `number` are kept: `value`, or 0. Unit u of the block has bits of counter u % COUNTERS: a
   half of word u / COUNTERS % 4, for the first half of the units the low one. */
static void keep_units(int32_t *kept, int32_t value, uint64_t number, uint32_t dropped, const uint32_t c2_and_c3[2],
                       const philox_keys *keys) {
  uint32_t words[4 * COUNTERS];
  block_of_words(words, COUNTERS * number, c2_and_c3, keys);
  for (int i = 0; i < 4 * COUNTERS; i++) kept[i] = (int32_t)(words[i] & 0xFFFF) >= (int32_t)dropped ? value : 0;
  for (int i = 0; i < 4 * COUNTERS; i++)
    kept[4 * COUNTERS + i] = (int32_t)(words[i] >> 16) >= (int32_t)dropped ? value : 0;
}
