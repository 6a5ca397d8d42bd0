# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled backend: takes pointers of arrays that were checked at the border, drops the GIL, calls C.

Same names and signatures as ``_numpy.py``, where they are explained. Of one layer here, of a network in the
included files. No loops over numbers but the one over class codes.
"""

import os

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from . import threads as _threads
from .guard import busy
from .tables import ACTIVATION_CODE, LOSS_CODE

cnp.import_array()

cdef extern from "fastnn.h" nogil:
    enum: FNN_OK
    enum: FNN_BINARY_CROSS_ENTROPY, FNN_MSE
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
                           int threads)
    int fnn_linear_backward(int isa, const fnn_matrix *dW, const fnn_matrix *db, const fnn_matrix *dA_prev,
                            const fnn_matrix *dZ, const fnn_matrix *A_prev, const fnn_matrix *W, ptrdiff_t n_out,
                            ptrdiff_t n_in, ptrdiff_t m, int threads)
    int fnn_activation_forward(int isa, const fnn_matrix *out, const fnn_matrix *Z, int activation, ptrdiff_t n,
                               ptrdiff_t m)
    int fnn_activation_backward(int isa, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *A,
                                int activation, ptrdiff_t n, ptrdiff_t m)
    int fnn_rowsum(int isa, const fnn_matrix *out, const fnn_matrix *dZ, ptrdiff_t n, ptrdiff_t m)
    int fnn_loss(int isa, double *losses, const fnn_matrix *dZ, const fnn_data *data, int loss, ptrdiff_t n)
    fnn_net *fnn_net_new(int isa, int dtype, int layers, const ptrdiff_t *sizes, const int *activations, int loss)
    void fnn_net_free(fnn_net *net)
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
    cdef ptrdiff_t size = cnp.PyArray_ITEMSIZE(a)
    x.data = cnp.PyArray_DATA(a)
    x.row = cnp.PyArray_STRIDE(a, 0) // size
    x.col = cnp.PyArray_STRIDE(a, 1) // size
    x.dtype = size == 8
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

def linear_forward(W, A_prev, b, activation, out):
    """``out[...] = g(W A_prev + b)``; b is (n_out, 1)."""
    cdef fnn_matrix w = _matrix(W), a = _matrix(A_prev), c = _matrix(b), o = _matrix(out)
    cdef ptrdiff_t n_out = W.shape[0], n_in = W.shape[1], m = A_prev.shape[1]
    cdef int g = ACTIVATION_CODE[activation.name], threads = _limit(), isa = _isa, status
    with nogil:
        status = fnn_linear_forward(isa, &o, &w, &a, &c, g, n_out, n_in, m, threads)
    _done(status)


def activation_forward(Z, activation, out):
    """``out[...] = g(Z)``."""
    cdef fnn_matrix z = _matrix(Z), o = _matrix(out)
    cdef ptrdiff_t n = Z.shape[0], m = Z.shape[1]
    cdef int g = ACTIVATION_CODE[activation.name], isa = _isa, status
    with nogil:
        status = fnn_activation_forward(isa, &o, &z, g, n, m)
    _done(status)


def activation_backward(dA, A, activation, out):
    """``out[...] = dA * g'(Z)``, where A = g(Z)."""
    cdef fnn_matrix d = _matrix(dA), a = _matrix(A), o = _matrix(out)
    cdef ptrdiff_t n = dA.shape[0], m = dA.shape[1]
    cdef int g = ACTIVATION_CODE[activation.name], isa = _isa, status
    with nogil:
        status = fnn_activation_backward(isa, &o, &d, &a, g, n, m)
    _done(status)


def rowsum(dZ, out):
    """``out[...] = `` the sum of each row, (n, 1)."""
    cdef fnn_matrix z = _matrix(dZ), o = _matrix(out)
    cdef ptrdiff_t n = dZ.shape[0], m = dZ.shape[1]
    cdef int isa = _isa, status
    with nogil:
        status = fnn_rowsum(isa, &o, &z, n, m)
    _done(status)


def linear_backward(dZ, A_prev, W, dW, db, dA_prev):
    """Fill dW, db and, if W is given, dA_prev."""
    cdef fnn_matrix z = _matrix(dZ), a = _matrix(A_prev), o = _matrix(dW), ob = _matrix(db), w, oa
    cdef const fnn_matrix *pw = NULL
    cdef const fnn_matrix *poa = NULL
    cdef ptrdiff_t n_out = dZ.shape[0], n_in = A_prev.shape[0], m = dZ.shape[1]
    cdef int threads = _limit(), isa = _isa, status
    if W is not None:
        w, oa = _matrix(W), _matrix(dA_prev)
        pw, poa = &w, &oa
    with nogil:
        status = fnn_linear_backward(isa, &o, &ob, poa, &z, &a, pw, n_out, n_in, m, threads)
    _done(status)


cdef _losses(Z, y, loss, sample_weight, out):
    """(m,) of w_i L_i; and dZ, times w_i, into `out` unless None."""
    cdef fnn_data data = _data(Z, y, sample_weight)
    cdef fnn_matrix o
    cdef const fnn_matrix *po = NULL
    cdef cnp.ndarray losses = np.empty(data.m)
    cdef double *p = <double *>cnp.PyArray_DATA(losses)
    cdef int kind = LOSS_CODE[loss.name], isa = _isa, status
    cdef ptrdiff_t n = Z.shape[0]
    if out is not None:
        o = _matrix(out)
        po = &o
    with nogil:
        status = fnn_loss(isa, p, po, &data, kind, n)
    _done(status)
    return losses


def loss_forward(Z, y, loss, sample_weight):
    """Mean loss over the samples, from pre-activations."""
    losses = _losses(Z, y, loss, sample_weight, None)
    # Divided first, and whatever the caller's np.errstate: the sum of numbers may be beyond all numbers.
    with np.errstate(all="ignore"):
        return float((losses / (len(losses) if sample_weight is None else sample_weight.sum())).sum())


def loss_backward(Z, y, loss, sample_weight, out):
    """``out[...] = dZ`` per sample: with weights, m w_i / sum(w) times the sample's own."""
    if sample_weight is not None:
        sample_weight = sample_weight * (len(sample_weight) / sample_weight.sum())
    _losses(Z, y, loss, sample_weight, out)


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
