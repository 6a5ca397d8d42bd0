/* Moving numbers between matrices of any strides, rows of buffers, panels of weights and columns in registers. Included
   by kernels_bodies.h for each dtype. */
#define NR (2 * VL) /* columns of a panel: a tile is FNN_MR rows of two vectors */

static ptrdiff_t FN(panel_width)(ptrdiff_t n, ptrdiff_t panel) { return fnn_min(fnn_round_up(n, VL) - panel * NR, NR); }

/* Copies rows of samples to `out`. One text for all dtypes of the source, which is FROM; READ(x, j) is what becomes of
   its number x of unit j. */
#define GATHER_ROWS(FROM, READ)                                                                                        \
  for (ptrdiff_t r = 0; r < rows; r++, out += ld) {                                                                    \
    const FROM *in = (const FROM *)from->data + (order ? (ptrdiff_t)order[first + r] : first + r) * from->column_step; \
    if (from->row_step == 1)                                                                                           \
      for (ptrdiff_t j = 0; j < n; j++) out[j] = READ(in[j], j);                                                       \
    else                                                                                                               \
      for (ptrdiff_t j = 0; j < n; j++) out[j] = READ(in[j * from->row_step], j);                                      \
    for (ptrdiff_t j = n; j < fnn_round_up(n, VL); j++) out[j] = 0;                                                    \
  }
#define GATHER(READ)                                                                                                   \
  switch (from->dtype) {                                                                                               \
  case FNN_FLOAT64: GATHER_ROWS(double, READ) break;                                                                   \
  case FNN_UINT8: GATHER_ROWS(uint8_t, READ) break;                                                                    \
  default: GATHER_ROWS(float, READ)                                                                                    \
  }

/* to[r][c] = from[c][r] for r < rows, c < columns. If `pad`, the rows of `to` are whole vectors, and are filled up with
   0. Else the rows of `from` are whole vectors, and are read to their end. */
FNN_INLINE void FN(copy_transposed)(REAL *to, ptrdiff_t to_step, const REAL *from, ptrdiff_t from_step, ptrdiff_t rows,
                                    ptrdiff_t columns, const int pad) {
  for (ptrdiff_t c = 0; c < columns; c += VL) {
    const ptrdiff_t wide = fnn_min(VL, columns - c);
    ptrdiff_t r = 0;
    for (; (pad ? r + VL <= rows : wide == VL && r < rows); r += VL) {
      V block[VL];
      if (wide == VL) {
#pragma GCC unroll 16
        for (ptrdiff_t i = 0; i < VL; i++) block[i] = FN(load)(from + (c + i) * from_step + r);
      } else {
        for (ptrdiff_t i = 0; i < VL; i++) block[i] = i < wide ? FN(load)(from + (c + i) * from_step + r) : (V){0};
      }
      FN(transpose_block)(block);
      if (r + VL <= rows) {
#pragma GCC unroll 16
        for (ptrdiff_t i = 0; i < VL; i++) FN(store)(to + (r + i) * to_step + c, block[i]);
      } else {
        for (ptrdiff_t i = 0; i < rows - r; i++) FN(store)(to + (r + i) * to_step + c, block[i]);
      }
    }
    for (; r < rows; r++)
      for (ptrdiff_t i = 0; i < (pad ? VL : wide); i++)
        to[r * to_step + c + i] = i < wide ? from[(c + i) * from_step + r] : 0;
  }
}

/* With `pad`; one function for all that need it. */
static __attribute__((noinline)) void FN(copy_padded)(REAL *to, ptrdiff_t to_step, const REAL *from,
                                                      ptrdiff_t from_step, ptrdiff_t rows, ptrdiff_t columns) {
  FN(copy_transposed)(to, to_step, from, from_step, rows, columns, 1);
}

/* For rows of n elements without gaps that are read or written by whole vectors: a row's last vector reaches into the
   rows that follow. Returns how many rows, from the first on, have enough rows after them for that. */
FNN_INLINE ptrdiff_t FN(rows_before_end)(ptrdiff_t rows, ptrdiff_t n) {
  const ptrdiff_t beyond = (fnn_round_up(n, VL) + n - 1) / n - 1;
  return rows > beyond ? rows - beyond : 0;
}

static void FN(gather)(void *to, ptrdiff_t ld, const fnn_matrix *from, const uint32_t *order, ptrdiff_t first,
                       ptrdiff_t rows, ptrdiff_t n) {
  REAL *out = to;
  if (from->dtype == FNN_DOUBLE && !order) {
    const REAL *in = (const REAL *)from->data + first * from->column_step;
    if (from->column_step == 1 && from->row_step != 1) {
      FN(copy_padded)(out, ld, in, from->row_step, rows, n);
      return;
    }
    if (from->row_step == 1 && from->column_step == n && n) {
      const ptrdiff_t most = FN(rows_before_end)(rows, n);
      for (ptrdiff_t r = 0; r < most; r++, in += n, out += ld)
        for (ptrdiff_t v = 0; v < n; v += VL)
          FN(store)(out + v, FN(select)(FN(inside)(v, n), FN(load)(in + v), (V){0}));
      first += most, rows -= most;
    }
  }
#define AS_IT_IS(x, j) (REAL)(x)
  GATHER(AS_IT_IS)
#undef AS_IT_IS
}

