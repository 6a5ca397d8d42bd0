/* Two checks of numbers: are all within bounds, and how large is the largest |x|. kernels_bodies.h includes this file
   for each dtype. */

/* Whether all n elements are finite and within 0..high. */
static int FN(within)(const void *x, ptrdiff_t n, double high) {
  const REAL *p = x;
  const V top = FN(set1)((REAL)high);
  VI good = ~(VI){0};
  ptrdiff_t i = 0;
  for (; i + VL <= n; i += VL) {
    const V y = FN(load)(p + i);
    good &= (y >= 0) & (y <= top) & (y - y == 0);
  }
  int all = 1;
  for (; i < n; i++) all &= p[i] >= 0 && p[i] <= (REAL)high && p[i] - p[i] == 0;
  for (int l = 0; l < VL; l++) all &= good[l] != 0;
  return all;
}

/* The largest |x|. It compares the bits of |x| as integers, which have the order of the numbers: infinity is above all
   finite numbers, and NaNs are above infinity. */
static double FN(magnitude)(const void *x, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n) {
  VI most[4] = {{0}};
  INT rest = 0;
  if (ld == n) n *= rows, rows = 1;
  for (ptrdiff_t r = 0; r < rows; r++) {
    const REAL *p = (const REAL *)x + r * ld;
    ptrdiff_t j = 0;
    for (; j + 4 * VL <= n; j += 4 * VL)
      for (int v = 0; v < 4; v++) {
        const VI bits = (VI)FN(load)(p + j + v * VL) & ~SIGN;
        most[v] = (VI)FN(select)(bits > most[v], (V)bits, (V)most[v]);
      }
    for (; n >= VL && j < n; j += VL) { /* the last vector overlaps the one before it */
      const VI bits = (VI)FN(load)(p + fnn_min(j, n - VL)) & ~SIGN;
      most[0] = (VI)FN(select)(bits > most[0], (V)bits, (V)most[0]);
    }
    for (; j < n; j++) {
      INT bits;
      memcpy(&bits, p + j, sizeof bits);
      rest = (bits & ~SIGN) > rest ? bits & ~SIGN : rest;
    }
  }
  for (int v = 0; v < 4; v++)
    for (int l = 0; l < VL; l++) rest = most[v][l] > rest ? most[v][l] : rest;
  REAL largest;
  memcpy(&largest, &rest, sizeof largest);
  return largest - largest == 0 ? (double)largest : (double)INFINITY;
}
