/* Dropout: multiplies the outputs of a layer, and its slopes, by a random mask. fastnn/_philox.py says which bits a
   unit gets; each unit has its own, so that the mask does not depend on threads. kernels_bodies.h includes this file
   for each dtype. */

FNN_INLINE void FN(multiply_units)(REAL *row, const int32_t *kept, V scale, ptrdiff_t n) {
  for (ptrdiff_t u = 0; u < n; u += VL) FN(store)(row + u, FN(load)(row + u) * FN(mask_factors)(kept + u, scale));
}

/* All samples have their units one after the other, each sample begins at a multiple of COUNTERS, and so the blocks of
   units go over the ends of samples. j0 and j1 are multiples of VL, which divides COUNTERS. */
static void FN(drop)(const fnn_drop *d, const uint32_t c2_and_c3[2], const uint32_t key[2], ptrdiff_t i0, ptrdiff_t i1,
                     ptrdiff_t j0, ptrdiff_t j1) {
  const V scale = FN(set1)((REAL)(FNN_DROPS / (double)(FNN_DROPS - d->dropped)));
  const ptrdiff_t each = (d->n + COUNTERS - 1) / COUNTERS * COUNTERS, end = fnn_min(j1, (d->n + VL - 1) / VL * VL);
  int32_t kept[BLOCK_UNITS];
  philox_keys keys;
  make_keys(&keys, key);
  uint64_t block = UINT64_MAX; /* whose units are in `kept` */
  for (ptrdiff_t i = i0; i < i1; i++)
    for (ptrdiff_t j = j0; j < end;) {
      const uint64_t unit = (uint64_t)i * (uint64_t)each + (uint64_t)j;
      const ptrdiff_t u = (ptrdiff_t)(unit % BLOCK_UNITS), n = fnn_min(BLOCK_UNITS - u, end - j);
      if (unit / BLOCK_UNITS != block) keep_units(kept, block = unit / BLOCK_UNITS, d->dropped, c2_and_c3, &keys);
      const ptrdiff_t at = i * d->row_step + j;
      REAL *A = (REAL *)d->A + at, *S = d->S ? (REAL *)d->S + at : NULL;
      if (d->activates)
        FN(activate_and_multiply)(A, S, &d->g, kept + u, scale, n);
      else {
        FN(multiply_units)(A, kept + u, scale, n);
        if (S) FN(multiply_units)(S, kept + u, scale, n);
      }
      j += n;
    }
}