/* In double: a mean may be so much larger than the spread that REAL could not hold the difference. */
static void FN(standardise)(void *to, ptrdiff_t ld, const fnn_matrix *from, const uint32_t *order, ptrdiff_t first,
                            ptrdiff_t rows, ptrdiff_t n, const fnn_standard *s) {
  REAL *out = to;
  const double *mean = s->mean, *inverse = s->inverse;
#define CENTRED(x, j) (REAL)(((double)(x) - mean[j]) * inverse[j])
  GATHER(CENTRED)
#undef CENTRED
}
#undef GATHER
#undef GATHER_ROWS

static void FN(to_units)(void *A, ptrdiff_t ld, ptrdiff_t rows, ptrdiff_t n, const double *scale, const double *shift) {
  REAL *a = A;
  for (ptrdiff_t r = 0; r < rows; r++, a += ld)
    for (ptrdiff_t j = 0; j < n; j++) a[j] = (REAL)((double)a[j] * scale[j] + shift[j]);
}

static void FN(scatter)(const fnn_matrix *to, ptrdiff_t first, const void *from, ptrdiff_t ld, ptrdiff_t rows,
                        ptrdiff_t n) {
  const REAL *in = from;
  if (to->column_step == 1 && to->row_step != 1) {
    FN(copy_transposed)((REAL *)to->data + first, to->row_step, in, ld, n, rows, 0);
    return;
  }
  if (to->row_step == 1 && to->column_step == n && n) {
    const ptrdiff_t most = FN(rows_before_end)(rows, n);
    REAL *out = (REAL *)to->data + first * n;
    for (ptrdiff_t r = 0; r < most; r++, in += ld, out += n)
      for (ptrdiff_t v = 0; v < n; v += VL) FN(store)(out + v, FN(load)(in + v));
    first += most, rows -= most;
  }
  for (ptrdiff_t r = 0; r < rows; r++, in += ld) {
    REAL *out = (REAL *)to->data + (first + r) * to->column_step;
    if (to->row_step == 1)
      memcpy(out, in, (size_t)n * sizeof(REAL));
    else
      for (ptrdiff_t j = 0; j < n; j++) out[j * to->row_step] = in[j];
  }
}

static void FN(pack)(void *panels, const fnn_matrix *from, ptrdiff_t k, ptrdiff_t n) {
  REAL *to = panels;
  ptrdiff_t first = 0, panel = 0;
  if (from->column_step == 1 && from->row_step != 1) { /* row after row, each into all panels of full width */
    panel = n / NR, first = panel * NR;
    for (ptrdiff_t r = 0; r < k; r++)
      for (ptrdiff_t j = 0; j < first; j += VL)
        FN(store)(to + j / NR * NR * k + r * NR + j % NR, FN(load)((const REAL *)from->data + r * from->row_step + j));
    to += first * k;
  }
  for (; first < n; first += NR, panel++) {
    const ptrdiff_t width = FN(panel_width)(n, panel), columns = fnn_min(n - first, width);
    const REAL *in = (const REAL *)from->data + first * from->column_step;
    if (from->row_step == 1) {
      FN(copy_padded)(to, width, in, from->column_step, k, columns);
    } else {
      ptrdiff_t r = 0;
      if (from->column_step == 1 && from->row_step > 0) { /* by whole vectors, as long as other rows follow */
        const ptrdiff_t beyond = (width - columns + from->row_step - 1) / from->row_step;
        for (; r < k - beyond; r++)
          for (ptrdiff_t v = 0; v < width; v += VL)
            FN(store)(to + r * width + v,
                      FN(select)(FN(inside)(v, columns), FN(load)(in + r * from->row_step + v), (V){0}));
      }
      for (; r < k; r++)
        for (ptrdiff_t j = 0; j < width; j++)
          to[r * width + j] = j < columns ? in[r * from->row_step + j * from->column_step] : 0;
    }
    to += k * width;
  }
}

static void FN(unpack)(const fnn_matrix *to, const void *panels, ptrdiff_t k, ptrdiff_t n) {
  const REAL *in = panels;
  for (ptrdiff_t first = 0, panel = 0; first < n; first += NR, panel++) {
    const ptrdiff_t width = FN(panel_width)(n, panel), columns = fnn_min(n - first, width);
    REAL *out = (REAL *)to->data + first * to->column_step;
    for (ptrdiff_t j = 0; j < columns; j++)
      for (ptrdiff_t r = 0; r < k; r++) out[r * to->row_step + j * to->column_step] = in[r * width + j];
    in += k * width;
  }
}

