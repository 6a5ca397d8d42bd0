# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
"""The compiled backend: takes pointers of arrays that were checked at the border, drops the GIL, calls C.

Same names and signatures as ``_numpy.py``, where they are explained. Of one layer here, of a network in the
included files. No loops over numbers but the one over class codes.
"""

import os

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.pystate cimport PyThreadState
from cpython.pythread cimport PyThread_get_thread_ident
from libc.float cimport DBL_MAX
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from . import threads as _threads
from .guard import busy
from .optimizers import OPTIMIZERS
from .tables import ACTIVATION_CODE, LOSS_CODE

cnp.import_array()

cdef extern from "Python.h":
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *state)

cdef extern from "fastnn.h" nogil:
    enum: FNN_IDENTITY
    enum: FNN_BINARY_CROSS_ENTROPY, FNN_CROSS_ENTROPY, FNN_MSE
    enum: FNN_OK
    ctypedef struct fnn_matrix:
        void *data
        ptrdiff_t row, col
        int dtype
    ctypedef struct fnn_data:
        ptrdiff_t m
        fnn_matrix X
        const int32_t *codes
        fnn_matrix Y
        const double *weights
    enum: FNN_SGD, FNN_MOMENTUM, FNN_NESTEROV, FNN_ADAM, FNN_ADAMW
    ctypedef struct fnn_optimizer:
        int kind
        double lr, weight_decay, momentum, beta1, beta2, eps
    ctypedef struct fnn_fit:
        ptrdiff_t batch
        int shuffle
        uint64_t seed
        fnn_optimizer optimizer
        ptrdiff_t max_batches, max_epochs
        int cautious
        uint32_t *order
        int order_is_valid
        uint64_t epoch
        ptrdiff_t position
        double loss_sum, weight_sum
        int failed, unsafe, finite
        double *ended
        ptrdiff_t ended_count
    ctypedef struct fnn_net:
        pass
    int fnn_isa_total()
    const char *fnn_isa_name(int isa)
    int fnn_isa_available(int isa)
    int fnn_isa_best()
    int fnn_has_openmp()
    int fnn_openmp_limit()
    const char *fnn_compiler()
    void fnn_philox(uint32_t *out, const uint32_t *counter, const uint32_t *key)
    void fnn_permutation(uint32_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch)
    int fnn_linear_forward(int isa, const fnn_matrix *out, const fnn_matrix *W, const fnn_matrix *A_prev,
                           const fnn_matrix *b, int activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m,
                           int in_order, int threads)
    int fnn_linear_backward(int isa, const fnn_matrix *dW, const fnn_matrix *db, const fnn_matrix *dA_prev,
                            const fnn_matrix *dZ, const fnn_matrix *A_prev, const fnn_matrix *W, int activation,
                            ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads)
    int fnn_activation_forward(int isa, const fnn_matrix *out, const fnn_matrix *Z, int activation, ptrdiff_t n,
                               ptrdiff_t m, int threads)
    int fnn_activation_backward(int isa, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *A,
                                int activation, ptrdiff_t n, ptrdiff_t m, int threads)
    int fnn_rowsum(int isa, const fnn_matrix *out, const fnn_matrix *dZ, ptrdiff_t n, ptrdiff_t m, int threads)
    int fnn_loss(int isa, double *losses, const fnn_matrix *dZ, const fnn_data *data, int loss, ptrdiff_t n,
                 int threads)
    void fnn_optimizer_update(int isa, const fnn_optimizer *o, uint64_t t, const fnn_matrix *w,
                              const fnn_matrix *moment_1, const fnn_matrix *moment_2, const fnn_matrix *dw,
                              ptrdiff_t n, ptrdiff_t m, int threads)
    double fnn_shares(const double *x, ptrdiff_t m, double whole)
    int fnn_codes(int32_t *codes, const void *source, int bytes, ptrdiff_t m, ptrdiff_t n)
    int fnn_within(int isa, const void *x, int dtype, ptrdiff_t n, double high)
    fnn_net *fnn_net_new(int isa, int dtype, int layers, const ptrdiff_t *sizes, const int *activations, int loss)
    void fnn_net_free(fnn_net *net)
    ptrdiff_t fnn_net_width(const fnn_net *net, int layer)
    void fnn_net_set(fnn_net *net, int layer, const fnn_matrix *W, const fnn_matrix *b)
    void fnn_net_get(const fnn_net *net, int layer, const fnn_matrix *W, const fnn_matrix *b)
    int fnn_net_start_optimizer(fnn_net *net, int slots)
    int fnn_net_slots(const fnn_net *net)
    uint64_t fnn_net_steps(const fnn_net *net)
    void fnn_net_set_steps(fnn_net *net, uint64_t steps)
    void fnn_net_set_moment(fnn_net *net, int slot, int layer, const fnn_matrix *W, const fnn_matrix *b)
    void fnn_net_get_moment(const fnn_net *net, int slot, int layer, const fnn_matrix *W, const fnn_matrix *b)
    size_t fnn_net_bytes(const fnn_net *net)
    void fnn_net_snapshot(const fnn_net *net, void *to)
    int fnn_net_restore(fnn_net *net, const void *source)
    void fnn_net_force_threads(fnn_net *net, int threads)
    int fnn_net_train_threads(const fnn_net *net, ptrdiff_t batch, int limit)
    int fnn_net_forward_threads(const fnn_net *net, ptrdiff_t m, int limit)
    int fnn_net_predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X, ptrdiff_t m, int threads)
    int fnn_net_loss(const fnn_net *net, double *total, const fnn_data *data, int threads)
    int fnn_net_gradients(fnn_net *net, double *total, const fnn_matrix *dW, const fnn_matrix *db,
                          const fnn_data *data, int threads)
    int fnn_net_train(fnn_net *net, const fnn_data *data, fnn_fit *fit, int threads)
    ctypedef struct fnn_api:
        pass
    const fnn_api *fnn_get_api()
    void *fnn_function(const char *name)


