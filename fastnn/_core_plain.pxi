# --- arguments that are plain: what can be used where it is, seen in a few nanoseconds --------------------

cdef inline int _item(cnp.ndarray a) noexcept:
    """Bytes of an element."""
    cdef int dtype = cnp.PyArray_TYPE(a)  # nearer than the size itself
    return 4 if dtype == cnp.NPY_FLOAT else 8 if dtype == cnp.NPY_DOUBLE else <int>cnp.PyArray_ITEMSIZE(a)


cdef inline bint _plain_axis(cnp.ndarray a, int axis, ptrdiff_t n) noexcept:
    cdef ptrdiff_t extent = cnp.PyArray_DIM(a, axis)
    return (extent == n or (n < 0 and extent)) and not cnp.PyArray_STRIDE(a, axis) & (_item(a) - 1)


cdef inline bint _readable(x, int dtype, int ndim) noexcept:
    """Whether `x` is an ndarray of that type that needs no cast."""
    if not cnp.PyArray_CheckExact(x):
        return False
    cdef cnp.ndarray a = x
    return cnp.PyArray_TYPE(a) == dtype and cnp.PyArray_NDIM(a) == ndim and cnp.PyArray_ISBEHAVED_RO(a)


cdef inline bint _plain(x, int dtype, ptrdiff_t n, ptrdiff_t m) noexcept:
    """Whether `x` is a matrix (n, m) that can be read where it is; -1: of any extent but 0."""
    return _readable(x, dtype, 2) and _plain_axis(x, 0, n) and _plain_axis(x, 1, m)


cdef inline int _type(x) noexcept:
    """The type number of a float32 or float64 ndarray; -1: something else."""
    if not cnp.PyArray_CheckExact(x):
        return -1
    cdef int dtype = cnp.PyArray_TYPE(<cnp.ndarray>x)
    return dtype if dtype == cnp.NPY_FLOAT or dtype == cnp.NPY_DOUBLE else -1


cdef inline int _code(name, dict codes, tuple names) except -2:
    """-1: not one of those names, or not simply a name."""
    cdef Py_ssize_t i
    cdef PyObject *found
    for i in range(len(names)):  # literals are one object each; to hash and compare takes ten times as long
        if name is names[i]:
            return <int>i
    found = PyDict_GetItem(codes, name) if type(name) is str else NULL
    return -1 if found == NULL else <object>found


cdef inline bint _plain_column(b, int dtype, ptrdiff_t n) noexcept:
    """Whether `b` is (n, 1) or (n,) and can be read where it is."""
    return _plain(b, dtype, n, 1) or (_readable(b, dtype, 1) and _plain_axis(b, 0, n))


cdef inline void _extent(cnp.ndarray a, char **low, char **high) noexcept:
    low[0] = high[0] = <char *>cnp.PyArray_DATA(a)
    cdef ptrdiff_t reach
    cdef int axis
    for axis in range(cnp.PyArray_NDIM(a)):
        reach = (cnp.PyArray_DIM(a, axis) - 1) * cnp.PyArray_STRIDE(a, axis)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += _item(a)


cdef inline bint _apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether no memory is shared: the one ends before the other starts."""
    cdef char *low_a
    cdef char *high_a
    cdef char *low_b
    cdef char *high_b
    if a is None or b is None:
        return True
    _extent(a, &low_a, &high_a)
    _extent(b, &low_b, &high_b)
    return high_a <= low_b or high_b <= low_a


cdef inline bint _fit(out, int dtype, ptrdiff_t n, ptrdiff_t m) noexcept:
    """Whether `out` is None or can take a result (n, m)."""
    if out is None:
        return True
    if not _plain(out, dtype, n, m):
        return False
    cdef cnp.ndarray o = out
    return cnp.PyArray_ISWRITEABLE(o) and (cnp.PyArray_IS_C_CONTIGUOUS(o) or cnp.PyArray_IS_F_CONTIGUOUS(o))


cdef cnp.ndarray _new(int dtype, ptrdiff_t n, ptrdiff_t m, cnp.ndarray like):
    """An array (n, m) in the order of `like`."""
    cdef cnp.npy_intp[2] shape = [n, m]
    return cnp.PyArray_EMPTY(2, shape, dtype, cnp.PyArray_IS_F_CONTIGUOUS(like))


cdef cnp.ndarray _quick_codes(y, ptrdiff_t n, cnp.npy_intp m):
    """Class codes as the core takes them, or None if they are not plain or not legal."""
    if not cnp.PyArray_CheckExact(y) or n < 2:
        return None
    cdef cnp.ndarray a = y, codes
    cdef int size = cnp.PyArray_ITEMSIZE(a)
    if cnp.PyArray_NDIM(a) != 1 or cnp.PyArray_DIM(a, 0) != m or not cnp.PyArray_IS_C_CONTIGUOUS(a):
        return None
    if not cnp.PyArray_ISBEHAVED_RO(a) or not cnp.PyArray_ISSIGNED(a) or (size != 8 and size != 4):
        return None
    codes = cnp.PyArray_EMPTY(1, &m, cnp.NPY_INT32, 0)
    return codes if fnn_codes(<int32_t *>cnp.PyArray_DATA(codes), cnp.PyArray_DATA(a), size, m, n) else None


cdef cnp.ndarray _quick_targets(y, int loss, int dtype, ptrdiff_t n, ptrdiff_t m):
    """Codes (m,) or values (n, m) as the core takes them, or None if they are not plain or not legal."""
    if dtype < 0 or loss < 0 or not cnp.PyArray_CheckExact(y) or (n < 2 and loss == FNN_CROSS_ENTROPY):
        return None
    cdef cnp.ndarray a = y
    if cnp.PyArray_NDIM(a) == 1:
        if n > 1:
            return _quick_codes(a, n, m)
        a = a.reshape((1, -1))
    if not _plain(a, dtype, n, m) or not (cnp.PyArray_IS_C_CONTIGUOUS(a) or cnp.PyArray_IS_F_CONTIGUOUS(a)):
        return None
    if loss != FNN_MSE and not fnn_within(_isa, cnp.PyArray_DATA(a), dtype == cnp.NPY_DOUBLE, n * m,
                                          1 if loss == FNN_BINARY_CROSS_ENTROPY else DBL_MAX):
        return None
    return a


cdef bint _alike(a, cnp.ndarray w) noexcept:
    """Whether `a` can be read where it is, of the type, shape and order of w, which is in one piece."""
    return (_readable(a, cnp.PyArray_TYPE(w), cnp.PyArray_NDIM(w))
            and cnp.PyArray_SAMESHAPE(a, w)
            and (cnp.PyArray_IS_C_CONTIGUOUS(a) if cnp.PyArray_IS_C_CONTIGUOUS(w) else cnp.PyArray_IS_F_CONTIGUOUS(a)))
