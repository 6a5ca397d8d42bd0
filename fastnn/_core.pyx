# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False
# cython: freethreading_compatible=True
"""The compiled backend: takes pointers to arrays that were checked before, releases the GIL and calls C.

It has the names and signatures of ``_numpy.py``, where they are explained. Functions of one layer are here, those of
a network in the included files. The loops over numbers are in C.
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
from libc.string cimport memmove, memset

from . import guard as _guard
from . import threads as _threads
from .norms import NORMS as _NORMS
from .optimizers import SGD, Adagrad, Adam, AdamW, NAdam, RMSprop
from .schedules import OfTime
from . import standardisation as _standardisation
from .sparse import Sparse as _Sparse
from . import tables as _tables
from .tables import ACTIVATIONS as _ACTIVATION_ROWS, LOSSES as _LOSS_ROWS, default as _default

cnp.import_array()

cdef extern from "Python.h":
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *state)

cdef extern from "fastnn.h" nogil:
    enum: FNN_OK, FNN_NO_MEMORY, FNN_REFUSED
    enum: FNN_UINT8, FNN_ACTIVATIONS, FNN_LOSSES, FNN_PARAMETERS, FNN_FUNCTION_WORK, FNN_SCHEDULE_PARAMETERS
    const double FNN_WORK_PER_THREAD
    enum: FNN_IDENTITY
    enum: FNN_QUANTILE
    enum: FNN_SGD, FNN_MOMENTUM, FNN_NESTEROV, FNN_ADAM, FNN_ADAMW, FNN_NADAM
    enum: FNN_RMSPROP, FNN_RMSPROP_MOMENTUM, FNN_ADAGRAD
    enum: FNN_W, FNN_B, FNN_RUNNING_MEAN, FNN_RUNNING_VAR
    enum: FNN_MOVES_RUNNING
    ctypedef struct fnn_spec:
        int kind
        double parameters[2]
    ctypedef struct fnn_matrix:
        void *data
        ptrdiff_t row_step, column_step
        int dtype
    enum: FNN_FLOAT32, FNN_FLOAT64, FNN_SPARSE
    ctypedef struct fnn_sparse:
        size_t size
        int dtype
        ptrdiff_t m
        const void *values
        const int32_t *features
        const int64_t *starts
        ptrdiff_t longest
    ctypedef struct fnn_targets:
        size_t size
        const int32_t *codes
        fnn_matrix Y
        const double *weights
        const double *levels
    ctypedef struct fnn_schedule:
        size_t size
        int kind, per_step
        double parameters[4]
    ctypedef struct fnn_optimizer:
        size_t size
        int kind
        double lr, weight_decay, momentum, beta1, beta2, eps, lr_decay, momentum_decay
        double clip_value, clip_norm, l1
        int spares_b
        const fnn_schedule *schedule
    ctypedef struct fnn_layer:
        size_t size
        ptrdiff_t units
        fnn_spec activation
        double dropout
        int frozen
        int norm
    ctypedef struct fnn_fit:
        size_t size
        const fnn_optimizer *optimizer
        ptrdiff_t batch
        int shuffle
        uint64_t seed
        ptrdiff_t max_batches, max_epochs
        int cautious, unchecked, plain
        uint32_t *order
        int order_is_valid
        uint64_t epoch
        ptrdiff_t position
        double loss_sum, weight_sum
        int failed, unsafe, finite
        double *ended
        ptrdiff_t ended_count
        const uint32_t *samples
        uint64_t mask_seed
        double *diagnostics
        double time
        const double *rates
        double *ended_rates
        double rate
        ptrdiff_t before, whole
        double penalty, loss_factor
        int eps_with_v
        double reported_factor
        ptrdiff_t samples_step
    ctypedef struct fnn_net:
        pass
    const char *fnn_activation_row(int index)
    const char *fnn_loss_row(int index)
    const char *fnn_optimizer_row(int index)
    const char *fnn_schedule_row(int index)
    int fnn_isa_total()
    const char *fnn_isa_name(int isa)
    int fnn_isa_available(int isa)
    int fnn_isa_best()
    int fnn_has_openmp()
    const char *fnn_compiler()
    int fnn_openmp_limit()
    int fnn_openmp_procs()
    void fnn_philox(uint32_t *out, const uint32_t *counter, const uint32_t *key)
    void fnn_permutation(uint32_t *order, ptrdiff_t m, uint64_t seed, uint64_t epoch)
    int fnn_linear_forward(int isa, const fnn_matrix *out, const fnn_matrix *W, const fnn_matrix *A_prev,
                           const fnn_matrix *b, const fnn_spec *activation, ptrdiff_t n_out, ptrdiff_t n_in,
                           ptrdiff_t m, int in_order, int threads)
    int fnn_linear_backward(int isa, const fnn_matrix *dW, const fnn_matrix *db, const fnn_matrix *dA_prev,
                            const fnn_matrix *dZ, const fnn_matrix *A_prev, const fnn_matrix *W,
                            const fnn_spec *activation, ptrdiff_t n_out, ptrdiff_t n_in, ptrdiff_t m, int threads)
    int fnn_activation_forward(int isa, const fnn_matrix *out, const fnn_matrix *Z, const fnn_spec *activation,
                               ptrdiff_t n, ptrdiff_t m, int threads)
    int fnn_activation_backward(int isa, const fnn_matrix *out, const fnn_matrix *dA, const fnn_matrix *A,
                                const fnn_spec *activation, ptrdiff_t n, ptrdiff_t m, int threads)
    int fnn_rowsum(int isa, const fnn_matrix *out, const fnn_matrix *dZ, ptrdiff_t n, ptrdiff_t m, int threads)
    int fnn_loss(int isa, double *losses, const fnn_matrix *dZ, const fnn_matrix *Z, const fnn_targets *targets,
                 const fnn_spec *loss, ptrdiff_t n, ptrdiff_t m, int threads)
    double fnn_shares(const double *x, ptrdiff_t m, double whole)
    int fnn_sparse_lists(int32_t *features, int64_t *starts, ptrdiff_t *longest, int *ascends,
                         const void *from_features, int feature_bytes, const void *from_starts, int start_bytes,
                         ptrdiff_t n_in, ptrdiff_t m, ptrdiff_t count, int threads)
    int fnn_codes(int32_t *codes, const void *source, int bytes, ptrdiff_t m, ptrdiff_t n)
    int fnn_within(int isa, const void *x, int dtype, ptrdiff_t n, double high)
    double fnn_magnitude(int isa, const fnn_matrix *x, ptrdiff_t n, ptrdiff_t m)
    int fnn_optimizer_update(int isa, const fnn_optimizer *o, uint64_t t, const fnn_matrix *w,
                             const fnn_matrix *moment_1, const fnn_matrix *moment_2, const fnn_matrix *dw,
                             ptrdiff_t n, ptrdiff_t m, int threads)
    fnn_net *fnn_net_new(int isa, int dtype, ptrdiff_t n_in, int count, const fnn_layer *layers, const fnn_spec *loss)
    void fnn_net_free(fnn_net *net)
    ptrdiff_t fnn_net_width(const fnn_net *net, int l)
    int fnn_net_parameters(const fnn_net *net, int layer)
    int fnn_net_set(fnn_net *net, int layer, int parameter, const fnn_matrix *source)
    int fnn_net_get(const fnn_net *net, int layer, int parameter, const fnn_matrix *to)
    int fnn_net_start_optimizer(fnn_net *net, int slots)
    int fnn_net_slots(const fnn_net *net)
    uint64_t fnn_net_steps(const fnn_net *net)
    void fnn_net_set_steps(fnn_net *net, uint64_t steps)
    uint64_t fnn_net_updates(const fnn_net *net)
    void fnn_net_set_updates(fnn_net *net, uint64_t updates)
    int fnn_net_freeze(fnn_net *net, int layer, int frozen)
    int fnn_net_standardise(fnn_net *net, const double *x_mean, const double *x_scale, ptrdiff_t targets,
                            const double *y_mean, const double *y_scale, const double *a_scale, const double *a_shift)
    int fnn_net_start_average(fnn_net *net, double share)
    double fnn_net_average_share(const fnn_net *net)
    int fnn_net_set_average(fnn_net *net, int layer, int parameter, const fnn_matrix *source)
    int fnn_net_get_average(const fnn_net *net, int layer, int parameter, const fnn_matrix *to)
    int fnn_net_set_moment(fnn_net *net, int slot, int layer, int parameter, const fnn_matrix *source)
    int fnn_net_get_moment(const fnn_net *net, int slot, int layer, int parameter, const fnn_matrix *to)
    size_t fnn_net_bytes(const fnn_net *net)
    void fnn_net_snapshot(const fnn_net *net, void *to)
    int fnn_net_restore(fnn_net *net, const void *source)
    void fnn_net_force_threads(fnn_net *net, int threads)
    int fnn_net_forward_threads(const fnn_net *net, ptrdiff_t m, int limit)
    int fnn_net_train_threads(const fnn_net *net, ptrdiff_t batch, int limit)
    int fnn_net_fit_threads(const fnn_net *net, ptrdiff_t batch, int limit)
    int fnn_net_predict(const fnn_net *net, const fnn_matrix *out, const fnn_matrix *X, ptrdiff_t m, int threads)
    int fnn_net_loss(const fnn_net *net, double *total, const fnn_matrix *X, const fnn_targets *targets,
                     ptrdiff_t m, int threads)
    int fnn_net_gradients(const fnn_net *net, double *total, const fnn_matrix *gradients, const fnn_matrix *X,
                          const fnn_targets *targets, ptrdiff_t m, int threads)
    int fnn_net_training_gradients(const fnn_net *net, double *total, const fnn_matrix *gradients, const fnn_matrix *X,
                                   const fnn_targets *targets, ptrdiff_t m, uint64_t mask_seed, int threads)
    int fnn_net_backward(const fnn_net *net, const fnn_matrix *gradients, const fnn_matrix *dX, const fnn_matrix *X,
                         const fnn_matrix *dA, ptrdiff_t m, double weight, int in_training, uint64_t mask_seed,
                         int threads)
    int fnn_net_training_outputs(const fnn_net *net, const fnn_matrix *A, const fnn_matrix *X, ptrdiff_t m,
                                 uint64_t mask_seed, int threads)
    int fnn_net_begin_step(fnn_net *net, const fnn_matrix *A, const fnn_matrix *X, ptrdiff_t m, uint64_t mask_seed,
                           int threads, int notes)
    int fnn_net_end_step(fnn_net *net, const fnn_matrix *X, const fnn_matrix *dA, ptrdiff_t m, double weight,
                         fnn_fit *fit, int threads)
    int fnn_net_update(fnn_net *net, const fnn_matrix *gradients, fnn_fit *fit, int threads)
    int fnn_net_gradient_by_rows(const fnn_net *net, int layer)
    int fnn_net_normalise(const fnn_net *net, int layer, const fnn_matrix *out, const fnn_matrix *Z, ptrdiff_t m)
    int fnn_net_finite(fnn_net *net)
    double fnn_net_first_loss(const fnn_net *net)
    int fnn_net_train(fnn_net *net, const fnn_matrix *X, const fnn_targets *targets, ptrdiff_t m, fnn_fit *fit,
                      int threads)
    ctypedef struct fnn_api:
        pass
    const fnn_api *fnn_get_api()
    void *fnn_function(const char *name)


# --- which ISA -------------------------------------------------------------------------------------

cdef int _isa = fnn_isa_best()

NAME = "compiled"
ORDER = "F"  # the layout of Z in which samples are contiguous
BUILD = {"compiler": fnn_compiler().decode(), "openmp": bool(fnn_has_openmp())}


def isas():
    """Names of the instruction sets that this CPU can run, starting with "generic"."""
    return [fnn_isa_name(i).decode() for i in range(fnn_isa_total()) if fnn_isa_available(i)]


def current_isa():
    """Name of the instruction set in use."""
    return fnn_isa_name(_isa).decode()


def force_isa(name):
    """Use an instruction set, for kernels and for engines made from now on. For tests and benchmarks."""
    global _isa, ISA
    if name not in isas():
        raise ValueError(f"FASTNN_ISA: no {name!r} on this CPU; it runs {', '.join(isas())}")
    _isa = [fnn_isa_name(i).decode() for i in range(fnn_isa_total())].index(name)
    ISA = name


# The only place that reads FASTNN_ISA. A wrong value is a ValueError, because an ImportError would be taken for a
# missing extension.
force_isa(os.environ.get("FASTNN_ISA") or current_isa())


cdef list _rows(const char *(*row)(int index) noexcept nogil):
    cdef int i = 0
    rows = []
    while row(i) != NULL:
        rows.append(row(i).decode())
        i += 1
    return rows


def lists():
    """The rows of the core's lists of activations, losses, optimizers and schedules, as text."""
    return _rows(fnn_activation_row), _rows(fnn_loss_row), _rows(fnn_optimizer_row), _rows(fnn_schedule_row)