# --- which ISA -------------------------------------------------------------------------------------

cdef int _isa = fnn_isa_best()

NAME = "compiled"
BUILD = {"compiler": fnn_compiler().decode(), "openmp": bool(fnn_has_openmp())}


def isas():
    """Names of the instruction sets that this CPU can run, the plainest first."""
    return [fnn_isa_name(i).decode() for i in range(fnn_isa_total()) if fnn_isa_available(i)]


def current_isa():
    """Name of the instruction set in force."""
    return fnn_isa_name(_isa).decode()


def force_isa(name):
    """Use an instruction set, for kernels and for engines made from now on. For tests and benchmarks."""
    global _isa, ISA
    if name not in isas():
        raise ValueError(f"FASTNN_ISA: no {name!r} on this CPU; it runs {', '.join(isas())}")
    _isa = [fnn_isa_name(i).decode() for i in range(fnn_isa_total())].index(name)
    ISA = name


# The one place that reads FASTNN_ISA. ValueError, not ImportError: it must not pass for a missing extension.
force_isa(os.environ.get("FASTNN_ISA") or current_isa())


cdef int _limit():
    # What fastnn allows, and what OpenMP grants this thread (threadpoolctl sets that).
    return min(<int>min(_threads.get_threads(), 1 << 20), fnn_openmp_limit())


# --- arrays ----------------------------------------------------------------------------------------

cdef fnn_matrix _matrix(cnp.ndarray a):
    cdef fnn_matrix x
    cdef int shift = 3 if cnp.PyArray_ITEMSIZE(a) == 8 else 2  # a division would take as long as all else here
    x.data = cnp.PyArray_DATA(a)
    x.row = cnp.PyArray_STRIDE(a, 0) >> shift
    x.col = cnp.PyArray_STRIDE(a, 1) >> shift if cnp.PyArray_NDIM(a) == 2 else 0
    x.dtype = shift == 3
    return x


