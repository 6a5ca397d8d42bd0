/* Dropout: multiplies the outputs of a layer, and its slopes, by a random mask. fastnn/_philox.py says which bits a
   unit gets; each unit has its own, so that the mask does not depend on threads. kernels_bodies.h includes this file
   for each dtype. */
#define UNITS_OF_COUNTER 8 /* 16 bits for each */

/* The factors of the units that COUNTERS counters (c0, c1) belong to: 0, or `scale`. */
FNN_INLINE void FN(mask_factors)(REAL *factors, uint32_t *c0, uint32_t *c1, const uint32_t c2_and_c3[2],
                                 const uint32_t key[2], uint32_t dropped, REAL scale) {
  uint32_t words[4 * COUNTERS], bits[UNITS_OF_COUNTER * COUNTERS];
  philox_of_counters(words, c0, c1, c2_and_c3, key);
  for (int i = 0; i < 4 * COUNTERS; i++) bits[2 * i] = words[i] & 0xFFFF, bits[2 * i + 1] = words[i] >> 16;
  for (int i = 0; i < UNITS_OF_COUNTER * COUNTERS; i++) factors[i] = bits[i] >= dropped ? scale : 0;
}

/* Units 8 j.. of sample i, as far as they are within j0..j1. */
FNN_INLINE void FN(multiply_units)(REAL *row, const REAL *factors, ptrdiff_t j, ptrdiff_t j0, ptrdiff_t j1) {
  if (j >= j0 && j + UNITS_OF_COUNTER <= j1)
    for (ptrdiff_t u = 0; u < UNITS_OF_COUNTER; u++) row[j + u] *= factors[u];
  else
    for (ptrdiff_t u = 0; u < UNITS_OF_COUNTER; u++)
      if (j + u >= j0 && j + u < j1) row[j + u] *= factors[u];
}

static void FN(drop)(const fnn_drop *d, const uint32_t c2_and_c3[2], const uint32_t key[2], ptrdiff_t i0, ptrdiff_t i1,
                     ptrdiff_t j0, ptrdiff_t j1) {
  const REAL scale = (REAL)(FNN_DROPS / (double)(FNN_DROPS - d->dropped));
  const ptrdiff_t end = fnn_min(j1, d->n), first = j0 / UNITS_OF_COUNTER;
  const ptrdiff_t each = (end + UNITS_OF_COUNTER - 1) / UNITS_OF_COUNTER - first, all = (i1 - i0) * each;
  uint32_t c0[COUNTERS], c1[COUNTERS];
  REAL factors[UNITS_OF_COUNTER * COUNTERS];
  ptrdiff_t i = i0, j = first;
  for (ptrdiff_t done = 0; done < all; done += COUNTERS) {
    const ptrdiff_t count = fnn_min(all - done, COUNTERS);
    for (int c = 0; c < COUNTERS; c++) {
      c0[c] = (uint32_t)j, c1[c] = (uint32_t)i;
      if (++j == first + each) j = first, i++;
    }
    FN(mask_factors)(factors, c0, c1, c2_and_c3, key, d->dropped, scale);
    for (ptrdiff_t c = 0; c < count; c++) {
      const ptrdiff_t at = (ptrdiff_t)c1[c] * d->row_step, unit = UNITS_OF_COUNTER * (ptrdiff_t)c0[c];
      FN(multiply_units)((REAL *)d->A + at, factors + UNITS_OF_COUNTER * c, unit, j0, end);
      if (d->S) FN(multiply_units)((REAL *)d->S + at, factors + UNITS_OF_COUNTER * c, unit, j0, end);
    }
  }
}
