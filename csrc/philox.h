/* The rounds of Philox4x32-10. J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#ifndef FNN_PHILOX_H
#define FNN_PHILOX_H
#include <stdint.h>

#define FNN_PHILOX_ROUNDS 10
#define FNN_PHILOX_FACTOR_0 0xD2511F53u /* of word 0 of the counter */
#define FNN_PHILOX_FACTOR_2 0xCD9E8D57u /* of word 2 */

/* One round on a counter. */
static inline void fnn_philox_round(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0, uint32_t k1) {
  const uint64_t p0 = (uint64_t)FNN_PHILOX_FACTOR_0 * *c0, p1 = (uint64_t)FNN_PHILOX_FACTOR_2 * *c2;
  *c0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0;
  *c1 = (uint32_t)p1;
  *c2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
  *c3 = (uint32_t)p0;
}

/* The keys of the next round. */
static inline void fnn_philox_next_keys(uint32_t *k0, uint32_t *k1) {
  *k0 += 0x9E3779B9u;
  *k1 += 0xBB67AE85u;
}
#endif
