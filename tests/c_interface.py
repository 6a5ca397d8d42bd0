"""The structs of csrc/fastnn.h for ctypes, and calls of its functions: for tests of the C interface from Python."""

import ctypes

from fastnn import _core

FLOAT64 = 1
SGD, MOMENTUM, ADAM, NADAM, RMSPROP, RMSPROP_MOMENTUM, ADAGRAD = 0, 1, 3, 5, 6, 7, 8  # of FNN_EACH_OPTIMIZER
CROSS_ENTROPY, MSE, QUANTILE, GAUSSIAN_NLL = 1, 2, 5, 7  # of FNN_EACH_LOSS
RELU, SOFTMAX, LEAKY_RELU = 3, 4, 5  # of FNN_EACH_ACTIVATION
W, B, GAMMA, BETA, RUNNING_MEAN, RUNNING_VAR = range(6)  # a layer's parameters
OK, NO_MEMORY, REFUSED = 0, 1, 2
SPARSE = 8  # in place of a dtype
VOID = _POINTER = ctypes.c_void_p
_SIZE, _INT, _DOUBLE = ctypes.c_ssize_t, ctypes.c_int, ctypes.c_double


class Sized(ctypes.Structure):
    """A struct that begins with its size."""

    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(self), **fields)


class Spec(ctypes.Structure):
    _fields_ = [("kind", _INT), ("parameters", _DOUBLE * 2)]


class Matrix(ctypes.Structure):
    _fields_ = [("data", _POINTER), ("row_step", _SIZE), ("column_step", _SIZE), ("dtype", _INT)]


class Sparse(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("dtype", _INT),
        ("m", _SIZE),
        ("values", _POINTER),
        ("features", _POINTER),
        ("starts", _POINTER),
        ("longest", _SIZE),
    ]


class Targets(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t), ("codes", _POINTER), ("Y", Matrix), ("weights", _POINTER), ("levels", _POINTER),
    ]  # fmt: skip


class Schedule(Sized):
    _fields_ = [("size", ctypes.c_size_t), ("kind", _INT), ("per_step", _INT), ("parameters", _DOUBLE * 4)]


class Optimizer(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("kind", _INT),
        *[(name, _DOUBLE) for name in ("lr", "weight_decay", "momentum", "beta1", "beta2", "eps")],
        *[(name, _DOUBLE) for name in ("lr_decay", "momentum_decay")],
        ("clip_value", _DOUBLE),
        ("clip_norm", _DOUBLE),
        ("l1", _DOUBLE),
        ("spares_b", _INT),
        ("schedule", ctypes.POINTER(Schedule)),
    ]


class Layer(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("units", _SIZE),
        ("activation", Spec),
        ("dropout", _DOUBLE),
        ("frozen", _INT),
        ("norm", _INT),
    ]


class Fit(Sized):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("optimizer", ctypes.POINTER(Optimizer)),
        ("batch", _SIZE),
        ("shuffle", _INT),
        ("seed", ctypes.c_uint64),
        ("max_batches", _SIZE),
        ("max_epochs", _SIZE),
        ("cautious", _INT),
        ("unchecked", _INT),
        ("plain", _INT),
        ("order", _POINTER),
        ("order_is_valid", _INT),
        ("epoch", ctypes.c_uint64),
        ("position", _SIZE),
        ("loss_sum", _DOUBLE),
        ("weight_sum", _DOUBLE),
        ("failed", _INT),
        ("unsafe", _INT),
        ("finite", _INT),
        ("ended", _POINTER),
        ("ended_count", _SIZE),
        ("samples", _POINTER),
        ("mask_seed", ctypes.c_uint64),
        ("diagnostics", _POINTER),
        ("time", _DOUBLE),
        ("rates", _POINTER),
        ("ended_rates", _POINTER),
        ("rate", _DOUBLE),
        ("before", _SIZE),
        ("whole", _SIZE),
        ("penalty", _DOUBLE),
        ("loss_factor", _DOUBLE),
        ("eps_with_v", _INT),
        ("reported_factor", _DOUBLE),
        ("samples_step", _SIZE),
    ]


def matrix(a):
    """Where a 2-D array of either dtype lies."""
    return Matrix(a.ctypes.data, a.strides[0] // a.itemsize, a.strides[1] // a.itemsize, a.itemsize == 8)


def in_c(name, *arguments, result=ctypes.c_int):
    """The C function's result. Integers are ptrdiff_t, numbers in a tuple int; structs go by their address."""
    kinds = {int: ctypes.c_ssize_t, tuple: ctypes.c_int}
    given = [
        ctypes.byref(a)
        if isinstance(a, ctypes.Structure)
        else kinds[type(a)](*(a if isinstance(a, tuple) else (a,)))
        if type(a) in kinds
        else a
        for a in arguments
    ]
    return ctypes.CFUNCTYPE(result)(_core.c_function(name))(*given)


def new_net(n_in, units, activation=0, loss=MSE, dtype=FLOAT64, count=1):
    """The address of a network of one layer, or None."""
    layer, isa = Layer(units=units, activation=Spec(activation)), (0,)
    return in_c("net_new", isa, (dtype,), n_in, (count,), layer, Spec(loss), result=ctypes.c_void_p)
