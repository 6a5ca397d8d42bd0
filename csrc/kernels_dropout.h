/* Dropout: multiplies the outputs of a layer, and its slopes, by a random mask. fastnn/_philox.py says which bits a
   unit gets; each unit has its own, so that the mask does not depend on threads. kernels_bodies.h includes this file
   for each dtype. */

#define ROWS_AT_A_TIME 16 /* so many rows are activated, and are still in the cache when they are multiplied */

/* Multiplies n units of A, and their slopes S, which may be NULL. */
FNN_INLINE void FN(multiply_units)(REAL *A, REAL *S, const int32_t *kept, V scale, ptrdiff_t n) {
  for (ptrdiff_t u = 0; u < n; u += VL) {
    const V factor = FN(mask_factors)(kept + u, scale);
    FN(store)(A + u, FN(load)(A + u) * factor);
    if (S) FN(store)(S + u, FN(load)(S + u) * factor);
  }
}

/* All samples have their units one after the other, each sample begins at a multiple of COUNTERS, and so the blocks of
   units go over the ends of samples. j0 and j1 are multiples of VL, which divides COUNTERS. */
static void FN(drop)(const fnn_drop *d, const uint32_t c2_and_c3[2], const uint32_t key[2], ptrdiff_t i0, ptrdiff_t i1,
                     ptrdiff_t j0, ptrdiff_t j1) {
  const V scale = FN(set1)((REAL)fnn_kept_factor(d->dropped));
  const ptrdiff_t each = (d->n + COUNTERS - 1) / COUNTERS * COUNTERS, end = fnn_min(j1, (d->n + VL - 1) / VL * VL);
  const int joined = j0 == 0 && end == each && d->row_step == each; /* rows without gaps: some are done as one */
  int32_t kept[BLOCK_UNITS];
  philox_keys keys;
  make_keys(&keys, key);
  uint64_t block = UINT64_MAX; /* whose units are in `kept` */
  for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
    rows = fnn_min(ROWS_AT_A_TIME, i1 - i);
    if (d->activates) {
      const ptrdiff_t at = i * d->row_step + j0;
      FN(activation_and_slope)((REAL *)d->A + at, (REAL *)d->S + at, d->row_step, &d->g, rows, end - j0);
    }
    const ptrdiff_t length = joined ? rows * each : end - j0;
    for (ptrdiff_t r = i; r < i + rows; r += joined ? rows : 1)
      for (ptrdiff_t done = 0, n; done < length; done += n) {
        const uint64_t unit = (uint64_t)r * (uint64_t)each + (uint64_t)(j0 + done);
        const ptrdiff_t u = (ptrdiff_t)(unit % BLOCK_UNITS), at = r * d->row_step + j0 + done;
        n = fnn_min(BLOCK_UNITS - u, length - done);
        if (unit / BLOCK_UNITS != block)
          keep_units(kept, FN(mask_value)(scale), block = unit / BLOCK_UNITS, d->dropped, c2_and_c3, &keys);
        FN(multiply_units)((REAL *)d->A + at, d->S ? (REAL *)d->S + at : NULL, kept + u, scale, n);
      }
  }
}