if lists() != _tables.rows_of_core():
    raise ImportError("the extension was built from other lists of activations, losses, optimizers and schedules than "
                      "those of fastnn/tables.py: build it again")


# C variables, so that no lookup in the module is needed; the names in the order of their codes.
cdef tuple _ACTIVATION_NAMES = tuple(_ACTIVATION_ROWS), _LOSS_NAMES = tuple(_LOSS_ROWS)
cdef dict _ACTIVATIONS = {name: code for code, name in enumerate(_ACTIVATION_ROWS)}
cdef dict _LOSSES = {name: code for code, name in enumerate(_LOSS_ROWS)}


cdef fnn_spec _spec(spec, dict codes) except *:
    """Convert a Spec of tables.py to the struct of the C core."""
    cdef fnn_spec c
    cdef int i
    c.kind = codes[spec.name]
    for i in range(FNN_PARAMETERS):
        c.parameters[i] = 0
    for i, value in enumerate(spec.params.values()):
        if isinstance(value, float):  # levels are a part of the targets
            c.parameters[i] = value
    return c


# Indexed by code: the specs with default parameters, and the highest target that a loss accepts (negative: any value).
cdef fnn_spec[FNN_ACTIVATIONS] _PLAIN_ACTIVATIONS
cdef fnn_spec[FNN_LOSSES] _PLAIN_LOSSES
cdef double[FNN_LOSSES] _HIGHEST_TARGET
cdef bint[FNN_LOSSES] _TAKES_CLASSES
cdef bint[FNN_LOSSES] _HAS_OTHER_ROWS  # whether its targets have another number of rows than outputs
cdef bint[FNN_ACTIVATIONS] _SLOPE_FROM_Z


