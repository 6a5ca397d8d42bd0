# --- plain arguments: quick tests (a few nanoseconds) whether an array can be used without cast or copy ----

cdef enum:
    FEW = 256  # up to so many samples, codes and losses are stored on the stack


cdef struct operand:  # a matrix and the bounds of its memory; all zeros mean "absent"
    fnn_matrix matrix
    ptrdiff_t rows, columns
    char *low
    char *high


cdef operand _ABSENT  # zeros, as C initialises it


cdef inline void _describe(cnp.ndarray a, operand *to) noexcept:
    """Fill `to` from an array of float32 or float64; a 1-D array counts as a column."""
    cdef ptrdiff_t down, right = 0
    _fill(&to.matrix, a)
    to.rows, to.columns = cnp.PyArray_DIM(a, 0), 1
    to.low = to.high = <char *>to.matrix.data
    down = (to.rows - 1) * cnp.PyArray_STRIDE(a, 0)
    if cnp.PyArray_NDIM(a) == 2:
        to.columns = cnp.PyArray_DIM(a, 1)
        right = (to.columns - 1) * cnp.PyArray_STRIDE(a, 1)
    to.low += (down if down < 0 else 0) + (right if right < 0 else 0)
    to.high += (down if down > 0 else 0) + (right if right > 0 else 0) + (8 if to.matrix.dtype else 4)


cdef operand _operand(cnp.ndarray a):
    """The operand of an array that was checked before; absent for None."""
    cdef operand x = _ABSENT
    if a is not None:
        _describe(a, &x)
    return x


cdef inline bint _readable(x, int dtype, int ndim) noexcept:
    """Whether `x` is an ndarray with that dtype and ndim, aligned and in native byte order."""
    if not cnp.PyArray_CheckExact(x):
        return False
    cdef cnp.ndarray a = x
    return cnp.PyArray_TYPE(a) == dtype and cnp.PyArray_NDIM(a) == ndim and cnp.PyArray_ISBEHAVED_RO(a)


cdef inline bint _in_elements(ptrdiff_t strides, const operand *x) noexcept:
    """Whether a stride in bytes, or several joined by bitwise or, are multiples of x's item size."""
    return not strides & (7 if x.matrix.dtype else 3)


cdef inline bint _plain(x, int dtype, ptrdiff_t n, ptrdiff_t m, operand *to) noexcept:
    """Whether `x` is a matrix (n, m) that can be read in place; if so fill `to`. n or m -1: any extent but 0."""
    if not _readable(x, dtype, 2):
        return False
    _describe(<cnp.ndarray>x, to)
    cdef ptrdiff_t strides = cnp.PyArray_STRIDE(<cnp.ndarray>x, 0) | cnp.PyArray_STRIDE(<cnp.ndarray>x, 1)
    return (to.rows == n or (n < 0 and to.rows > 0)) and (to.columns == m or (m < 0 and to.columns > 0)) \
        and _in_elements(strides, to)


cdef inline int _type(x) noexcept:
    """NumPy's type number of a float32 or float64 ndarray; -1 for anything else."""
    if not cnp.PyArray_CheckExact(x):
        return -1
    cdef int dtype = cnp.PyArray_TYPE(<cnp.ndarray>x)
    return dtype if dtype == cnp.NPY_FLOAT or dtype == cnp.NPY_DOUBLE else -1


cdef inline int _code(name, dict codes, tuple names) except -2:
    """The code of `name`; -1 if it is not one of `names`, or not a str (a name with parameters)."""
    cdef Py_ssize_t i
    cdef PyObject *found
    for i in range(len(names)):  # by identity, which finds interned literals; hash and compare take ten times as long
        if name is names[i]:
            return <int>i
    found = PyDict_GetItem(codes, name) if type(name) is str else NULL
    return -1 if found == NULL else <object>found


cdef inline bint _plain_column(b, int dtype, ptrdiff_t n, operand *to) noexcept:
    """Whether `b` is (n, 1) or (n,) and can be read in place; if so fill `to`."""
    if _plain(b, dtype, n, 1, to):
        return True
    if not _readable(b, dtype, 1):
        return False
    _describe(<cnp.ndarray>b, to)
    return to.rows == n and _in_elements(cnp.PyArray_STRIDE(<cnp.ndarray>b, 0), to)