cdef fnn_data _data(cnp.ndarray X, cnp.ndarray y, cnp.ndarray sample_weight):
    cdef fnn_data data
    data.m = cnp.PyArray_DIM(X, 1)
    data.X = _matrix(X)
    data.codes = NULL
    data.Y = data.X
    if cnp.PyArray_NDIM(y) == 1:
        data.codes = <const int32_t *>cnp.PyArray_DATA(y)
    else:
        data.Y = _matrix(y)
    data.weights = NULL if sample_weight is None else <const double *>cnp.PyArray_DATA(sample_weight)
    return data


cdef int _done(int status) except -1:
    if status != FNN_OK:
        raise MemoryError("fastnn: no memory for scratch space")
    return 0


# --- one layer -------------------------------------------------------------------------------------
#
# Each function twice: for arguments that were checked at the border, and, as quick_<name>, from what the user gave
# where all of it is plain: then it is done in one call, and the result comes back; None: go the general way.

cdef tuple _RULES = OPTIMIZERS  # a subclass may have settings of its own

cdef enum:
    FUNCTION_WORK = 16  # FLOP that an element of an activation or a loss counts as
    RELEASE_WORK = 200_000  # FLOP, some 5 us: for less, letting others run costs more than it gives
    THREADS_WORK = 1_000_000


cdef int _threads_for(double work) except -1:
    return _limit() if work > THREADS_WORK else 1  # asking the machine takes microseconds


cdef PyThreadState *_release(double work) noexcept:
    return PyEval_SaveThread() if work > RELEASE_WORK else NULL


cdef void _acquire(PyThreadState *state) noexcept:
    if state != NULL:
        PyEval_RestoreThread(state)


cdef double _size(cnp.ndarray a) noexcept:
    return <double>cnp.PyArray_DIM(a, 0) * cnp.PyArray_DIM(a, 1)


cdef int _linear_forward(cnp.ndarray W, cnp.ndarray A_prev, cnp.ndarray b, int g, bint in_order,
                         cnp.ndarray out) except -1:
    cdef fnn_matrix w = _matrix(W), a = _matrix(A_prev), c = _matrix(b), o = _matrix(out)
    cdef ptrdiff_t n_out = cnp.PyArray_DIM(W, 0), n_in = cnp.PyArray_DIM(W, 1), m = cnp.PyArray_DIM(A_prev, 1)
    cdef double work = 2.0 * n_out * n_in * m + FUNCTION_WORK * _size(out)
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_linear_forward(_isa, &o, &w, &a, &c, g, n_out, n_in, m, in_order, threads)
    _acquire(state)
    return _done(status)


cdef int _linear_backward(cnp.ndarray dZ, cnp.ndarray A_prev, cnp.ndarray W, cnp.ndarray dW, cnp.ndarray db,
                          cnp.ndarray dA_prev, int g) except -1:
    cdef fnn_matrix z = _matrix(dZ), a = _matrix(A_prev), o = _matrix(dW), ob = _matrix(db), w, oa
    cdef ptrdiff_t n_out = cnp.PyArray_DIM(dZ, 0), n_in = cnp.PyArray_DIM(A_prev, 0), m = cnp.PyArray_DIM(dZ, 1)
    cdef double work = 2.0 * n_out * n_in * m
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state
    if W is not None:
        w, oa = _matrix(W), _matrix(dA_prev)
    state = _release(work)
    status = fnn_linear_backward(_isa, &o, &ob, &oa, &z, &a, NULL if W is None else &w, g, n_out, n_in, m,
                                 threads)
    _acquire(state)
    return _done(status)


cdef int _activation(cnp.ndarray dA, cnp.ndarray x, int g, cnp.ndarray out) except -1:
    """Forward of Z = x where dA is None, else backward from A = x."""
    cdef fnn_matrix d, a = _matrix(x), o = _matrix(out)
    cdef ptrdiff_t n = cnp.PyArray_DIM(x, 0), m = cnp.PyArray_DIM(x, 1)
    cdef double work = FUNCTION_WORK * _size(x)
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state
    if dA is not None:
        d = _matrix(dA)
    state = _release(work)
    if dA is None:
        status = fnn_activation_forward(_isa, &o, &a, g, n, m, threads)
    else:
        status = fnn_activation_backward(_isa, &o, &d, &a, g, n, m, threads)
    _acquire(state)
    return _done(status)