cdef int _fill_tables() except -1:
    cdef int i
    for i in range(FNN_ACTIVATIONS):
        _PLAIN_ACTIVATIONS[i] = _spec(_default(_ACTIVATION_NAMES[i], _ACTIVATION_ROWS), _ACTIVATIONS)
        _SLOPE_FROM_Z[i] = _ACTIVATION_ROWS[_ACTIVATION_NAMES[i]].slope_from == "Z"
    for i in range(FNN_LOSSES):
        _PLAIN_LOSSES[i] = _spec(_default(_LOSS_NAMES[i], _LOSS_ROWS), _LOSSES)
        targets = _LOSS_ROWS[_LOSS_NAMES[i]].targets
        _TAKES_CLASSES[i] = targets == "classes"
        _HAS_OTHER_ROWS[i] = not _LOSS_ROWS[_LOSS_NAMES[i]].takes_codes
        _HIGHEST_TARGET[i] = {"probabilities": 1.0, "classes": DBL_MAX, "counts": DBL_MAX}.get(targets, -1.0)
    return 0


_fill_tables()


def openmp_limit():
    """OpenMP's limit on threads for the calling thread, which threadpoolctl can set."""
    return fnn_openmp_limit()


def openmp_cores():
    """Cores that OpenMP binds its threads to, where it is asked to; 0: it binds none."""
    return fnn_openmp_procs()


