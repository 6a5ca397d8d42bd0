# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
# cython: freethreading_compatible=True
"""The compiled backend: takes pointers of arrays that were checked at the border, drops the GIL, calls C.

Same names and signatures as ``_numpy.py``, where they are explained. Of one layer here, of a network in the
included files. No loops over numbers.
"""

import functools
import os

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_GetItem
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.pystate cimport PyThreadState
from cpython.pythread cimport PyThread_get_thread_ident
from libc.float cimport DBL_MAX, FLT_MAX
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memmove

from . import guard as _guard
from . import threads as _threads
from .optimizers import SGD, Adam, AdamW
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
        int cautious, unchecked
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
    int fnn_openmp_procs()
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
    double fnn_net_first_loss(const fnn_net *net)
    double fnn_magnitude(int isa, const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m)
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
    int fnn_net_fit_threads(const fnn_net *net, ptrdiff_t batch, int limit)
    int fnn_net_train_threads(const fnn_net *net, ptrdiff_t batch, int limit)
    int fnn_net_forward_threads(const fnn_net *net, ptrdiff_t m, int limit)
    int fnn_net_predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X, ptrdiff_t m, int threads)
    int fnn_net_loss(const fnn_net *net, double *total, const fnn_data *data, int threads)
    int fnn_net_gradients(const fnn_net *net, double *total, const fnn_matrix *dW, const fnn_matrix *db,
                          const fnn_data *data, int threads)
    int fnn_net_train(fnn_net *net, const fnn_data *data, fnn_fit *fit, int threads)
    int fnn_net_finite(fnn_net *net)
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


# At hand, not looked up in the module; the names in the order of their codes.
cdef dict _ACTIVATIONS = ACTIVATION_CODE, _LOSSES = LOSS_CODE
cdef tuple _ACTIVATION_NAMES = tuple(ACTIVATION_CODE), _LOSS_NAMES = tuple(LOSS_CODE)


def openmp_limit():
    """What OpenMP grants the calling thread: threadpoolctl sets that."""
    return fnn_openmp_limit()


def openmp_cores():
    """Cores that OpenMP binds its threads to, where it is asked to; 0: it binds none."""
    return fnn_openmp_procs()


# Handed over, not fetched: threads.py is there for the NumPy backend, too, and this module imports it.
_threads.follow(openmp_limit, openmp_cores)


cdef int _limit():
    return _threads.get_threads()


# --- arrays ----------------------------------------------------------------------------------------

cdef fnn_matrix _matrix(cnp.ndarray a):
    cdef fnn_matrix x
    # By the type: the size itself is behind two more pointers. No division: it would take as long as all else here.
    cdef int shift = 3 if cnp.PyArray_TYPE(a) == cnp.NPY_DOUBLE else 2
    x.data = cnp.PyArray_DATA(a)
    x.row = cnp.PyArray_STRIDE(a, 0) >> shift
    x.col = cnp.PyArray_STRIDE(a, 1) >> shift if cnp.PyArray_NDIM(a) == 2 else 0
    x.dtype = shift == 3
    return x


cdef fnn_data _data(cnp.ndarray X, cnp.ndarray y, cnp.ndarray sample_weight):
    cdef fnn_data data
    data.m = cnp.PyArray_DIM(X, 1)
    data.X = data.Y = _matrix(X)
    data.codes = NULL
    if cnp.PyArray_NDIM(y) == 1:
        data.codes = <const int32_t *>cnp.PyArray_DATA(y)
    else:
        data.Y = _matrix(y)
    data.weights = NULL
    if sample_weight is not None:
        data.weights = <const double *>cnp.PyArray_DATA(sample_weight)
    return data


cdef int _done(int status) except -1:
    if status != FNN_OK:
        raise MemoryError("fastnn: no memory for scratch space")
    return 0


include "_core_plain.pxi"


# --- one layer: functions of arguments that were checked at the border --------------------------------

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


cdef int _linear_forward(const operand *W, const operand *A_prev, const operand *b, int g, bint in_order,
                         const operand *out) except -1:
    cdef double work = (2.0 * W.columns + FUNCTION_WORK) * W.rows * A_prev.columns
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_linear_forward(_isa, &out.matrix, &W.matrix, &A_prev.matrix, &b.matrix, g, W.rows, W.columns,
                                A_prev.columns, in_order, threads)
    _acquire(state)
    return _done(status)


cdef int _linear_backward(const operand *dZ, const operand *A_prev, const operand *W, const operand *dW,
                          const operand *db, const operand *dA_prev, int g) except -1:
    """W and dA_prev may be absent."""
    cdef double work = 2.0 * dZ.rows * A_prev.rows * dZ.columns
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_linear_backward(_isa, &dW.matrix, &db.matrix, &dA_prev.matrix, &dZ.matrix, &A_prev.matrix,
                                 &W.matrix if W.high else NULL, g, dZ.rows, A_prev.rows, dZ.columns, threads)
    _acquire(state)
    return _done(status)


cdef int _activation(const operand *dA, const operand *x, int g, const operand *out) except -1:
    """Forward of Z = x where dA is absent, else backward from A = x."""
    cdef double work = <double>FUNCTION_WORK * x.rows * x.columns
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    if dA.high:
        status = fnn_activation_backward(_isa, &out.matrix, &dA.matrix, &x.matrix, g, x.rows, x.columns, threads)
    else:
        status = fnn_activation_forward(_isa, &out.matrix, &x.matrix, g, x.rows, x.columns, threads)
    _acquire(state)
    return _done(status)


cdef int _rowsum(const operand *dZ, const operand *out) except -1:
    cdef double work = <double>dZ.rows * dZ.columns
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_rowsum(_isa, &out.matrix, &dZ.matrix, dZ.rows, dZ.columns, threads)
    _acquire(state)
    return _done(status)