cdef int _rowsum(cnp.ndarray dZ, cnp.ndarray out) except -1:
    cdef fnn_matrix z = _matrix(dZ), o = _matrix(out)
    cdef ptrdiff_t n = cnp.PyArray_DIM(dZ, 0), m = cnp.PyArray_DIM(dZ, 1)
    cdef int status, threads = _threads_for(_size(dZ))
    cdef PyThreadState *state = _release(_size(dZ))
    status = fnn_rowsum(_isa, &o, &z, n, m, threads)
    _acquire(state)
    return _done(status)


cdef int _losses(cnp.ndarray Z, cnp.ndarray y, int loss, cnp.ndarray sample_weight, double *losses,
                 cnp.ndarray out) except -1:
    """(m,) of w_i L_i, unless NULL; and dZ, times w_i, into `out` unless None."""
    cdef fnn_data data = _data(Z, y, sample_weight)
    cdef fnn_matrix o
    cdef double work = FUNCTION_WORK * _size(Z)
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state
    if out is not None:
        o = _matrix(out)
    state = _release(work)
    status = fnn_loss(_isa, losses, NULL if out is None else &o, &data, loss, cnp.PyArray_DIM(Z, 0), threads)
    _acquire(state)
    return _done(status)


cdef double _mean_loss(cnp.ndarray Z, cnp.ndarray y, int loss, cnp.ndarray sample_weight) except? -1:
    cdef ptrdiff_t m = cnp.PyArray_DIM(Z, 1)
    cdef double[256] few
    cdef cnp.ndarray room = np.empty(m) if m > 256 else None
    cdef double *losses = &few[0] if room is None else <double *>cnp.PyArray_DATA(room)
    cdef double weight = m if sample_weight is None else sample_weight.sum()
    _losses(Z, y, loss, sample_weight, losses, None)
    return fnn_shares(losses, m, weight)


def linear_forward(W, A_prev, b, activation, out):
    """``out[...] = g(W A_prev + b)``; b is (n_out, 1)."""
    # In order: what a network's layers computed on the way to its prediction has that prediction's bits.
    _linear_forward(W, A_prev, b, ACTIVATION_CODE[activation.name], True, out)


def activation_forward(Z, activation, out):
    """``out[...] = g(Z)``."""
    _activation(None, Z, ACTIVATION_CODE[activation.name], out)


def activation_backward(dA, A, activation, out):
    """``out[...] = dA * g'(Z)``, where A = g(Z)."""
    _activation(dA, A, ACTIVATION_CODE[activation.name], out)


def rowsum(dZ, out):
    """``out[...] = `` the sum of each row, (n, 1)."""
    _rowsum(dZ, out)


def linear_backward(dZ, A_prev, W, dW, db, dA_prev, activation):
    """Fill dW, db and, if W is given, dA_prev times g' of the activation that made A_prev."""
    _linear_backward(dZ, A_prev, W, dW, db, dA_prev, ACTIVATION_CODE[activation.name])


def loss_forward(Z, y, loss, sample_weight):
    """Mean loss over the samples, from pre-activations."""
    return _mean_loss(Z, y, LOSS_CODE[loss.name], sample_weight)


def loss_backward(Z, y, loss, sample_weight, out):
    """``out[...] = dZ`` per sample: with weights, m w_i / sum(w) times the sample's own."""
    if sample_weight is not None:
        sample_weight = sample_weight * (len(sample_weight) / sample_weight.sum())
    _losses(Z, y, LOSS_CODE[loss.name], sample_weight, NULL, out)


cdef bint _plain_axis(cnp.ndarray a, int axis, ptrdiff_t n) noexcept:
    cdef ptrdiff_t extent = cnp.PyArray_DIM(a, axis)
    # Of 4 or 8 bytes.
    return (extent == n or (n < 0 and extent)) and not cnp.PyArray_STRIDE(a, axis) & (cnp.PyArray_ITEMSIZE(a) - 1)