# threads.py cannot import this module, because it also serves the NumPy backend: so we pass it the functions.
_threads.follow(openmp_limit, openmp_cores)


cdef int _limit():
    return _threads.get_threads()


# --- arrays ----------------------------------------------------------------------------------------

cdef inline void _fill(fnn_matrix *x, cnp.ndarray a) noexcept:
    # In place: a struct that is returned would be copied, which waits until its members have been written (10 ns).
    # The item size follows from the type: reading it costs two more pointers. A shift, because a division would take as
    # long as the rest of this function.
    cdef int shift = 3 if cnp.PyArray_TYPE(a) == cnp.NPY_DOUBLE else 2
    x.data = cnp.PyArray_DATA(a)
    x.row_step = cnp.PyArray_STRIDE(a, 0) >> shift
    x.column_step = cnp.PyArray_STRIDE(a, 1) >> shift if cnp.PyArray_NDIM(a) == 2 else 0
    x.dtype = shift == 3


cdef fnn_matrix _matrix(cnp.ndarray a):
    cdef fnn_matrix x
    _fill(&x, a)
    return x


cdef fnn_matrix _samples(cnp.ndarray X):
    """As _matrix, for X of a network, which may be of uint8, too."""
    cdef fnn_matrix x
    if cnp.PyArray_TYPE(X) != cnp.NPY_UINT8:
        return _matrix(X)
    x.data, x.dtype = cnp.PyArray_DATA(X), FNN_UINT8
    x.row_step, x.column_step = cnp.PyArray_STRIDE(X, 0), cnp.PyArray_STRIDE(X, 1)
    return x