cdef int _losses(const fnn_data *data, ptrdiff_t n, int loss, double *losses, const fnn_matrix *out) except -1:
    """(m,) of w_i L_i, unless NULL; and dZ (n, m), times w_i, unless NULL."""
    cdef double work = <double>FUNCTION_WORK * n * data.m
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_loss(_isa, losses, out, data, loss, n, threads)
    _acquire(state)
    return _done(status)


cdef double _mean_loss(const fnn_data *data, ptrdiff_t n, int loss, double weight) except? -1:
    cdef double[FEW] few
    cdef cnp.ndarray room = np.empty(data.m) if data.m > FEW else None
    cdef double *losses = &few[0] if room is None else <double *>cnp.PyArray_DATA(room)
    _losses(data, n, loss, losses, NULL)
    return fnn_shares(losses, data.m, weight)


def linear_forward(W, A_prev, b, activation, out):
    """``out[...] = g(W A_prev + b)``; b is (n_out, 1)."""
    cdef operand w = _operand(W), a = _operand(A_prev), c = _operand(b), o = _operand(out)
    # In order: what a network's layers computed on the way to its prediction has that prediction's bits.
    _linear_forward(&w, &a, &c, _ACTIVATIONS[activation.name], True, &o)


def activation_forward(Z, activation, out):
    """``out[...] = g(Z)``."""
    cdef operand z = _operand(Z), o = _operand(out)
    _activation(&_ABSENT, &z, _ACTIVATIONS[activation.name], &o)


def activation_backward(dA, A, activation, out):
    """``out[...] = dA * g'(Z)``, where A = g(Z)."""
    cdef operand d = _operand(dA), a = _operand(A), o = _operand(out)
    _activation(&d, &a, _ACTIVATIONS[activation.name], &o)


def rowsum(dZ, out):
    """``out[...] = `` the sum of each row, (n, 1)."""
    cdef operand z = _operand(dZ), o = _operand(out)
    _rowsum(&z, &o)


def linear_backward(dZ, A_prev, W, dW, db, dA_prev, activation):
    """Fill dW, db and, if W is given, dA_prev times g' of the activation that made A_prev."""
    cdef operand z = _operand(dZ), a = _operand(A_prev), w = _operand(W)
    cdef operand o = _operand(dW), o_b = _operand(db), o_a = _operand(dA_prev)
    _linear_backward(&z, &a, &w, &o, &o_b, &o_a, _ACTIVATIONS[activation.name])


def loss_forward(Z, y, loss, sample_weight):
    """Mean loss over the samples, from pre-activations."""
    cdef fnn_data data = _data(Z, y, sample_weight)
    return _mean_loss(&data, Z.shape[0], _LOSSES[loss.name], data.m if sample_weight is None else sample_weight.sum())


def loss_backward(Z, y, loss, sample_weight, out):
    """``out[...] = dZ`` per sample: with weights, m w_i / sum(w) times the sample's own."""
    if sample_weight is not None:
        sample_weight = sample_weight * (len(sample_weight) / sample_weight.sum())
    cdef fnn_data data = _data(Z, y, sample_weight)
    cdef fnn_matrix o = _matrix(out)
    _losses(&data, Z.shape[0], _LOSSES[loss.name], NULL, &o)


cdef object _SGD = SGD, _ADAM = Adam, _ADAMW = AdamW  # at hand
cdef dict _KINDS = {"SGD": FNN_SGD, "Adam": FNN_ADAM, "AdamW": FNN_ADAMW}


cdef int _set_optimizer(fnn_optimizer *o, optimizer, int slots) except -1:
    # By the moments that there are: a setting may be changed from another thread.
    o.momentum = o.beta1 = o.beta2 = o.eps = 0  # where the kind has none
    o.kind = FNN_SGD if type(optimizer) is _SGD else _KINDS[optimizer.kind]
    o.lr, o.weight_decay = optimizer._lr, optimizer._weight_decay
    if o.kind != FNN_SGD:
        (o.beta1, o.beta2), o.eps = optimizer._betas, optimizer._eps
    elif slots:
        o.kind, o.momentum = FNN_NESTEROV if optimizer._nesterov else FNN_MOMENTUM, optimizer._momentum
    return 0


cdef inline bint _held(const fnn_optimizer *o, int dtype) noexcept:
    """Whether that type holds the settings: to float32 some are infinite."""
    return dtype == cnp.NPY_DOUBLE or (
        <float>o.lr <= FLT_MAX and <float>o.weight_decay <= FLT_MAX and <float>o.eps <= FLT_MAX)


cdef int _update(const fnn_optimizer *settings, const operand *w, const operand *g, const operand *moments, int slots,
                 uint64_t t) except -1:
    cdef double work = <double>FUNCTION_WORK * w.rows * w.columns
    cdef int threads = _threads_for(work)
    cdef PyThreadState *state
    state = _release(work)
    fnn_optimizer_update(_isa, settings, t, &w.matrix, &moments[0].matrix if slots > 0 else NULL,
                         &moments[1].matrix if slots > 1 else NULL, &g.matrix, w.rows, w.columns, threads)
    _acquire(state)
    return 0


def optimizer_update(optimizer, w, g, moments, t):
    """One update of w and its moments, in place."""
    cdef operand x = _operand(w), dx = _operand(g)
    cdef operand[2] m
    cdef fnn_optimizer settings
    cdef int i, slots = len(moments)
    _set_optimizer(&settings, optimizer, slots)
    for i in range(slots):
        m[i] = _operand(moments[i])
    _update(&settings, &x, &dx, m, slots, t)


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


include "_core_entries.pxi"
include "_core_guard.pxi"
include "_core_engine.pxi"
include "_core_ckernels.pxi"