cdef bint _readable(x, int dtype, int ndim) noexcept:
    """Whether `x` is an ndarray of that type that needs no cast."""
    if not cnp.PyArray_CheckExact(x):
        return False
    cdef cnp.ndarray a = x
    return cnp.PyArray_TYPE(a) == dtype and cnp.PyArray_NDIM(a) == ndim and cnp.PyArray_ISBEHAVED_RO(a)


cdef bint _plain(x, int dtype, ptrdiff_t n, ptrdiff_t m) noexcept:
    """Whether `x` is a matrix (n, m) that can be read where it is; -1: of any extent but 0."""
    return _readable(x, dtype, 2) and _plain_axis(x, 0, n) and _plain_axis(x, 1, m)


cdef int _type(x) noexcept:
    """The type number of a float32 or float64 ndarray; -1: something else."""
    if not cnp.PyArray_CheckExact(x):
        return -1
    cdef int dtype = cnp.PyArray_TYPE(<cnp.ndarray>x)
    return dtype if dtype == cnp.NPY_FLOAT or dtype == cnp.NPY_DOUBLE else -1


cdef int _code(name, dict codes) except -2:
    """-1: not one of those names, or not simply a name."""
    cdef PyObject *found = PyDict_GetItem(codes, name) if type(name) is str else NULL
    if found == NULL:
        return -1
    return <object>found


cdef void _extent(cnp.ndarray a, char **low, char **high) noexcept:
    low[0] = high[0] = <char *>cnp.PyArray_DATA(a)
    cdef ptrdiff_t reach
    cdef int axis
    for axis in range(cnp.PyArray_NDIM(a)):
        reach = (cnp.PyArray_DIM(a, axis) - 1) * cnp.PyArray_STRIDE(a, axis)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += cnp.PyArray_ITEMSIZE(a)


cdef bint _apart(cnp.ndarray a, cnp.ndarray b) noexcept:
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


cdef bint _fit(out, int dtype, ptrdiff_t n, ptrdiff_t m) noexcept:
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


def quick_linear_forward(W, A_prev, b, activation, out):
    """The whole of ``kernels.linear_forward``, or None."""
    cdef int dtype = _type(W), g = FNN_IDENTITY if activation is None else _code(activation, ACTIVATION_CODE)
    if dtype < 0 or g < 0 or not _plain(W, dtype, -1, -1):
        return None
    cdef ptrdiff_t n_out = cnp.PyArray_DIM(W, 0), m
    if not _plain(A_prev, dtype, cnp.PyArray_DIM(W, 1), -1):
        return None
    if not (_plain(b, dtype, n_out, 1) or (_readable(b, dtype, 1) and _plain_axis(b, 0, n_out))):
        return None
    m = cnp.PyArray_DIM(A_prev, 1)
    if not _fit(out, dtype, n_out, m) or not (_apart(out, W) and _apart(out, A_prev) and _apart(out, b)):
        return None
    result = _new(dtype, n_out, m, A_prev) if out is None else out
    _linear_forward(W, A_prev, b, g, False, result)
    return result


def quick_activation_forward(Z, kind, out):
    """The whole of ``kernels.activation_forward``, or None."""
    cdef int dtype = _type(Z), g = _code(kind, ACTIVATION_CODE)
    if dtype < 0 or g < 0 or not _plain(Z, dtype, -1, -1):
        return None
    cdef ptrdiff_t n = cnp.PyArray_DIM(Z, 0), m = cnp.PyArray_DIM(Z, 1)
    if not _fit(out, dtype, n, m) or not (out is Z or _apart(out, Z)):
        return None
    result = _new(dtype, n, m, Z) if out is None else out
    _activation(None, Z, g, result)
    return result