cdef const double *_doubles(cnp.ndarray a) noexcept:
    if a is None:
        return NULL
    return <const double *>cnp.PyArray_DATA(a)


cdef cnp.ndarray _levels(loss, n_out):
    """The levels of a Spec's outputs; None if it has none."""
    levels = _tables.levels(loss, n_out)
    return None if levels is None else np.array(levels, np.float64)


cdef fnn_targets _targets(cnp.ndarray y, cnp.ndarray sample_weight, cnp.ndarray levels):
    cdef fnn_targets targets
    targets.levels = <const double *>cnp.PyArray_DATA(levels) if levels is not None else NULL
    targets.size = sizeof(fnn_targets)
    targets.codes = NULL
    if cnp.PyArray_NDIM(y) == 1:
        targets.codes = <const int32_t *>cnp.PyArray_DATA(y)
    _fill(&targets.Y, y)
    targets.weights = NULL
    if sample_weight is not None:
        targets.weights = <const double *>cnp.PyArray_DATA(sample_weight)
    return targets


cdef int _done(int status) except -1:
    if status == FNN_NO_MEMORY:
        raise MemoryError("fastnn: no memory for scratch space")
    if status != FNN_OK:
        raise SystemError("fastnn: the C core refused an argument; this is a bug in fastnn")
    return 0


include "_core_plain.pxi"


# --- one layer: functions whose arguments were checked by kernels.py ----------------------------------

cdef enum:
    RELEASE_WORK = 400_000  # FLOP, about 5 us: for less work, releasing the GIL costs more than it gains


cdef int _threads_for(double work) except -1:
    return _limit() if work > FNN_WORK_PER_THREAD else 1  # asking the machine takes microseconds


cdef PyThreadState *_release(double work) noexcept:
    return PyEval_SaveThread() if work > RELEASE_WORK else NULL


cdef void _acquire(PyThreadState *state) noexcept:
    if state != NULL:
        PyEval_RestoreThread(state)


cdef int _linear_forward(const operand *W, const operand *A_prev, const operand *b, const fnn_spec *g, bint in_order,
                         const operand *out) except -1:
    cdef double work = (2.0 * W.columns + FNN_FUNCTION_WORK) * W.rows * A_prev.columns
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_linear_forward(_isa, &out.matrix, &W.matrix, &A_prev.matrix, &b.matrix, g, W.rows, W.columns,
                                A_prev.columns, in_order, threads)
    _acquire(state)
    return _done(status)


cdef int _linear_backward(const operand *dZ, const operand *A_prev, const operand *W, const operand *dW,
                          const operand *db, const operand *dA_prev, const fnn_spec *g) except -1:
    """W and dA_prev may be absent."""
    cdef double work = 2.0 * dZ.rows * A_prev.rows * dZ.columns
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_linear_backward(_isa, &dW.matrix, &db.matrix, &dA_prev.matrix, &dZ.matrix, &A_prev.matrix,
                                 &W.matrix if W.high else NULL, g, dZ.rows, A_prev.rows, dZ.columns, threads)
    _acquire(state)
    return _done(status)


cdef int _activation(const operand *dA, const operand *x, const fnn_spec *g, const operand *out) except -1:
    """Forward with Z = x if dA is absent; otherwise backward, where x is A, or Z if g's slope is computed from Z."""
    cdef double work = <double>FNN_FUNCTION_WORK * x.rows * x.columns
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


