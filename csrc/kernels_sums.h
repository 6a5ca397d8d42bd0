/* Two kinds of sums: rowsum adds the rows of a buffer (samples); sums_along adds the elements within each row.
   Both add short runs of terms in turn and then the sums of runs in pairs, so that rounding errors stay small.
   kernels_bodies.h includes this file for each dtype. */
#define STRIP 32      /* rowsum reads at most so many vectors of a row at a time: long reads suit the memory */
#define MOST_PAIRS 48 /* the most entries of a stack of pairs: one for each bit of the number of runs */
#define SUM_RUN 16    /* rowsum adds so many rows in turn: this is a run; sums of runs are added in pairs */
#define PAIRS_ROOM (12288 / FNN_VECTOR_BYTES) /* vectors of a stack of pairs in local memory, which may be small */

/* sum = the sum of up to SUM_RUN rows, added in their order. With 4 vectors the sums stay in registers; else four rows
   are read in one pass over `sum`. */
FNN_INLINE void FN(sum_run)(V *sum, const REAL *p, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t vectors) {
  ptrdiff_t r = 0;
  if (vectors == 4) {
    V four[4] = {{0}};
    for (; r < rows; r++, p += ld)
      for (int v = 0; v < 4; v++) four[v] += FN(load)(p + v * VL);
    for (int v = 0; v < 4; v++) sum[v] = four[v];
    return;
  }
  for (ptrdiff_t v = 0; v < vectors; v++) sum[v] = (V){0};
  for (; r + 4 <= rows; r += 4, p += 4 * ld)
    for (ptrdiff_t v = 0; v < vectors; v++) {
      const REAL *q = p + v * VL;
      if (v % (64 / FNN_VECTOR_BYTES) == 0)
        for (ptrdiff_t i = 4; i < 8; i++) __builtin_prefetch(q + i * ld);
      sum[v] = sum[v] + FN(load)(q) + FN(load)(q + ld) + FN(load)(q + 2 * ld) + FN(load)(q + 3 * ld);
    }
  for (; r < rows; r++, p += ld)
    for (ptrdiff_t v = 0; v < vectors; v++) sum[v] += FN(load)(p + v * VL);
}

/* Puts the sum of run number `run` on the stack `pairs`. Before that it adds the entries that are its partners, as a
   binary counter carries: there is one entry (of `vectors` vectors) for each bit that is set in the number of runs.
   Returns the new depth of the stack. */
FNN_INLINE int FN(push_run)(V *pairs, int depth, V *sum, ptrdiff_t vectors, ptrdiff_t run) {
  for (ptrdiff_t merged = run; merged & 1; merged >>= 1) {
    depth--;
    for (ptrdiff_t v = 0; v < vectors; v++) sum[v] += pairs[depth * vectors + v];
  }
  for (ptrdiff_t v = 0; v < vectors; v++) pairs[depth * vectors + v] = sum[v];
  return depth + 1;
}

/* The sums over all rows of `vectors` vectors of columns (at most STRIP; a compile-time constant where it is small).
   Runs of rows are added in pairs (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 4.2):
   the error grows with the logarithm of the number of rows. A plain float32 sum of a data set would lose digits. */
FNN_INLINE void FN(sum_of_rows)(ptrdiff_t vectors, REAL *sums, const REAL *dZ, ptrdiff_t ld, ptrdiff_t rows,
                                double scale, V *pairs) {
  V sum[STRIP];
  int depth = 0;
  ptrdiff_t row = 0, run = 0;
  if (vectors == 1) /* four runs at once: the additions of a single run would wait for one another */
    for (; row + 4 * SUM_RUN <= rows; row += 4 * SUM_RUN) {
      V four[4] = {{0}};
      for (ptrdiff_t r = 0; r < SUM_RUN; r++)
        for (int i = 0; i < 4; i++) four[i] += FN(load)(dZ + (row + i * SUM_RUN + r) * ld);
      for (int i = 0; i < 4; i++) depth = FN(push_run)(pairs, depth, four + i, 1, run++);
    }
  for (; row < rows; row += SUM_RUN, run++) {
    FN(sum_run)(sum, dZ + row * ld, ld, fnn_min(SUM_RUN, rows - row), vectors);
    depth = FN(push_run)(pairs, depth, sum, vectors, run);
  }
  for (ptrdiff_t v = 0; v < vectors; v++) {
    V total = {0};
    for (int level = depth; level--;) total += pairs[level * vectors + v];
    FN(store)(sums + v * VL, total * (REAL)scale);
  }
}