def quick_activation_backward(dA, A, kind, Z, out):
    """The whole of ``kernels.activation_backward``, or None."""
    cdef int dtype = _type(dA), g = _code(kind, ACTIVATION_CODE)
    if dtype < 0 or g < 0 or Z is not None or not _plain(dA, dtype, -1, -1):
        return None
    cdef ptrdiff_t n = cnp.PyArray_DIM(dA, 0), m = cnp.PyArray_DIM(dA, 1)
    if not (_plain(A, dtype, n, m) and _fit(out, dtype, n, m)):
        return None
    if not ((out is A or _apart(out, A)) and (out is dA or _apart(out, dA))):
        return None
    result = _new(dtype, n, m, dA) if out is None else out
    _activation(dA, A, g, result)
    return result


def quick_rowsum(dZ, out):
    """The whole of ``kernels.rowsum``, or None."""
    cdef int dtype = _type(dZ)
    if dtype < 0 or not _plain(dZ, dtype, -1, -1):
        return None
    cdef ptrdiff_t n = cnp.PyArray_DIM(dZ, 0)
    if not _fit(out, dtype, n, 1) or not _apart(out, dZ):
        return None
    result = _new(dtype, n, 1, dZ) if out is None else out
    _rowsum(dZ, result)
    return result


def quick_linear_backward(dZ, A_prev, W, out, activation):
    """The whole of ``kernels.linear_backward``, or None."""
    cdef int dtype = _type(dZ), g = FNN_IDENTITY if activation is None else _code(activation, ACTIVATION_CODE)
    if dtype < 0 or g < 0 or (W is None and activation is not None) or not _plain(dZ, dtype, -1, -1):
        return None
    cdef ptrdiff_t n_out = cnp.PyArray_DIM(dZ, 0), m = cnp.PyArray_DIM(dZ, 1), n_in
    if not _plain(A_prev, dtype, -1, m):
        return None
    n_in = cnp.PyArray_DIM(A_prev, 0)
    if W is not None and not _plain(W, dtype, n_out, n_in):
        return None
    cdef tuple results = (None, None, None)
    if out is not None:
        if type(out) is not tuple or len(out) != 3:
            return None
        results = out
    dW, db, dA_prev = results
    if W is None and dA_prev is not None:
        return None
    if not (_fit(dW, dtype, n_out, n_in) and _fit(db, dtype, n_out, 1) and _fit(dA_prev, dtype, n_in, m)):
        return None
    if not (_apart(dW, db) and _apart(dW, dA_prev) and _apart(db, dA_prev)):
        return None
    for result in results:
        if not (_apart(result, dZ) and _apart(result, A_prev) and _apart(result, W)):
            return None
    if dW is None:
        dW = _new(dtype, n_out, n_in, dZ if W is None else W)
    if db is None:
        db = _new(dtype, n_out, 1, dZ)
    if dA_prev is None and W is not None:
        dA_prev = _new(dtype, n_in, m, dZ)
    _linear_backward(dZ, A_prev, W, dW, db, dA_prev, g)
    return dW, db, dA_prev


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


cdef cnp.ndarray _targets_of(Z, y, int loss, sample_weight):
    """Targets of a quick loss of Z, or None."""
    cdef int dtype = _type(Z)
    if sample_weight is not None or dtype < 0 or not _plain(Z, dtype, -1, -1):
        return None
    return _quick_targets(y, loss, dtype, cnp.PyArray_DIM(Z, 0), cnp.PyArray_DIM(Z, 1))


def quick_loss_forward(Z, y, kind, sample_weight):
    """The whole of ``kernels.loss_forward``, or None."""
    cdef int loss = _code(kind, LOSS_CODE)
    cdef cnp.ndarray targets = _targets_of(Z, y, loss, sample_weight)
    return None if targets is None else _mean_loss(Z, targets, loss, None)


def quick_loss_backward(Z, y, kind, sample_weight, out):
    """The whole of ``kernels.loss_backward``, or None."""
    cdef int loss = _code(kind, LOSS_CODE)
    cdef cnp.ndarray targets = _targets_of(Z, y, loss, sample_weight)
    if targets is None or not _fit(out, _type(Z), cnp.PyArray_DIM(Z, 0), cnp.PyArray_DIM(Z, 1)):
        return None
    if not (_apart(out, Z) and _apart(out, targets)):
        return None
    result = _new(_type(Z), cnp.PyArray_DIM(Z, 0), cnp.PyArray_DIM(Z, 1), Z) if out is None else out
    _losses(Z, targets, loss, None, NULL, result)
    return result