cdef int _losses(const operand *Z, const fnn_targets *targets, const fnn_spec *loss, double *losses,
                 const fnn_matrix *out) except -1:
    """Store w_i L_i in `losses` (m,) and w_i dZ in `out` (n, m); either may be NULL."""
    cdef double work = <double>FNN_FUNCTION_WORK * Z.rows * Z.columns
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_loss(_isa, losses, out, &Z.matrix, targets, loss, Z.rows, Z.columns, threads)
    _acquire(state)
    return _done(status)


cdef double _mean_loss(const operand *Z, const fnn_targets *targets, const fnn_spec *loss, double weight) except? -1:
    cdef double[FEW] few
    cdef cnp.ndarray room = np.empty(Z.columns) if Z.columns > FEW else None
    cdef double *losses = &few[0] if room is None else <double *>cnp.PyArray_DATA(room)
    _losses(Z, targets, loss, losses, NULL)
    return fnn_shares(losses, Z.columns, weight)


def linear_forward(W, A_prev, b, activation, out):
    """``out[...] = g(W A_prev + b)``; b is (n_out, 1)."""
    cdef operand w = _operand(W), a = _operand(A_prev), c = _operand(b), o = _operand(out)
    cdef fnn_spec g = _spec(activation, _ACTIVATIONS)
    # in_order=True: Network.forward(cache=True) calls this, and must give the same bits as predict.
    _linear_forward(&w, &a, &c, &g, True, &o)


def activation_forward(Z, activation, out):
    """``out[...] = g(Z)``."""
    cdef operand z = _operand(Z), o = _operand(out)
    cdef fnn_spec g = _spec(activation, _ACTIVATIONS)
    _activation(&_ABSENT, &z, &g, &o)


def activation_backward(dA, x, activation, out):
    """``out[...] = dA * g'(Z)``, where x is A = g(Z), or Z if the table says so."""
    cdef operand d = _operand(dA), from_x = _operand(x), o = _operand(out)
    cdef fnn_spec g = _spec(activation, _ACTIVATIONS)
    _activation(&d, &from_x, &g, &o)


def rowsum(dZ, out):
    """``out[...] = `` the sum of each row, (n, 1)."""
    cdef operand z = _operand(dZ), o = _operand(out)
    _rowsum(&z, &o)


def linear_backward(dZ, A_prev, W, dW, db, dA_prev, activation):
    """Fill dW, db and, if W is given, dA_prev times g' of the activation that made A_prev."""
    cdef operand z = _operand(dZ), a = _operand(A_prev), w = _operand(W)
    cdef operand o = _operand(dW), o_b = _operand(db), o_a = _operand(dA_prev)
    cdef fnn_spec g = _spec(activation, _ACTIVATIONS)
    _linear_backward(&z, &a, &w, &o, &o_b, &o_a, &g)


def loss_forward(Z, y, loss, sample_weight):
    """Mean loss over the samples, from pre-activations."""
    cdef operand z = _operand(Z)
    cdef cnp.ndarray levels = _levels(loss, len(Z))
    cdef fnn_targets targets = _targets(y, sample_weight, levels)
    cdef fnn_spec kind = _spec(loss, _LOSSES)
    return _mean_loss(&z, &targets, &kind, z.columns if sample_weight is None else sample_weight.sum())


def loss_backward(Z, y, loss, sample_weight, out):
    """``out[...] = dZ`` per sample; with weights, column i is multiplied by m w_i / sum(w)."""
    if sample_weight is not None:
        sample_weight = sample_weight * (len(sample_weight) / sample_weight.sum())
    cdef operand z = _operand(Z)
    cdef cnp.ndarray levels = _levels(loss, len(Z))
    cdef fnn_targets targets = _targets(y, sample_weight, levels)
    cdef fnn_spec kind = _spec(loss, _LOSSES)
    cdef fnn_matrix o = _matrix(out)
    _losses(&z, &targets, &kind, NULL, &o)


cdef object _SGD = SGD, _ADAM = Adam, _ADAMW = AdamW  # C variables, faster than a module lookup
cdef object _NADAM = NAdam, _RMSPROP = RMSprop, _ADAGRAD = Adagrad
cdef dict _KINDS = {"SGD": FNN_SGD, "Adam": FNN_ADAM, "AdamW": FNN_ADAMW, "NAdam": FNN_NADAM, "RMSprop": FNN_RMSPROP,
                    "Adagrad": FNN_ADAGRAD}