/* Transposes a square of VL x VL numbers. */
FNN_INLINE void FN(turn_block)(REAL *to, ptrdiff_t to_step, const REAL *from, ptrdiff_t step) {
  V block[VL];
#pragma GCC unroll 16
  for (int r = 0; r < VL; r++) block[r] = FN(load)(from + r * step);
  FN(transpose_block)(block);
#pragma GCC unroll 16
  for (int r = 0; r < VL; r++) FN(store)(to + r * to_step, block[r]);
}

/* The same where there are only so many rows, taken as followed by rows of 0, and only so many columns are stored. */
static __attribute__((noinline)) void FN(turn_part)(REAL *to, ptrdiff_t to_step, const REAL *from, ptrdiff_t step,
                                                    ptrdiff_t rows, ptrdiff_t columns) {
  V block[VL];
#pragma GCC unroll 16
  for (int r = 0; r < VL; r++) block[r] = r < rows ? FN(load)(from + r * step) : (V){0};
  FN(transpose_block)(block);
#pragma GCC unroll 16
  for (int r = 0; r < VL; r++)
    if (r < columns) FN(store)(to + r * to_step, block[r]);
}

/* Copies rows i0..i1 of one panel of W^T to where these elements are in the panels of W. */
static void FN(turn_panel)(REAL *W, const REAL *WT, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t i0, ptrdiff_t i1,
                           ptrdiff_t panel) {
  const ptrdiff_t width = FN(panel_width)(n_out, panel), columns = fnn_min(n_out - panel * NR, width);
  for (ptrdiff_t i = i0, end; i < i1; i = end) {
    const ptrdiff_t to_panel = i / NR, to_width = FN(panel_width)(n_in, to_panel);
    REAL *out = W + to_panel * NR * n_out + panel * NR * to_width + i % NR;
    end = fnn_min(fnn_round_up(i + 1, VL), i1);
    const int is_whole = end - i == VL, is_last = i % VL == 0 && end == n_in;
    ptrdiff_t j = 0;
    if (is_whole)
      for (; j + VL <= columns; j += VL) FN(turn_block)(out + j * to_width, to_width, WT + i * width + j, width);
    if (is_whole || is_last) /* beyond the rows is only padding of the copy, which is 0 */
      for (; j < columns; j += VL)
        FN(turn_part)(out + j * to_width, to_width, WT + i * width + j, width, end - i, columns - j);
  }
}

/* Rows come in blocks of whole vectors: those of a share, of a chunk, and the last ones. */
static void FN(turn)(void *copy, const void *W, ptrdiff_t m, ptrdiff_t n, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0,
                     ptrdiff_t p1) {
  for (ptrdiff_t panel = p0; panel < p1; panel++)
    FN(turn_panel)(copy, (const REAL *)W + panel * NR * m, m, n, i0, i1, panel);
}

/* columns[j] = element j of VL rows of a buffer, for j < n. If only `count` rows exist (at least 1), the last one is
   repeated. */
static __attribute__((noinline)) void FN(load_columns)(V *columns, const REAL *rows, ptrdiff_t ld, ptrdiff_t count,
                                                       ptrdiff_t n) {
  ptrdiff_t v = 0;
  do {
    if (count == VL) {
      FN(columns_of)(columns + v, rows + v, ld, n - v);
    } else {
#pragma GCC unroll 16
      for (ptrdiff_t r = 0; r < VL; r++) columns[v + r] = FN(load)(rows + fnn_min(r, count - 1) * ld + v);
      FN(transpose_block)(columns + v);
    }
  } while ((v += VL) < n);
}

/* The other direction: stores columns as `count` rows; the padding of each row becomes 0. */
FNN_INLINE void FN(store_columns)(REAL *rows, ptrdiff_t ld, V *columns, ptrdiff_t count, ptrdiff_t n) {
#if HAS_ROWS_OF_FOUR
  if (n <= 4 && count == VL) {
    for (ptrdiff_t j = n; j < 4; j++) columns[j] = (V){0};
    FN(rows_of_four)(rows, ld, columns);
    return;
  }
#endif
  for (ptrdiff_t v = 0; v < n; v += VL) {
    V block[VL];
#pragma GCC unroll 16
    for (ptrdiff_t r = 0; r < VL; r++) block[r] = v + r < n ? columns[v + r] : (V){0};
    FN(transpose_block)(block);
#pragma GCC unroll 16
    for (ptrdiff_t r = 0; r < VL; r++)
      if (r < count) FN(store)(rows + r * ld + v, block[r]);
  }
}

/* The same as a function, where nothing is constant. */
static __attribute__((noinline)) void FN(store_any_columns)(REAL *rows, ptrdiff_t ld, V *columns, ptrdiff_t count,
                                                            ptrdiff_t n) {
  FN(store_columns)(rows, ld, columns, count, n);
}