/* The most entries that the stack of pairs can have for so many rows. */
FNN_INLINE ptrdiff_t FN(waiting)(ptrdiff_t rows) {
  ptrdiff_t bits = 1;
  while (bits < MOST_PAIRS && (ptrdiff_t)SUM_RUN << bits <= rows) bits++;
  return bits;
}

static ptrdiff_t FN(rowsum_room)(ptrdiff_t rows, ptrdiff_t n) {
  const ptrdiff_t vectors = fnn_min(STRIP, fnn_round_up(n, VL) / VL) * FN(waiting)(rows);
  return vectors <= PAIRS_ROOM ? 0 : vectors * (ptrdiff_t)sizeof(V);
}

static void FN(rowsum)(void *sums, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n, double scale,
                       void *room) {
  V few[PAIRS_ROOM], *pairs = room ? room : few;
  const ptrdiff_t strip = room ? STRIP : fnn_min(STRIP, PAIRS_ROOM / FN(waiting)(rows));
  for (ptrdiff_t j = 0, vectors; j < n; j += vectors * VL) {
    REAL *out = (REAL *)sums + j;
    const REAL *in = (const REAL *)dZ + j;
    vectors = fnn_min((fnn_round_up(n, VL) - j) / VL, strip);
    switch (vectors) {
    case 1: FN(sum_of_rows)(1, out, in, ld, rows, scale, pairs); break;
    case 2: FN(sum_of_rows)(2, out, in, ld, rows, scale, pairs); break;
    case 3: FN(sum_of_rows)(3, out, in, ld, rows, scale, pairs); break;
    case 4: FN(sum_of_rows)(4, out, in, ld, rows, scale, pairs); break;
    default: FN(sum_of_rows)(vectors, out, in, ld, rows, scale, pairs);
    }
  }
}

/* The sum of the elements of each row: 4 VL partial sums, made of runs that are added in pairs as above; then these
   partial sums are added. */
static void FN(sums_along)(void *out, ptrdiff_t step, const void *dZ, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n,
                           double scale) {
  const REAL *p = dZ;
  for (ptrdiff_t row = 0; row < rows; row++, p += ld) {
    V pairs[MOST_PAIRS * 4], total[4] = {{0}};
    int depth = 0;
    ptrdiff_t j = 0;
    for (ptrdiff_t run = 0; j + 4 * VL <= n; run++) {
      const ptrdiff_t end = fnn_min(j + SUM_RUN * 4 * VL, n);
      V sum[4] = {{0}};
      for (; j + 4 * VL <= end; j += 4 * VL)
        for (int v = 0; v < 4; v++) sum[v] += FN(load)(p + j + v * VL);
      if (run == 0 && j + 4 * VL > n) { /* the only run */
        for (int v = 0; v < 4; v++) total[v] = sum[v];
        break;
      }
      depth = FN(push_run)(pairs, depth, sum, 4, run);
    }
    for (; depth; depth--)
      for (int v = 0; v < 4; v++) total[v] += pairs[(depth - 1) * 4 + v];
    for (; j + VL <= n; j += VL) total[0] += FN(load)(p + j);
    REAL lanes[VL];
    FN(store)(lanes, (total[0] + total[1]) + (total[2] + total[3]));
    for (; j < n; j++) lanes[j % VL] += p[j];
    for (ptrdiff_t half = VL / 2; half; half /= 2)
      for (ptrdiff_t i = 0; i < half; i++) lanes[i] += lanes[i + half];
    ((REAL *)out)[row * step] = lanes[0] * (REAL)scale;
  }
}