cdef object _OF_TIME = OfTime
cdef dict _SCHEDULES = {name: code for code, name in enumerate(_tables.SCHEDULES)}


cdef int _set_schedule(fnn_schedule *s, schedule) except -1:
    cdef int i
    s.size, s.kind, s.per_step = sizeof(fnn_schedule), _SCHEDULES[schedule.name], schedule.per == "step"
    for i in range(FNN_SCHEDULE_PARAMETERS):
        s.parameters[i] = 0
    for i, name in enumerate(_tables.SCHEDULES[schedule.name]):
        s.parameters[i] = getattr(schedule, name)
    return 0


cdef int _set_optimizer(fnn_optimizer *o, fnn_schedule *s, optimizer, int slots) except -1:
    """Fill `o` with the settings, and `s` with the schedule, if lr is one.

    Return whether lr is a number, or a schedule per step: not one per epoch, nor a function, instead of which fnn_fit
    has the rates.
    """
    cdef bint is_simple = True
    lr = optimizer._lr
    memset(o, 0, sizeof(fnn_optimizer))
    o.size = sizeof(fnn_optimizer)
    if type(lr) is float:
        o.lr = lr
    else:
        is_simple = False
        if isinstance(lr, _OF_TIME):
            _set_schedule(s, lr)
            o.schedule, is_simple = s, s.per_step
    # The kind of SGD follows from the existing moments, because another thread may change `momentum` at any time.
    o.kind = FNN_SGD if type(optimizer) is _SGD else _KINDS[optimizer.kind]
    o.weight_decay = optimizer._weight_decay
    if o.kind == FNN_RMSPROP:
        o.beta2, o.eps = optimizer._alpha, optimizer._eps
        if slots > 1:
            o.kind, o.momentum = FNN_RMSPROP_MOMENTUM, optimizer._momentum
    elif o.kind == FNN_ADAGRAD:
        o.eps, o.lr_decay = optimizer._eps, optimizer._lr_decay
    elif o.kind != FNN_SGD:
        (o.beta1, o.beta2), o.eps = optimizer._betas, optimizer._eps
        if o.kind == FNN_NADAM:
            o.momentum_decay = optimizer._momentum_decay
    elif slots:
        o.kind, o.momentum = FNN_NESTEROV if optimizer._nesterov else FNN_MOMENTUM, optimizer._momentum
    if optimizer._extras is not None:
        o.clip_norm, o.clip_value, o.l1, decay_b = optimizer._extras
        o.spares_b = not decay_b
    return is_simple


cdef inline bint _held(const fnn_optimizer *o, int dtype) noexcept:
    """Whether all settings are finite in that dtype: in float32 large ones are infinite."""
    return dtype == cnp.NPY_DOUBLE or (
        <float>o.lr <= FLT_MAX and <float>o.weight_decay <= FLT_MAX and <float>o.eps <= FLT_MAX)


cdef int _update(const fnn_optimizer *settings, const operand *w, const operand *g, const operand *moments, int slots,
                 uint64_t t) except -1:
    cdef double work = <double>FNN_FUNCTION_WORK * w.rows * w.columns
    cdef int status, threads = _threads_for(work)
    cdef PyThreadState *state = _release(work)
    status = fnn_optimizer_update(_isa, settings, t, &w.matrix, &moments[0].matrix if slots > 0 else NULL,
                                  &moments[1].matrix if slots > 1 else NULL, &g.matrix, w.rows, w.columns, threads)
    _acquire(state)
    return _done(status)


def optimizer_update(optimizer, w, g, moments, t):
    """One update of w and its moments, in place."""
    cdef operand x = _operand(w), dx = _operand(g)
    cdef operand[2] m
    cdef fnn_optimizer settings
    cdef fnn_schedule schedule
    cdef int i, slots = len(moments)
    _set_optimizer(&settings, &schedule, optimizer, slots)
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
    """Four random words from a counter of four words and a key of two, to test against published vectors."""
    cdef uint32_t[4] c = counter, out
    cdef uint32_t[2] k = key
    fnn_philox(out, c, k)
    return list(out)


include "_core_entries.pxi"
include "_core_guard.pxi"
include "_core_engine.pxi"
include "_core_ckernels.pxi"