cdef inline bint _apart(const operand *a, const operand *b) noexcept:
    """Whether the memory ranges of two operands do not overlap."""
    return a.high <= b.low or b.high <= a.low


cdef inline bint _in_one_piece(cnp.ndarray a) noexcept:
    return cnp.PyArray_IS_C_CONTIGUOUS(a) or cnp.PyArray_IS_F_CONTIGUOUS(a)


cdef inline bint _fit(out, int dtype, ptrdiff_t n, ptrdiff_t m, operand *to) noexcept:
    """Whether `out` is None, or an array into which a result (n, m) can be written in place; if so fill `to`."""
    if out is None:
        to[0] = _ABSENT
        return True
    return (_plain(out, dtype, n, m, to) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)
            and _in_one_piece(<cnp.ndarray>out))


cdef cnp.ndarray _new(int dtype, ptrdiff_t n, ptrdiff_t m, like, operand *to):
    """A new array (n, m) in the memory order of the array `like`; in Fortran order if `like` is None."""
    return _new_in_order(dtype, n, m, like is None or cnp.PyArray_IS_F_CONTIGUOUS(<cnp.ndarray>like), to)


cdef cnp.ndarray _new_in_order(int dtype, ptrdiff_t n, ptrdiff_t m, bint by_columns, operand *to):
    cdef cnp.npy_intp[2] shape = [n, m]
    cdef cnp.ndarray a = cnp.PyArray_EMPTY(2, shape, dtype, by_columns)
    _describe(a, to)
    return a


cdef inline bint _plain_codes(y, ptrdiff_t n, ptrdiff_t m) noexcept:
    """Whether `y` is a contiguous 1-D array of m signed integers, which are class codes because n > 1."""
    if n < 2 or not cnp.PyArray_CheckExact(y):
        return False
    cdef cnp.ndarray a = <cnp.ndarray>y
    cdef int number = cnp.PyArray_TYPE(a)
    # C's int, long and long long; on each system two of them have the same size.
    return (cnp.NPY_INT <= number <= cnp.NPY_LONGLONG and cnp.PyArray_ISSIGNED(a) and cnp.PyArray_NDIM(a) == 1
            and cnp.PyArray_DIM(a, 0) == m and cnp.PyArray_IS_C_CONTIGUOUS(a) and cnp.PyArray_ISBEHAVED_RO(a))


cdef inline bint _take_codes(cnp.ndarray y, ptrdiff_t n, ptrdiff_t m, int32_t *codes) noexcept:
    """Copy plain codes to int32; False if one of them is not within 0 .. n - 1."""
    return fnn_codes(codes, cnp.PyArray_DATA(y), <int>cnp.PyArray_ITEMSIZE(y), m, n)


cdef cnp.ndarray _quick_codes(y, ptrdiff_t n, cnp.npy_intp m):
    """Class codes as a new int32 array; None if y is not plain or holds invalid codes."""
    if not _plain_codes(y, n, m):
        return None
    cdef cnp.ndarray codes = cnp.PyArray_EMPTY(1, &m, cnp.NPY_INT32, 0)
    return codes if _take_codes(y, n, m, <int32_t *>cnp.PyArray_DATA(codes)) else None


ctypedef fused given_t:
    unsigned char
    int32_t
    int64_t
    float
    double


cdef cnp.ndarray _as_values(const given_t *line, int dtype, cnp.npy_intp m):
    """A new 1-D array of that dtype with the m values of `line`."""
    cdef cnp.ndarray a = cnp.PyArray_EMPTY(1, &m, dtype, 0)
    cdef float *singles = <float *>cnp.PyArray_DATA(a)
    cdef double *doubles = <double *>cnp.PyArray_DATA(a)
    cdef ptrdiff_t i
    if dtype == cnp.NPY_FLOAT:
        for i in range(m):
            singles[i] = <float>line[i]
    else:
        for i in range(m):
            doubles[i] = <double>line[i]
    return a