cdef int _update(optimizer, cnp.ndarray w, cnp.ndarray g, tuple moments, uint64_t t) except -1:
    cdef fnn_optimizer settings
    cdef fnn_matrix x = _matrix(w), dx = _matrix(g)
    cdef fnn_matrix[2] m
    cdef Py_ssize_t i, slots = len(moments)
    cdef double size = <double>cnp.PyArray_SIZE(w)
    cdef int threads = _threads_for(FUNCTION_WORK * size)
    cdef PyThreadState *state
    for i in range(slots):
        m[i] = _matrix(moments[i])
    _set_optimizer(&settings, optimizer, slots)
    state = _release(FUNCTION_WORK * size)
    fnn_optimizer_update(_isa, &settings, t, &x, &m[0] if slots > 0 else NULL, &m[1] if slots > 1 else NULL, &dx,
                         cnp.PyArray_DIM(w, 0), cnp.PyArray_DIM(w, 1) if cnp.PyArray_NDIM(w) == 2 else 1, threads)
    _acquire(state)
    return 0


def optimizer_update(optimizer, w, g, moments, t):
    """One update of w and its moments, in place."""
    _update(optimizer, w, g, tuple(moments), t)


cdef bint _alike(a, cnp.ndarray w) noexcept:
    """Whether `a` can be read where it is, of the type, shape and order of w, which is in one piece."""
    return (_readable(a, cnp.PyArray_TYPE(w), cnp.PyArray_NDIM(w))
            and cnp.PyArray_SAMESHAPE(a, w)
            and (cnp.PyArray_IS_C_CONTIGUOUS(a) if cnp.PyArray_IS_C_CONTIGUOUS(w) else cnp.PyArray_IS_F_CONTIGUOUS(a)))


def quick_optimizer_update(optimizer, W, dW, moments, step, out):
    """The whole of ``kernels.optimizer_update`` where it is in place, or None."""
    cdef int dtype = _type(W)
    cdef Py_ssize_t i
    cdef tuple all_moments, results
    if type(optimizer) not in _RULES or type(moments) is not tuple or type(out) is not tuple or type(step) is not int:
        return None
    all_moments, results = moments, out
    if dtype < 0 or not 0 < step < 1 << 53 or len(all_moments) != optimizer.slots or len(results) != len(moments) + 1:
        return None
    if cnp.PyArray_NDIM(W) not in (1, 2) or not (cnp.PyArray_IS_C_CONTIGUOUS(W) or cnp.PyArray_IS_F_CONTIGUOUS(W)):
        return None
    if not (_alike(W, W) and _alike(dW, W) and results[0] is W and cnp.PyArray_ISWRITEABLE(W) and _apart(W, dW)):
        return None
    for i in range(len(all_moments)):
        moment = all_moments[i]
        if results[i + 1] is not moment or not _alike(moment, W) or not cnp.PyArray_ISWRITEABLE(moment):
            return None
        if not (_apart(moment, W) and _apart(moment, dW) and (i == 0 or _apart(moment, all_moments[0]))):
            return None
    _update(optimizer, W, dW, all_moments, step)
    return results


def permutation(m, seed, epoch):
    """The order in which epoch `epoch` visits `m` samples."""
    cdef cnp.ndarray order = np.empty(m, np.uint32)
    cdef uint32_t *p = <uint32_t *>cnp.PyArray_DATA(order)
    cdef ptrdiff_t n = m
    cdef uint64_t key = seed, counter = epoch
    with nogil:
        fnn_permutation(p, n, key, counter)
    return order


def philox(counter, key):
    """Four words from a counter of four and a key of two: for the test against published vectors."""
    cdef uint32_t[4] c = counter, out
    cdef uint32_t[2] k = key
    fnn_philox(out, c, k)
    return list(out)


include "_core_engine.pxi"
include "_core_guard.pxi"
include "_core_ckernels.pxi"