cdef cnp.ndarray _quick_values(cnp.ndarray y, int dtype, ptrdiff_t m, double high):
    """Integers, booleans or floats, one per sample, cast to `dtype`; None if y is not plain.

    float64 values must be within 0..high before they are rounded to float32; if not, None. A negative `high`: any.
    """
    if cnp.PyArray_NDIM(y) != 1 or cnp.PyArray_DIM(y, 0) != m or not cnp.PyArray_IS_C_CONTIGUOUS(y) \
            or not cnp.PyArray_ISBEHAVED_RO(y):
        return None
    cdef int number = cnp.PyArray_TYPE(y)
    cdef const void *line = cnp.PyArray_DATA(y)
    if number == cnp.NPY_BOOL or number == cnp.NPY_UINT8:
        return _as_values(<const unsigned char *>line, dtype, m)
    if cnp.NPY_INT <= number <= cnp.NPY_LONGLONG and cnp.PyArray_ISSIGNED(y):
        if cnp.PyArray_ITEMSIZE(y) == 4:
            return _as_values(<const int32_t *>line, dtype, m)
        return _as_values(<const int64_t *>line, dtype, m)
    if number == cnp.NPY_FLOAT:
        return _as_values(<const float *>line, dtype, m)
    if number == cnp.NPY_DOUBLE and (high < 0 or fnn_within(_isa, line, 1, m, high)):
        return _as_values(<const double *>line, dtype, m)
    return None


cdef inline ptrdiff_t _target_rows(int loss, ptrdiff_t n) noexcept nogil:
    """The rows of Y for a loss of n units; 0 if it cannot have so many."""
    if not 0 <= loss < FNN_LOSSES or not _HAS_OTHER_ROWS[loss]:
        return n
    return 1 if loss == FNN_QUANTILE else 0 if n % 2 else n // 2


cdef cnp.ndarray _quick_targets(y, int loss, int dtype, ptrdiff_t n, ptrdiff_t m, fnn_targets *to, int32_t *few):
    """Fill `to` with the targets of m samples; return the array that owns them, or None if not plain or not valid.

    Up to FEW class codes are copied to `few`: allocating an array would take as long as computing their loss.
    """
    cdef cnp.ndarray a
    cdef operand values
    cdef ptrdiff_t rows
    to.size, to.codes, to.weights, to.levels = sizeof(fnn_targets), NULL, NULL, NULL
    if dtype < 0 or loss < 0 or not cnp.PyArray_CheckExact(y) or (n < 2 and _TAKES_CLASSES[loss]):
        return None
    rows = _target_rows(loss, n)
    if rows == 0:
        return None
    a = <cnp.ndarray>y
    if cnp.PyArray_NDIM(a) == 1 and rows > 1:
        if _HAS_OTHER_ROWS[loss]:
            return None
        if m <= FEW and _plain_codes(a, n, m):
            to.codes = few
            return a if _take_codes(a, n, m, few) else None
        a = _quick_codes(a, n, m)
        if a is not None:
            to.codes = <const int32_t *>cnp.PyArray_DATA(a)
        return a
    if cnp.PyArray_NDIM(a) == 1:
        if not _readable(a, dtype, 1) or cnp.PyArray_DIM(a, 0) != m:
            return None
        _fill(&to.Y, a)
        to.Y.row_step, to.Y.column_step = m, to.Y.row_step  # as a matrix with one row
    elif _plain(a, dtype, rows, m, &values):
        _fill(&to.Y, a)
    else:
        return None
    if not _in_one_piece(a):
        return None
    if _HIGHEST_TARGET[loss] >= 0 and not fnn_within(_isa, to.Y.data, to.Y.dtype, rows * m, _HIGHEST_TARGET[loss]):
        return None
    return a


cdef bint _alike(x, cnp.ndarray w, operand *to) noexcept:
    """Whether `x` can be read in place and has the dtype, shape and order of w (contiguous); if so fill `to`."""
    if not _readable(x, cnp.PyArray_TYPE(w), cnp.PyArray_NDIM(w)):
        return False
    cdef cnp.ndarray a = <cnp.ndarray>x
    _describe(a, to)
    return (cnp.PyArray_SAMESHAPE(a, w)
            and (cnp.PyArray_IS_C_CONTIGUOUS(a) if cnp.PyArray_IS_C_CONTIGUOUS(w) else cnp.PyArray_IS_F_CONTIGUOUS(a)))
